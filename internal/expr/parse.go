package expr

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// parser reads a threshold from left to right. There is nothing in it that
// could nest.
type parser struct {
	src string
	pos int
}

// Parse parses a threshold. The error is a *SyntaxError.
func Parse(s string) (*Threshold, error) {
	p := &parser{src: s}
	var t Threshold
	var err error
	if t.Path, err = p.path(); err != nil {
		return nil, err
	}
	if t.Op, err = p.op(); err != nil {
		return nil, err
	}
	if t.Bound, err = p.bound(); err != nil {
		return nil, err
	}
	return &t, nil
}

func (p *parser) fail(off int, format string, args ...any) error {
	return &SyntaxError{Expr: p.src, Off: off, Msg: fmt.Sprintf(format, args...)}
}

// unexpected says what should have been where the parser is.
func (p *parser) unexpected(want string) error {
	if p.pos == len(p.src) {
		return p.fail(p.pos, "expected %s, found the end", want)
	}
	r, _ := utf8.DecodeRuneInString(p.src[p.pos:])
	return p.fail(p.pos, "expected %s, found %q", want, r)
}

// rest steps over space and returns what is left.
func (p *parser) rest() string {
	rest := strings.TrimLeftFunc(p.src[p.pos:], unicode.IsSpace)
	p.pos = len(p.src) - len(rest)
	return rest
}

func (p *parser) accept(text string) bool {
	if !strings.HasPrefix(p.rest(), text) {
		return false
	}
	p.pos += len(text)
	return true
}

func isNameRune(r rune) bool {
	return r == '_' || r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// isPlain reports whether a name can stand without brackets.
func isPlain(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return !isNameRune(r) })
}

func (p *parser) path() ([]string, error) {
	var names []string
	for {
		name, err := p.name(len(names) == 0)
		if err != nil || name == "" {
			return names, err
		}
		names = append(names, name)
	}
}

// name parses the next name of the path; it returns none where the path ends.
func (p *parser) name(first bool) (string, error) {
	switch {
	case p.accept("["):
		return p.quoted()
	case !first && !p.accept("."):
		return "", nil
	}
	start := p.pos
	rest := p.rest()
	end := strings.IndexFunc(rest, func(r rune) bool { return !isNameRune(r) })
	if end < 0 {
		end = len(rest)
	}
	if end == 0 {
		return "", p.unexpected("a name")
	}
	if !first && start != p.pos {
		return "", p.fail(start, "no space may stand after the dot")
	}
	p.pos += end
	return rest[:end], nil
}

// quoted parses a name in brackets, of which the first has been read. Double
// quotes take Go's escapes, single quotes none.
func (p *parser) quoted() (string, error) {
	rest := p.rest()
	start := p.pos
	var name string
	switch {
	case strings.HasPrefix(rest, `"`):
		raw, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return "", p.fail(start, "not a string in double quotes")
		}
		if name, err = strconv.Unquote(raw); err != nil {
			return "", p.fail(start, "not a string in double quotes")
		}
		p.pos += len(raw)
	case strings.HasPrefix(rest, "'"):
		size := strings.IndexByte(rest[1:], '\'')
		if size < 0 {
			return "", p.fail(start, "string is not closed by '")
		}
		name = rest[1 : 1+size]
		p.pos += size + len("''")
	default:
		return "", p.unexpected("a name in quotes")
	}
	if name == "" {
		return "", p.fail(start, "no name between the quotes")
	}
	if !p.accept("]") {
		return "", p.unexpected("]")
	}
	return name, nil
}

func (p *parser) op() (Op, error) {
	for _, op := range [...]Op{LessEqual, GreaterEqual, Equal, NotEqual, Less, Greater} { // the longer ones first
		if p.accept(op.String()) {
			return op, nil
		}
	}
	if strings.HasPrefix(p.rest(), "=") {
		return 0, p.fail(p.pos, "no operator =: write ==")
	}
	return 0, p.unexpected("one of < <= > >= == !=")
}

// maxBound is what a bound can be at most: as a float64, every integer up to it
// is exact. In nanoseconds it is 104 days.
const maxBound = 1 << 53

func (p *parser) bound() (Measure, error) {
	word := strings.TrimRightFunc(p.rest(), unicode.IsSpace)
	if word == "" {
		return Measure{}, p.unexpected("a duration such as 500ms, a percentage or a number")
	}
	number, unit := word, Count
	if before, found := strings.CutSuffix(word, "%"); found {
		number, unit = strings.TrimRightFunc(before, unicode.IsSpace), Percent
	}
	if isDecimal(number) {
		f, err := strconv.ParseFloat(number, 64)
		if err != nil || f > maxBound {
			return Measure{}, p.fail(p.pos, "%s is too large", word)
		}
		return Measure{Unit: unit, Value: f}, nil
	}
	d, err := time.ParseDuration(word)
	switch {
	case err != nil || word[0] == '+':
		return Measure{}, p.fail(p.pos, "%s is no duration such as 500ms, percentage or number", strconv.Quote(word))
	case d < 0:
		return Measure{}, p.fail(p.pos, "%s is below 0", word)
	case d > maxBound:
		return Measure{}, p.fail(p.pos, "%s is too long", word)
	}
	return Measure{Unit: Duration, Value: float64(d)}, nil
}

// isDecimal reports whether s is made of digits with at most one point
// between them.
func isDecimal(s string) bool {
	whole, fraction, point := strings.Cut(s, ".")
	digits := func(s string) bool {
		return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	}
	return digits(whole) && (!point || digits(fraction))
}

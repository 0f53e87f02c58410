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
	src   string
	pos   int
	group string // that the path names
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
	if t.Over, err = p.over(); err != nil {
		return nil, err
	}
	t.Group = p.group
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
		if err := p.selector(names); err != nil {
			return nil, err
		}
	}
}

// selector parses what may stand in braces after the names so far.
func (p *parser) selector(names []string) error {
	if !p.accept("{") {
		return nil
	}
	at := p.pos - len("{")
	if !takesGroup(names) {
		return p.fail(at, "a group stands after the name of a job or after fleet, as in jobs.lock{group=doors}.total.p99")
	}
	if word := p.word(); word != "group" {
		p.pos -= len(word)
		return p.unexpected("group")
	}
	if !p.accept("=") {
		return p.unexpected("=")
	}
	name, err := p.groupName()
	if err != nil {
		return err
	}
	if !p.accept("}") {
		return p.unexpected("}")
	}
	p.group = name
	return nil
}

// word steps over space and a name without quotes, and returns that.
func (p *parser) word() string {
	rest := p.rest()
	end := strings.IndexFunc(rest, func(r rune) bool { return !isNameRune(r) })
	if end < 0 {
		end = len(rest)
	}
	p.pos += end
	return rest[:end]
}

func (p *parser) groupName() (string, error) {
	if rest := p.rest(); strings.HasPrefix(rest, `"`) || strings.HasPrefix(rest, "'") {
		return p.text()
	}
	if name := p.word(); name != "" {
		return name, nil
	}
	return "", p.unexpected("the name of a group")
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
	name := p.word()
	switch {
	case name == "":
		return "", p.unexpected("a name")
	case !first && start != p.pos-len(name):
		return "", p.fail(start, "no space may stand after the dot")
	}
	return name, nil
}

// quoted parses a name in brackets, of which the first has been read.
func (p *parser) quoted() (string, error) {
	name, err := p.text()
	if err == nil && !p.accept("]") {
		err = p.unexpected("]")
	}
	return name, err
}

// text parses a name in quotes. Double quotes take Go's escapes, single quotes
// none.
func (p *parser) text() (string, error) {
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

const aBound = "a duration such as 500ms, a rate such as 3000/s, a percentage or a number"

// bound parses what stands before over, or the end.
func (p *parser) bound() (Measure, error) {
	word := p.rest()
	if at := overAt(word); at >= 0 {
		word = word[:at]
	}
	word = strings.TrimRightFunc(word, unicode.IsSpace)
	if word == "" {
		return Measure{}, p.unexpected(aBound)
	}
	m, fault := boundOf(word)
	if fault != "" {
		return Measure{}, p.fail(p.pos, "%s", fault)
	}
	p.pos += len(word)
	return m, nil
}

// overAt returns where the word over begins in s, or -1.
func overAt(s string) int {
	at := 0
	for field := range strings.FieldsSeq(s) {
		at += strings.Index(s[at:], field)
		if field == "over" {
			return at
		}
		at += len(field)
	}
	return -1
}

// boundOf reads a bound, or says what is wrong with it.
func boundOf(word string) (m Measure, fault string) {
	number, unit, scale := word, Count, 1.0
	if before, found := strings.CutSuffix(word, "%"); found {
		number, unit = strings.TrimRightFunc(before, unicode.IsSpace), Percent
	}
	if before, per, found := strings.Cut(word, "/"); found && perUnit[per] > 0 {
		number, unit, scale = before, Rate, perUnit[per]
	}
	if isDecimal(number) {
		f, err := strconv.ParseFloat(number, 64)
		if err != nil || f > maxBound {
			return m, word + " is too large"
		}
		return Measure{Unit: unit, Value: f / scale}, ""
	}
	d, err := time.ParseDuration(word)
	switch {
	case err != nil || word[0] == '+':
		return m, strconv.Quote(word) + " is no duration such as 500ms, rate such as 3000/s, percentage or number"
	case d < 0:
		return m, word + " is below 0"
	case d > maxBound:
		return m, word + " is too long"
	}
	return Measure{Unit: Duration, Value: float64(d)}, ""
}

// perUnit is how many seconds the unit of a rate has.
var perUnit = map[string]float64{"s": 1, "m": 60, "h": 3600}

// What the parts of a run can be long: a second is as fine as they are cut, and
// every part costs.
const (
	minOver = time.Second
	maxOver = time.Hour
)

// over parses which part of the run counts, if the text says so.
func (p *parser) over() (Over, error) {
	if p.rest() == "" {
		return Over{}, nil
	}
	p.pos += len("over") // bound has ended there
	var o Over
	switch word := p.word(); word {
	case "last":
	case "every":
		o.Every = true
	default:
		p.pos -= len(word)
		return Over{}, p.unexpected("last or every after over")
	}
	word := strings.TrimRightFunc(p.rest(), unicode.IsSpace)
	if word == "" {
		return Over{}, p.unexpected("a duration such as 30s")
	}
	d, err := time.ParseDuration(word)
	switch {
	case err != nil || word[0] == '+':
		return Over{}, p.fail(p.pos, "%s is no duration such as 30s", strconv.Quote(word))
	case d < minOver || d > maxOver || d%time.Second != 0:
		return Over{}, p.fail(p.pos, "%s is not a whole number of seconds from 1s to 1h", word)
	}
	o.Length = d
	return o, nil
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

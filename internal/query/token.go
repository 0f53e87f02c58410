package query

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokenEnd     tokenKind = iota
	tokenInvalid           // no token; text says why
	tokenName              // an identifier or, if bracketed, any text
	tokenText              // a string constant
	tokenNumber
	tokenKeyword // text is in upper case
	tokenSymbol  // an operator or a bracket
)

// token is one token of the language. There is always one more: the end, or
// an invalid one, which repeats.
type token struct {
	kind      tokenKind
	off, end  int    // bytes of the source
	text      string // decoded
	num       float64
	bracketed bool
}

func (t token) is(kind tokenKind, text string) bool { return t.kind == kind && t.text == text }

// keyword returns the reserved word that word is, in upper case.
func keyword(word string) (string, bool) {
	if len(word) > len("UNDEFINED") {
		return "", false
	}
	switch upper := strings.ToUpper(word); upper {
	case "SELECT", "TOP", "AS", "FROM", "WHERE", "GROUP", "BY",
		"AND", "OR", "NOT", "IN", "NIN", "TRUE", "FALSE", "NULL", "UNDEFINED":
		return upper, true
	}
	return "", false
}

// lexer cuts src, which is valid UTF-8, into tokens.
type lexer struct {
	src string
	pos int
}

func (l *lexer) next() token {
	rest := strings.TrimLeftFunc(l.src[l.pos:], unicode.IsSpace)
	l.pos = len(l.src) - len(rest)
	if rest == "" {
		return token{kind: tokenEnd, off: l.pos, end: l.pos}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	switch {
	case r == '\'' || r == '"':
		return l.text(byte(r))
	case '0' <= r && r <= '9':
		return l.number()
	case isNameRune(r):
		return l.name()
	case strings.HasPrefix(rest, "[["):
		return l.bracketed()
	}
	return l.symbol(rest)
}

// take makes a token of the next size bytes.
func (l *lexer) take(kind tokenKind, size int, text string) token {
	t := token{kind: kind, off: l.pos, end: l.pos + size, text: text}
	l.pos += size
	return t
}

// invalid makes a token that says what is wrong at off. The lexer stays where
// it is, so that there is no token after it.
func (l *lexer) invalid(off int, format string, args ...any) token {
	return token{kind: tokenInvalid, off: off, end: off, text: fmt.Sprintf(format, args...)}
}

func isNameRune(r rune) bool {
	return r == '_' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// wordEnd returns where the identifier or number that begins at from ends.
func (l *lexer) wordEnd(from int) int {
	if i := strings.IndexFunc(l.src[from:], func(r rune) bool { return !isNameRune(r) }); i >= 0 {
		return from + i
	}
	return len(l.src)
}

func (l *lexer) name() token {
	word := l.src[l.pos:l.wordEnd(l.pos)]
	if upper, ok := keyword(word); ok {
		return l.take(tokenKeyword, len(word), upper)
	}
	return l.take(tokenName, len(word), word)
}

func (l *lexer) bracketed() token {
	const open, shut = "[[", "]]"
	size := strings.Index(l.src[l.pos+len(open):], shut)
	if size < 0 {
		return l.invalid(l.pos, "[[ is not closed by ]]")
	}
	if size == 0 {
		return l.invalid(l.pos, "no name between [[ and ]]")
	}
	start := l.pos + len(open)
	t := l.take(tokenName, len(open)+size+len(shut), l.src[start:start+size])
	t.bracketed = true
	return t
}

func (l *lexer) symbol(rest string) token {
	for _, wrong := range [...]struct{ text, right string }{
		{"==", "="}, {"&&", "AND"}, {"||", "OR"},
	} {
		if strings.HasPrefix(rest, wrong.text) {
			return l.invalid(l.pos, "no operator %s: write %s", wrong.text, wrong.right)
		}
	}
	for _, two := range [...]string{"!=", "<>", "<=", ">="} {
		if strings.HasPrefix(rest, two) {
			return l.take(tokenSymbol, len(two), two)
		}
	}
	if strings.IndexByte("=<>+-*/%()[],.", rest[0]) >= 0 {
		return l.take(tokenSymbol, 1, rest[:1])
	}
	if rest[0] == '!' {
		return l.invalid(l.pos, "no operator !: write NOT")
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return l.invalid(l.pos, "unexpected character %q", r)
}

// number reads 12, 1.5, 1.5e-3 and 0x1F. There is no sign: that is an operator.
func (l *lexer) number() token {
	end := l.wordEnd(l.pos)
	hex := strings.HasPrefix(l.src[l.pos:end], "0x") || strings.HasPrefix(l.src[l.pos:end], "0X")
	if !hex {
		end = l.decimalEnd(end)
	}
	word := l.src[l.pos:end]
	num, ok := parseNumber(word, hex)
	if !ok {
		return l.invalid(l.pos, "%s is not a number", shorten(word))
	}
	t := l.take(tokenNumber, len(word), word)
	t.num = num
	return t
}

// decimalEnd extends a number whose whole part ends at end over its fraction
// and the sign of its exponent.
func (l *lexer) decimalEnd(end int) int {
	exponent := func() bool {
		return (l.src[end-1] == 'e' || l.src[end-1] == 'E') && end < len(l.src) && strings.IndexByte("+-", l.src[end]) >= 0
	}
	if end+1 < len(l.src) && l.src[end] == '.' && '0' <= l.src[end+1] && l.src[end+1] <= '9' {
		end = l.wordEnd(end + 1)
	}
	if exponent() {
		end = l.wordEnd(end + 1)
	}
	return end
}

func parseNumber(word string, hex bool) (float64, bool) {
	if hex {
		n, err := strconv.ParseUint(word[2:], 16, 64)
		return float64(n), err == nil
	}
	if strings.ContainsFunc(word, func(r rune) bool { return !strings.ContainsRune("0123456789.eE+-", r) }) {
		return 0, false // what ParseFloat would take beyond the language's own numbers
	}
	f, err := strconv.ParseFloat(word, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// text reads a string in either kind of quotes.
func (l *lexer) text(quote byte) token {
	var decoded strings.Builder
	for i := l.pos + 1; i < len(l.src); {
		switch c := l.src[i]; c {
		case quote:
			return l.take(tokenText, i+1-l.pos, decoded.String())
		case '\\':
			r, size := escape(l.src[i:])
			if size == 0 {
				return l.invalid(i, `no such escape: a string knows \' \" \\ and \uXXXX`)
			}
			decoded.WriteRune(r)
			i += size
		default:
			decoded.WriteByte(c)
			i++
		}
	}
	return l.invalid(l.pos, "string is not closed by %c", quote)
}

// escape decodes the escape that s begins with. Size is 0 if it is none.
func escape(s string) (r rune, size int) {
	if len(s) < 2 {
		return 0, 0
	}
	switch s[1] {
	case '\'', '"', '\\':
		return rune(s[1]), 2
	case 'u':
	default:
		return 0, 0
	}
	r, ok := unit(s)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	low, ok := unit(s[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0 // half of a pair is no character
	}
	return r, 12
}

// unit decodes \uXXXX at the start of s.
func unit(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:6], 16, 16)
	return rune(n), err == nil
}

// shorten quotes a piece of source for a message.
func shorten(s string) string {
	const most = 40
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "…"
	}
	return strconv.Quote(s)
}

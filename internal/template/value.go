package template

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// kind is the type of an expression, known before it is evaluated.
type kind uint8

const (
	integer kind = iota
	decimal
	text
	boolean
	mixed // a choice among constants of several types
)

func (k kind) String() string {
	return [...]string{"an integer", "a decimal", "a string", "a boolean", "a mix of types"}[k]
}

// value is what an expression gives: an integer, decimal, text or boolean.
type value struct {
	kind kind
	n    int64 // an integer, or 1 for true
	f    float64
	s    string
}

func (v value) any() any {
	switch v.kind {
	case decimal:
		return v.f
	case text:
		return v.s
	case boolean:
		return v.n != 0
	}
	return v.n
}

func (v value) appendText(dst []byte) []byte {
	switch v.kind {
	case decimal:
		return strconv.AppendFloat(dst, v.f, 'f', -1, 64)
	case text:
		return append(dst, v.s...)
	case boolean:
		return strconv.AppendBool(dst, v.n != 0)
	}
	return strconv.AppendInt(dst, v.n, 10)
}

func (v value) appendFormat(dst []byte, format string) []byte {
	if format == "" {
		return v.appendText(dst)
	}
	return fmt.Appendf(dst, format, v.any())
}

func (v value) appendJSON(dst []byte) []byte {
	if v.kind == text {
		return appendQuoted(dst, v.s)
	}
	return v.appendText(dst)
}

// appendQuoted writes s as a JSON string, with no more escapes than it needs.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s { // what is not UTF-8 comes as U+FFFD
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

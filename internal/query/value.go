package query

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is the type of a value.
type Kind uint8

// The kinds of values.
const (
	KindUndefined Kind = iota // the attribute is not there
	KindNull
	KindBool
	KindNumber
	KindString
	KindObject // an object or an array; only IS_DEFINED can use it
)

// Value is the value of an attribute. The zero value is undefined. A value
// that came from Lookup may be a view into the document and is valid as long
// as the document is not changed.
type Value struct {
	kind Kind
	num  float64 // a number, or 1 for true
	str  string  // a string, unless view is set
	view []byte  // a string, as it stands in a document
}

// Null returns the value null.
func Null() Value { return Value{kind: KindNull} }

// Object returns the value of an attribute that is an object or an array.
func Object() Value { return Value{kind: KindObject} }

// Bool returns the value of a boolean attribute.
func Bool(b bool) Value {
	if b {
		return Value{kind: KindBool, num: 1}
	}
	return Value{kind: KindBool}
}

// Number returns the value of a numeric attribute. Infinities and what is not
// a number are undefined.
func Number(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{}
	}
	return Value{kind: KindNumber, num: f}
}

// String returns the value of an attribute that is a string.
func String(s string) Value { return Value{kind: KindString, str: s} }

func view(b []byte) Value { return Value{kind: KindString, view: b} }

// Kind returns the type of the value.
func (v Value) Kind() Kind { return v.kind }

// String returns the value as a constant of the query language; an object or
// array, which has none, as "[object]".
func (v Value) String() string { return string(v.append(nil)) }

func (v Value) append(dst []byte) []byte {
	switch v.kind {
	case KindNull:
		return append(dst, "null"...)
	case KindBool:
		return strconv.AppendBool(dst, v.num != 0)
	case KindNumber:
		return appendNumber(dst, v.num)
	case KindString:
		return appendQuoted(dst, v.text())
	case KindObject:
		return append(dst, "[object]"...)
	}
	return append(dst, "undefined"...)
}

// text returns a string value's content; it copies a view.
func (v Value) text() string {
	if v.view != nil {
		return string(v.view)
	}
	return v.str
}

// sameText reports whether two string values are equal, without copying.
func sameText(v, w *Value) bool {
	switch {
	case v.view != nil && w.view != nil:
		return bytes.Equal(v.view, w.view)
	case v.view != nil:
		return string(v.view) == w.str
	case w.view != nil:
		return v.str == string(w.view)
	}
	return v.str == w.str
}

// lessText reports whether string value v sorts before w, without copying.
func lessText(v, w *Value) bool {
	switch {
	case v.view != nil && w.view != nil:
		return bytes.Compare(v.view, w.view) < 0
	case v.view != nil:
		return string(v.view) < w.str
	case w.view != nil:
		return v.str < string(w.view)
	}
	return v.str < w.str
}

func (v Value) hasPrefix(text string) bool {
	if v.view != nil {
		return len(v.view) >= len(text) && string(v.view[:len(text)]) == text
	}
	return strings.HasPrefix(v.str, text)
}

func (v Value) hasSuffix(text string) bool {
	if v.view != nil {
		return len(v.view) >= len(text) && string(v.view[len(v.view)-len(text):]) == text
	}
	return strings.HasSuffix(v.str, text)
}

// appendNumber writes whole numbers of ordinary size without an exponent.
func appendNumber(dst []byte, f float64) []byte {
	if size := math.Abs(f); size != 0 && (size < 1e-6 || size >= 1e21) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// appendQuoted writes s in single quotes, with the escapes that the lexer
// reads: \' \\ and, for control characters, \uXXXX.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '\'')
	for _, r := range s {
		switch {
		case r == '\'' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ' || r == 0x7F:
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '\'')
}

package query

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Lookup returns what a JSON document holds at path; with an empty path, the
// document itself. It reads from the start up to the value, decodes nothing
// else, and does not check what it steps over: of a broken document it may
// find what comes before the fault. What it cannot read is undefined, as is
// what is not there. Of two members with one name the first counts.
//
// The value is a view into doc; only a string with escapes is copied.
func Lookup(doc []byte, path []string) Value {
	i := find(doc, path)
	if i < 0 {
		return Value{}
	}
	return valueAt(doc, i)
}

// raw returns the piece of a valid JSON document that stands at path, nil if
// there is none. It is a view into doc.
func raw(doc []byte, path []string) []byte {
	i := find(doc, path)
	end := -1
	if i >= 0 {
		end = skipValue(doc, i)
	}
	if end < 0 {
		return nil
	}
	return doc[i:end]
}

// The functions below take and return positions in a document; a negative one
// says that it is broken there, or that there is no such thing.

// find returns where the value at path begins.
func find(doc []byte, path []string) int {
	i := skipSpace(doc, 0)
	for _, name := range path {
		if i = findMember(doc, i, name); i < 0 {
			return -1
		}
	}
	return i
}

func skipSpace(doc []byte, i int) int {
	for i < len(doc) && (doc[i] == ' ' || doc[i] == '\n' || doc[i] == '\r' || doc[i] == '\t') {
		i++
	}
	return i
}

// skipByte steps over c and the space around it.
func skipByte(doc []byte, i int, c byte) int {
	i = skipSpace(doc, i)
	if i >= len(doc) || doc[i] != c {
		return -1
	}
	return skipSpace(doc, i+1)
}

// findMember returns where the value of the member called name begins in the
// object that begins at i.
func findMember(doc []byte, i int, name string) int {
	i = skipByte(doc, i, '{')
	for i >= 0 {
		end, escaped := skipString(doc, i)
		if end < 0 {
			return -1
		}
		found := isText(doc[i+1:end-1], escaped, name)
		if i = skipByte(doc, end, ':'); i < 0 || found {
			return i
		}
		if i = skipValue(doc, i); i >= 0 {
			i = skipByte(doc, i, ',')
		}
	}
	return -1
}

// skipString returns the position after the string that begins at i, and
// whether there are escapes in it.
func skipString(doc []byte, i int) (end int, escaped bool) {
	if i >= len(doc) || doc[i] != '"' {
		return -1, false
	}
	for i++; i < len(doc); i++ {
		switch c := doc[i]; {
		case c == '"':
			return i + 1, escaped
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			return -1, false
		}
	}
	return -1, false
}

// skipValue returns the position after the value that begins at i. Of objects
// and arrays it counts the brackets only.
func skipValue(doc []byte, i int) int {
	if i >= len(doc) {
		return -1
	}
	switch doc[i] {
	case '"':
		end, _ := skipString(doc, i)
		return end
	case '{', '[':
		return skipNested(doc, i)
	}
	start := i
	for i < len(doc) && !endsScalar(doc[i]) {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

func skipNested(doc []byte, i int) int {
	for depth := 0; i < len(doc); i++ {
		switch doc[i] {
		case '"':
			end, _ := skipString(doc, i)
			if end < 0 {
				return -1
			}
			i = end - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

func endsScalar(c byte) bool {
	switch c {
	case ',', '}', ']', ':', '"', '{', '[', ' ', '\n', '\r', '\t':
		return true
	}
	return false
}

// isText reports whether a string's raw content says text.
func isText(raw []byte, escaped bool, text string) bool {
	if !escaped {
		return string(raw) == text
	}
	decoded, ok := unescape(raw)
	return ok && string(decoded) == text
}

// valueAt decodes the value that begins at i.
func valueAt(doc []byte, i int) Value {
	end := skipValue(doc, i)
	if end < 0 {
		return Value{}
	}
	raw := doc[i:end]
	switch c := raw[0]; {
	case c == '"':
		return textValue(raw[1 : len(raw)-1])
	case c == '{' || c == '[':
		return Object()
	case c == '-' || '0' <= c && c <= '9':
		return numberValue(raw)
	}
	switch string(raw) {
	case "true":
		return Bool(true)
	case "false":
		return Bool(false)
	case "null":
		return Null()
	}
	return Value{}
}

func textValue(raw []byte) Value {
	for _, c := range raw {
		if c == '\\' {
			decoded, ok := unescape(raw)
			if !ok {
				return Value{}
			}
			return view(decoded)
		}
	}
	return view(raw)
}

// unescape decodes a JSON string's content. Half of a surrogate pair becomes
// U+FFFD, as in encoding/json.
func unescape(raw []byte) ([]byte, bool) {
	decoded := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			decoded = append(decoded, raw[i])
			continue
		}
		if i++; i >= len(raw) {
			return nil, false
		}
		switch c := raw[i]; c {
		case '"', '\\', '/':
			decoded = append(decoded, c)
		case 'b':
			decoded = append(decoded, '\b')
		case 'f':
			decoded = append(decoded, '\f')
		case 'n':
			decoded = append(decoded, '\n')
		case 'r':
			decoded = append(decoded, '\r')
		case 't':
			decoded = append(decoded, '\t')
		case 'u':
			r, size := unescapeUnit(raw[i-1:])
			if size == 0 {
				return nil, false
			}
			decoded = utf8.AppendRune(decoded, r)
			i += size - 2
		default:
			return nil, false
		}
	}
	return decoded, true
}

// unescapeUnit decodes the \uXXXX, or the two that are one character, at the
// start of raw. Size is 0 if there is none.
func unescapeUnit(raw []byte) (r rune, size int) {
	r, ok := hexUnit(raw)
	if !ok {
		return 0, 0
	}
	if utf16.IsSurrogate(r) {
		low, _ := hexUnit(raw[6:])
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, 12
		}
		return utf8.RuneError, 6
	}
	return r, 6
}

func hexUnit(raw []byte) (rune, bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	return rune(n), err == nil
}

// numberValue decodes a JSON number.
func numberValue(raw []byte) Value {
	if !isNumber(raw) {
		return Value{}
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return Value{} // beyond a float64
	}
	return Number(f)
}

// isNumber checks JSON's own form of numbers, which is stricter than Go's.
func isNumber(raw []byte) bool {
	i := 0
	if raw[0] == '-' {
		i++
	}
	whole := digits(raw, i)
	if whole == i || whole > i+1 && raw[i] == '0' {
		return false
	}
	i = whole
	if i < len(raw) && raw[i] == '.' {
		fraction := digits(raw, i+1)
		if fraction == i+1 {
			return false
		}
		i = fraction
	}
	if i < len(raw) && (raw[i] == 'e' || raw[i] == 'E') {
		i++
		if i < len(raw) && (raw[i] == '+' || raw[i] == '-') {
			i++
		}
		exponent := digits(raw, i)
		if exponent == i {
			return false
		}
		i = exponent
	}
	return i == len(raw)
}

// digits returns the position after the digits that begin at i.
func digits(raw []byte, i int) int {
	for i < len(raw) && '0' <= raw[i] && raw[i] <= '9' {
		i++
	}
	return i
}

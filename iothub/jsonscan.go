package iothub

import (
	"bytes"
	"encoding/json"
)

// The functions of this file walk over JSON that json.Valid has accepted, so
// that documents can be merged and measured without decoding them.

// isObject reports whether valid JSON holds an object. It does not look
// further than the first byte.
func isObject(b []byte) bool {
	i := skipSpace(b, 0)
	return i < len(b) && b[i] == '{'
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// endOfString returns the index after the string that begins at i.
func endOfString(b []byte, i int) int {
	i++
	if n := bytes.IndexByte(b[i:], '"'); n >= 0 && bytes.IndexByte(b[i:i+n], '\\') < 0 {
		return i + n + 1
	}
	for ; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// endOfValue returns the index after the value that begins at i.
func endOfValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return endOfString(b, i)
	case '{', '[':
		return endOfContainer(b, i)
	}
	for i < len(b) && bytes.IndexByte([]byte(",]} \n\t\r"), b[i]) < 0 {
		i++
	}
	return i
}

func endOfContainer(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case '"':
			i = endOfString(b, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		i++
		if depth == 0 {
			return i
		}
	}
}

// members walks over an object or an array. Its zero value, and that of any
// other value, is empty.
type members struct {
	b     []byte
	i     int  // the next byte to look at
	keyed bool // an object
}

func membersOf(container []byte) members {
	i := skipSpace(container, 0)
	if i < len(container) && (container[i] == '{' || container[i] == '[') {
		return members{container, i + 1, container[i] == '{'}
	}
	return members{}
}

// next returns the next value, and before it its key with the quotes if the
// container is an object. Both are views.
func (m *members) next() (key, value []byte, ok bool) {
	i := skipSpace(m.b, m.i)
	if i < len(m.b) && m.b[i] == ',' {
		i = skipSpace(m.b, i+1)
	}
	if i >= len(m.b) || m.b[i] == '}' || m.b[i] == ']' {
		return nil, nil, false
	}
	if m.keyed {
		end := endOfString(m.b, i)
		key = m.b[i:end]
		i = skipSpace(m.b, skipSpace(m.b, end)+1) // over the colon
	}
	end := endOfValue(m.b, i)
	m.i = end
	return key, m.b[i:end], true
}

// member returns the last value of an object's member of that name.
func member(object []byte, name string) (value []byte, ok bool) {
	if !isObject(object) {
		return nil, false
	}
	for m := membersOf(object); ; {
		key, v, more := m.next()
		if !more {
			return value, ok
		}
		if string(text(key)) == name {
			value, ok = v, true
		}
	}
}

// text returns what a JSON string with its quotes says; a view if nothing in
// it is escaped.
func text(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // a string of valid JSON
	return []byte(s)
}

// appendCompact appends a value without the space between its tokens.
func appendCompact(dst, value []byte) []byte {
	for i := skipSpace(value, 0); i < len(value); i = skipSpace(value, i) {
		if value[i] != '"' {
			dst = append(dst, value[i])
			i++
			continue
		}
		end := endOfString(value, i)
		dst = append(dst, value[i:end]...)
		i = end
	}
	return dst
}

// compactSize returns how many bytes appendCompact would append. Of what is not
// JSON it counts what it can.
func compactSize(value []byte) int {
	n, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch b := value[i]; {
		case quoted && b == '\\':
			i++
			n++
		case b == '"':
			quoted = !quoted
		case !quoted && (b == ' ' || b == '\n' || b == '\t' || b == '\r'):
			n--
		}
		n++
	}
	return n
}

package hub

import (
	"bytes"
	"encoding/json"
	"iter"
)

// members walks the members of a JSON object: raw keys with their quotes, and raw values. The object must be valid;
// anything else has no members.
func members(doc []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		i := skipSpace(doc, 0)
		if i >= len(doc) || doc[i] != '{' {
			return
		}
		for i = skipSpace(doc, i+1); i < len(doc) && doc[i] == '"'; i = skipSpace(doc, i+1) {
			end := skipString(doc, i)
			start := skipSpace(doc, skipSpace(doc, end)+1) // over the colon
			stop := skipValue(doc, start)
			if stop > len(doc) || !yield(doc[i:end], doc[start:stop]) {
				return
			}
			if i = skipSpace(doc, stop); i >= len(doc) || doc[i] != ',' {
				return
			}
		}
	}
}

// member returns the raw value of an object's member, or nil if there is none.
func member(doc []byte, name string) []byte {
	for key, value := range members(doc) {
		if string(key[1:len(key)-1]) == name || bytes.IndexByte(key, '\\') >= 0 && unquote(key) == name {
			return value
		}
	}
	return nil
}

// isObject says whether a raw JSON value is an object.
func isObject(value []byte) bool {
	i := skipSpace(value, 0)
	return i < len(value) && value[i] == '{'
}

// isNull says whether a raw JSON value is null or not there at all.
func isNull(value []byte) bool {
	i := skipSpace(value, 0)
	return i >= len(value) || value[i] == 'n'
}

// unquote returns the text of a raw JSON string.
func unquote(raw []byte) string {
	for _, c := range raw {
		if c == '\\' {
			var s string
			_ = json.Unmarshal(raw, &s) // valid, as its document was
			return s
		}
	}
	return string(raw[1 : len(raw)-1])
}

func skipSpace(doc []byte, i int) int {
	for i < len(doc) && (doc[i] == ' ' || doc[i] == '\t' || doc[i] == '\n' || doc[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the index after the string that begins at i.
func skipString(doc []byte, i int) int {
	for i++; i < len(doc); i++ {
		switch doc[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(doc)
}

// skipValue returns the index after the value that begins at i.
func skipValue(doc []byte, i int) int {
	depth := 0
	for i < len(doc) {
		switch doc[i] {
		case '"':
			i = skipString(doc, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case ',', ' ', '\t', '\n', '\r', ':':
			if depth == 0 {
				return i
			}
			i++
			continue
		default:
			i = skipScalar(doc, i)
		}
		if depth == 0 {
			return i
		}
	}
	return i
}

// skipScalar returns the index after the number or word that begins at i.
func skipScalar(doc []byte, i int) int {
	for i < len(doc) {
		switch doc[i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r', ':':
			return i
		}
		i++
	}
	return i
}

// appendString appends a JSON string.
func appendString(dst []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // a string never fails
	return append(dst, quoted...)
}

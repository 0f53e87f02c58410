package scenarios

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// source is the text of a scenario and its lines.
type source struct {
	name  string
	text  []byte
	lines []string // without what ends them
}

func newSource(name string, text []byte) *source {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	s := &source{name: name, text: text}
	if len(text) > maxBytes { // it will be refused, unread
		return s
	}
	for rest := text; ; {
		end, size := lineBreak(rest)
		s.lines = append(s.lines, strings.ToValidUTF8(string(rest[:end]), "\ufffd"))
		if size == 0 {
			return s
		}
		rest = rest[end+size:]
	}
}

// lineBreak returns where the first line of a text ends and how many bytes end
// it, 0 at the end of the text. YAML breaks lines at more than \n.
func lineBreak(text []byte) (end, size int) {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		switch {
		case r == '\r' && at+1 < len(text) && text[at+1] == '\n':
			return at, 2
		case r == '\n' || r == '\r' || r == '\u0085' || r == '\u2028' || r == '\u2029':
			return at, size
		}
		at += size
	}
	return len(text), 0
}

// place returns the line and column of a byte of the text.
func (s *source) place(off int) (line, column int) {
	line = 1
	for rest := s.text[:off]; ; line++ {
		end, size := lineBreak(rest)
		if size == 0 {
			return line, utf8.RuneCount(rest) + 1
		}
		rest = rest[end+size:]
	}
}

// line returns line n, counted from 1, or "".
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return s.lines[n-1]
}

// snippet shows a place of the source.
func (s *source) snippet(line, column int) string {
	if line < 1 || line > len(s.lines) {
		return ""
	}
	return snippet(fmt.Sprintf("%5d | ", line), s.line(line), column)
}

// locate returns the column of byte off of a scalar's value, if the scalar
// stands on one line and its text there can be followed character by character.
func (s *source) locate(n *node, off int) (column int, ok bool) {
	if n.set != nil || n.written != "" || n.kind != yaml.ScalarNode || off < 0 || off > len(n.value) {
		return 0, false
	}
	line := []rune(s.line(n.line))
	if n.column < 1 || n.column > len(line) {
		return 0, false
	}
	rest := line[n.column-1:]
	length := func([]rune) (int, string) { return 0, "" }
	switch {
	case n.style&yaml.SingleQuotedStyle != 0 && rest[0] == '\'':
		length = singleQuoted
	case n.style&yaml.DoubleQuotedStyle != 0 && rest[0] == '"':
		length = doubleQuoted
	case n.style&(yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0:
		length = plain
	}
	at := n.column
	if rest[0] == '\'' || rest[0] == '"' {
		rest, at = rest[1:], at+1
	}
	for done := 0; done < off; {
		size, char := length(rest)
		if size == 0 || !strings.HasPrefix(n.value[done:], char) {
			return 0, false
		}
		rest, at, done = rest[size:], at+size, done+len(char)
	}
	return at, true
}

// plain returns how many characters of line the next one of a plain scalar's
// value takes, and that character.
func plain(line []rune) (int, string) {
	if len(line) == 0 {
		return 0, ""
	}
	return 1, string(line[0])
}

// singleQuoted is plain for a scalar in single quotes.
func singleQuoted(line []rune) (int, string) {
	if len(line) > 1 && line[0] == '\'' && line[1] == '\'' {
		return 2, "'"
	}
	return plain(line)
}

// doubleQuoted is plain for a scalar in double quotes. It follows the escapes
// that occur in queries.
func doubleQuoted(line []rune) (int, string) {
	if len(line) < 2 || line[0] != '\\' {
		return plain(line)
	}
	simple := map[rune]string{'"': `"`, '\\': `\`, '/': "/", 'n': "\n", 't': "\t", 'r': "\r", '0': "\x00"}
	if char, ok := simple[line[1]]; ok {
		return 2, char
	}
	digits := map[rune]int{'x': 2, 'u': 4, 'U': 8}[line[1]]
	if digits == 0 || len(line) < 2+digits {
		return 0, ""
	}
	code, err := strconv.ParseUint(string(line[2:2+digits]), 16, 32)
	if err != nil || !utf8.ValidRune(rune(code)) {
		return 0, ""
	}
	return 2 + digits, string(rune(code))
}

// Package caret says where in a short text a fault is: as a column, and drawn
// as a caret under the place.
package caret

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// width is how many cells of a line are shown; of a longer one, the part
// around the place.
const width = 120

// Place names the place of byte offset off in src, counted in characters from
// one: "column 14", or "line 2, column 3" if src breaks into lines before it.
// An offset outside src is moved to its nearer end.
func Place(src string, off int) string {
	off = clamp(src, off)
	start := lineStart(src, off)
	column := utf8.RuneCountInString(src[start:off]) + 1
	if line := strings.Count(src[:start], "\n") + 1; line > 1 {
		return fmt.Sprintf("line %d, column %d", line, column)
	}
	return fmt.Sprintf("column %d", column)
}

// Draw returns the line of src that holds byte offset off and, below it, a
// line with a caret under the place, without a newline at the end. Characters
// that would move the cursor or that are no text are shown as U+FFFD.
func Draw(src string, off int) string {
	off = clamp(src, off)
	start := lineStart(src, off)
	line := src[start:]
	if i := strings.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	before, after := printable(line[:off-start]), printable(strings.TrimSuffix(line[off-start:], "\r"))
	before, after = window(before, after)

	var b strings.Builder
	b.WriteString(before)
	b.WriteString(after)
	b.WriteByte('\n')
	for _, r := range before {
		if r == '\t' {
			b.WriteByte('\t') // whatever a tab's width is, it is the same here
			continue
		}
		b.WriteString(strings.Repeat(" ", cells(r)))
	}
	b.WriteByte('^')
	return b.String()
}

// clamp moves off into src and back to the start of the character it is in.
func clamp(src string, off int) int {
	off = min(max(off, 0), len(src))
	for back := 0; back < utf8.UTFMax && off > 0 && off < len(src) && !utf8.RuneStart(src[off]); back++ {
		off--
	}
	return off
}

func lineStart(src string, off int) int {
	return strings.LastIndexByte(src[:off], '\n') + 1
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) || unicode.Is(unicode.Zs, r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// window cuts a line that is too long, at both sides of the place.
func window(before, after string) (head, tail string) {
	if utf8.RuneCountInString(before)+utf8.RuneCountInString(after) <= width {
		return before, after
	}
	b, a := []rune(before), []rune(after)
	if most := width * 2 / 3; len(b) > most {
		b = append([]rune("…"), b[len(b)-most+1:]...)
	}
	if most := width - len(b); len(a) > most {
		a = append(a[:most-1:most-1], '…')
	}
	return string(b), string(a)
}

// cells returns how many cells of a terminal r takes.
func cells(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana),
		r >= 0xFF01 && r <= 0xFF60,   // full-width forms
		r >= 0x1F300 && r <= 0x1FAFF: // pictographs
		return 2
	}
	return 1
}

package scenarios

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Errors is every fault of one scenario, in the order of their places.
type Errors []*Error

// Error is one fault and its place.
type Error struct {
	File    string // the scenario, or the flag that the value came from
	Line    int    // from 1; 0 where there is no line: the whole file, or a flag
	Column  int    // from 1, in characters
	Path    string // the keys that lead to the place, as in jobs[2].via
	Msg     string
	Snippet string // the line with a caret under the place; "" without a line
}

// Error returns `file:line:column: path: message`, without the parts that the
// fault does not have.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	if e.Path != "" && !strings.HasSuffix(e.File, " "+e.Path) {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

// Error returns one line for each fault.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Detail returns what Error does with the snippets in between, for a terminal.
func (e Errors) Detail() string {
	var b strings.Builder
	for _, err := range e {
		b.WriteString(err.Error() + "\n")
		if err.Snippet != "" {
			b.WriteString(err.Snippet + "\n")
		}
	}
	return b.String()
}

// Unwrap returns the faults one by one, for errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, err := range e {
		all[i] = err
	}
	return all
}

// sort orders faults by place: the file from top to bottom, then flags.
func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b *Error) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// snippetWidth is how many characters of a line a snippet shows: about what a
// terminal of 80 columns holds after the line number.
const snippetWidth = 72

// secretText finds the secret parts of connection strings and tokens, which a
// scenario may hold as literal text.
var secretText = regexp.MustCompile(`(?i)(SharedAccessKey|SharedAccessSignature|\bsig)=[^;&"'\s}]+`)

// redact hides the secret parts of s and keeps its length in characters.
func redact(s string) string {
	return secretText.ReplaceAllStringFunc(s, func(m string) string {
		name, secret, _ := strings.Cut(m, "=")
		return name + "=" + strings.Repeat("*", utf8.RuneCountInString(secret))
	})
}

// snippet shows a line and a caret under its column. label stands before it:
// a line number, or the flag.
func snippet(label, line string, column int) string {
	runes, at := []rune(line), column-1
	// A secret may begin before what is shown, but not this far before.
	if from := at - 4000; from > 0 && from < len(runes) {
		runes, at = runes[from:], at-from
	}
	runes = runes[:min(len(runes), max(at, 0)+4000)]
	shown, caret := window([]rune(redact(string(runes))), at)
	return fmt.Sprintf("%s%s\n%s%s^", label, shown, strings.Repeat(" ", utf8.RuneCountInString(label)), caret)
}

// window cuts a line to snippetWidth characters around one of them and returns
// it with the blanks that lead to that one. Tabs stay tabs in both, so that
// they keep their width; other control characters become one mark each.
func window(line []rune, at int) (shown, blanks string) {
	at = max(0, min(at, len(line)))
	lead, tail := "", ""
	from := 0
	if at > snippetWidth-10 {
		from, lead = at-snippetWidth/2, "…"
	}
	to := len(line)
	if to > from+snippetWidth {
		to, tail = from+snippetWidth, "…"
	}
	var text, pad strings.Builder
	text.WriteString(lead)
	pad.WriteString(strings.Repeat(" ", utf8.RuneCountInString(lead)))
	for i, r := range line[from:to] {
		text.WriteRune(printable(r))
		if from+i < at {
			pad.WriteRune(blank(r))
		}
	}
	return text.String() + tail, pad.String()
}

// printable returns r, or a mark if a terminal would obey it.
func printable(r rune) rune {
	if r != '\t' && (r < ' ' || (r >= 0x7f && r < 0xa0) || r == '\u2028' || r == '\u2029') {
		return '·'
	}
	return r
}

func blank(r rune) rune {
	if r == '\t' {
		return r
	}
	return ' '
}

package scenarios

import (
	"fmt"
	"strings"
)

// unknown says that what a name stands for does not exist, and what was
// perhaps meant: the nearest of known, or all of them if none is near.
func unknown(what, name string, known []string) string {
	msg := fmt.Sprintf("unknown %s %s", what, quote(name))
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("%s; did you mean %s?", msg, quote(near))
	}
	if len(known) == 0 {
		return msg + "; there is none"
	}
	return msg + "; expected " + oneOf(known)
}

// nearest returns the known name that differs from name by the fewest edits,
// or "" if all differ by more than a third of their length.
func nearest(name string, known []string) string {
	if len(name) > 64 {
		return ""
	}
	best, least := "", 0
	for _, k := range known {
		d := distance(strings.ToLower(name), strings.ToLower(k))
		if d <= max(1, len(k)/3) && (best == "" || d < least) {
			best, least = k, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// oneOf lists names as "a, b or c".
func oneOf(names []string) string { return enumerate(names, "or") }

// enumerate lists names, quoted, the first dozen of them.
func enumerate(names []string, last string) string {
	const most = 12
	quoted := make([]string, 0, most)
	for _, n := range names[:min(len(names), most)] {
		quoted = append(quoted, quote(n))
	}
	switch more := len(names) - most; {
	case more > 0:
		return fmt.Sprintf("%s %s %d more", strings.Join(quoted, ", "), last, more)
	case len(quoted) < 2:
		return strings.Join(quoted, "")
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " " + last + " " + quoted[len(quoted)-1]
}

// quote shows a text of any length in an error, on one line.
func quote(s string) string {
	const most = 48
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", redact(s))
}

package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// String returns m with three significant digits and a fitting unit.
func (m Millis) String() string {
	number, unit := split(m)
	return number + " " + unit
}

// split returns m as a number of three significant digits and its unit.
func split(m Millis) (number, unit string) {
	d := time.Duration(m)
	switch abs := d.Abs(); {
	case abs < 999500*time.Nanosecond:
		return digits3(float64(d) / float64(time.Microsecond)), "µs"
	case abs < 999500*time.Microsecond:
		return fixed3(float64(d) / float64(time.Millisecond)), "ms"
	case abs < 1000*time.Second:
		return fixed3(d.Seconds()), "s"
	}
	return fixed3(d.Minutes()), "min"
}

// digits3 prints v with three significant digits; a whole number has no point.
func digits3(v float64) string {
	if v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return fixed3(v)
}

// fixed3 prints v with three significant digits.
func fixed3(v float64) string {
	decimals := 0
	switch a := math.Abs(v); {
	case a < 9.995:
		decimals = 2
	case a < 99.95:
		decimals = 1
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// cell returns m for a column: the numbers end and the units begin at one place.
func cell(m Millis) string {
	number, unit := split(m)
	return number + " " + pad(unit, 2)
}

// sentence makes a text a sentence of its own; "" stays nothing.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:] + "."
}

// thousands prints n with a comma before every three digits.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// count prints n of what thing names.
func count(n int64, thing string) string {
	switch {
	case n == 1:
		return "1 " + thing
	case strings.HasSuffix(thing, "y"):
		thing = strings.TrimSuffix(thing, "y") + "ie"
	}
	return thousands(n) + " " + thing + "s"
}

// size prints a number of bytes.
func size(bytes int64) string {
	const mib = 1 << 20
	if bytes < 1024*mib {
		return digits3(float64(bytes)/mib) + " MiB"
	}
	return digits3(float64(bytes)/mib/1024) + " GiB"
}

// plain returns s without what could drive a terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// width returns how many columns s takes. Names are ids of a hub and names of
// jobs, where a rune is a column.
func width(s string) int { return utf8.RuneCountInString(s) }

// pad fills s with spaces to n columns; lead fills it on the left.
func pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-width(s))) }

func lead(s string, n int) string { return strings.Repeat(" ", max(0, n-width(s))) + s }

// cut shortens s to n columns.
func cut(s string, n int) string {
	if width(s) <= n {
		return s
	}
	return string([]rune(s)[:max(0, n-1)]) + "…"
}

// wrap breaks words into lines of at most n columns. A word that is longer
// has a line of its own.
func wrap(words []string, between string, n int) []string {
	var lines []string
	line := ""
	for _, w := range words {
		switch {
		case line == "":
			line = w
		case width(line)+width(between)+width(w) <= n:
			line += between + w
		default:
			lines = append(lines, line)
			line = w
		}
	}
	return append(lines, line)
}

// causes prints m, the largest count first: "DeviceNotOnline 12".
func causes(m map[string]int64) []string {
	var out []string
	for _, cause := range byCount(m) {
		out = append(out, fmt.Sprintf("%s %s", plain(cause), thousands(m[cause])))
	}
	return out
}

package expr

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// String returns the measure for people: "1.93 s", "99.9 %", "3120/s", "17".
func (m Measure) String() string { return human(m.Unit, m.Value, usualDigits) }

// Numbers for people have as many significant digits as they usually need,
// and more where two values would look the same that are not.
const (
	usualDigits = 3
	mostDigits  = 17
)

// distinct returns value for people with so many digits that it does not look
// like bound, unless order says that they are equal.
func distinct(unit Unit, value, bound float64, order int) string {
	for digits := usualDigits; digits < mostDigits; digits++ {
		text := human(unit, value, digits)
		if (text == human(unit, bound, digits)) == (order == 0) {
			return text
		}
	}
	return human(unit, value, mostDigits)
}

// human writes a value with a number of significant digits, but never rounds
// away digits before the point.
func human(unit Unit, value float64, digits int) string {
	switch unit {
	case Duration:
		return humanDuration(value, digits)
	case Percent:
		return rounded(value, digits) + " %"
	case Rate:
		return rounded(value, digits) + "/s"
	}
	return rounded(value, digits)
}

// humanDuration picks the unit in which a duration of so many nanoseconds is
// a number from 1 up to that of the next unit, which for minutes and hours
// comes in at two of them.
func humanDuration(ns float64, digits int) string {
	size := time.Duration(math.Abs(ns))
	for _, unit := range [...]struct {
		from, size time.Duration
		name       string
	}{
		{2 * time.Hour, time.Hour, " h"},
		{2 * time.Minute, time.Minute, " min"},
		{time.Second, time.Second, " s"},
		{time.Millisecond, time.Millisecond, " ms"},
		{time.Microsecond, time.Microsecond, " µs"},
	} {
		if size >= unit.from {
			return rounded(ns/float64(unit.size), digits) + unit.name
		}
	}
	return rounded(ns, digits) + " ns"
}

// rounded writes f with a number of significant digits, without an exponent
// and without zeros at the end of the fraction.
func rounded(f float64, digits int) string {
	whole := 1
	if size := math.Abs(f); size >= 1 {
		whole = int(math.Floor(math.Log10(size))) + 1
	}
	text := strconv.FormatFloat(f, 'f', max(digits-whole, 0), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if text == "-0" {
		return "0"
	}
	return text
}

// text returns a bound as Parse reads it.
func (m Measure) text() string {
	switch m.Unit {
	case Duration:
		return shortDuration(time.Duration(m.Value))
	case Percent:
		return number(m.Value) + "%"
	case Rate:
		return number(m.Value) + "/s"
	}
	return number(m.Value)
}

// shortDuration writes a duration as time.Duration does, without zeros at its end.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Package expr is the language of thresholds: it parses an objective such as
// jobs.lock.total.p99 < 2s, prints it in one canonical form, and holds a
// measured value against it.
//
// A threshold is a path, a comparison, a bound and, if not all of the run
// counts, a part of it. The path is made of names joined by dots; a name that
// holds other characters than letters, digits, _ and - stands in brackets and
// quotes: jobs["lock all"].total.p99. One group of the fleet stands in braces:
// jobs.lock{group=doors}.total.p99. The comparison is one of < <= > >= == and
// !=. The bound is a duration as in Go (500ms, 1m30s), a rate (3000/s), a
// percentage (99.9%) or a number. The part is "over last 30s" or "over every
// 10s".
//
// What a path can read is in names.go: one vocabulary for whoever checks a
// threshold and whoever evaluates it.
package expr

import (
	"time"

	"muster/internal/caret"
)

// Unit is what a value counts.
type Unit uint8

// The units.
const (
	Duration Unit = iota // nanoseconds
	Count
	Percent
	Rate // a second
)

// String returns the unit's name in the singular.
func (u Unit) String() string {
	switch u {
	case Duration:
		return "duration"
	case Count:
		return "count"
	case Percent:
		return "percentage"
	case Rate:
		return "rate"
	}
	return "invalid"
}

// Measure is a measured value, or the bound of a threshold.
type Measure struct {
	Unit    Unit
	Value   float64 // nanoseconds for a duration
	Of      float64 // of a count: what 100 % are; 0 if there is no such thing
	Samples int64   // how many samples the value was made of; none is no data
}

// Op is a comparison.
type Op uint8

// The comparisons.
const (
	Less Op = iota
	LessEqual
	Greater
	GreaterEqual
	Equal
	NotEqual
)

var opTexts = [...]string{"<", "<=", ">", ">=", "==", "!="}

// String returns the comparison as it is written.
func (op Op) String() string {
	if int(op) >= len(opTexts) {
		return "invalid"
	}
	return opTexts[op]
}

// holds tells whether the comparison holds, given how the left side compares
// to the right one: negative, zero or positive.
func (op Op) holds(order int) bool {
	switch op {
	case Less:
		return order < 0
	case LessEqual:
		return order <= 0
	case Greater:
		return order > 0
	case GreaterEqual:
		return order >= 0
	case Equal:
		return order == 0
	}
	return order != 0
}

// Threshold is one objective.
type Threshold struct {
	Path  []string // such as jobs, lock, total, p99
	Group string   // the one group of the fleet that counts; "" is all of it
	Op    Op
	Bound Measure
	Over  Over
}

// Over says which part of a run counts. The zero value is all of it.
type Over struct {
	Every  bool          // the threshold must hold in each part of that length, not in the last alone
	Length time.Duration // whole seconds; 0 is no part
}

// String returns the part as it is written, and "" for all of the run.
func (o Over) String() string {
	switch {
	case o.Length == 0:
		return ""
	case o.Every:
		return "over every " + shortDuration(o.Length)
	}
	return "over last " + shortDuration(o.Length)
}

// String returns the threshold in canonical form, which parses back to it.
func (t *Threshold) String() string {
	text := FormatGroupPath(t.Path, t.Group) + " " + t.Op.String() + " " + t.Bound.text()
	if t.Over.Length > 0 {
		text += " " + t.Over.String()
	}
	return text
}

// SyntaxError tells why and where a text is not a threshold.
type SyntaxError struct {
	Expr string // the text
	Off  int    // byte offset of the fault in Expr
	Msg  string
}

// Error returns the place, counted in characters from one, and the fault.
func (e *SyntaxError) Error() string {
	return caret.Place(e.Expr, e.Off) + ": " + e.Msg
}

// Caret returns the line of the text that holds the fault, and a line with a
// caret under the place.
func (e *SyntaxError) Caret() string { return caret.Draw(e.Expr, e.Off) }

// Package expr is the language of thresholds: it parses an objective such as
// jobs.lock.total.p99 < 2s, prints it in one canonical form, and holds a
// measured value against it.
//
// A threshold is a path, a comparison and a bound. The path is made of names
// joined by dots; a name that holds other characters than letters, digits, _
// and - stands in brackets and quotes: jobs["lock all"].total.p99. The
// comparison is one of < <= > >= == and !=. The bound is a duration as in Go
// (500ms, 1m30s), a percentage (99.9%) or a number.
package expr

import (
	"muster/internal/caret"
)

// Unit is what a value counts.
type Unit uint8

// The units.
const (
	Duration Unit = iota // nanoseconds
	Count
	Percent
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
	Op    Op
	Bound Measure
}

// String returns the threshold in canonical form, which parses back to it.
func (t *Threshold) String() string {
	return FormatPath(t.Path) + " " + t.Op.String() + " " + t.Bound.text()
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

package expr

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"strconv"
)

// Result is what came of holding a measured value against a threshold.
type Result struct {
	OK       bool   // the threshold is met; never without data
	NoData   bool   // there was nothing to hold against it
	Measured string // for people: "1.93 s", "100 %", "17"; "" without data
	Note     string // what else there is to say: "9999 of 10000", or why OK is false without a number
	Err      error  // the units cannot be compared; Note says the same
}

// Eval holds m against the threshold; found is false if there is no such
// measure. A percentage is held against a count's share of what 100 % are,
// exactly: 9,999,999 of 10,000,000 are not 100 %.
func (t *Threshold) Eval(m Measure, found bool) Result {
	if !found {
		return Result{NoData: true, Note: "there is no such measure"}
	}
	share := m.Unit == Count && t.Bound.Unit == Percent
	if m.Unit != t.Bound.Unit && !share {
		err := fmt.Errorf("a %s cannot be compared with a %s", m.Unit, t.Bound.Unit)
		return Result{Err: err, Note: err.Error()}
	}
	switch {
	case m.Samples <= 0:
		return Result{NoData: true, Note: "there are no samples"}
	case math.IsNaN(m.Value) || math.IsInf(m.Value, 0):
		return Result{NoData: true, Note: "the measured value is no number"}
	case share && !(m.Of > 0 && m.Of <= math.MaxFloat64):
		return Result{NoData: true, Note: "there is nothing to take a percentage of"}
	case share:
		return t.evalShare(m)
	}
	order := cmp.Compare(m.Value, t.Bound.Value)
	return Result{OK: t.Op.holds(order), Measured: distinct(m.Unit, m.Value, t.Bound.Value, order)}
}

// evalShare compares m.Value of m.Of with a percentage, without rounding.
func (t *Threshold) evalShare(m Measure) Result {
	share := new(big.Rat).Mul(exact(m.Value), big.NewRat(100, 1))
	order := share.Cmp(new(big.Rat).Mul(exact(t.Bound.Value), exact(m.Of)))
	return Result{
		OK:       t.Op.holds(order),
		Measured: distinct(Percent, m.Value/m.Of*100, t.Bound.Value, order),
		Note:     number(m.Value) + " of " + number(m.Of),
	}
}

// exact returns f as the decimal number that is written for it: 99.9 is 999/10
// and not the binary fraction beside it.
func exact(f float64) *big.Rat {
	r, ok := new(big.Rat).SetString(number(f))
	if !ok {
		return new(big.Rat)
	}
	return r
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

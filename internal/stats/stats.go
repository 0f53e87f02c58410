// Package stats compares a few runs of two sides, each run one number, and
// decides whether the new side is slower than a tolerance allows.
//
// A number is the logarithm of what a run measured, so that a difference of
// two is the logarithm of a ratio, and a spread is a part of the whole. Spread,
// Welch and Paired describe the numbers; Looks says when they may be looked
// at, and how much each look may err; Decide, Needed, Detectable and Calibrate
// say what follows. Everything here is a pure function.
package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Estimate is what the runs say about the logarithm of new/base.
type Estimate struct {
	Log  float64 // the difference of the means
	SE   float64 // its standard error
	DF   float64 // Student's degrees of freedom
	Runs int     // of the smaller side
}

// Interval is a range of ratios new/base.
type Interval struct{ Low, High float64 }

// Welch estimates from two independent sides of at least two runs each, whose
// spreads may differ. It panics if there are fewer.
func Welch(older, newer []float64) Estimate {
	a, b := describe(older), describe(newer)
	e := Estimate{Log: b.mean - a.mean, SE: math.Sqrt(a.varOfMean + b.varOfMean), Runs: min(len(older), len(newer))}
	// Welch and Satterthwaite. Sides without any spread have all their degrees.
	e.DF = a.df + b.df
	if down := sq(a.varOfMean)/a.df + sq(b.varOfMean)/b.df; down > 0 {
		e.DF = sq(a.varOfMean+b.varOfMean) / down
	}
	return e
}

// Paired estimates from runs of which the n-th of one side ran beside the n-th
// of the other, so that what drifts slowly is in both. It panics if the sides
// differ in length, or hold fewer than two.
func Paired(older, newer []float64) Estimate {
	if len(older) != len(newer) {
		panic("stats: Paired: the sides differ in length")
	}
	diffs := make([]float64, len(older))
	for i := range older {
		diffs[i] = newer[i] - older[i]
	}
	d := describe(diffs)
	return Estimate{Log: d.mean, SE: math.Sqrt(d.varOfMean), DF: d.df, Runs: len(diffs)}
}

// Ratio returns new/base.
func (e Estimate) Ratio() float64 { return math.Exp(e.Log) }

// Interval returns the ratios that the runs leave open, where each bound errs
// with a probability of tail.
func (e Estimate) Interval(tail float64) Interval {
	half := quantile(1-tail, e.DF) * e.SE
	return Interval{exp(e.Log - half), exp(e.Log + half)}
}

// exp is e to the power of x, and never infinite: two runs that differ wildly
// leave so much open that no number holds it, and JSON has none for it.
func exp(x float64) float64 { return math.Exp(min(x, 700)) }

// Mean returns the mean of numbers, of which there must be one.
func Mean(numbers []float64) float64 {
	sum := 0.0
	for _, x := range numbers {
		sum += x
	}
	return sum / float64(len(numbers))
}

// Spread returns the standard deviation of numbers: of logarithms, the
// coefficient of variation of what they are of. Fewer than two have none.
func Spread(numbers []float64) float64 {
	if len(numbers) < 2 {
		return 0
	}
	d := describe(numbers)
	return math.Sqrt(d.varOfMean * float64(len(numbers)))
}

// described is the mean of some numbers and how sure it is.
type described struct{ mean, varOfMean, df float64 }

func describe(numbers []float64) described {
	n := float64(len(numbers))
	if n < 2 {
		panic("stats: fewer than two runs have no spread")
	}
	mean := Mean(numbers)
	squares := 0.0
	for _, x := range numbers {
		squares += sq(x - mean)
	}
	return described{mean, squares / (n - 1) / n, n - 1}
}

func sq(x float64) float64 { return x * x }

// quantile is Student's t.
func quantile(p, df float64) float64 {
	return distuv.StudentsT{Sigma: 1, Nu: df}.Quantile(p)
}

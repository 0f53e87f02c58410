package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Decision is what a look comes to. The zero value decides nothing.
type Decision uint8

// The decisions.
const (
	Undecided Decision = iota // the tolerance is among the ratios that the runs leave open
	Within                    // every ratio that they leave open is below 1 + tolerance
	Beyond                    // every one is above
)

// Power is how often a slowdown of what Detectable returns is found.
const Power = 0.9

// Decide holds an estimate against the tolerance, a part such as 0.05.
func Decide(e Estimate, tail, tolerance float64) Decision {
	switch in := e.Interval(tail); {
	case in.Low > 1+tolerance:
		return Beyond
	case in.High < 1+tolerance:
		return Within
	}
	return Undecided
}

// mostNeeded bounds what Needed answers. Who would have to run more often had
// better quieten the machine.
const mostNeeded = 1000

// Needed returns how many runs a side would decide at a look of the same tail,
// if they kept to the ratio and the spread seen so far; and false if not even
// a thousand would.
func Needed(e Estimate, tail, tolerance float64) (int, bool) {
	apart := math.Abs(e.Log - math.Log1p(tolerance))
	for n := e.Runs; n <= mostNeeded; n++ {
		if s := e.scaled(n); apart > quantile(1-tail, s.DF)*s.SE {
			return n, true
		}
	}
	return 0, false
}

// scaled returns the estimate that so many runs of the smaller side would make.
func (e Estimate) scaled(runs int) Estimate {
	s := e
	s.Runs = runs
	s.SE *= math.Sqrt(float64(e.Runs) / float64(runs))
	s.DF *= float64(runs-1) / float64(e.Runs-1)
	return s
}

// Detectable returns the smallest slowdown, as a part, that a look at such runs
// calls beyond the tolerance Power of the time. It takes the sum of two
// quantiles of t for one of the noncentral t, which is a little too
// small at five runs.
func Detectable(e Estimate, tail, tolerance float64) float64 {
	return exp(math.Log1p(tolerance)+(quantile(1-tail, e.DF)+quantile(Power, e.DF))*e.SE) - 1
}

// unsure is how often, at most, the spread that Calibrate reckons with is
// smaller than the true one.
const unsure = 0.2

// leastTolerance is what Calibrate does not go below: latencies are recorded
// with three digits, so that a spread of a few runs may well be none.
const leastTolerance = 0.01

// Calibrate returns the tolerance at which two like sides pass the last look,
// of so many pairs, Power of the time. The differences are those of null
// pairs: runs of one and the same side. As a few pairs say little about a
// spread, it reckons with the upper bound of it. It panics on fewer than two.
func Calibrate(differences []float64, last Look) float64 {
	d := describe(differences)
	spread := math.Sqrt(d.varOfMean * (d.df + 1))
	spread *= math.Sqrt(d.df / distuv.ChiSquared{K: d.df}.Quantile(unsure))
	df := float64(last.Runs - 1)
	bound := (quantile(1-last.Tail, df) + quantile(Power, df)) * spread / math.Sqrt(float64(last.Runs))
	return max(leastTolerance, math.Expm1(bound))
}

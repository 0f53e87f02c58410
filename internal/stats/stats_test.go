package stats_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"muster/internal/stats"
)

// near tells whether two numbers agree in their first six digits.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(1, math.Abs(b)) }

// The expected numbers are worked out by hand from the formulas; the quantiles below are of a table of t.
func TestWelch(t *testing.T) {
	check := func(older, newer []float64, log, se, df float64) {
		t.Helper()
		got := stats.Welch(older, newer)
		if !near(got.Log, log) || !near(got.SE, se) || !near(got.DF, df) || got.Runs != min(len(older), len(newer)) {
			t.Errorf("Welch(%v, %v) = %+v, want log %v, se %v, df %v", older, newer, got, log, se, df)
		}
	}
	check([]float64{1, 2, 3, 4, 5}, []float64{2, 3, 4, 5, 6}, 1, 1, 8)
	check([]float64{1, 2, 3, 4, 5}, []float64{3, 3, 3, 3, 8}, 1, math.Sqrt(1.5), 7.2)
	check([]float64{1, 3}, []float64{2, 2, 2}, 0, 1, 1)
	check([]float64{2, 2, 2}, []float64{2, 2}, 0, 0, 3) // no spread at all
}

func TestPaired(t *testing.T) {
	got := stats.Paired([]float64{1, 10, 100}, []float64{2, 12, 103})
	want := stats.Estimate{Log: 2, SE: math.Sqrt(1.0 / 3), DF: 2, Runs: 3}
	if !near(got.Log, want.Log) || !near(got.SE, want.SE) || got.DF != want.DF || got.Runs != want.Runs {
		t.Errorf("Paired = %+v, want %+v", got, want)
	}
}

func TestIntervalIsStudents(t *testing.T) {
	check := func(df, tail, quantile float64) {
		t.Helper()
		got := stats.Estimate{Log: 0.1, SE: 0.01, DF: df}.Interval(tail)
		low, high := math.Exp(0.1-0.01*quantile), math.Exp(0.1+0.01*quantile)
		if math.Abs(got.Low-low) > 1e-6 || math.Abs(got.High-high) > 1e-6 {
			t.Errorf("interval at %v degrees, tail %v = %v, want %v to %v", df, tail, got, low, high)
		}
	}
	check(8, 0.025, 2.306004)
	check(4, 0.025, 2.776445)
	check(11, 0.01, 2.718079)
	check(22, 0.005, 2.818756)
}

func TestSpread(t *testing.T) {
	check := func(numbers []float64, want float64) {
		t.Helper()
		if got := stats.Spread(numbers); !near(got, want) {
			t.Errorf("Spread(%v) = %v, want %v", numbers, got, want)
		}
	}
	check(nil, 0)
	check([]float64{3}, 0)
	check([]float64{1, 2, 3, 4, 5}, math.Sqrt(2.5))
}

func TestTooFewRunsPanic(t *testing.T) {
	check := func(call string, do func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s does not panic", call)
			}
		}()
		do()
	}
	two := []float64{1, 2}
	check("Welch with one run", func() { stats.Welch([]float64{1}, two) })
	check("Paired with sides of one and two", func() { stats.Paired([]float64{1}, two) })
	check("Calibrate with one pair", func() { stats.Calibrate([]float64{1}, stats.Once(5)) })
}

func TestLooksSpendTheTail(t *testing.T) {
	check := func(most int, want ...string) {
		t.Helper()
		looks, ok := stats.Looks(most)
		var got []string
		spent := 0.0
		for _, l := range looks {
			got = append(got, fmt.Sprintf("%d:%.5f", l.Runs, l.Tail))
			spent += l.Tail
		}
		if !slices.Equal(got, want) || ok != (len(want) > 0) {
			t.Errorf("Looks(%d) = %v, %v, want %v", most, got, ok, want)
		}
		if ok && !near(spent, stats.Tail) {
			t.Errorf("Looks(%d) spend %v, want %v", most, spent, stats.Tail)
		}
	}
	check(12, "5:0.01042", "8:0.00625", "12:0.00833")
	check(8, "5:0.01562", "8:0.00938")
	check(5, "5:0.02500")
	check(7)
	check(0)
	check(13)
}

func TestLookAt(t *testing.T) {
	check := func(runs, want int) {
		t.Helper()
		if got := stats.LookAt(runs).Runs; got != want {
			t.Errorf("LookAt(%d) is the look at %d, want %d", runs, got, want)
		}
	}
	check(1, 5)
	check(5, 5)
	check(7, 5)
	check(8, 8)
	check(11, 8)
	check(12, 12)
	check(40, 12)
}

func TestDecide(t *testing.T) {
	check := func(ratio, se float64, want stats.Decision) {
		t.Helper()
		e := stats.Estimate{Log: math.Log(ratio), SE: se, DF: 8, Runs: 5}
		if got := stats.Decide(e, 0.025, 0.05); got != want {
			t.Errorf("Decide(ratio %v, standard error %v) = %v, want %v", ratio, se, got, want)
		}
	}
	check(1, 0.01, stats.Within)
	check(1, 0.03, stats.Undecided)
	check(1.05, 0.001, stats.Undecided)
	check(1.05, 0, stats.Undecided) // a ratio at the tolerance is neither
	check(1.1, 0.01, stats.Beyond)
	check(1.1, 0.03, stats.Undecided)
	check(0.5, 0.1, stats.Within)
	check(1.04, 0, stats.Within)
	check(1.06, 0, stats.Beyond)
}

func TestNeeded(t *testing.T) {
	check := func(ratio, se float64, want int, ok bool) {
		t.Helper()
		e := stats.Estimate{Log: math.Log(ratio), SE: se, DF: 8, Runs: 5}
		got, gotOK := stats.Needed(e, 0.025, 0.05)
		if got != want || gotOK != ok {
			t.Errorf("Needed(ratio %v, standard error %v) = %d, %v, want %d, %v", ratio, se, got, gotOK, want, ok)
		}
		if !ok || want == e.Runs {
			return
		}
		if stats.Decide(scaled(e, want), 0.025, 0.05) == stats.Undecided || stats.Decide(scaled(e, want-1), 0.025, 0.05) != stats.Undecided {
			t.Errorf("ratio %v, standard error %v: %d runs do not decide, or %d do", ratio, se, want, want-1)
		}
	}
	check(1, 0.01, 5, true) // enough already
	check(1, 0.03, 9, true)
	check(1.1, 0.03, 10, true)
	check(1.05, 0.01, 0, false)
}

func scaled(e stats.Estimate, runs int) stats.Estimate {
	return stats.Estimate{Log: e.Log, SE: e.SE * math.Sqrt(5/float64(runs)), DF: 2*float64(runs) - 2, Runs: runs}
}

func TestWildRunsLeaveFiniteNumbers(t *testing.T) {
	e := stats.Paired([]float64{0, 25}, []float64{25, 0})
	in, seen := e.Interval(0.01), stats.Detectable(e, 0.01, 0.05)
	if math.IsInf(in.High, 0) || math.IsInf(seen, 0) || math.IsNaN(in.Low) {
		t.Errorf("pairs that differ wildly: %+v, detectable %v; want finite numbers", in, seen)
	}
}

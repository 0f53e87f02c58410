package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"muster/internal/stats"
)

// machine makes runs: the logarithm of what a run measured, about at.
type machine struct {
	rng   *rand.Rand
	cv    float64
	drift float64 // that each run adds, as a machine that warms up does
	skew  bool    // a long tail upwards: now and then a run is disturbed
	runs  int
}

func (m *machine) run(at float64) float64 {
	m.runs++
	noise := m.rng.NormFloat64()
	if m.skew {
		noise = m.rng.ExpFloat64() - 1 // of the same spread
	}
	return at + m.cv*noise + m.drift*float64(m.runs)
}

// estimator is Welch or Paired.
type estimator func(older, newer []float64) stats.Estimate

// gate takes pairs in the order ABBA until a look decides.
func (m *machine) gate(estimate estimator, slower, tolerance float64) stats.Decision {
	looks, _ := stats.Looks(12)
	var older, newer []float64
	for _, look := range looks {
		for len(older) < look.Runs {
			if len(older)%2 == 0 {
				older = append(older, m.run(0))
				newer = append(newer, m.run(slower))
			} else {
				newer = append(newer, m.run(slower))
				older = append(older, m.run(0))
			}
		}
		if d := stats.Decide(estimate(older, newer), look.Tail, tolerance); d != stats.Undecided {
			return d
		}
	}
	return stats.Undecided
}

// rates returns which part of many gates came to each decision.
func rates(m machine, estimate estimator, slower, tolerance float64) (rate [3]float64) {
	const gates = 3000
	m.rng = rand.New(rand.NewPCG(1, 2))
	for range gates {
		m.runs = 0
		rate[m.gate(estimate, slower, tolerance)] += 1.0 / gates
	}
	return rate
}

// A slowdown of exactly the tolerance is where a gate errs most. The nominal
// rate bounds both errors there, over all looks; like sides never come near it.
func TestErrorsStayBelowTheNominalRate(t *testing.T) {
	const tolerance = 0.05
	check := func(name string, m machine, estimate estimator) {
		t.Helper()
		at := rates(m, estimate, math.Log1p(tolerance), tolerance)
		if at[stats.Beyond] > stats.Tail || at[stats.Within] > stats.Tail {
			t.Errorf("%s, slower by the tolerance: regression in %.2f %%, pass in %.2f %%; want each at most %.2f %%",
				name, 100*at[stats.Beyond], 100*at[stats.Within], 100*stats.Tail)
		}
		if at[stats.Beyond] == 0 || at[stats.Within] == 0 {
			t.Errorf("%s, slower by the tolerance: no error in so many gates; the simulation cannot fail", name)
		}
		if like := rates(m, estimate, 0, tolerance); like[stats.Beyond] > 0.002 {
			t.Errorf("%s, like sides: regression in %.2f %%, want at most 0.2 %%", name, 100*like[stats.Beyond])
		}
	}
	for _, cv := range []float64{0.02, 0.05} {
		check("Welch", machine{cv: cv}, stats.Welch)
		check("pairs", machine{cv: cv}, stats.Paired)
	}
	check("pairs on a machine that drifts by half a percent a run", machine{cv: 0.02, drift: 0.005}, stats.Paired)
	check("pairs of disturbed runs", machine{cv: 0.02, skew: true}, stats.Paired)
}

// Looking at every run as if it were the only look errs far more often: the
// test above can fail.
func TestLooksWithoutASplitErrMoreOften(t *testing.T) {
	m := machine{rng: rand.New(rand.NewPCG(1, 2)), cv: 0.02}
	const gates, tolerance = 2000, 0.05
	wrong := 0
	for range gates {
		var older, newer []float64
		for n := 1; n <= 12; n++ {
			older, newer = append(older, m.run(0)), append(newer, m.run(math.Log1p(tolerance)))
			if n >= 2 && stats.Decide(stats.Welch(older, newer), stats.Tail, tolerance) == stats.Beyond {
				wrong++
				break
			}
		}
	}
	if rate := float64(wrong) / gates; rate < 2*stats.Tail {
		t.Errorf("eleven looks at the whole tail: regression in %.2f %%, want more than %.2f %%", 100*rate, 200*stats.Tail)
	}
}

// What a look calls the smallest change that it could have seen is seen about
// as often as it says, and twice that nearly always.
func TestDetectableIsDetected(t *testing.T) {
	const gates, tolerance, cv = 2000, 0.05, 0.02
	check := func(name string, estimate estimator, look stats.Look, df float64) {
		t.Helper()
		known := stats.Estimate{SE: cv * math.Sqrt(2/float64(look.Runs)), DF: df, Runs: look.Runs}
		change := stats.Detectable(known, look.Tail, tolerance)
		seen := func(change float64) float64 {
			m := machine{rng: rand.New(rand.NewPCG(3, 4)), cv: cv}
			found := 0.0
			for range gates {
				var older, newer []float64
				for range look.Runs {
					older, newer = append(older, m.run(0)), append(newer, m.run(math.Log1p(change)))
				}
				if stats.Decide(estimate(older, newer), look.Tail, tolerance) == stats.Beyond {
					found += 1.0 / gates
				}
			}
			return found
		}
		if once, twice := seen(change), seen(2*change); once < stats.Power-0.05 || once > stats.Power+0.05 || twice < 0.99 {
			t.Errorf("%s at %d runs: a slowdown of %.1f %% is seen in %.1f %%, twice that in %.1f %%; want about %.0f and 100",
				name, look.Runs, 100*change, 100*once, 100*twice, 100*stats.Power)
		}
	}
	looks, _ := stats.Looks(12)
	for _, look := range looks {
		check("Welch", stats.Welch, look, 2*float64(look.Runs)-2)
		check("pairs", stats.Paired, look, float64(look.Runs)-1)
	}
	check("Welch once", stats.Welch, stats.Once(5), 8)
}

// With a tolerance from null pairs, like sides pass as often as Calibrate says.
func TestCalibratedGateHoldsStill(t *testing.T) {
	looks, _ := stats.Looks(12)
	m := machine{rng: rand.New(rand.NewPCG(5, 6)), cv: 0.03}
	const gates = 1500
	var rate [3]float64
	for range gates {
		var nulls []float64
		for range 8 {
			nulls = append(nulls, m.run(0)-m.run(0))
		}
		rate[m.gate(stats.Paired, 0, stats.Calibrate(nulls, looks[2]))] += 1.0 / gates
	}
	if rate[stats.Within] < stats.Power || rate[stats.Beyond] > 0.005 {
		t.Errorf("like sides at a calibrated tolerance: pass in %.1f %%, regression in %.2f %%; want at least 90, at most 0.5",
			100*rate[stats.Within], 100*rate[stats.Beyond])
	}
	if got := stats.Calibrate([]float64{0.01, 0.01, 0.01}, looks[2]); got != 0.01 {
		t.Errorf("Calibrate of pairs without a spread = %v, want the least, 0.01", got)
	}
}

// gates.md shows what a gate sees on hosts of different steadiness. The table
// there is made here.
func TestTableInDocsIsTrue(t *testing.T) {
	page, err := os.ReadFile("../../docs/gates.md")
	if err != nil {
		t.Fatal(err)
	}
	looks, _ := stats.Looks(12)
	for _, cv := range []float64{0.005, 0.01, 0.02, 0.03, 0.05} {
		row := fmt.Sprintf("| %.1f %% |", 100*cv)
		for _, look := range looks {
			known := stats.Estimate{SE: cv * math.Sqrt(2/float64(look.Runs)), DF: float64(look.Runs - 1), Runs: look.Runs}
			row += fmt.Sprintf(" %.1f %% |", 100*stats.Detectable(known, look.Tail, 0.05))
		}
		like, slower := rates(machine{cv: cv}, stats.Paired, 0, 0.05), rates(machine{cv: cv}, stats.Paired, math.Log(1.1), 0.05)
		row += fmt.Sprintf(" %.0f, %.0f, %.0f |", 100*like[stats.Within], 100*like[stats.Undecided], 100*like[stats.Beyond])
		row += fmt.Sprintf(" %.0f, %.0f, %.0f |", 100*slower[stats.Within], 100*slower[stats.Undecided], 100*slower[stats.Beyond])
		if !strings.Contains(string(page), row+"\n") {
			t.Errorf("docs/gates.md has no row\n%s", row)
		}
	}
}

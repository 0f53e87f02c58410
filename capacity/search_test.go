package capacity_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"muster/capacity"
)

// hub is a synthetic hub: its latency is flat until the knee and then grows
// steeply, each run is off by a random part, and some runs go wrong.
type hub struct {
	rng       *rand.Rand
	knee      float64 // where the median latency reaches the objective of 500 ms
	noise     float64 // the spread of a run's latency
	flake     float64 // the share of runs that something else spoils
	generator int     // above it the generator is the limit; 0 is nowhere
	runs      int
}

func (h *hub) probe(_ context.Context, _, value int) (capacity.Probe, error) {
	h.runs++
	ms := 500 * math.Pow(float64(value)/h.knee, 6) * math.Exp(h.noise*h.rng.NormFloat64())
	p := capacity.Probe{Value: value, Outcome: capacity.Fail, Measured: &ms, Unit: "ms"}
	switch {
	case h.generator > 0 && value > h.generator:
		p.Outcome = capacity.Saturated
	case ms < 500 && h.rng.Float64() >= h.flake:
		p.Outcome = capacity.Pass
	}
	return p, nil
}

func newHub(seed uint64, knee float64) *hub {
	return &hub{rng: rand.New(rand.NewPCG(seed, 1)), knee: knee}
}

func search(t *testing.T, h *hub, o capacity.Options) capacity.Knee {
	t.Helper()
	knee, probes, err := capacity.Search(t.Context(), o, h.probe)
	if err != nil {
		t.Fatalf("Search(%+v) = %v", o, err)
	}
	if len(probes) != h.runs {
		t.Errorf("Search(%+v) tells of %d probes, made %d", o, len(probes), h.runs)
	}
	return knee
}

// On a hub without noise the two sides of the knee are exactly around it.
func TestSearchFindsTheKneeOfASteadyHub(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		knee := rapid.IntRange(10, 1_000_000).Draw(rt, "knee")
		o := capacity.Options{From: rapid.IntRange(1, knee-1).Draw(rt, "from"), To: 4_000_000, Within: rapid.SampledFrom([]float64{0.01, 0.05, 0.2}).Draw(rt, "within")}
		k := search(t, newHub(1, float64(knee)), o)
		if k.Status != capacity.Found || k.Passes.Value >= knee || k.Above.Value < knee {
			rt.Fatalf("knee %d: %s, %+v, %+v", knee, k.Status, k.Passes, k.Above)
		}
		if apart := k.Above.Value - k.Passes.Value; float64(apart) > max(1, o.Within*float64(k.Passes.Value)) {
			rt.Fatalf("knee %d: sides %d and %d are further apart than %v", knee, k.Passes.Value, k.Above.Value, o.Within)
		}
		if k.Passes.Confidence < 0.9 || k.Above.Confidence < 0.9 || k.Passes.Passed < 3 || k.Above.Failed < 3 {
			rt.Fatalf("knee %d: not confirmed: %+v, %+v", knee, k.Passes, k.Above)
		}
	})
}

// Noise and runs that something spoils move the answer a little, seldom more.
func TestSearchWithNoise(t *testing.T) {
	const searches, knee = 300, 8000
	check := func(noise, flake, off float64, atLeast int) {
		t.Helper()
		near, found, probes := 0, 0, 0
		for seed := range uint64(searches) {
			h := newHub(seed, knee)
			h.noise, h.flake = noise, flake
			k, made, err := capacity.Search(t.Context(), capacity.Options{From: 100, To: 100_000}, h.probe)
			probes += len(made)
			if err != nil || k.Status != capacity.Found {
				continue
			}
			found++
			if math.Abs(float64(k.Passes.Value)/knee-1) <= off {
				near++
			}
		}
		t.Logf("noise %.0f %%, spoiled %.0f %%: found %d, within %.0f %%: %d, %.1f probes a search", 100*noise, 100*flake, found, 100*off, near, float64(probes)/searches)
		if near < atLeast {
			t.Errorf("noise %v, spoiled %v: %d of %d searches are within %v of the knee, want %d", noise, flake, near, searches, off, atLeast)
		}
	}
	check(0.05, 0, 0.06, 295)
	check(0.20, 0, 0.10, 290)
	check(0.05, 0.05, 0.10, 290)
}

func TestSearchAtTheEndsOfTheRange(t *testing.T) {
	check := func(knee float64, generator, from, to int, status capacity.Status, passes int) {
		t.Helper()
		h := newHub(1, knee)
		h.generator = generator
		k := search(t, h, capacity.Options{From: from, To: to})
		got := 0
		if k.Passes != nil {
			got = k.Passes.Value
		}
		if k.Status != status || got != passes {
			t.Errorf("knee %v, generator %d, %d to %d: %s, passes %d; want %s, %d", knee, generator, from, to, k.Status, got, status, passes)
		}
	}
	check(1e6, 0, 100, 5000, capacity.AboveRange, 5000)
	check(50, 0, 100, 5000, capacity.BelowRange, 0)
	check(1e6, 1000, 100, 5000, capacity.GeneratorLimited, 993)
	check(1e6, 50, 100, 5000, capacity.GeneratorLimited, 0)
	check(500, 0, 100, 100, capacity.AboveRange, 100)
	check(2, 0, 1, 100, capacity.Found, 1)
}

// A hub that gives way below the generator's limit is found, although the
// doubling met the generator first.
func TestAHubBelowTheGeneratorsLimit(t *testing.T) {
	h := newHub(1, 1500)
	h.generator = 1550
	if k := search(t, h, capacity.Options{From: 100, To: 5000, Within: 0.02}); k.Status != capacity.Found || k.Passes.Value >= 1500 || k.Passes.Value < 1450 {
		t.Errorf("Search = %s, %+v, %+v; want the knee at 1500 found", k.Status, k.Passes, k.Above)
	}
}

func TestSearchGivesUpWhereRunsAreACoinToss(t *testing.T) {
	unsure := 0
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 2))
		k, probes, err := capacity.Search(t.Context(), capacity.Options{From: 100, To: 100}, func(_ context.Context, _, value int) (capacity.Probe, error) {
			return capacity.Probe{Value: value, Outcome: map[bool]capacity.Outcome{true: capacity.Pass, false: capacity.Fail}[rng.IntN(2) == 0]}, nil
		})
		if err != nil || len(probes) > 6 {
			t.Errorf("seed %d: %v after %d probes, want no more than 6", seed, err, len(probes))
		}
		if k.Status == capacity.Unsure {
			unsure++
		}
	}
	if unsure < 10 {
		t.Errorf("%d of 40 searches say that they are unsure, want 10", unsure)
	}
}

func TestSearchStops(t *testing.T) {
	broken := errors.New("the hub died")
	h := newHub(1, 8000)
	check := func(what string, o capacity.Options, probes int, want error, fault func(n int, stop context.CancelCauseFunc) error) {
		t.Helper()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		k, made, err := capacity.Search(ctx, o, func(ctx context.Context, n, value int) (capacity.Probe, error) {
			if err := fault(n, cancel); err != nil {
				return capacity.Probe{}, err
			}
			return h.probe(ctx, n, value)
		})
		if k.Status != capacity.Stopped || len(made) != probes || want != nil && !errors.Is(err, want) || err == nil {
			t.Errorf("%s: %s after %d probes, %v; want stopped after %d, %v", what, k.Status, len(made), err, probes, want)
		}
		if probes > 0 && k.Passes == nil {
			t.Errorf("%s: what passed is not told", what)
		}
	}
	o := capacity.Options{From: 100, To: 100_000}
	check("a probe that breaks", o, 3, broken, func(n int, _ context.CancelCauseFunc) error {
		return map[bool]error{true: broken}[n == 3]
	})
	check("an interrupt", o, 3, context.Canceled, func(n int, stop context.CancelCauseFunc) error {
		if n == 2 {
			stop(context.Canceled)
		}
		return nil
	})
	o.MaxProbes = 5
	check("too many probes", o, 5, nil, func(int, context.CancelCauseFunc) error { return nil })
}

func TestConfidence(t *testing.T) {
	for _, c := range []struct {
		passed, runs int
		want         float64
	}{{0, 0, 0.5}, {1, 1, 0.75}, {3, 3, 0.9375}, {0, 3, 0.0625}, {2, 3, 0.6875}, {5, 5, 0.984375}, {2, 4, 0.5}} {
		if got := capacity.Confidence(c.passed, c.runs); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("Confidence(%d, %d) = %v, want %v", c.passed, c.runs, got, c.want)
		}
	}
	for runs := range 60 {
		for passed := range runs + 1 {
			if sum := capacity.Confidence(passed, runs) + capacity.Confidence(runs-passed, runs); math.Abs(sum-1) > 1e-9 {
				t.Fatalf("Confidence(%d, %d) and its mirror image are %v together, want 1", passed, runs, sum)
			}
		}
	}
}

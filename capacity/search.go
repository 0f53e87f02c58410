package capacity

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Outcome is what one probe came to.
type Outcome string

// The outcomes.
const (
	Fail      Outcome = "fail"      // the objective was not met, or something else forbade a pass
	Pass      Outcome = "pass"      // it was met
	Saturated Outcome = "saturated" // the generator was the limit: its numbers are not the hub's
)

// Probe is one run at one value.
type Probe struct {
	Value    int      `json:"value"`
	Outcome  Outcome  `json:"outcome"`
	Measured *float64 `json:"measured"` // what the first objective reads, in Unit; null without data
	Unit     string   `json:"unit,omitempty"`
	Text     string   `json:"text,omitempty"` // Measured for people
	Reasons  []string `json:"reasons,omitempty"`
	Dir      string   `json:"dir"`     // the run's folder, below that of the search
	Seconds  float64  `json:"seconds"` // that the probe took
}

// Options bound a search.
type Options struct {
	// From and To are the least and the largest value to probe: 1 <= From <= To.
	From, To int
	// RunsAtKnee is how often, at least, each side of the knee is probed.
	// Default 3.
	RunsAtKnee int
	// Within is how far the two sides may be apart, as a part of the lower one.
	// Default 0.05.
	Within float64
	// MaxProbes ends a search that does not come to an end. Default 60.
	MaxProbes int
}

func (o Options) resolved() Options {
	if o.RunsAtKnee <= 0 {
		o.RunsAtKnee = 3
	}
	if o.Within <= 0 {
		o.Within = 0.05
	}
	if o.MaxProbes <= 0 {
		o.MaxProbes = 60
	}
	return o
}

// Status is how a search ended.
type Status string

// The statuses.
const (
	Found            Status = "found"            // the knee is between two values, each confirmed
	AboveRange       Status = "aboveRange"       // even the largest value passes
	BelowRange       Status = "belowRange"       // even the least value fails
	GeneratorLimited Status = "generatorLimited" // above the largest value that passes it was the generator that gave way
	Unsure           Status = "unsure"           // no value passes, or fails, often enough to be a side of the knee
	Stopped          Status = "stopped"          // the search was ended before it was done
)

// Side is a value beside the knee.
type Side struct {
	Value      int     `json:"value"`
	Passed     int     `json:"passed"`
	Failed     int     `json:"failed"`
	Saturated  int     `json:"saturated"`
	Confidence float64 `json:"confidence"` // that it passes, or does not, more often than not
}

// Knee is what a search found out about the knee.
type Knee struct {
	Status Status  `json:"status"`
	Passes *Side   `json:"passes"`           // the largest value that passes; null if there is none
	Above  *Side   `json:"above"`            // the least value above it that does not
	Tosses []*Side `json:"tosses,omitempty"` // values between them that pass about as often as they fail
}

// confident is when a side of the knee is no more in doubt. With three runs of
// one outcome the confidence is 0.94.
const confident = 0.9

// patience bounds the runs at a side of the knee whose outcomes differ, as a
// multiple of RunsAtKnee.
const patience = 2

// Search probes values until it has found the knee: it doubles from From until
// a probe does not pass, halves the distance, and repeats both sides until each
// is confident. A side that changes its mind moves the knee, and the search
// goes on from there. A value that passes about as often as it fails is the
// knee itself, and the sides are looked for next to it.
//
// probe is told the value and how many probes were made before. Its error ends
// the search, as does ctx: what was found until then is returned with it.
func Search(ctx context.Context, o Options, probe func(ctx context.Context, n, value int) (Probe, error)) (Knee, []Probe, error) {
	s := search{o: o.resolved(), votes: map[int]*Side{}}
	for {
		value, done := s.next()
		if done {
			return s.knee(true), s.probes, nil
		}
		if err := ctx.Err(); err != nil {
			return s.knee(false), s.probes, context.Cause(ctx)
		}
		if len(s.probes) >= s.o.MaxProbes {
			return s.knee(false), s.probes, fmt.Errorf("%d probes were not enough: runs of one value differ too much", len(s.probes))
		}
		p, err := probe(ctx, len(s.probes), value)
		if err != nil {
			return s.knee(false), s.probes, err
		}
		s.add(p)
	}
}

type search struct {
	o      Options
	probes []Probe
	votes  map[int]*Side
}

func (s *search) add(p Probe) {
	s.probes = append(s.probes, p)
	side := s.votes[p.Value]
	if side == nil {
		side = &Side{Value: p.Value}
		s.votes[p.Value] = side
	}
	switch p.Outcome {
	case Pass:
		side.Passed++
	case Saturated:
		side.Saturated++
	default:
		side.Failed++
	}
	side.Confidence = Confidence(side.Passed, side.runs())
	if !side.passes() {
		side.Confidence = 1 - side.Confidence
	}
}

func (s *Side) runs() int { return s.Passed + s.Failed + s.Saturated }

// passes reports whether the value passes more often than not.
func (s *Side) passes() bool { return 2*s.Passed > s.runs() }

func (s *Side) unanimous() bool { return s.Passed == 0 || s.Passed == s.runs() }

func (s *Side) sure() bool { return s.unanimous() || s.Confidence >= confident }

// settled reports whether the side was probed often enough.
func (s *search) settled(side *Side) bool {
	n := side.runs()
	return n >= s.o.RunsAtKnee && side.sure() || n >= patience*s.o.RunsAtKnee
}

// tossed reports whether a value passes about as often as it fails.
func (s *search) tossed(side *Side) bool { return s.settled(side) && !side.sure() }

// sides returns the least value that does not pass and the largest below it
// that does, nil where there is none, and what is undecided between them. What
// passes above is a fluke, or the other is: repeating the sides tells.
func (s *search) sides() (passes, above *Side, tosses []*Side) {
	for _, value := range slices.Sorted(maps.Keys(s.votes)) {
		switch side := s.votes[value]; {
		case s.tossed(side):
			tosses = append(tosses, side)
		case !side.passes():
			return passes, side, tosses
		default:
			passes, tosses = side, nil
		}
	}
	return passes, nil, tosses
}

// next returns the value to probe, or that there is none.
func (s *search) next() (value int, done bool) {
	passes, above, tosses := s.sides()
	switch {
	case len(s.votes) == 0:
		return s.o.From, false
	case passes == nil && len(tosses) > 0: // the least value is undecided
		return 0, true
	case passes == nil: // the least value fails
		return above.Value, s.settled(above)
	case len(tosses) > 0:
		return s.beside(passes, above, tosses)
	case above == nil && passes.Value < s.o.To:
		return min(2*passes.Value, s.o.To), false
	case above != nil && above.Value-passes.Value > s.gap(passes.Value):
		return between(passes.Value, above.Value), false
	}
	return s.settle(passes, above)
}

// beside returns the value to probe where some are undecided: sides as near to
// them as Within says.
func (s *search) beside(passes, above *Side, tosses []*Side) (value int, done bool) {
	least, most := tosses[0].Value, tosses[len(tosses)-1].Value
	low, high := least-s.gap(least), min(most+s.gap(most), s.o.To)
	switch {
	case passes.Value < low:
		return low, false
	case above == nil && most < s.o.To, above != nil && above.Value > high:
		return high, false
	}
	return s.settle(passes, above)
}

// settle returns the side that is to be probed again, the one with fewer runs
// first. above may be nil.
func (s *search) settle(passes, above *Side) (value int, done bool) {
	switch {
	case above == nil || s.settled(above):
		return passes.Value, s.settled(passes)
	case s.settled(passes) || above.runs() < passes.runs():
		return above.Value, false
	}
	return passes.Value, false
}

// gap is how far the sides of the knee may be apart.
func (s *search) gap(value int) int { return max(1, int(s.o.Within*float64(value))) }

// between returns the geometric mean, as values are doubled.
func between(low, high int) int {
	mid := int(math.Round(math.Sqrt(float64(low) * float64(high))))
	return min(max(mid, low+1), high-1)
}

// knee says what is known of the knee.
func (s *search) knee(done bool) Knee {
	k := Knee{Status: Stopped}
	k.Passes, k.Above, k.Tosses = s.sides()
	switch {
	case !done:
	case k.Above != nil && k.Above.Saturated >= k.Above.Failed && k.Above.Saturated > 0:
		k.Status = GeneratorLimited
	case len(k.Tosses) > 0 && (k.Passes == nil || k.Above == nil):
		k.Status = Unsure
	case k.Passes == nil:
		k.Status = BelowRange
	case k.Above == nil:
		k.Status = AboveRange
	default:
		k.Status = Found
	}
	return k
}

// Confidence returns how sure it is that a value passes more often than not, of
// which passed of runs did: by Bayes' rule, if any share was as likely before.
// Runs are taken to be independent, which a drifting machine's are not.
func Confidence(passed, runs int) float64 {
	// The posterior is Beta(passed+1, runs-passed+1): its part above a half is
	// that of at most passed heads in runs+1 tosses.
	sum, term := 0.0, math.Exp2(-float64(runs+1))
	for k := 0; k <= passed; k++ {
		sum += term
		term *= float64(runs+1-k) / float64(k+1)
	}
	return sum
}

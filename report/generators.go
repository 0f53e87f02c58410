package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"muster/internal/sample"
)

// GeneratorPart is what one of several generators says of itself.
type GeneratorPart struct {
	Number     int     `json:"number"` // from 1; 0 is the run's own process, which has no devices
	From       int     `json:"from"`   // its devices, by index
	To         int     `json:"to"`     // the first behind them
	Wake       *Stats  `json:"wake,omitempty"`
	CPUSeconds float64 `json:"cpuSeconds"`
	MaxRSS     int64   `json:"maxRSSBytes"`
	GCPauseP99 Millis  `json:"gcPauseP99"`

	Descriptors int64 `json:"descriptors,omitempty"` // open files, at most; absent where it is not known
}

// whose names a generator of a run that has so many children.
func whose(number, children int) string {
	switch {
	case children == 0:
		return "the generator"
	case number == 0:
		return "the run's own process"
	}
	return fmt.Sprintf("generator %d", number)
}

// generatorBook is one process that generated the load.
type generatorBook struct {
	wake, lag   series
	late        time.Duration // the largest lateness of a timer since lateFrom
	lateFrom    sample.Moment
	last        sample.Health // without its wakes
	maxRSS      int64
	descriptors int64
}

func (g *generatorBook) add(r *sample.Health) {
	for _, w := range r.Wakes {
		g.wake.record(w.Delay)
	}
	g.late = max(g.late, r.TimerLate)
	if since, ok := r.At.Since(g.lateFrom); !ok || since >= shortestAccount {
		g.recordLate(r.At)
	}
	g.maxRSS = max(g.maxRSS, r.MaxRSS)
	g.descriptors = max(g.descriptors, r.Descriptors)
	if r.At >= g.last.At {
		g.last = *r
		g.last.Wakes = nil
	}
}

// recordLate records the largest lateness of about a second.
func (g *generatorBook) recordLate(to sample.Moment) {
	g.lag.record(g.late)
	g.late, g.lateFrom = 0, to
}

func (b *book) addHealth(r *sample.Health) {
	b.saw(r.At)
	if int(r.Generator) >= len(b.generators) {
		b.strays++
		return
	}
	b.generators[r.Generator].add(r)
	b.upkeep.descriptors = max(b.upkeep.descriptors, r.Descriptors)
	if r.ClockStep.Abs() > b.clockStep.Abs() {
		b.clockStep = r.ClockStep
	}
	b.upkeep.addHealth(r)
	if all := b.together.add(r); all != nil {
		b.detail.addHealth(all)
	}
}

// generator returns what all generators say: what they have used is summed up,
// and of latencies those of the worst count, lest one that was saturated is lost
// among others that were not.
func (b *book) generator() Generator {
	g := Generator{Reasons: []string{}, ClockStep: Millis(b.clockStep)}
	for i := range b.generators {
		of := &b.generators[i]
		if of.late > 0 { // since the last account but some
			of.recordLate(of.last.At)
		}
		wake := of.wake.stats()
		g.Wake, g.Lag = worseOf(g.Wake, wake), worseOf(g.Lag, of.lag.stats())
		g.CPUSeconds += seconds(of.last.CPU)
		g.MaxRSS += of.maxRSS
		g.GCPauseP99 = max(g.GCPauseP99, Millis(of.last.GCPauseP99))
		if len(b.run.Generators) == 0 {
			break
		}
		part := GeneratorPart{
			Number: i, Wake: wake, CPUSeconds: seconds(of.last.CPU), MaxRSS: of.maxRSS,
			GCPauseP99: Millis(of.last.GCPauseP99), Descriptors: of.descriptors,
		}
		if i > 0 {
			part.From, part.To = b.run.Generators[i-1].From, b.run.Generators[i-1].To
		}
		g.Parts = append(g.Parts, part)
	}
	g.CPUSeconds = math.Round(g.CPUSeconds*1e6) / 1e6
	return g
}

// worseOf returns the one of two with the larger p99.
func worseOf(a, b *Stats) *Stats {
	if a == nil || b != nil && b.P99 > a.P99 {
		return b
	}
	return a
}

// text says in a line how a generator was, for a person.
func (p *GeneratorPart) text(children int) []string {
	items := []string{whose(p.Number, children)}
	if p.To > p.From {
		items = append(items, fmt.Sprintf("devices %d to %d", p.From, p.To-1))
	}
	if p.Wake != nil {
		items = append(items, "wake p99 "+p.Wake.P99.String()+" max "+p.Wake.Max.String())
	}
	if p.MaxRSS > 0 { // else it gave no account of itself
		items = append(items, "CPU "+digits3(p.CPUSeconds)+" s", size(p.MaxRSS))
	}
	if p.Descriptors > 0 {
		items = append(items, "open files "+thousands(p.Descriptors))
	}
	return items
}

// together makes one account of those of all generators, at each of the run's
// own process.
type together struct {
	others map[uint32]*sample.Health // the last of each child
	wakes  []sample.Wake             // of children, since the last account
	late   time.Duration
}

// add returns an account of all when r is of the run's own process, else nil.
func (t *together) add(r *sample.Health) *sample.Health {
	if r.Generator > 0 {
		if t.others == nil {
			t.others = map[uint32]*sample.Health{}
		}
		kept := *r
		kept.Wakes = nil
		t.others[r.Generator] = &kept
		t.wakes = append(t.wakes, r.Wakes...)
		t.late = max(t.late, r.TimerLate)
		return nil
	}
	if len(t.others) == 0 {
		return r
	}
	all := *r
	all.Wakes = slices.Concat(r.Wakes, t.wakes)
	slices.SortFunc(all.Wakes, func(a, b sample.Wake) int { return cmp.Compare(a.Sent, b.Sent) })
	all.TimerLate = max(r.TimerLate, t.late)
	t.wakes, t.late = t.wakes[:0], 0
	for _, of := range t.others {
		all.CPU += of.CPU
		all.RSS += of.RSS
		all.MaxRSS += of.MaxRSS
		all.Goroutines += of.Goroutines
		all.GCPauseP99 = max(all.GCPauseP99, of.GCPauseP99)
		all.Descriptors = max(all.Descriptors, of.Descriptors)
		if of.ClockStep.Abs() > all.ClockStep.Abs() {
			all.ClockStep = of.ClockStep
		}
	}
	return &all
}

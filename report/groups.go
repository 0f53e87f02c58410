package report

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"muster/internal/sample"
)

// JobGroup is what one group of the fleet had of a job.
type JobGroup struct {
	Name     string            `json:"name"`
	Targeted int64             `json:"targeted"`
	Outcomes map[string]int64  `json:"outcomes"` // those that occurred
	Phases   map[string]*Stats `json:"phases"`
}

// groups tells the groups of the fleet apart for one job. It is empty for a
// fleet of one group, whose numbers are the job's.
type groups struct {
	all    []*group // in the order of the fleet
	byName map[string]*group
}

// group is one group's part in a job. Its histograms are sparse: there can be
// many groups, and most of a dense histogram's buckets stay empty.
type group struct {
	name     string
	targeted int64
	outcomes [outcomeCount]int64
	phases   [phases]packedSeries
}

type packedSeries struct {
	hist *hdrhistogram.PackedHistogram // made at the first value
	tally
}

func newGroups(run *Run) groups {
	g := groups{byName: map[string]*group{}}
	if len(run.Groups) < 2 {
		return g
	}
	for _, known := range run.Groups {
		one := &group{name: known.Name}
		g.all = append(g.all, one)
		g.byName[known.Name] = one
	}
	return g
}

// of counts e to its device's group and returns that, or nil if there is none.
func (g *groups) of(b *book, e *row) *group {
	if len(g.all) == 0 || int(e.device) >= len(b.devices) {
		return nil
	}
	one := g.byName[b.group(e.device)]
	if one != nil {
		one.targeted++
		one.outcomes[e.outcome]++
	}
	return one
}

// record takes in a span of e. A nil group takes in nothing.
func (g *group) record(p phase, took time.Duration, e *row) {
	us, ok := micros(took)
	if g == nil || !ok { // what no histogram holds is counted with the job
		return
	}
	s := &g.phases[p]
	if s.hist == nil {
		s.hist = hdrhistogram.NewPacked(lowest, highest, digits)
		s.min = took
	}
	s.min, s.max, s.sum = min(s.min, took), max(s.max, took), s.sum+float64(took)
	s.hubClock = s.hubClock || e.hubClock && p.hubClock()
	_ = s.hist.RecordValue(us) // micros has checked the range, which is all it refuses
}

// take returns the groups that the job targeted.
func (g *groups) take() []JobGroup {
	var all []JobGroup
	for _, one := range g.all {
		if one.targeted == 0 {
			continue
		}
		out := JobGroup{Name: one.name, Targeted: one.targeted, Outcomes: map[string]int64{}, Phases: map[string]*Stats{}}
		for o, n := range one.outcomes {
			if n > 0 {
				out.Outcomes[sample.Outcome(o).String()] = n
			}
		}
		for p := range phases {
			if s := &one.phases[p]; s.hist != nil {
				out.Phases[p.String()] = s.read(s.hist)
			}
		}
		all = append(all, out)
	}
	return all
}

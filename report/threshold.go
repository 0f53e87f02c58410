package report

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"muster/internal/expr"
	"muster/internal/sample"
)

// evaluate holds what was measured against the run's thresholds. An expression
// that cannot be read has no data.
func (b *book) evaluate(s *Summary) []Threshold {
	b.gaugeFleet()
	results := make([]Threshold, 0, len(b.run.Thresholds))
	var names []string
	for i := range s.Jobs {
		names = append(names, s.Jobs[i].Name)
	}
	for i, text := range b.run.Thresholds {
		t, err := expr.Parse(text)
		if err != nil {
			results = append(results, Threshold{Expression: text, NoData: true, Note: err.Error()})
			continue
		}
		if err := known(t, names); err != nil {
			results = append(results, Threshold{Expression: text, NoData: true, Note: err.Error(), Path: t.Path})
			continue
		}
		r, m := b.hold(i, t, s)
		result := Threshold{Expression: text, OK: r.OK && !r.NoData, NoData: r.NoData, Note: r.Note, Path: t.Path, Group: t.Group}
		if !r.NoData {
			result.Measured = r.Measured
			result.Value, result.Unit = value(t, m)
		}
		results = append(results, result)
	}
	return results
}

// hold holds threshold i against what it reads, and returns that too.
func (b *book) hold(i int, t *expr.Threshold, s *Summary) (expr.Result, expr.Measure) {
	if g := b.gauges[i]; g != nil {
		return g.result()
	}
	m, found := expr.Measure{}, false
	switch {
	case t.Group == "":
		m, found = lookup(s, t.Path)
	case t.Path[0] == "fleet":
		m, found = b.fleetOf(t.Group).lookup(t.Path[1:])
	default:
		m, found = s.lookupGroup(t, len(b.run.Groups))
	}
	return t.Eval(m, found), m
}

// fleetOf returns one group of the fleet.
func (b *book) fleetOf(group string) *Fleet {
	var f Fleet
	var connect series
	for i := range b.devices {
		d := &b.devices[i]
		if b.groups[d.group] != group {
			continue
		}
		f.Devices++
		if d.ready {
			f.Connected++
			connect.record(d.took)
		}
	}
	f.Failed, f.Connect = f.Devices-f.Connected, connect.stats()
	return &f
}

// lookupGroup returns what t reads of one group of a job. In a fleet of one
// group the job is all that group's.
func (s *Summary) lookupGroup(t *expr.Threshold, groups int) (expr.Measure, bool) {
	if groups < 2 || len(t.Path) < 3 {
		return lookup(s, t.Path)
	}
	for i := range s.Jobs {
		j := &s.Jobs[i]
		if t.Path[0] != "jobs" || j.Name != t.Path[1] {
			continue
		}
		part := new(JobGroup) // the job targeted none of it
		if at := slices.IndexFunc(j.Groups, func(g JobGroup) bool { return g.Name == t.Group }); at >= 0 {
			part = &j.Groups[at]
		}
		return part.lookup(t.Path[2:], j.Repetitions)
	}
	return expr.Measure{}, false
}

func (g *JobGroup) lookup(path []string, repetitions int) (expr.Measure, bool) {
	switch {
	case len(path) == 2:
		return g.Phases[path[0]].lookup(path[1], g.Targeted)
	case path[0] == "targeted":
		return counter{g.Targeted, g.Targeted, int64(repetitions)}.measure(), true
	}
	return counter{g.Outcomes[path[0]], g.Targeted, g.Targeted}.measure(), slices.Contains(expr.Outcomes, path[0])
}

// value returns m as the threshold reads it: a count as a percentage if its
// bound is one.
func value(t *expr.Threshold, m expr.Measure) (*float64, string) {
	v, unit := m.Value, "count"
	switch {
	case m.Unit == expr.Duration:
		v, unit = Millis(m.Value).number(), "ms"
	case m.Unit == expr.Rate:
		v, unit = math.Round(m.Value*1e3)/1e3, "perSecond"
	case t.Bound.Unit == expr.Percent && m.Of > 0:
		v, unit = math.Round(100*m.Value/m.Of*1e6)/1e6, "percent"
	}
	return &v, unit
}

// counter is a number that a threshold can read: of is what 100 % of it are,
// samples how much there was to count.
type counter struct {
	n, of, samples int64
}

func (c counter) measure() expr.Measure {
	return expr.Measure{Unit: expr.Count, Value: float64(c.n), Of: float64(c.of), Samples: c.samples}
}

// lookup returns the value at path, and false if the run has none.
func lookup(s *Summary, path []string) (expr.Measure, bool) {
	if len(path) < 2 {
		return expr.Measure{}, false
	}
	switch path[0] {
	case "jobs":
		for i := range s.Jobs {
			if s.Jobs[i].Name == path[1] {
				return s.Jobs[i].lookup(path[2:])
			}
		}
	case "fleet":
		return s.Fleet.lookup(path[1:])
	case "generator":
		return s.Generator.lookup(path[1:])
	}
	return expr.Measure{}, false
}

func (j *Job) lookup(path []string) (expr.Measure, bool) {
	switch len(path) {
	case 1:
		c, ok := j.counter(path[0])
		return c.measure(), ok
	case 2:
		if path[0] == "startError" && path[1] == "max" && j.StartError != nil {
			return expr.Measure{Unit: expr.Duration, Value: float64(j.StartError.Max), Samples: 1}, true
		}
		return j.Phases[path[0]].lookup(path[1], j.Targeted)
	}
	return expr.Measure{}, false
}

// counter returns the count called name. Counts of executions and receipts
// are parts of what was targeted; missing and extra are parts of what matched.
func (j *Job) counter(name string) (counter, bool) {
	for _, o := range sample.Outcomes {
		if o.String() == name {
			return counter{*j.outcome(o), j.Targeted, j.Targeted}, true
		}
	}
	matched := j.Targeted + deref(j.Missing) - deref(j.Extra)
	switch name {
	case "targeted":
		return counter{j.Targeted, j.Targeted, int64(j.Repetitions)}, true
	case "duplicates":
		return counter{j.Duplicates, j.Targeted, j.Targeted}, true
	case "unexpected":
		return counter{j.Unexpected, j.Targeted, int64(j.Repetitions)}, true
	case "missing":
		return counter{deref(j.Missing), matched, int64(j.Repetitions)}, j.Missing != nil
	case "extra":
		return counter{deref(j.Extra), matched, int64(j.Repetitions)}, j.Extra != nil
	}
	return counter{}, false
}

func (f *Fleet) lookup(path []string) (expr.Measure, bool) {
	switch {
	case len(path) == 2 && path[0] == "connect":
		return f.Connect.lookup(path[1], f.Devices)
	case len(path) != 1:
		return expr.Measure{}, false
	}
	switch path[0] {
	case "devices":
		return counter{f.Devices, f.Devices, f.Devices}.measure(), true
	case "connected":
		return counter{f.Connected, f.Devices, f.Devices}.measure(), true
	case "failed":
		return counter{f.Failed, f.Devices, f.Devices}.measure(), true
	case "reconnects":
		return counter{f.Reconnects, f.Devices, f.Devices}.measure(), true
	}
	return expr.Measure{}, false
}

func (g *Generator) lookup(path []string) (expr.Measure, bool) {
	if len(path) != 2 {
		return expr.Measure{}, false
	}
	switch path[0] {
	case "wake":
		return g.Wake.lookup(path[1], 0)
	case "lag":
		return g.Lag.lookup(path[1], 0)
	}
	return expr.Measure{}, false
}

// lookup returns the statistic called name. of is what 100 % of the count are.
func (s *Stats) lookup(name string, of int64) (expr.Measure, bool) {
	if s == nil {
		return expr.Measure{}, false
	}
	if name == "count" {
		return counter{s.Count, of, s.Count}.measure(), true
	}
	d, ok := map[string]Millis{
		"min": s.Min, "mean": s.Mean, "p50": s.P50, "p90": s.P90, "p99": s.P99, "p999": s.P999, "max": s.Max,
	}[name]
	return expr.Measure{Unit: expr.Duration, Value: float64(time.Duration(d)), Samples: s.Count}, ok
}

// KnownPath returns an error if no summary has a value at path of a group, of
// which "" is all, in a run whose jobs are called jobs. A value that it knows
// may still have no data.
func KnownPath(path []string, group string, jobs []string) error {
	if len(path) == 0 {
		return errors.New("a threshold reads jobs.NAME.…, fleet.… or generator.…")
	}
	t := &expr.Threshold{Path: path, Group: group}
	if err := known(t, jobs); err != nil {
		return err
	}
	switch r, _ := t.Read(nil); { // known has read it
	case r.IsRate():
		return fmt.Errorf("no summary has a value at %s: only a threshold reads a rate", expr.FormatPath(path))
	case group != "" && r.Of != "jobs":
		return fmt.Errorf("no summary has a value at %s: of groups it has jobs alone", expr.FormatGroupPath(path, group))
	}
	return nil
}

// known returns an error if no report has what t reads.
func known(t *expr.Threshold, jobs []string) error {
	r, err := t.Read(nil)
	switch {
	case err != nil:
		return fmt.Errorf("no report has a value at %s: %w", expr.FormatPath(t.Path), err)
	case r.Of == "jobs" && !slices.Contains(jobs, r.Job):
		return fmt.Errorf("no job is called %q", r.Job)
	}
	return nil
}

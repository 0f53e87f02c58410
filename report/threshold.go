package report

import (
	"fmt"
	"math"
	"slices"
	"time"

	"muster/internal/expr"
	"muster/internal/sample"
)

// evaluate holds s against the thresholds. An expression that cannot be read
// has no data.
func evaluate(expressions []string, s *Summary) []Threshold {
	results := make([]Threshold, 0, len(expressions))
	var names []string
	for i := range s.Jobs {
		names = append(names, s.Jobs[i].Name)
	}
	for _, text := range expressions {
		t, err := expr.Parse(text)
		if err != nil {
			results = append(results, Threshold{Expression: text, NoData: true, Note: err.Error()})
			continue
		}
		m, found := lookup(s, t.Path)
		r := t.Eval(m, found)
		result := Threshold{Expression: text, OK: r.OK && !r.NoData, NoData: r.NoData, Note: r.Note, Path: t.Path}
		if err := KnownPath(t.Path, names); err != nil {
			result.Note = err.Error()
		}
		if !r.NoData {
			result.Measured = r.Measured
			result.Value, result.Unit = value(t, m)
		}
		results = append(results, result)
	}
	return results
}

// value returns m as the threshold reads it: a count as a percentage if its
// bound is one.
func value(t *expr.Threshold, m expr.Measure) (*float64, string) {
	v, unit := m.Value, "count"
	switch {
	case m.Unit == expr.Duration:
		v, unit = Millis(m.Value).number(), "ms"
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

// The names that thresholds can read.
var (
	statNames  = []string{"min", "p50", "p90", "p99", "p999", "max", "mean", "count"}
	countNames = []string{
		"targeted", "succeeded", "failed", "timedOut", "offline", "cancelled", "notDispatched", "unknown",
		"duplicates", "unexpected", "missing", "extra",
	}
	fleetNames = []string{"devices", "connected", "failed", "reconnects"}
)

// KnownPath returns an error if no report has a value at path, in a run whose
// jobs are called jobs. A value that it knows may still have no data.
func KnownPath(path, jobs []string) error {
	if len(path) < 2 || !slices.Contains([]string{"jobs", "fleet", "generator"}, path[0]) {
		return fmt.Errorf("a threshold reads jobs.NAME.…, fleet.… or generator.…, not %q", path)
	}
	known := false
	switch rest := path[1:]; path[0] {
	case "jobs":
		if !slices.Contains(jobs, rest[0]) {
			return fmt.Errorf("no job is called %q", rest[0])
		}
		known = knownOfJob(rest[1:])
	case "fleet":
		known = len(rest) == 1 && slices.Contains(fleetNames, rest[0]) || isStat(rest, "connect")
	case "generator":
		known = isStat(rest, "wake", "lag")
	}
	if !known {
		return fmt.Errorf("no report has a value at %q", path)
	}
	return nil
}

func knownOfJob(path []string) bool {
	switch len(path) {
	case 1:
		return slices.Contains(countNames, path[0])
	case 2:
		return isStat(path, phaseNames[:]...) || path[0] == "startError" && path[1] == "max"
	}
	return false
}

// isStat reports whether path is a statistic of one of the named series.
func isStat(path []string, series ...string) bool {
	return len(path) == 2 && slices.Contains(series, path[0]) && slices.Contains(statNames, path[1])
}

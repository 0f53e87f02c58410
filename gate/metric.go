package gate

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"muster/internal/expr"
	"muster/report"
)

// Metric is a latency of a run's summary: what a threshold would read.
type Metric struct {
	Path  []string // such as jobs, lock, total, p99
	Group string   // the one group of the fleet that counts; "" is all of it
	Why   string   // why this one decides
}

// String returns the path as thresholds write it.
func (m Metric) String() string { return expr.FormatGroupPath(m.Path, m.Group) }

// ParseMetric reads a path, such as jobs.lock.total.p99.
func ParseMetric(text string) (Metric, error) {
	path, group, err := expr.ParsePath(text)
	if err != nil {
		return Metric{}, fmt.Errorf("%q: %w; want a path such as jobs.lock.total.p99", text, err)
	}
	return Metric{Path: path, Group: group, Why: "as asked for"}, nil
}

// defaultMetric chooses what decides where nobody has: what the scenario's
// author holds against a bound, or else how long the first job took.
func defaultMetric(f *Folder) (Metric, error) {
	s := &f.Summary
	for _, t := range s.Thresholds {
		if m := (Metric{t.Path, t.Group, "the first latency of a job that a threshold reads"}); len(t.Path) == 4 && m.isLatency(f) {
			return m, nil
		}
	}
	for i := range s.Jobs {
		for _, phase := range []string{"total", "booking"} { // a tags job of the hub's has only the latter
			if s.Jobs[i].Phases[phase] != nil {
				return Metric{Path: []string{"jobs", s.Jobs[i].Name, phase, "p99"}, Why: "no threshold reads a latency of a job"}, nil
			}
		}
	}
	return Metric{}, errors.New("no job has a latency to compare")
}

// read returns m of a run, and false if it has no such value.
func (m Metric) read(f *Folder) (expr.Measure, bool) {
	return f.Summary.Measure(&f.Header, m.Path, m.Group)
}

func (m Metric) isLatency(f *Folder) bool {
	v, ok := m.read(f)
	return ok && v.Unit == expr.Duration
}

// Known returns an error if no run whose jobs are called jobs has anything at m.
func (m Metric) Known(jobs []string) error {
	if err := report.KnownPath(m.Path, m.Group, jobs); err != nil {
		return fmt.Errorf("metric %s: %w", m, err)
	}
	return nil
}

// check returns an error if no run like f has a latency at m.
func (m Metric) check(f *Folder) error {
	var names []string
	for i := range f.Summary.Jobs {
		names = append(names, f.Summary.Jobs[i].Name)
	}
	if err := m.Known(names); err != nil {
		return err
	}
	if v, ok := m.read(f); ok && v.Unit != expr.Duration {
		return fmt.Errorf("metric %s: it is a %s, and a gate compares latencies", m, v.Unit)
	}
	return nil
}

// log returns the logarithm of m in nanoseconds, and false if f has no such latency.
func (m Metric) log(f *Folder) (float64, bool) {
	v, ok := m.read(f)
	if !ok || v.Unit != expr.Duration || v.Samples == 0 || v.Value <= 0 {
		return 0, false
	}
	return math.Log(v.Value), true
}

// logs returns m of each run.
func (m Metric) logs(runs []*Folder) ([]float64, error) {
	var all []float64
	for _, f := range runs {
		x, ok := m.log(f)
		if !ok {
			return nil, fmt.Errorf("%s: it has no value at %s", f.Dir, m)
		}
		all = append(all, x)
	}
	return all, nil
}

// informative lists the metrics that are shown beside the primary one: those
// of every phase that all runs have.
func informative(runs []*Folder, primary Metric) []Metric {
	s := &runs[0].Summary
	var all []Metric
	add := func(path ...string) {
		for _, stat := range []string{"p50", "p99"} {
			m := Metric{Path: append(slices.Clone(path), stat)}
			if _, err := m.logs(runs); err == nil && m.String() != primary.String() {
				all = append(all, m)
			}
		}
	}
	for i := range s.Jobs {
		for _, phase := range report.PhaseNames() {
			add("jobs", s.Jobs[i].Name, phase)
		}
	}
	add("fleet", "connect")
	return all
}

// millis turns the logarithm of nanoseconds back into a latency.
func millis(log float64) report.Millis { return report.Millis(time.Duration(math.Exp(log))) }

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
	Path []string // such as jobs, lock, total, p99
	Why  string   // why this one decides
}

// String returns the path as thresholds write it.
func (m Metric) String() string { return expr.FormatPath(m.Path) }

// ParseMetric reads a path, such as jobs.lock.total.p99.
func ParseMetric(text string) (Metric, error) {
	path, err := expr.ParsePath(text)
	if err != nil {
		return Metric{}, fmt.Errorf("%q: %w; want a path such as jobs.lock.total.p99", text, err)
	}
	return Metric{Path: path, Why: "as asked for"}, nil
}

// defaultMetric chooses what decides where nobody has: what the scenario's
// author holds against a bound, or else how long the first job took.
func defaultMetric(s *report.Summary) (Metric, error) {
	for _, t := range s.Thresholds {
		if m := (Metric{t.Path, "the first latency of a job that a threshold reads"}); len(t.Path) == 4 && m.isLatency(s) {
			return m, nil
		}
	}
	for i := range s.Jobs {
		for _, phase := range []string{"total", "booking"} { // a tags job of the hub's has only the latter
			if s.Jobs[i].Phases[phase] != nil {
				return Metric{[]string{"jobs", s.Jobs[i].Name, phase, "p99"}, "no threshold reads a latency of a job"}, nil
			}
		}
	}
	return Metric{}, errors.New("no job has a latency to compare")
}

func (m Metric) isLatency(s *report.Summary) bool {
	v, ok := s.Measure(m.Path)
	return ok && v.Unit == expr.Duration
}

// Known returns an error if no run whose jobs are called jobs has anything at m.
func (m Metric) Known(jobs []string) error {
	if err := report.KnownPath(m.Path, jobs); err != nil {
		return fmt.Errorf("metric %s: %w", m, err)
	}
	return nil
}

// check returns an error if no run like s has a latency at m.
func (m Metric) check(s *report.Summary) error {
	var names []string
	for i := range s.Jobs {
		names = append(names, s.Jobs[i].Name)
	}
	if err := m.Known(names); err != nil {
		return err
	}
	if v, ok := s.Measure(m.Path); ok && v.Unit != expr.Duration {
		return fmt.Errorf("metric %s: it is a %s, and a gate compares latencies", m, v.Unit)
	}
	return nil
}

// log returns the logarithm of m in nanoseconds, and false if s has no such latency.
func (m Metric) log(s *report.Summary) (float64, bool) {
	v, ok := s.Measure(m.Path)
	if !ok || v.Unit != expr.Duration || v.Samples == 0 || v.Value <= 0 {
		return 0, false
	}
	return math.Log(v.Value), true
}

// logs returns m of each run.
func (m Metric) logs(runs []*Folder) ([]float64, error) {
	var all []float64
	for _, f := range runs {
		x, ok := m.log(&f.Summary)
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
			if _, err := m.logs(runs); err == nil && !slices.Equal(m.Path, primary.Path) {
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

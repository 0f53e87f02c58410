package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"muster/capacity"
	"muster/harness"
	"muster/internal/expr"
	"muster/report"
	"muster/scenarios"
)

// What a search can be for.
const (
	findDevices = "devices"
	findRate    = "rate"
)

const probesDir = "probes"

// errProbe is a run that says nothing of the hub, and ends the search.
var errProbe = errors.New("a probe could not be run")

// probe makes one run at a value. It implements the probe of capacity.Search.
func (p *prober) probe(ctx context.Context, n, value int) (capacity.Probe, error) {
	s, err := p.load(value)
	if err != nil {
		return capacity.Probe{}, err
	}
	opts := *p.opts
	name := filepath.Join(probesDir, fmt.Sprintf("%02d-%d", n+1, value))
	opts.Out = filepath.Join(p.out, name)
	opts.Args = []string{"capacity", p.file, fmt.Sprintf("--find=%s", p.flags.find), fmt.Sprintf("(value %d)", value)}
	if s.Target.Embedded != nil && !p.inside(s) {
		opts.StartHub = startSelf(p.stdio.Err, p.flags.run.verbose)
	}
	opts.StartGenerator = startGenerator(p.stdio.Err, p.flags.run.verbose)
	begun := time.Now()
	result, err := harness.Run(ctx, s, &opts)
	switch {
	case result == nil || result.Report == nil:
		return capacity.Probe{}, fmt.Errorf("%w: %w", errProbe, remoteStatus(err, p.file))
	case err != nil && !errors.Is(err, harness.ErrHubDied):
		return capacity.Probe{}, fmt.Errorf("%w: %w", errProbe, remoteStatus(err, p.file))
	case result.Report.Summary.Verdict == report.Interrupted:
		return capacity.Probe{}, context.Cause(ctx)
	}
	sum := &result.Report.Summary
	one := capacity.Probe{Value: value, Outcome: outcomeOf(sum), Reasons: sum.Reasons, Dir: filepath.ToSlash(name), Seconds: time.Since(begun).Seconds()}
	if len(sum.Thresholds) > 0 {
		t := &sum.Thresholds[0]
		one.Measured, one.Unit, one.Text = t.Value, t.Unit, t.Measured
	}
	p.tell(n, &one)
	p.result.Probes = append(p.result.Probes, one)
	return one, p.result.Write(p.out) // what is there is there, should the search die
}

// tell prints a line for a probe.
func (p *prober) tell(n int, one *capacity.Probe) {
	unit := "devices"
	if p.flags.find == findRate {
		unit = "a second"
	}
	measured := one.Text
	if measured == "" {
		measured = "no data"
	}
	fmt.Fprintf(p.stdio.Err, "probe %d: %d %s: %s, %s (%.1f s)\n", n+1, one.Value, unit, one.Outcome, measured, one.Seconds)
}

// outcomeOf says what a run is to a search. One that fails while its generator
// was saturated, in a job that an objective reads, says nothing of the hub:
// whatever failed.
func outcomeOf(s *report.Summary) capacity.Outcome {
	saturated := slices.ContainsFunc(s.Jobs, func(j report.Job) bool {
		read := slices.ContainsFunc(s.Thresholds, func(t report.Threshold) bool {
			return len(t.Path) > 1 && t.Path[0] == "jobs" && t.Path[1] == j.Name
		})
		return read && j.Wake != nil && j.Wake.P99 > j.Wake.Limit
	})
	switch {
	case s.Verdict == report.Pass:
		return capacity.Pass
	case s.Ended != "" && (!s.Generator.Valid || saturated):
		return capacity.Saturated
	}
	return capacity.Fail
}

// unitsOf returns a bound in the unit that the report gives its measure in.
func unitsOf(m expr.Measure) (value float64, unit string) {
	if m.Unit == expr.Duration {
		return m.Value / float64(time.Millisecond), "ms"
	}
	return m.Value, m.Unit.String()
}

// fromStart are the phases that hold a hub's own pacing: from the job's start,
// when every execution of it is due.
var fromStart = []string{"lag", "delivery", "total", "booking"}

const hubRate = "target.embedded.jobRate"

// ratePaths returns what of the scenario a rate is: that of the jobs that the
// objectives read, or of the connects if they read no job.
func ratePaths(s *scenarios.Scenario) ([]string, error) {
	var paths []string
	connects := false
	for i := range s.Thresholds {
		t := &s.Thresholds[i]
		r, err := t.Expr.Read(nil)
		if err != nil {
			return nil, err
		}
		connects = connects || r.Series == "connect"
		at := slices.IndexFunc(s.Jobs, func(j scenarios.Job) bool { return j.Name == r.Job })
		if at < 0 {
			continue
		}
		path, err := ratePath(s, at, t, &r)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	switch {
	case slices.Contains(paths, hubRate) && len(paths) > 1:
		return nil, errors.New("--find rate: the objectives read jobs via hub and via direct, which have different rates; search for one of them")
	case len(paths) == 0 && connects:
		return []string{"connect.rate"}, nil
	case len(paths) == 0:
		return nil, errors.New("--find rate: no objective reads a job or fleet.connect, so there is no rate to search for")
	}
	return paths, nil
}

// ratePath returns where the rate of job at stands, of which t reads r.
func ratePath(s *scenarios.Scenario, at int, t *scenarios.Threshold, r *expr.Reading) (string, error) {
	j := &s.Jobs[at]
	switch {
	case j.Via == scenarios.Direct && j.DeviceID != "":
		return "", fmt.Errorf("--find rate: job %s calls one device, which has no rate", j.Name)
	case j.Via == scenarios.Direct:
		return fmt.Sprintf("jobs[%d].rate", at), nil
	case s.Target.Embedded == nil:
		return "", fmt.Errorf("--find rate: job %s is via hub, and the hub is not muster's own: its tier is its rate; search a job via direct, or for devices", j.Name)
	case slices.Contains(fromStart, r.Series):
		return "", fmt.Errorf("--objective %s: counts from the job's start, so that a slower hub only makes it longer; with --find rate read downlink or service of a job via hub, or search a job via direct",
			t.Text)
	}
	return hubRate, nil
}

// blindSpots warns of jobs of which an objective reads latencies and none reads
// how many succeeded: what fails at once is fast.
func blindSpots(s *scenarios.Scenario) []string {
	latencies, counted := map[string]bool{}, map[string]bool{}
	for i := range s.Thresholds {
		if r, err := s.Thresholds[i].Expr.Read(nil); err == nil && r.Of == "jobs" {
			latencies[r.Job] = latencies[r.Job] || r.Series != ""
			counted[r.Job] = counted[r.Job] || slices.Contains(expr.Outcomes, r.Count)
		}
	}
	var warnings []string
	for i := range s.Jobs {
		if name := s.Jobs[i].Name; latencies[name] && !counted[name] {
			warnings = append(warnings, fmt.Sprintf("no objective reads how many of job %s succeed: those that fail at once are fast; add --objective '%s == 100%%'",
				name, expr.FormatPath([]string{"jobs", name, "succeeded"})))
		}
	}
	return warnings
}

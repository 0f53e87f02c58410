package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/internal/stats"
	"muster/report"
)

// Conditions are the worst that the runs of a side met.
type Conditions struct {
	Steal   *float64      `json:"steal"`  // of the host's processors, the part that the hypervisor gave away; null if not known
	Others  *float64      `json:"others"` // and the part that other processes took
	Wake    report.Millis `json:"wakeP99"`
	GCPause report.Millis `json:"gcPauseP99"`
}

func conditionsOf(runs []*Folder, metric Metric) Conditions {
	var c Conditions
	for _, f := range runs {
		c.Wake = max(c.Wake, f.wake(metric))
		c.GCPause = max(c.GCPause, f.Summary.Generator.GCPauseP99)
		if use := f.Header.HostUse; use != nil && use.TotalSeconds > 0 {
			c.Steal = worse(c.Steal, use.StealSeconds/use.TotalSeconds)
			c.Others = worse(c.Others, max(0, use.BusySeconds-f.ownSeconds())/use.TotalSeconds)
		}
	}
	return c
}

func worse(most *float64, part float64) *float64 {
	if most == nil || part > *most {
		return &part
	}
	return most
}

// ownSeconds is the processor time that the run itself took.
func (f *Folder) ownSeconds() float64 {
	own := f.Summary.Generator.CPUSeconds
	if f.Summary.Hub != nil {
		own += f.Summary.Hub.CPUSeconds
	}
	return own
}

// wake returns how long the generator's messages to itself took beside what
// metric measures.
func (f *Folder) wake(metric Metric) report.Millis {
	for i := range f.Summary.Jobs {
		if j := &f.Summary.Jobs[i]; len(metric.Path) > 1 && metric.Path[0] == "jobs" && j.Name == metric.Path[1] && j.Wake != nil {
			return j.Wake.P99
		}
	}
	if f.Summary.Generator.Wake != nil {
		return f.Summary.Generator.Wake.P99
	}
	return 0
}

// What is worth a warning.
const (
	muchSteal  = 0.01
	muchOthers = 0.25
	muchSpread = 0.05
	wakePart   = 10 // a wake above a tenth of what is measured is part of it
	coarse     = report.Millis(100 * time.Microsecond)
)

// warn notes what a reader should know before believing the numbers.
func (c *Comparison) warn(base, newer []*Folder, metric Metric) {
	c.Warnings = []string{}
	add := func(format string, args ...any) { c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...)) }
	for _, d := range c.Forced {
		add("compared by force: %s", d)
	}
	if note := report.TransportNote(newer[0].Header.Target.Transport); note != "" {
		add("%s", note)
	}
	for _, side := range []struct {
		name string
		runs []*Folder
		of   Side
	}{{"base", base, c.Base}, {"new", newer, c.New}} {
		s := side.of
		if n := failed(side.runs); n > 0 {
			add("%d of the %d %s runs failed a threshold of the scenario", n, s.Runs, side.name)
		}
		if len(s.Versions) > 1 {
			add("the %s runs are of different versions: %s", side.name, strings.Join(s.Versions, ", "))
		}
		if s.Conditions.Wake > s.Mean/wakePart {
			add("%s: the generator's wake p99 %s is above a tenth of what is measured: the numbers hold its own waiting", side.name, s.Conditions.Wake.String())
		}
		if steal := s.Conditions.Steal; steal != nil && *steal > muchSteal {
			add("%s: the hypervisor gave up to %s of the processors to others", side.name, part(*steal))
		}
		if others := s.Conditions.Others; others != nil && *others > muchOthers {
			add("%s: other processes took up to %s of the host's processors", side.name, part(*others))
		}
		if s.Spread > muchSpread {
			add("%s: the runs differ by %s among themselves: choose a steadier metric, longer runs or a quieter host", side.name, part(s.Spread))
		}
		if s.Mean < coarse {
			add("%s: latencies are recorded in whole microseconds, which is %s of %s", side.name, part(float64(report.Millis(time.Microsecond))/float64(s.Mean)), s.Mean.String())
		}
	}
	if a, b := base[0].Header.GoVersion, newer[0].Header.GoVersion; a != b {
		add("the two are built with %s and %s", shown(a), shown(b))
	}
}

// warnOfLook notes that so many runs a side are between two looks, or behind the
// last: the share of the errors that a look may spend is for one number of runs.
func (c *Comparison) warnOfLook(runs int) {
	if sizes := stats.Sizes(); runs > stats.Least && !slices.Contains(sizes, runs) {
		c.Warnings = append(c.Warnings, fmt.Sprintf(
			"%d runs a side are none of the looks, which are at %d, %d and %d: compared at other numbers too, the bounds err more often than they say; --once if the number was settled beforehand",
			runs, sizes[0], sizes[1], sizes[2]))
	}
}

func failed(runs []*Folder) int {
	n := 0
	for _, f := range runs {
		if f.Summary.Verdict == report.Fail {
			n++
		}
	}
	return n
}

// absentKeys names the keys of the scenario that only one side has.
func absentKeys(base, newer *Folder) []string {
	var keys []string
	for key := range base.Scenario {
		if _, ok := newer.Scenario[key]; !ok {
			keys = append(keys, key)
		}
	}
	for key := range newer.Scenario {
		if _, ok := base.Scenario[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

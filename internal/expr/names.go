package expr

import (
	"fmt"
	"slices"
	"strings"
)

// What thresholds can read, as the summary of a run names it.
var (
	// Phases are the spans in the life of an execution, in the order in which
	// reports have them.
	Phases = [...]string{"lag", "delivery", "downlink", "device", "uplink", "total", "service", "booking"}
	// Statistics are what can be read of a phase, and of connect, wake and lag.
	Statistics = []string{"count", "min", "mean", "p50", "p90", "p99", "p999", "max"}
	// Outcomes are how executions end.
	Outcomes = []string{"succeeded", "failed", "timedOut", "offline", "cancelled", "notDispatched", "unknown"}
	// FleetCounts are the counts of the fleet.
	FleetCounts = []string{"devices", "connected", "failed", "reconnects"}
)

// The names with a meaning of their own.
const (
	RateName       = "rate"
	countStatistic = "count"
	targeted       = "targeted"
	connect        = "connect"
	startError     = "startError"
)

// jobCounts are the counts of a job: groupCounts can be had of one group too.
var (
	groupCounts = append([]string{targeted}, Outcomes...)
	jobCounts   = slices.Concat(groupCounts, []string{"duplicates", "unexpected", "missing", "extra"})
)

// Reading is what a threshold reads.
type Reading struct {
	Of        string // "jobs", "fleet" or "generator"
	Job       string // of jobs
	Series    string // a phase of a job or startError; connect of the fleet; wake or lag of the generator; "" for a count, and the rate of a job
	Statistic string // of the series; "rate" of a job or of connect
	Count     string // what is counted; "" for a series and a rate
}

// IsRate reports whether the reading is how many ended a second.
func (r *Reading) IsRate() bool { return r.Statistic == RateName }

// Units returns what the reading can be compared with.
func (r *Reading) Units() []Unit {
	switch {
	case r.IsRate():
		return []Unit{Rate}
	case r.Statistic == countStatistic && r.Of == "generator": // a number of messages, of which nothing is 100 %
		return []Unit{Count}
	case r.Statistic == countStatistic || r.Count != "":
		return []Unit{Count, Percent}
	}
	return []Unit{Duration}
}

// PathError tells why a threshold reads nothing that a run has.
type PathError struct {
	Part  int      // the index of the name in the path
	Msg   string   // what is wrong
	What  string   // what the name should have been one of: "phase or outcome"; "" if Msg says all
	Known []string // what there is of that
}

// Error returns what is wrong, and what there is instead.
func (e *PathError) Error() string {
	if len(e.Known) == 0 {
		return e.Msg
	}
	return e.Msg + "; there is " + strings.Join(e.Known, ", ")
}

// Read returns what the threshold reads, or a *PathError. phases are those that
// the job can have, for what the error lists: nil for all. A phase that is not
// among them is read all the same.
func (t *Threshold) Read(phases []string) (Reading, error) {
	if phases == nil {
		phases = Phases[:]
	}
	r, fault := readPath(t.Path, phases)
	if fault == nil {
		fault = t.suits(&r)
	}
	if fault != nil {
		return Reading{}, fault
	}
	return r, nil
}

func readPath(path, phases []string) (Reading, *PathError) {
	switch path[0] {
	case "jobs":
		return readJob(path, phases)
	case "fleet":
		return readFleet(path)
	case "generator":
		return readGenerator(path)
	}
	return Reading{}, unknownName(path, 0, "name", "jobs", "fleet", "generator")
}

func unknownName(path []string, part int, what string, known ...string) *PathError {
	return &PathError{part, fmt.Sprintf("unknown %s %q", what, path[part]), what, known}
}

func failPart(part int, format string, args ...any) *PathError {
	return &PathError{Part: part, Msg: fmt.Sprintf(format, args...)}
}

func readJob(path, phases []string) (Reading, *PathError) {
	if len(path) < 3 {
		return Reading{}, failPart(len(path)-1, "ends too early; expected a job and what of it, as in jobs.NAME.total.p99 or jobs.NAME.succeeded")
	}
	r := Reading{Of: "jobs", Job: path[1]}
	switch name := path[2]; {
	case slices.Contains(jobCounts, name):
		r.Count = name
		return r, ends(path, 2)
	case name == RateName:
		r.Statistic = name
		return r, ends(path, 2)
	case name == startError:
		return r, r.statistic(path, 3, "max")
	case slices.Contains(Phases[:], name):
		return r, r.statistic(path, 3, Statistics...)
	}
	return r, unknownName(path, 2, "phase or outcome", slices.Concat(phases, jobCounts, []string{startError, RateName})...)
}

func readFleet(path []string) (Reading, *PathError) {
	r := Reading{Of: "fleet"}
	switch {
	case len(path) == 1:
		return r, failPart(0, "ends too early; expected more after fleet, as in fleet.connect.p99")
	case path[1] == connect:
		return r, r.statistic(path, 2, slices.Concat(Statistics, []string{RateName})...)
	case slices.Contains(FleetCounts, path[1]):
		r.Count = path[1]
		return r, ends(path, 1)
	}
	return r, unknownName(path, 1, "value", slices.Concat([]string{connect}, FleetCounts)...)
}

func readGenerator(path []string) (Reading, *PathError) {
	r := Reading{Of: "generator"}
	switch {
	case len(path) == 1:
		return r, failPart(0, "ends too early; expected more after generator, as in generator.wake.p99")
	case path[1] == "wake" || path[1] == "lag":
		return r, r.statistic(path, 2, Statistics...)
	}
	return r, unknownName(path, 1, "value", "wake", "lag")
}

// statistic reads the last part of the path, which is a statistic of the part
// before it.
func (r *Reading) statistic(path []string, part int, known ...string) *PathError {
	switch {
	case len(path) <= part:
		return &PathError{Part: len(path) - 1, Msg: "expected a statistic after " + path[len(path)-1], Known: known}
	case !slices.Contains(known, path[part]):
		return &PathError{Part: part, Msg: fmt.Sprintf("unknown statistic %q", path[part]), Known: known}
	}
	r.Series, r.Statistic = path[part-1], path[part]
	return ends(path, part)
}

func ends(path []string, part int) *PathError {
	if len(path) == part+1 {
		return nil
	}
	return failPart(part+1, "nothing is below %q", path[part])
}

// suits refuses a group or a part of the run where there is none.
func (t *Threshold) suits(r *Reading) *PathError {
	last := len(t.Path) - 1
	grouped := slices.Contains(groupCounts, r.Count)
	if t.Group != "" && (r.Series == startError || r.Count == "reconnects" || r.Of == "jobs" && r.Count != "" && !grouped) {
		return failPart(last, "%s is not known by group", FormatPath(t.Path))
	}
	if t.Over.Length == 0 {
		return nil
	}
	switch {
	case r.Of == "generator" || r.Series == startError || r.Count != "":
		return failPart(last, "%s is not known by parts of the run; over can follow a phase, connect or a rate", FormatPath(t.Path))
	case t.Bound.Unit == Percent:
		return failPart(last, "a part of the run has no percentage: compare %s with a number", FormatPath(t.Path))
	}
	return nil
}

package report

import (
	"fmt"
	"slices"

	"muster/internal/expr"
	"muster/internal/sample"
)

// Verdict is what a run came to.
type Verdict string

// The verdicts. The zero value is NoData, which never passes.
const (
	NoData       Verdict = ""             // nothing to judge
	Pass         Verdict = "pass"         // everything asked for was measured and held
	Fail         Verdict = "fail"         // a threshold failed or had no data, or an execution's end is unknown
	Regression   Verdict = "regression"   // worse than the baseline, as a gate found
	Inconclusive Verdict = "inconclusive" // too few runs for a gate to tell
	Invalid      Verdict = "invalid"      // the generator was saturated, or a ledger does not balance
	Interrupted  Verdict = "interrupted"  // ended by a signal
	Incomplete   Verdict = "incomplete"   // failed or died before its end
)

// String returns the verdict's documented name.
func (v Verdict) String() string {
	if v == NoData {
		return "noData"
	}
	return string(v)
}

// MarshalText implements encoding.TextMarshaler.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *Verdict) UnmarshalText(text []byte) error {
	if *v = Verdict(text); *v == "noData" {
		*v = NoData
	}
	return nil
}

// Judge returns the verdict of one run and its reasons. The first of these
// that holds decides: the run did not reach its end; it was interrupted; its
// numbers are not the hub's (Generator.Valid, LedgerBalanced); a threshold
// aborted it; something forbids a pass; else it passed.
//
// A pass is forbidden by a threshold that failed or had no data, by any
// execution whose end is unknown, by a repetition that did not run unless a
// threshold reads how many its job targeted, by a device missing or extra
// among the targets of a job unless a threshold reads that count, and by a
// threshold on latencies that only some of those have who succeeded. Without any threshold it takes the strictest reading: every
// device connected, every job targeted someone, every execution succeeded.
func Judge(s *Summary) (Verdict, []string) {
	switch s.Ended {
	case endCompleted:
	case endAborted:
		return judgeAborted(s)
	case endInterrupted:
		return Interrupted, []string{"the run was interrupted"}
	default:
		return Incomplete, []string{incompleteReason(s)}
	}
	if reasons := invalidReasons(s); len(reasons) > 0 {
		return Invalid, reasons
	}
	if reasons := failReasons(s); len(reasons) > 0 {
		return Fail, reasons
	}
	return Pass, nil
}

// judgeAborted judges a run that a threshold ended. That its ledgers hold what
// the abort cut off is no fault of theirs; a generator that was saturated is.
func judgeAborted(s *Summary) (Verdict, []string) {
	reasons := append([]string{"aborted: " + s.Error}, failReasons(s)...)
	if !s.Generator.Valid {
		return Invalid, append(slices.Clone(s.Generator.Reasons), reasons...)
	}
	return Fail, reasons
}

// The ways that a run says it ended, as sample.End has them.
const (
	endCompleted   = "completed"
	endAborted     = "aborted"
	endInterrupted = "interrupted"
	endFailed      = "failed"
)

func incompleteReason(s *Summary) string {
	switch {
	case s.Ended == "":
		return fmt.Sprintf("the run died: its samples stop after %.1f s without an end", s.DurationSeconds)
	case s.Error != "":
		return "the run failed: " + s.Error
	}
	return "the run failed"
}

func invalidReasons(s *Summary) []string {
	var reasons []string
	if !s.Generator.Valid {
		reasons = append(reasons, s.Generator.Reasons...)
		if len(reasons) == 0 {
			reasons = append(reasons, "nothing shows that the generator kept up")
		}
	}
	for i := range s.Jobs {
		j := &s.Jobs[i]
		if !j.LedgerBalanced {
			reasons = append(reasons, ledgerReason(j))
		}
	}
	return reasons
}

func ledgerReason(j *Job) string {
	text := fmt.Sprintf("job %s: the ledger does not balance", j.Name)
	for i, fault := range j.LedgerFaults {
		if i == 3 {
			return text + fmt.Sprintf("; and %d more faults", len(j.LedgerFaults)-i)
		}
		text += "; " + fault
	}
	return text
}

func failReasons(s *Summary) []string {
	var reasons []string
	for i := range s.Thresholds {
		if t := &s.Thresholds[i]; !t.OK {
			reasons = append(reasons, t.reason())
		}
	}
	for i := range s.Jobs {
		reasons = append(reasons, s.Jobs[i].failReasons(s.Thresholds)...)
	}
	if len(s.Thresholds) == 0 {
		reasons = append(reasons, strictReasons(s)...)
	}
	if s.Fleet.Failed > 0 && readsFleet(s.Thresholds, "connect") && !readsFleet(s.Thresholds, "connected") && !readsFleet(s.Thresholds, "failed") {
		reasons = append(reasons, fmt.Sprintf("%s of %s never connected: a threshold reads how long the others took, and none how many may be missing",
			thousands(s.Fleet.Failed), count(s.Fleet.Devices, "device")))
	}
	return reasons
}

func (t *Threshold) reason() string {
	if t.NoData {
		return join("threshold "+t.Expression+" had no data", t.Note)
	}
	text := "threshold " + t.Expression + " failed"
	if t.Measured != "" {
		text += ": measured " + t.Measured
	}
	return join(text, t.Note)
}

func join(text, note string) string {
	if note == "" {
		return text
	}
	return text + " (" + note + ")"
}

// failReasons returns what forbids a pass whatever the thresholds say.
func (j *Job) failReasons(thresholds []Threshold) []string {
	var reasons []string
	add := func(format string, args ...any) {
		reasons = append(reasons, fmt.Sprintf("job %s: ", j.Name)+fmt.Sprintf(format, args...))
	}
	if !reads(thresholds, j.Name, "targeted") {
		for _, why := range j.NotRun {
			add("%s", why)
		}
	}
	for p := range phases {
		if seen := j.seen(p); seen > 0 && seen < j.Succeeded && (reads(thresholds, j.Name, p.String()) || p == total && readsRate(thresholds, j.Name)) {
			add("a threshold reads %s, which was seen of %s of %s that succeeded", p, thousands(seen), count(j.Succeeded, "execution"))
		}
	}
	if j.Unknown > 0 {
		add("the end of %s was never seen", count(j.Unknown, "execution"))
	}
	if n := deref(j.Missing); n > 0 && !reads(thresholds, j.Name, "missing") {
		add("%s matched and not targeted", count(n, "device"))
	}
	if n := deref(j.Extra); n > 0 && !reads(thresholds, j.Name, "extra") {
		add("%s targeted and not matched", count(n, "device"))
	}
	return reasons
}

// seen returns how many executions that succeeded have a phase, those included
// whose value is in no percentile.
func (j *Job) seen(p phase) int64 {
	all := j.Phases
	if j.PhasesByOutcome != nil {
		all = j.PhasesByOutcome[sample.Succeeded.String()]
	}
	n := int64(0)
	if st := all[p.String()]; st != nil {
		n = st.Count
	}
	excluded := j.Excluded[p.String()]
	return n + excluded.Negative + excluded.OutOfRange
}

// strictReasons judges a run that has no thresholds.
func strictReasons(s *Summary) []string {
	var reasons []string
	if s.Fleet.Failed > 0 || s.Fleet.Devices == 0 {
		reasons = append(reasons, fmt.Sprintf("%s of %s connected, and no threshold says how many must",
			thousands(s.Fleet.Connected), count(s.Fleet.Devices, "device")))
	}
	for i := range s.Jobs {
		reasons = append(reasons, s.Jobs[i].strictReasons()...)
	}
	return reasons
}

func (j *Job) strictReasons() []string {
	var reasons []string
	if j.Targeted == 0 && len(j.NotRun) == 0 {
		reasons = append(reasons, fmt.Sprintf("job %s: targeted no device", j.Name))
	}
	// The unknown ones have a reason of their own.
	if n := j.Targeted - j.Succeeded - j.Unknown; n > 0 {
		reasons = append(reasons, fmt.Sprintf("job %s: %s did not succeed, and no threshold says how many may", j.Name, count(n, "execution")))
	}
	return reasons
}

// reads reports whether a threshold reads the value called name of a job. A
// count of one group says nothing of the others.
func reads(thresholds []Threshold, job, name string) bool {
	return slices.ContainsFunc(thresholds, func(t Threshold) bool {
		return len(t.Path) >= 3 && t.Path[0] == "jobs" && t.Path[1] == job && t.Path[2] == name && (t.Group == "" || len(t.Path) > 3)
	})
}

// readsRate reports whether a threshold reads how many of a job succeeded a second.
func readsRate(thresholds []Threshold, job string) bool {
	return slices.ContainsFunc(thresholds, func(t Threshold) bool {
		return len(t.Path) == 3 && t.Path[0] == "jobs" && t.Path[1] == job && t.Path[2] == expr.RateName
	})
}

// readsFleet reports whether a threshold reads the value called name of the
// fleet; a count of one group says nothing of the others.
func readsFleet(thresholds []Threshold, name string) bool {
	return slices.ContainsFunc(thresholds, func(t Threshold) bool {
		return len(t.Path) >= 2 && t.Path[0] == "fleet" && t.Path[1] == name && (t.Group == "" || len(t.Path) > 2)
	})
}

func deref(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// unsuccessful lists the outcomes that are not a success.
var unsuccessful = sample.Outcomes[1:]

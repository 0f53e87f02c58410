package report_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
	"muster/report"
)

// good is the summary of a run with nothing wrong in it.
func good() report.Summary {
	return report.Summary{
		Ended: "completed", Fleet: report.Fleet{Devices: 2, Connected: 2}, Generator: report.Generator{Valid: true},
		Jobs:       []report.Job{{Name: "lock", Targeted: 2, Succeeded: 2, LedgerBalanced: true}},
		Thresholds: []report.Threshold{{Expression: "jobs.lock.succeeded == 100%", OK: true, Path: []string{"jobs", "lock", "succeeded"}}},
	}
}

func TestJudge(t *testing.T) {
	one := int64(1)
	judge := func(what string, want report.Verdict, reason string, change func(*report.Summary)) {
		t.Helper()
		s := good()
		change(&s)
		got, reasons := report.Judge(&s)
		if got != want || !strings.Contains(strings.Join(reasons, "\n"), reason) || (len(reasons) == 0) != (got == report.Pass) {
			t.Errorf("%s: Judge() = %v %q, want %v with %q", what, got, reasons, want, reason)
		}
	}
	none := func(s *report.Summary) { s.Thresholds = nil }
	judge("good", report.Pass, "", func(*report.Summary) {})
	judge("died", report.Incomplete, "died", func(s *report.Summary) { s.Ended = "" })
	judge("failed", report.Incomplete, "no room", func(s *report.Summary) { s.Ended, s.Error = "failed", "no room" })
	judge("ended as nobody knows", report.Incomplete, "failed", func(s *report.Summary) { s.Ended = "bored" })
	judge("interrupted", report.Interrupted, "interrupted", func(s *report.Summary) { s.Ended = "interrupted" })
	judge("saturated", report.Invalid, "too slow", func(s *report.Summary) { s.Generator = report.Generator{Reasons: []string{"too slow"}} })
	judge("generator not judged", report.Invalid, "nothing shows", func(s *report.Summary) { s.Generator = report.Generator{} })
	judge("unbalanced", report.Invalid, "ledger", func(s *report.Summary) { s.Jobs[0].LedgerBalanced = false })
	judge("threshold failed", report.Fail, "99 %", func(s *report.Summary) { s.Thresholds[0].OK, s.Thresholds[0].Measured = false, "99 %" })
	judge("threshold without data", report.Fail, "no data", func(s *report.Summary) { s.Thresholds[0].OK, s.Thresholds[0].NoData = false, true })
	judge("unknown", report.Fail, "1 execution", func(s *report.Summary) { s.Jobs[0].Succeeded, s.Jobs[0].Unknown = 1, 1 })
	judge("did not run", report.Fail, "device not found", func(s *report.Summary) { s.Jobs[0].NotRun = []string{"device not found: d"} })
	judge("missing", report.Fail, "1 device matched", func(s *report.Summary) { s.Jobs[0].Missing = &one })
	judge("extra", report.Fail, "1 device targeted", func(s *report.Summary) { s.Jobs[0].Extra = &one })
	judge("missing, as a threshold allows", report.Pass, "", func(s *report.Summary) {
		s.Jobs[0].Missing = &one
		s.Thresholds = append(s.Thresholds, report.Threshold{OK: true, Path: []string{"jobs", "lock", "missing"}})
	})
	judge("failures, as thresholds allow", report.Pass, "", func(s *report.Summary) { s.Jobs[0].Succeeded, s.Jobs[0].Failed = 1, 1 })

	judge("no thresholds", report.Pass, "", none)
	judge("no thresholds, one failed", report.Fail, "1 execution did not succeed", func(s *report.Summary) {
		none(s)
		s.Jobs[0].Succeeded, s.Jobs[0].Offline = 1, 1
	})
	judge("no thresholds, nobody targeted", report.Fail, "no device", func(s *report.Summary) {
		none(s)
		s.Jobs[0].Targeted, s.Jobs[0].Succeeded = 0, 0
	})
	judge("no thresholds, one never connected", report.Fail, "1 of 2 devices", func(s *report.Summary) {
		none(s)
		s.Fleet.Connected, s.Fleet.Failed = 1, 1
	})

	judge("incomplete before invalid", report.Incomplete, "", func(s *report.Summary) { s.Ended, s.Generator.Valid = "", false })
	judge("interrupted before invalid", report.Interrupted, "", func(s *report.Summary) { s.Ended, s.Generator.Valid = "interrupted", false })
	judge("invalid before fail", report.Invalid, "", func(s *report.Summary) { s.Generator.Valid, s.Thresholds[0].OK = false, false })
}

func TestNothingNeverPasses(t *testing.T) {
	if got, _ := report.Judge(&report.Summary{}); got == report.Pass {
		t.Error("Judge() of an empty summary = pass")
	}
	var zero report.Verdict
	if zero != report.NoData || zero.String() != "noData" {
		t.Errorf("the zero verdict is %q, want noData", zero)
	}
}

func TestVerdictInJSON(t *testing.T) {
	for _, v := range []report.Verdict{report.NoData, report.Pass, report.Invalid} {
		text, err := json.Marshal(v)
		if err != nil || string(text) != `"`+v.String()+`"` {
			t.Errorf("Marshal(%v) = %s, %v", v, text, err)
		}
		var back report.Verdict
		if err := json.Unmarshal(text, &back); err != nil || back != v {
			t.Errorf("Unmarshal(%s) = %v, %v, want %v", text, back, err, v)
		}
	}
}

func TestLedger(t *testing.T) {
	check := func(what, fault string, change func(*fixture)) {
		t.Helper()
		f := small()
		change(f)
		got := f.build(t).Summary
		j := got.Jobs[0]
		faults := strings.Join(j.LedgerFaults, "\n")
		if j.LedgerBalanced != (fault == "") || !strings.Contains(faults, fault) || (got.Verdict == report.Invalid) != (fault != "") {
			t.Errorf("%s: balanced %v, faults %q, verdict %v; want a fault with %q", what, j.LedgerBalanced, j.LedgerFaults, got.Verdict, fault)
		}
		if sum := j.Succeeded + j.Failed + j.TimedOut + j.Offline + j.Cancelled + j.NotDispatched + j.Unknown; sum != j.Targeted {
			t.Errorf("%s: targeted %d, the outcomes' sum is %d", what, j.Targeted, sum)
		}
	}
	closing := func(change func(*sample.Repetition)) func(*fixture) {
		return func(f *fixture) { change(find[sample.Repetition](f, 0)) }
	}
	check("as it was", "", func(*fixture) {})
	check("an execution too few", "3 devices targeted, 2 executions", closing(func(r *sample.Repetition) { r.Targeted = 3 }))
	check("the hub counts otherwise", "succeeded 1 against 2, failed 1 against 0", closing(func(r *sample.Repetition) {
		r.Stats = sample.Statistics{Devices: 2, Succeeded: 1, Failed: 1}
	}))
	check("the hub's sums", "2 devices and 3 in some state", closing(func(r *sample.Repetition) {
		r.Stats.Failed = 1
		r.Rows = r.Stats
	}))
	check("more successes than rows", "2 executions succeeded, 1 in the hub's rows", closing(func(r *sample.Repetition) {
		r.Stats = sample.Statistics{Devices: 2, Succeeded: 1, Failed: 1}
		r.Rows = r.Stats
	}))
	check("a direct job has no such books", "", closing(func(r *sample.Repetition) {
		r.HubBooks, r.Stats, r.Rows = false, sample.Statistics{}, sample.Statistics{}
	}))
	check("never closed", "never closed", func(f *fixture) { drop[sample.Repetition](f) })
	check("a repetition too few", "1 of 2 repetitions", func(f *fixture) { f.run.Jobs[0].Repetitions = 2 })
	check("a device of another fleet", "", func(f *fixture) {
		find[sample.Execution](f, 1).Device = sample.NoDevice
	})
}

func TestMissingAndExtra(t *testing.T) {
	f := small()
	r := find[sample.Repetition](f, 0)
	r.Missing, r.Extra = 2, 1
	j := f.build(t).Summary.Jobs[0]
	if j.Missing == nil || *j.Missing != 2 || j.Extra == nil || *j.Extra != 1 {
		t.Errorf("missing %v, extra %v, want 2 and 1", j.Missing, j.Extra)
	}
	r.Checked = false
	if j := f.build(t).Summary.Jobs[0]; j.Missing != nil || j.Extra != nil {
		t.Errorf("missing %v, extra %v, want none: nobody could check", j.Missing, j.Extra)
	}
}

func TestAJobThatDidNotRunFails(t *testing.T) {
	f := small()
	drop[sample.Execution](f)
	*find[sample.Repetition](f, 0) = sample.Repetition{Due: 1 * s, Ended: 1 * s, Status: "failed", Reason: "device not found: door-7", Skipped: true}
	f.run.Thresholds = []string{"fleet.connected == 100%"}
	got := f.build(t).Summary
	want := "job lock: repetition 1 did not run (device not found: door-7)"
	if got.Verdict != report.Fail || len(got.Reasons) != 1 || got.Reasons[0] != want {
		t.Errorf("verdict %v %q, want fail with %q", got.Verdict, got.Reasons, want)
	}
}

func TestRepetitionsThatDidNotRunForOneReasonAreToldTogether(t *testing.T) {
	f := small()
	f.run.Jobs[0].Repetitions = 5
	for n, reason := range map[uint32]string{1: "no hub", 2: "no hub", 3: "no hub", 4: "no time"} {
		f.add(&sample.Repetition{Repetition: n, Due: 1 * s, Reason: reason, Skipped: true})
	}
	got := f.build(t).Summary.Jobs[0].NotRun
	if diff := cmp.Diff([]string{"repetitions 2 to 4 did not run (no hub)", "repetition 5 did not run (no time)"}, got); diff != "" {
		t.Errorf("not run (-want +got):\n%s", diff)
	}
}

func TestGeneratorThatDidNotKeepUpIsInvalid(t *testing.T) {
	check := func(what string, want report.Verdict, reason string, change func(*fixture)) {
		t.Helper()
		f := small()
		change(f)
		got := f.build(t).Summary
		if got.Verdict != want || !strings.Contains(strings.Join(got.Generator.Reasons, "\n"), reason) {
			t.Errorf("%s: %v %q, want %v with %q", what, got.Verdict, got.Generator.Reasons, want, reason)
		}
	}
	wakes := func(delay time.Duration) func(*fixture) {
		return func(f *fixture) {
			drop[sample.Health](f)
			f.wakes(0, 3*s, delay)
		}
	}
	// The longer total is 100 ms, so that the limit is 10 ms; one wake in ten waits four times as long.
	check("just below a tenth", report.Pass, "", wakes(2400*time.Microsecond))
	check("above a tenth", report.Invalid, "wake p99 10.4 ms is above 10.0 ms (10 % of total p99 100 ms)", wakes(2600*time.Microsecond))
	check("only after the job", report.Pass, "", func(f *fixture) {
		drop[sample.Health](f)
		f.wakes(0, 2*s, 100*time.Microsecond)
		f.wakes(2*s, 3*s, time.Second)
	})
	check("no health at all", report.Invalid, "no wake", func(f *fixture) { drop[sample.Health](f) })
	check("none in the job", report.Invalid, "no wake", func(f *fixture) {
		drop[sample.Health](f)
		f.wakes(0, 1*s-ms, 100*time.Microsecond)
		f.wakes(2*s, 3*s, 100*time.Microsecond)
	})
	check("a job too short for one", report.Pass, "", func(f *fixture) {
		drop[sample.Health](f)
		drop[sample.Execution](f)
		f.add(execution(0, sample.Succeeded, 4*ms), execution(1, sample.Succeeded, 4*ms))
		f.wakes(-ms*20, 1*s-ms*20, 100*time.Microsecond)
		f.wakes(2*s, 3*s, 100*time.Microsecond)
	})
}

func TestOneSlowDeviceDoesNotHideASaturatedGenerator(t *testing.T) {
	verdict := func(slow bool) (report.Verdict, []string) {
		f := small()
		drop[sample.Health](f)
		drop[sample.Execution](f)
		f.run.Groups[0].Devices = 100
		rep := find[sample.Repetition](f, 0)
		for d := range uint32(100) {
			f.add(execution(d, sample.Succeeded, 100*ms))
		}
		if slow { // one of the hundred takes a minute, in which the generator has nothing to do
			f.add(execution(99, sample.Succeeded, 60*s))
		}
		rep.Targeted, rep.Ended = 100, 61*s
		rep.Rows = sample.Statistics{Devices: 100, Succeeded: 100}
		rep.Stats = rep.Rows
		find[sample.Targets](f, 0).Devices = nil
		f.end.At = 62 * s
		f.wakes(0, 1*s, 100*time.Microsecond)
		f.wakes(1*s, 2*s, 30*time.Millisecond)
		f.wakes(2*s, 62*s, 100*time.Microsecond)
		got := f.build(t).Summary
		return got.Verdict, got.Generator.Reasons
	}
	for _, slow := range []bool{false, true} {
		if got, reasons := verdict(slow); got != report.Invalid {
			t.Errorf("with a slow device %v: verdict %v %q, want invalid", slow, got, reasons)
		}
	}
}

func TestLatenciesThatOnlySomeHaveForbidAPass(t *testing.T) {
	f := small()
	e := find[sample.Execution](f, 1)
	e.Received, e.Answered, e.Finished = 0, 0, 0
	got := f.build(t).Summary
	want := "job lock: a threshold reads total, which was seen of 1 of 2 executions that succeeded"
	if got.Verdict != report.Fail || !slices.Contains(got.Reasons, want) {
		t.Errorf("verdict %v %q, want fail with %q", got.Verdict, got.Reasons, want)
	}
}

func TestConnectLatenciesWithoutThoseWhoNeverDidForbidAPass(t *testing.T) {
	check := func(want report.Verdict, thresholds ...string) {
		t.Helper()
		f := small()
		f.run.Groups[0].Devices = 3 // one of them never tries
		f.run.Thresholds = thresholds
		if got := f.build(t).Summary; got.Verdict != want {
			t.Errorf("%v: verdict %v %q, want %v", thresholds, got.Verdict, got.Reasons, want)
		}
	}
	check(report.Fail, "fleet.connect.p99 < 5s")
	check(report.Pass, "fleet.connect.p99 < 5s", "fleet.connected >= 2")
	check(report.Pass, "jobs.lock.succeeded == 100%")
}

// The percentiles are those of a sorted list: the smallest value that so many
// percent of the values do not exceed.
func TestPercentilesAreOfTheRankThatTheySay(t *testing.T) {
	for n := 1; n <= 1100; n += 1 + n/50 {
		values := make([]int64, n)
		for i := range values {
			values[i] = int64(i + 1) // below 2,048 a histogram of three digits holds each value apart
		}
		got := report.Percentiles(values)
		for i, p := range []int{500, 900, 990, 999} {
			if want := values[(n*p+999)/1000-1]; got[i] != want {
				t.Errorf("of %d values, percentile %d/10 is %d, want %d", n, p, got[i], want)
			}
		}
	}
}

func TestWakeLimit(t *testing.T) {
	job := func(p99 map[string]time.Duration) *report.Job {
		j := &report.Job{Name: "lock", Phases: map[string]*report.Stats{}}
		for phase, d := range p99 {
			j.Phases[phase] = &report.Stats{Count: 1, P99: report.Millis(d)}
		}
		return j
	}
	limit := func(want time.Duration, p99 map[string]time.Duration, paths ...string) {
		t.Helper()
		var thresholds []report.Threshold
		for _, p := range paths {
			thresholds = append(thresholds, report.Threshold{Path: strings.Split(p, ".")})
		}
		if got, basis := report.WakeLimit(job(p99), thresholds); time.Duration(got) != want {
			t.Errorf("wakeLimit(%v, %v) = %v (%s), want %v", p99, paths, time.Duration(got), basis, want)
		}
	}
	all := map[string]time.Duration{"total": 200 * time.Millisecond, "device": 50 * time.Millisecond, "delivery": 100 * time.Millisecond}
	// Of the last seconds, after a slow beginning.
	part := func(path string, ms float64, want time.Duration) {
		t.Helper()
		of := report.Threshold{Expression: "e", Path: strings.Split(path, "."), Value: &ms, Unit: "ms"}
		if got, basis := report.WakeLimit(job(all), []report.Threshold{of}); time.Duration(got) != want {
			t.Errorf("wakeLimit of %s, which measured %v ms = %v (%s), want %v", path, ms, time.Duration(got), basis, want)
		}
	}
	part("jobs.lock.total.p99", 40, 4*time.Millisecond)
	part("jobs.lock.total.max", 80, 8*time.Millisecond)
	part("jobs.lock.total.p99", 200, 20*time.Millisecond)
	part("jobs.lock.total.max", 900, 20*time.Millisecond)
	part("jobs.lock.total.p50", 40, 20*time.Millisecond)
	limit(20*time.Millisecond, all)
	limit(10*time.Millisecond, all, "jobs.lock.delivery.p50", "jobs.lock.total.max")
	limit(5*time.Millisecond, all, "jobs.lock.total.p99", "jobs.lock.device.p99")
	limit(20*time.Millisecond, all, "jobs.other.device.p99", "jobs.lock.succeeded")
	limit(20*time.Millisecond, all, "jobs.lock.booking.p99") // it has no samples
	limit(4*time.Millisecond, map[string]time.Duration{"booking": 40 * time.Millisecond})
	limit(time.Millisecond, map[string]time.Duration{"total": 3 * time.Millisecond})
	limit(time.Millisecond, nil)
}

// A group that is faster than the rest of its job leaves the generator less room.
func TestWakeLimitOfAGroup(t *testing.T) {
	took := func(p99 time.Duration) map[string]*report.Stats {
		return map[string]*report.Stats{"total": {Count: 1, P99: report.Millis(p99)}}
	}
	j := &report.Job{
		Name: "lock", Phases: took(10 * time.Second),
		Groups: []report.JobGroup{{Name: "doors", Phases: took(50 * time.Millisecond)}, {Name: "lamps", Phases: took(10 * time.Second)}},
	}
	limit := func(want time.Duration, group string) {
		t.Helper()
		got, basis := report.WakeLimit(j, []report.Threshold{{Path: []string{"jobs", "lock", "total", "p99"}, Group: group}})
		if time.Duration(got) != want || group != "" && !strings.Contains(basis, " of group "+group) {
			t.Errorf("limit for %q = %v (%s), want %v", group, time.Duration(got), basis, want)
		}
	}
	limit(5*time.Millisecond, "doors")
	limit(time.Second, "lamps")
	limit(time.Second, "")
}

func TestClockStepIsAWarningWhereTheHubsClockCounts(t *testing.T) {
	warned := func(hubClock bool, step time.Duration) bool {
		f := small()
		for n := range 2 {
			find[sample.Execution](f, n).HubClock = hubClock
		}
		find[sample.Health](f, 1).ClockStep = step
		return strings.Contains(strings.Join(f.build(t).Summary.Jobs[0].Warnings, "\n"), "stepped")
	}
	if !warned(true, -2*time.Millisecond) || warned(true, 500*time.Microsecond) || warned(false, 2*time.Millisecond) {
		t.Error("want a warning of a step beyond 1 ms, for phases on the hub's clock alone")
	}
}

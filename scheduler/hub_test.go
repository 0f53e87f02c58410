package scheduler_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"muster/internal/sample"
	"muster/scheduler"
)

func TestHubJobFromPutToLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 3, scheduler.Options{HubClock: true}, method(func(j *scheduler.Job) {
			j.After, j.MaxExecution = 20*time.Second, 300*time.Second
		}))
		l.hub.rowLag = 2 * time.Second
		start := time.Now()
		l.run(t)

		job := l.hub.jobs[0]
		if _, err := uuid.Parse(job.ID); err != nil {
			t.Errorf("job id %q: %v", job.ID, err)
		}
		if want := start.Add(20 * time.Second); !job.Start.Equal(want) {
			t.Errorf("start time %v, want %v", job.Start, want)
		}
		if job.Condition != "*" || job.MaxExecution != 300*time.Second || job.MethodName != "lockDoor" {
			t.Errorf("request %+v", job.JobRequest)
		}
		due := l.clock.At(job.Start)
		if lead, _ := due.Since(job.put); lead != 5*time.Second {
			t.Errorf("put %v before it was due, want 5 s", lead)
		}
		targets := of[*sample.Targets](l.records)
		want := []*sample.Targets{{ID: job.ID, Due: due, Checkable: true, Devices: []uint32{0, 1, 2}}}
		if diff := cmp.Diff(want, targets); diff != "" {
			t.Errorf("targets (-want +got):\n%s", diff)
		}
		finals := l.finals(t, 0, 0)
		wantFinal := &sample.Execution{
			Device: 1, Outcome: sample.Succeeded, Final: true, Due: due, Dispatched: due, Received: due.Add(ms),
			Answered: due.Add(11 * ms), Finished: due.Add(11 * ms), Booked: due.Add(11 * ms), HubClock: true, Status: 200,
		}
		if diff := cmp.Diff(wantFinal, finals[1]); diff != "" || len(finals) != 3 {
			t.Errorf("%d finals; of device 1 (-want +got):\n%s", len(finals), diff)
		}
		stats := sample.Statistics{Devices: 3, Succeeded: 3}
		rep := l.repetition(t, 0, 0)
		wantRep := &sample.Repetition{
			ID: job.ID, Status: "completed", Due: due, Started: due, Ended: rep.Ended, Targeted: 3,
			Checked: true, HubBooks: true, Rows: stats, Stats: stats,
		}
		if diff := cmp.Diff(wantRep, rep); diff != "" {
			t.Errorf("repetition (-want +got):\n%s", diff)
		}
		if d, _ := rep.Ended.Since(due); d < 2*time.Second || d > 5*time.Second {
			t.Errorf("ended %v after it was due, want soon after the rows' lag of 2 s", d)
		}
	})
}

// A job's end is seen soon after the last device has answered, if the hub is
// near, and a hub that then takes its time is not asked without end.
func TestTheEndOfAJobIsLookedForWhenAllHaveAnswered(t *testing.T) {
	check := func(what string, near bool, stuck bool, most time.Duration, polls int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 3, scheduler.Options{HubClock: near}, method(func(j *scheduler.Job) { j.After = 10 * time.Second }))
			if stuck { // the hub knows of another device, which nobody answers for
				l.hub.targets = append(l.hub.targets, "foreign")
				l.hub.devices["foreign"] = device{stuck: true, code: "DeviceNotOnline"}
				l.hub.endAfter = time.Second
			}
			l.run(t)
			answered := l.finals(t, 0, 0)[0].Answered
			rep := l.repetition(t, 0, 0)
			if took, ok := rep.Ended.Since(answered); !ok || took > most {
				t.Errorf("%s: ended %v after the last answer, want within %v", what, took, most)
			}
			if n := len(l.hub.polls); n > polls {
				t.Errorf("%s: %d looks at the job, want at most %d", what, n, polls)
			}
		})
	}
	check("a hub on this host", true, false, 10*ms, 3)
	check("a hub elsewhere", false, false, 300*ms, 3)
	check("a hub that takes its time", true, true, 1300*ms, 11)
}

func TestProvisionalRecordsComeWithTheDevicesNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := method(func(j *scheduler.Job) { j.After = 10 * time.Second })
		l := newLab(t, 2, scheduler.Options{}, job)
		l.hub.devices["d1"] = device{status: 500}
		time.AfterFunc(10*time.Second+5*ms, func() {
			got := of[*sample.Execution](l.records)
			if len(got) != 2 {
				t.Fatalf("%d records right after the devices received it, want 2", len(got))
			}
			for _, e := range got {
				if e.Final || e.Outcome != sample.Open || !e.Received.Seen() || e.Answered.Seen() || !e.Due.Seen() {
					t.Errorf("record of a receipt %+v", e)
				}
			}
		})
		time.AfterFunc(10*time.Second+20*ms, func() {
			got := of[*sample.Execution](l.records)
			if len(got) != 4 {
				t.Fatalf("%d records right after the devices answered, want 4", len(got))
			}
			for _, e := range got[2:] {
				want := sample.Succeeded
				if e.Device == 1 {
					want = sample.Failed
				}
				if e.Final || e.Outcome != want || !e.Received.Seen() || !e.Answered.Seen() {
					t.Errorf("provisional record %+v", e)
				}
			}
			p := l.s.Progress()[0]
			if p.Status != "running" || p.Targeted != 2 || p.Received != 2 || p.Done != 2 || p.Repetition != 1 {
				t.Errorf("progress %+v", p)
			}
		})
		l.run(t)
		if e := l.finals(t, 0, 0)[0]; e.Dispatched.Seen() || e.Booked.Seen() || e.HubClock {
			t.Errorf("the times of a hub elsewhere are in %+v", e)
		}
	})
}

func TestRowsBecomeOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 8, scheduler.Options{}, method(func(j *scheduler.Job) { j.Settle = 3 * time.Second }))
		l.hub.endAfter = 2 * time.Second
		l.hub.devices = map[string]device{
			"d1": {status: 503}, "d2": {offline: true}, "d3": {code: "GatewayTimeout"}, "d4": {code: "Other"},
			"d5": {stuck: true}, "d6": {silent: true}, "d7": {noRow: true},
		}
		l.run(t)
		want := map[uint32]string{
			0: "succeeded", 1: "failed", 2: "offline", 3: "timedOut", 4: "failed",
			5: "notDispatched", 6: "timedOut", 7: "unknown",
		}
		if diff := cmp.Diff(want, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		rep := l.repetition(t, 0, 0)
		rows := sample.Statistics{Devices: 7, Succeeded: 2, Failed: 3, Running: 1, Pending: 1}
		stats := sample.Statistics{Devices: 8, Succeeded: 3, Failed: 3, Running: 1, Pending: 1}
		if rep.Rows != rows || rep.Stats != stats || rep.Targeted != 8 || rep.Missing+rep.Extra != 0 {
			t.Errorf("repetition %+v", rep)
		}
		if e := l.finals(t, 0, 0)[2]; e.Code != "DeviceNotOnline" {
			t.Errorf("code of the offline device %q", e.Code)
		}
		if p := l.s.Progress()[0]; p.Status != "done" || p.Outcomes[sample.Failed] != 2 || p.Targeted != 8 {
			t.Errorf("progress %+v", p)
		}
	})
}

func TestRowsThatTheHubNeverGotTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 4, scheduler.Options{}, method(nil))
		l.hub.endAfter = 2 * time.Second
		l.hub.devices = map[string]device{
			"d1": {stuck: true, code: "GenericTimeout"}, "d2": {stuck: true, code: "DeviceNotOnline"}, "d3": {stuck: true, code: "GenericTimeout"},
		}
		time.AfterFunc(time.Second, func() { // its row does not know, but the device does
			l.s.Received(sample.Receipt{Device: 3, Kind: sample.MethodReceipt, Name: "lockDoor", Payload: l.hub.jobs[0].Payload, At: l.clock.Now()})
		})
		l.run(t)
		want := map[uint32]string{0: "succeeded", 1: "notDispatched", 2: "offline", 3: "failed"}
		if diff := cmp.Diff(want, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if e := l.finals(t, 0, 0)[1]; e.Code != "GenericTimeout" {
			t.Errorf("code %q", e.Code)
		}
	})
}

func TestTargetsWithoutARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 3, scheduler.Options{}, method(func(j *scheduler.Job) { j.Settle = 3 * time.Second }))
		l.hub.targets = []string{"d0", "d1", "d2", "stranger"}
		l.hub.devices["d1"] = device{offline: true, noRow: true}
		l.hub.devices["stranger"] = device{offline: true, noRow: true}
		start := l.clock.Now()
		l.run(t)
		want := map[uint32]string{0: "succeeded", 1: "unknown", 2: "succeeded", sample.NoDevice: "unknown"}
		if diff := cmp.Diff(want, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		rep := l.repetition(t, 0, 0)
		if rep.Targeted != 4 || rep.Rows.Devices != 2 || rep.Stats.Devices != 4 {
			t.Errorf("repetition %+v", rep)
		}
		if took, _ := rep.Ended.Since(start); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("settled %v after the start, want soon after 3 s", took)
		}
	})
}

func TestHubWithoutStatistics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 4, scheduler.Options{}, method(nil))
		l.hub.noStats, l.hub.rowLag = true, 2*time.Second
		l.run(t)
		rep := l.repetition(t, 0, 0)
		if rep.Targeted != 4 || rep.HubBooks || l.outcomes(t, 0, 0)[3] != "succeeded" {
			t.Errorf("repetition %+v: want all rows, and no books to compare", rep)
		}
	})
}

func TestAnOlderRowDoesNotReplaceAFinalOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2, scheduler.Options{}, method(nil))
		l.hub.rowLag, l.hub.stale = time.Second, "d0"
		l.run(t)
		if diff := cmp.Diff(map[uint32]string{0: "succeeded", 1: "succeeded"}, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if l.hub.reads < 2 {
			t.Errorf("%d readings: nothing was tested", l.hub.reads)
		}
	})
}

func TestTargetsAreEvaluatedWhenTheJobIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 3, scheduler.Options{}, method(func(j *scheduler.Job) { j.After = 10 * time.Second }))
		start := l.clock.Now()
		time.AfterFunc(9*time.Second, func() { // after the PUT; as another job may
			l.fleet.mu.Lock()
			defer l.fleet.mu.Unlock()
			l.fleet.match = []uint32{1}
		})
		l.run(t)
		if got := of[*sample.Targets](l.records)[0].Devices; len(got) != 1 {
			t.Errorf("targets %v, want those that match when it is due", got)
		}
		if first, _ := l.hub.polls[0].Since(start); first < 9*time.Second {
			t.Errorf("polled %v after the start, long before the job is due", first)
		}
	})
}

func TestMissingAndExtra(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 100, scheduler.Options{}, method(nil))
		l.fleet.match = []uint32{0, 1, 2}
		l.hub.targets = []string{"d1", "d2", "d99", "stranger"}
		l.hub.devices["stranger"] = device{offline: true}
		l.run(t)
		rep := l.repetition(t, 0, 0)
		if !rep.Checked || rep.Targeted != 4 || rep.Missing != 1 || rep.Extra != 2 {
			t.Errorf("repetition %+v, want 4 targeted, 1 missing, 2 extra", rep)
		}
		want := map[uint32]string{1: "succeeded", 2: "succeeded", 99: "succeeded", sample.NoDevice: "offline"}
		if diff := cmp.Diff(want, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if !l.finals(t, 0, 0)[99].Received.Seen() {
			t.Error("the extra device's receipt was not matched")
		}
		if got := of[*sample.Unexpected](l.records); len(got) != 0 {
			t.Errorf("unexpected %+v", got[0])
		}
	})
}

func TestConditionThatTheFleetCannotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 3, scheduler.Options{}, method(nil))
		l.fleet.blind = true
		l.run(t)
		if rep := l.repetition(t, 0, 0); rep.Checked || rep.Targeted != 3 || rep.Missing != 0 || rep.Extra != 0 {
			t.Errorf("repetition %+v", rep)
		}
	})
}

func TestDesiredUpdateReachesTheFleetsTwins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 3, scheduler.Options{HubClock: true}, scheduler.Job{
			Name: "place", Kind: scheduler.Desired, Desired: json.RawMessage(`{"floor":3}`), ConditionText: "*", After: 6 * time.Second,
		})
		l.hub.devices["d1"] = device{offline: true}
		l.hub.devices["d2"] = device{latency: 700 * ms} // its rows are final long before
		l.run(t)
		want := map[uint32]string{0: "succeeded", 1: "succeeded", 2: "succeeded"}
		if diff := cmp.Diff(want, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		due := of[*sample.Targets](l.records)[0].Due
		finals := l.finals(t, 0, 0)
		if e := finals[2]; e.Answered != due.Add(701*ms) || e.Finished != due.Add(702*ms) || e.Booked != due.Add(ms) {
			t.Errorf("the late device's %+v", e)
		}
		if e := finals[1]; e.Received.Seen() || e.Finished.Seen() {
			t.Errorf("the offline device's %+v", e)
		}
		if len(l.fleet.applied) != 3 {
			t.Errorf("applied to %v", l.fleet.applied)
		}
	})
}

func TestTagsUpdateHasNoReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 3, scheduler.Options{HubClock: true}, scheduler.Job{
			Name: "tag", Kind: scheduler.Tags, Tags: json.RawMessage(`{"a":1}`), ConditionText: "*", Mark: true,
		})
		l.run(t)
		for _, e := range l.finals(t, 0, 0) {
			if e.Outcome != sample.Succeeded || !e.Booked.Seen() || e.Finished.Seen() {
				t.Errorf("execution %+v", e)
			}
		}
		if len(l.fleet.applied) != 3 {
			t.Errorf("applied to %v", l.fleet.applied)
		}
	})
}

func TestRepetitionsWaitForTheirPredecessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, scheduler.Options{HubClock: true}, method(func(j *scheduler.Job) {
			j.After, j.Times, j.Every = 10*time.Second, 3, 2*time.Second
		}))
		l.hub.devices["d0"] = device{latency: 5 * time.Second}
		l.run(t)
		first := of[*sample.Targets](l.records)[0].Due
		for n := range uint32(3) {
			e := l.finals(t, 0, n)[0]
			if want := first.Add(time.Duration(n) * 2 * time.Second); e.Due != want {
				t.Errorf("repetition %d due at %v, want the plan's %v", n, e.Due, want)
			}
			if e.Outcome != sample.Succeeded || e.Duplicates != 0 {
				t.Errorf("repetition %d: %+v", n, e)
			}
			if n > 0 && l.hub.jobs[n].put < l.finals(t, 0, n-1)[0].Answered {
				t.Errorf("repetition %d was put before its predecessor ended", n)
			}
			if rep := l.repetition(t, 0, n); n > 0 && rep.Started != l.hub.jobs[n].put {
				t.Errorf("repetition %d started at %v, before it was put at %v", n, rep.Started, l.hub.jobs[n].put)
			}
		}
		if late, _ := l.finals(t, 0, 2)[0].Received.Since(first.Add(4 * time.Second)); late < 6*time.Second {
			t.Errorf("the third repetition was received %v after it was due: the overrun does not show", late)
		}
	})
}

func TestAdaptivePolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, scheduler.Options{}, method(nil))
		l.hub.devices["d0"] = device{latency: 60 * time.Second}
		l.run(t)
		polls := l.hub.polls
		for i := 2; i < len(polls); i++ {
			d, _ := polls[i].Since(polls[i-1])
			if d < 250*ms || d > time.Second {
				t.Errorf("polls %d and %d are %v apart", i-1, i, d)
			}
		}
		if n := len(polls); n < 60 || n > 100 {
			t.Errorf("%d polls in a minute", n)
		}
		states := of[*sample.JobState](l.records)
		if n := len(states); n < 55 || n > 66 {
			t.Errorf("%d job states in a minute", n)
		}
		if last := states[len(states)-1]; last.Status != "completed" || last.Stats.Succeeded != 1 {
			t.Errorf("last state %+v", last)
		}
	})
}

package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
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

func TestProvisionalRecordsComeWhenTheDeviceHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := method(func(j *scheduler.Job) { j.After = 10 * time.Second })
		l := newLab(t, 2, scheduler.Options{}, job)
		l.hub.devices["d1"] = device{status: 500}
		time.AfterFunc(10*time.Second+20*ms, func() {
			got := of[*sample.Execution](l.records)
			if len(got) != 2 {
				t.Fatalf("%d records right after the devices answered, want 2", len(got))
			}
			for _, e := range got {
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

func TestReceiptsFindTheirExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 4, scheduler.Options{}, method(func(j *scheduler.Job) { j.After = 10 * time.Second }))
		l.hub.payload = func(p []byte) []byte { return append([]byte(" "), p...) } // the hub's own form
		l.hub.devices["d1"] = device{receipts: 3}
		l.hub.devices["d2"] = device{latency: 500 * ms}
		receipt := func(name, payload string) sample.Receipt {
			return sample.Receipt{Device: 2, Kind: sample.MethodReceipt, Name: name, Payload: []byte(payload), At: l.clock.Now()}
		}
		const own = `{ "lockTime" : "10m" }`
		if ticket := l.s.Received(receipt("lockDoor", own)); ticket != 0 { // no repetition is open yet
			t.Errorf("ticket %d before the job", ticket)
		}
		time.AfterFunc(10*time.Second+100*ms, func() { // while it is open
			if ticket := l.s.Received(receipt("unlockDoor", own)); ticket != 0 {
				t.Errorf("ticket %d of another method", ticket)
			}
			l.s.Received(receipt("lockDoor", `{"lockTime":"11m"}`))
			desired := receipt("", `{"lockTime":"10m"}`)
			desired.Kind = sample.DesiredReceipt
			l.s.Received(desired)
			stranger := receipt("lockDoor", own)
			stranger.Device = 77
			l.s.Received(stranger)
			l.s.Answered(0, 200, 1)
			l.s.Answered(99<<32, 200, 1)
		})
		l.run(t)
		l.s.Received(receipt("lockDoor", own)) // the repetition has closed

		type unexpected struct {
			Kind, Name string
			Job        uint32
			TooEarly   bool
		}
		var got []unexpected
		for _, u := range of[*sample.Unexpected](l.records) {
			got = append(got, unexpected{u.Kind, u.Name, u.Job, u.TooEarly})
		}
		want := []unexpected{
			{"method", "lockDoor", 0, true},
			{"method", "unlockDoor", sample.NoJob, false},
			{"method", "lockDoor", sample.NoJob, false},
			{"desired", "", sample.NoJob, false},
			{"method", "lockDoor", 0, false},
			{"method", "lockDoor", 0, true},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("unexpected (-want +got):\n%s", diff)
		}
		finals := l.finals(t, 0, 0)
		for device, e := range finals {
			want := uint32(0)
			if device == 1 {
				want = 2
			}
			if e.Outcome != sample.Succeeded || e.Duplicates != want || !e.Received.Seen() {
				t.Errorf("execution %+v, want %d duplicates", e, want)
			}
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
		l := newLab(t, 1, scheduler.Options{}, method(func(j *scheduler.Job) {
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
		}
		if late, _ := l.finals(t, 0, 2)[0].Received.Since(first.Add(4 * time.Second)); late < 6*time.Second {
			t.Errorf("the third repetition was received %v after it was due: the overrun does not show", late)
		}
	})
}

func TestMarkedRepetitionsOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2, scheduler.Options{}, method(func(j *scheduler.Job) {
			j.After, j.Times, j.Every, j.Mark = 10*time.Second, 3, 2*time.Second, true
		}))
		l.hub.devices["d0"] = device{latency: 5 * time.Second}
		l.run(t)
		for n := range uint32(3) {
			e := l.finals(t, 0, n)[0]
			if d, _ := e.Received.Since(e.Due); d != ms || e.Outcome != sample.Succeeded || e.Duplicates != 0 {
				t.Errorf("repetition %d: %+v", n, e)
			}
			job := l.hub.jobs[n]
			if want := `{"lockTime":"10m","musterId":"` + job.ID + `"}`; string(job.Payload) != want {
				t.Errorf("payload %s, want %s", job.Payload, want)
			}
		}
		late := sample.Receipt{Kind: sample.MethodReceipt, Name: "lockDoor", Payload: l.hub.jobs[0].Payload, At: 1}
		l.s.Received(late)
		if u := of[*sample.Unexpected](l.records); len(u) != 1 || u[0].Job != 0 || !u[0].TooEarly {
			t.Errorf("unexpected %+v", u)
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

func TestJobThatTheHubFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2, scheduler.Options{}, method(nil))
		l.hub.failed = "SQL query parse failed"
		l.run(t)
		rep := l.repetition(t, 0, 0)
		if rep.Status != "failed" || rep.Reason != "SQL query parse failed" || rep.Targeted != 2 {
			t.Errorf("repetition %+v", rep)
		}
		want := map[uint32]string{0: "notDispatched", 1: "notDispatched"}
		if diff := cmp.Diff(want, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
	})
}

func TestServiceDeathEndsTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := scheduler.Job{Name: "tag", Kind: scheduler.Tags, Tags: json.RawMessage(`{"a":1}`), ConditionText: "*"}
		l := newLab(t, 2, scheduler.Options{Patience: 20 * time.Second}, other, method(func(j *scheduler.Job) {
			j.After, j.Times, j.Every = 10*time.Second, 3, 20*time.Second
		}))
		l.hub.devices["d1"] = device{latency: time.Minute}
		time.AfterFunc(12*time.Second, l.hub.die)
		start := time.Now()
		err := l.s.Run(t.Context())
		if !errors.Is(err, errDead) || !strings.Contains(err.Error(), "job lock: follow job") {
			t.Errorf("Run = %v", err)
		}
		if took := time.Since(start); took < 32*time.Second || took > 40*time.Second {
			t.Errorf("Run took %v, want the hub's 12 s and 20 s of patience", took)
		}
		if diff := cmp.Diff(map[uint32]string{0: "unknown", 1: "unknown"}, l.outcomes(t, 1, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if e := l.finals(t, 1, 0)[0]; !e.Answered.Seen() {
			t.Error("what the device told is lost")
		}
		if rep := l.repetition(t, 1, 0); !strings.Contains(rep.Reason, "connection refused") || rep.Targeted != 2 || rep.HubBooks {
			t.Errorf("repetition %+v", rep)
		}
		if rep := l.repetition(t, 1, 2); !rep.Skipped || rep.Reason == "" {
			t.Errorf("last repetition %+v", rep)
		}
		if diff := cmp.Diff(map[uint32]string{0: "succeeded", 1: "succeeded"}, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes of the other job (-want +got):\n%s", diff)
		}
		synctest.Wait()
		time.Sleep(2 * time.Minute) // for the fake's last timers
	})
}

func TestAShortFailureOfTheServiceIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2, scheduler.Options{}, method(nil))
		l.hub.devices["d1"] = device{latency: 20 * time.Second}
		time.AfterFunc(5*time.Second, l.hub.die)
		time.AfterFunc(25*time.Second, func() {
			l.hub.mu.Lock()
			defer l.hub.mu.Unlock()
			l.hub.dead = false
		})
		l.run(t)
		if rep := l.repetition(t, 0, 0); rep.Status != "completed" || rep.Targeted != 2 {
			t.Errorf("repetition %+v", rep)
		}
	})
}

func TestJobThatTheHubRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2, scheduler.Options{}, method(nil))
		l.hub.refuse = errors.New("400 bad request")
		if err := l.s.Run(t.Context()); !errors.Is(err, l.hub.refuse) {
			t.Errorf("Run = %v", err)
		}
		if diff := cmp.Diff(map[uint32]string{0: "unknown", 1: "unknown"}, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if rep := l.repetition(t, 0, 0); !strings.Contains(rep.Reason, "create job") || rep.Status != "unknown" {
			t.Errorf("repetition %+v", rep)
		}
	})
}

func TestJobThatTheHubNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2, scheduler.Options{}, method(func(j *scheduler.Job) {
			j.MaxExecution, j.Settle, j.Times, j.Every = 10*time.Second, 5*time.Second, 2, time.Minute
		}))
		l.hub.devices["d1"] = device{silent: true}
		l.run(t)
		if diff := cmp.Diff(map[uint32]string{0: "succeeded", 1: "unknown"}, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if rep := l.repetition(t, 0, 0); !strings.Contains(rep.Reason, "maximum execution time") || rep.Status != "running" || rep.HubBooks {
			t.Errorf("repetition %+v", rep)
		}
		if !l.repetition(t, 0, 1).Skipped {
			t.Error("the next repetition was not skipped")
		}
	})
}

// stop runs the jobs and interrupts them after a while. It returns how long
// the drain took.
func (l *lab) stop(t *testing.T, after time.Duration) time.Duration {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var stopped time.Time
	time.AfterFunc(after, func() { stopped = time.Now(); cancel() })
	if err := l.s.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	return time.Since(stopped)
}

func TestDrainOfAWaitingJobIsImmediate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2, scheduler.Options{}, method(func(j *scheduler.Job) { j.After = time.Minute }))
		if took := l.stop(t, time.Second); took != 0 {
			t.Errorf("drained in %v", took)
		}
		if len(l.hub.jobs) != 0 || len(l.all) != 0 {
			t.Errorf("%d jobs, %d records", len(l.hub.jobs), len(l.all))
		}
	})
}

func TestDrainCancelsAJobThatHasNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2, scheduler.Options{}, method(func(j *scheduler.Job) { j.After = 4 * time.Second }))
		if took := l.stop(t, time.Second); took > time.Second {
			t.Errorf("drained in %v", took)
		}
		if l.hub.jobs[0].status != "cancelled" {
			t.Errorf("the hub's job is %s", l.hub.jobs[0].status)
		}
		if diff := cmp.Diff(map[uint32]string{0: "cancelled", 1: "cancelled"}, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if rep := l.repetition(t, 0, 0); rep.Status != "cancelled" || rep.Targeted != 2 {
			t.Errorf("repetition %+v", rep)
		}
	})
}

func TestDrainAwaitsARunningJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 3, scheduler.Options{}, method(nil))
		l.hub.devices["d1"] = device{latency: 5 * time.Second}
		if took := l.stop(t, time.Second); took < 4*time.Second || took > 6*time.Second {
			t.Errorf("drained in %v, want about 4 s", took)
		}
		want := map[uint32]string{0: "succeeded", 1: "succeeded", 2: "succeeded"}
		if diff := cmp.Diff(want, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
	})
}

func TestDrainGivesUpWhatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 3, scheduler.Options{Drain: 4 * time.Second}, method(nil))
		l.hub.devices["d1"] = device{silent: true}
		if took := l.stop(t, time.Second); took > 4*time.Second {
			t.Errorf("drained in %v, more than 4 s", took)
		}
		want := map[uint32]string{0: "succeeded", 1: "unknown", 2: "succeeded"}
		if diff := cmp.Diff(want, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if rep := l.repetition(t, 0, 0); rep.Reason != "the run was stopped" {
			t.Errorf("repetition %+v", rep)
		}
	})
}

func TestReceiptsDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector lets pools forget on purpose")
	}
	const size = 1000
	synctest.Test(t, func(t *testing.T) {
		job := method(func(j *scheduler.Job) { j.After = 5 * time.Second })
		l := newLab(t, size, scheduler.Options{}, job)
		quiet, err := scheduler.New([]scheduler.Job{job}, scheduler.Options{Clock: l.clock, Fleet: l.fleet, Service: l.hub})
		if err != nil {
			t.Fatal(err)
		}
		l.s, l.hub.s = quiet, quiet
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- l.s.Run(ctx) }()
		synctest.Wait() // the window is open, and due in five seconds

		receipt := func(device uint32) sample.Receipt {
			return sample.Receipt{Device: device, Kind: sample.MethodReceipt, Name: "lockDoor", Payload: []byte(`{"lockTime": "10m"}`), At: 2}
		}
		for device := range uint32(size) { // makes every page, and lets the payload's form be learnt
			if device%2 == 0 && l.s.Received(receipt(device)) == 0 {
				t.Fatalf("device %d has no execution", device)
			}
		}
		r, next := receipt(0), uint32(0)
		if allocs := testing.AllocsPerRun(400, func() {
			next++
			r.Device = 2*(next%(size/2)) + 1
			ticket := l.s.Received(r)
			if ticket == 0 {
				t.Fatalf("device %d has no execution", r.Device)
			}
			l.s.Answered(ticket, 200, 3)
			l.s.Received(r) // a duplicate
		}); allocs != 0 {
			t.Errorf("%v allocations a receipt and its answer", allocs)
		}
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

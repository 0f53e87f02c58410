package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
	"muster/scheduler"
)

// caller is a fake of a hub's side for direct calls.
type caller struct {
	lab      *lab
	ids      []string      // what every query returns
	querying time.Duration // how long it takes
	latency  time.Duration // of a call
	queryErr error
	absent   bool // single devices are not there
	answer   func(id string) (scheduler.Reply, error)
	notes    time.Duration // how late devices note that they answered
	stray    time.Duration // how long after a call was given up it reaches its device; 0 is never

	mu          sync.Mutex
	pausedUntil time.Time
	flying, top int
	calls       []scheduler.Call
	patches     int
	left        []time.Duration // to the deadline of each call when it began
}

func (c *caller) Query(ctx context.Context, condition string) ([]string, error) {
	select {
	case <-time.After(c.querying):
		return c.ids, c.queryErr
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *caller) Exists(context.Context, string) (bool, error) { return !c.absent, nil }

func (c *caller) Invoke(ctx context.Context, id string, call scheduler.Call) (scheduler.Reply, error) {
	c.mu.Lock()
	c.calls = append(c.calls, call)
	c.mu.Unlock()
	return c.do(ctx, id, sample.Receipt{Kind: sample.MethodReceipt, Name: call.Method, Payload: call.Payload})
}

func (c *caller) Patch(ctx context.Context, id string, _, desired json.RawMessage) (scheduler.Reply, error) {
	c.mu.Lock()
	c.patches++
	c.mu.Unlock()
	return c.do(ctx, id, sample.Receipt{Kind: sample.DesiredReceipt, Payload: desired})
}

func (c *caller) do(ctx context.Context, id string, r sample.Receipt) (scheduler.Reply, error) {
	reply := scheduler.Reply{Wrote: c.lab.clock.Now(), Attempts: 1, Status: 200}
	deadline, _ := ctx.Deadline()
	c.mu.Lock()
	c.left = append(c.left, time.Until(deadline))
	c.flying++
	c.top = max(c.top, c.flying)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.flying--
	}()
	if c.answer != nil {
		if reply, err := c.answer(id); err != nil || reply.Status != 0 {
			return reply, err
		}
	}
	c.mu.Lock()
	pause := time.Until(c.pausedUntil)
	c.mu.Unlock()
	select {
	case <-time.After(max(pause, 0) + c.latency):
	case <-ctx.Done():
		if c.stray > 0 {
			r.Device, _ = c.lab.fleet.Index(id)
			time.AfterFunc(c.stray, func() {
				r.At = c.lab.clock.Now()
				c.lab.s.Answered(c.lab.s.Received(r), 200, c.lab.clock.Now())
			})
		}
		return reply, &scheduler.CallError{Outcome: sample.Failed, Wrote: reply.Wrote, Attempts: 1, Err: ctx.Err()}
	}
	if len(r.Payload) > 0 {
		r.Device, _ = c.lab.fleet.Index(id)
		r.At = c.lab.clock.Now()
		ticket := c.lab.s.Received(r)
		if c.notes > 0 {
			time.AfterFunc(c.notes, func() { c.lab.s.Answered(ticket, 200, c.lab.clock.Now()) })
		} else {
			c.lab.s.Answered(ticket, 200, c.lab.clock.Now())
		}
		if r.Kind == sample.DesiredReceipt {
			time.AfterFunc(5*ms, func() { c.lab.s.Finished(ticket, c.lab.clock.Now()) })
		}
	}
	return reply, nil
}

func (c *caller) pause(after, d time.Duration) {
	time.AfterFunc(after, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pausedUntil = time.Now().Add(d)
	})
}

func directLab(t *testing.T, size int, opts scheduler.Options, jobs ...scheduler.Job) (*lab, *caller) {
	t.Helper()
	c := &caller{ids: names(size), latency: 10 * ms}
	opts.Direct = c
	l := newLab(t, size, opts, jobs...)
	c.lab = l
	return l, c
}

func direct(change func(*scheduler.Job)) scheduler.Job {
	return method(func(j *scheduler.Job) {
		j.Via = scheduler.Direct
		if change != nil {
			change(j)
		}
	})
}

func TestDirectJobIsOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 100, scheduler.Options{}, direct(func(j *scheduler.Job) {
			j.After, j.Rate, j.ResponseTimeout = 3*time.Second, 100, 7*time.Second
		}))
		c.latency = 195 * ms
		start := l.clock.Now()
		l.run(t)
		finals := l.finals(t, 0, 0)
		for device, e := range finals {
			due := start.Add(3*time.Second + time.Duration(device)*10*ms)
			want := &sample.Execution{
				Device: device, Outcome: sample.Succeeded, Final: true, Due: due, Dispatched: due, Received: due.Add(195 * ms),
				Answered: due.Add(195 * ms), Finished: due.Add(195 * ms), Status: 200, Attempts: 1,
			}
			if diff := cmp.Diff(want, e); diff != "" {
				t.Fatalf("execution of device %d (-want +got):\n%s", device, diff)
			}
		}
		rep := l.repetition(t, 0, 0)
		want := &sample.Repetition{
			Status: "completed", Due: start.Add(3 * time.Second), Started: start.Add(3 * time.Second),
			Ended: start.Add(3*time.Second + 99*10*ms + 195*ms), Targeted: 100, Checked: true,
		}
		if diff := cmp.Diff(want, rep); diff != "" || len(finals) != 100 {
			t.Errorf("%d finals; repetition (-want +got):\n%s", len(finals), diff)
		}
		if c.top != 20 {
			t.Errorf("%d calls on their way at once, want the 20 that 100/s and 195 ms make", c.top)
		}
		if call := c.calls[0]; call.Method != "lockDoor" || call.ResponseTimeout != 7*time.Second {
			t.Errorf("call %+v", call)
		}
		if p := l.s.Progress()[0]; p.Done != 100 || p.Outcomes[sample.Succeeded] != 100 || p.Status != "done" {
			t.Errorf("progress %+v", p)
		}
	})
}

func TestAnAnswerIsNotLaterThanItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 1, scheduler.Options{}, direct(nil))
		c.notes = 3 * ms // the response is read before the device has noted that it answered
		l.run(t)
		e := l.finals(t, 0, 0)[0]
		if !e.Answered.Seen() || e.Answered != e.Finished {
			t.Errorf("answered at %v, finished at %v", e.Answered, e.Finished)
		}
	})
}

func TestTheQueryCountsFromDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 10, scheduler.Options{}, direct(nil))
		c.querying = 300 * ms
		l.run(t)
		for _, e := range l.finals(t, 0, 0) {
			if lag, _ := e.Dispatched.Since(e.Due); lag != 300*ms {
				t.Errorf("lag %v, want the query's 300 ms", lag)
			}
		}
	})
}

// A worker makes call after call: each has the time that it would have alone, and not much more.
func TestEveryCallHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 200, scheduler.Options{}, direct(func(j *scheduler.Job) {
			j.InFlight, j.ResponseTimeout, j.ConnectTimeout = 2, 30*time.Second, 10*time.Second
		}))
		c.latency = 3 * time.Second
		l.run(t)
		const calling = 40*time.Second + 2*time.Minute
		for i, left := range c.left {
			if left < calling || left > calling+calling/8 {
				t.Errorf("call %d had %v, want %v to an eighth more", i, left, calling)
			}
		}
		if len(c.left) != 200 {
			t.Errorf("%d calls, want 200", len(c.left))
		}
	})
}

// A call without an answer ends with its time, and the worker's next one has time again.
func TestACallWithoutAnAnswerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 3, scheduler.Options{}, direct(func(j *scheduler.Job) { j.InFlight = 1 }))
		c.latency = time.Hour
		start := time.Now()
		l.run(t)
		const calling = 30*time.Second + 2*time.Minute
		if took := time.Since(start); took < 3*calling || took > 3*(calling+calling/8)+time.Minute {
			t.Errorf("3 calls without an answer took %v, want 3 times %v to an eighth more", took, calling)
		}
		for device, outcome := range l.outcomes(t, 0, 0) {
			if outcome != "timedOut" {
				t.Errorf("device %d: %s, want timedOut", device, outcome)
			}
		}
	})
}

func TestAPauseShowsInTotalAndNotInService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 300, scheduler.Options{}, direct(func(j *scheduler.Job) { j.Rate, j.InFlight = 100, 8 }))
		c.pause(time.Second, time.Second)
		l.run(t)
		var slowTotal, slowService int
		for _, e := range l.finals(t, 0, 0) {
			if total, _ := e.Finished.Since(e.Due); total > 500*ms {
				slowTotal++
			}
			if service, _ := e.Finished.Since(e.Dispatched); service > 500*ms {
				slowService++
			}
		}
		if slowTotal < 45 || slowTotal > 70 {
			t.Errorf("%d executions took over 500 ms from due, want about the 50 of half the pause", slowTotal)
		}
		if slowService != 8 {
			t.Errorf("%d calls took over 500 ms, want the 8 on their way", slowService)
		}
		if c.top != 8 {
			t.Errorf("%d calls on their way at once", c.top)
		}
	})
}

func TestARateOfZeroCallsAllAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 1000, scheduler.Options{}, direct(nil))
		l.run(t)
		if c.top != 1000 {
			t.Errorf("%d calls on their way at once", c.top)
		}
		for device, e := range l.finals(t, 0, 0) {
			if lag, _ := e.Dispatched.Since(e.Due); lag != 0 {
				t.Errorf("device %d dispatched %v late", device, lag)
			}
		}
	})
}

func TestRepliesBecomeOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 5, scheduler.Options{}, direct(nil))
		c.answer = func(id string) (scheduler.Reply, error) {
			switch id {
			case "d1":
				return scheduler.Reply{Status: 404, Wrote: 1, Attempts: 3}, nil
			case "d2":
				return scheduler.Reply{}, &scheduler.CallError{Outcome: sample.Offline, Code: "DeviceNotOnline", Wrote: 1, Attempts: 1}
			case "d3":
				return scheduler.Reply{}, &scheduler.CallError{Outcome: sample.TimedOut, Code: "GatewayTimeout", Wrote: 1, Attempts: 1}
			case "d4":
				return scheduler.Reply{}, errors.New("broken")
			}
			return scheduler.Reply{}, nil
		}
		l.run(t)
		want := map[uint32]string{0: "succeeded", 1: "failed", 2: "offline", 3: "timedOut", 4: "failed"}
		if diff := cmp.Diff(want, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		finals := l.finals(t, 0, 0)
		if e := finals[1]; e.Status != 404 || e.Attempts != 3 {
			t.Errorf("execution %+v", e)
		}
		if finals[2].Code != "DeviceNotOnline" {
			t.Errorf("execution %+v", finals[2])
		}
	})
}

func TestDirectTwinUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := scheduler.Job{
			Name: "place", Kind: scheduler.Desired, Desired: json.RawMessage(`{"floor":3}`), ConditionText: "*", Via: scheduler.Direct,
		}
		tag := scheduler.Job{Name: "tag", Kind: scheduler.Tags, Tags: json.RawMessage(`{"a":1}`), ConditionText: "*", Via: scheduler.Direct, After: time.Second}
		l, c := directLab(t, 3, scheduler.Options{}, place, tag)
		l.run(t)
		for _, e := range l.finals(t, 0, 0) {
			if took, _ := e.Finished.Since(e.Dispatched); e.Outcome != sample.Succeeded || took != 15*ms {
				t.Errorf("desired: %+v took %v, want to end with the device's own 204", e, took)
			}
		}
		for _, e := range l.finals(t, 1, 0) {
			if took, _ := e.Finished.Since(e.Dispatched); e.Outcome != sample.Succeeded || took != 10*ms || e.Received.Seen() {
				t.Errorf("tags: %+v took %v", e, took)
			}
		}
		if len(l.fleet.applied) != 6 || c.patches != 6 {
			t.Errorf("applied to %v, %d patches", l.fleet.applied, c.patches)
		}
	})
}

func TestProvisionalRecordsOfADirectJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 2, scheduler.Options{}, direct(func(j *scheduler.Job) { j.Rate = 1 }))
		c.notes = 100 * ms // the device's own record comes after the call's
		last := func() *sample.Execution {
			var e *sample.Execution
			for _, of := range of[*sample.Execution](l.records) {
				if of.Device == 0 {
					e = of
				}
			}
			return e
		}
		time.AfterFunc(50*ms, func() {
			if e := last(); e.Final || e.Outcome != sample.Succeeded || !e.Dispatched.Seen() || !e.Received.Seen() || e.Answered.Seen() {
				t.Errorf("when the call has returned: %+v", e)
			}
		})
		time.AfterFunc(500*ms, func() {
			if e := last(); e.Final || e.Outcome != sample.Succeeded || !e.Dispatched.Seen() || !e.Finished.Seen() || !e.Answered.Seen() {
				t.Errorf("when the device has answered: %+v", e)
			}
		})
		l.run(t)
	})
}

func TestDirectMissingExtraAndForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 10, scheduler.Options{}, direct(nil))
		l.fleet.match = []uint32{0, 1, 2}
		c.ids = []string{"d1", "d2", "d2", "d7", "stranger"}
		time.AfterFunc(5*ms, func() { // a device that this job does not call
			r := sample.Receipt{Device: 5, Kind: sample.MethodReceipt, Name: "lockDoor", Payload: []byte(`{"lockTime":"10m"}`), At: 1}
			if l.s.Received(r) != 0 {
				t.Error("a device that is not called has an execution")
			}
		})
		l.run(t)
		want := map[uint32]string{1: "succeeded", 2: "succeeded", 7: "succeeded", sample.NoDevice: "notDispatched"}
		if diff := cmp.Diff(want, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if rep := l.repetition(t, 0, 0); rep.Targeted != 4 || rep.Missing != 1 || rep.Extra != 2 {
			t.Errorf("repetition %+v", rep)
		}
		if u := of[*sample.Unexpected](l.records); len(u) != 1 || u[0].Job != 0 || u[0].TooEarly {
			t.Errorf("unexpected %+v", u)
		}
		if len(c.calls) != 3 {
			t.Errorf("%d calls, want one a device of the fleet", len(c.calls))
		}
	})
}

func TestDirectJobOnOneDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := direct(func(j *scheduler.Job) { j.Device, j.ConditionText, j.Times, j.Every = "d3", "", 2, time.Second })
		l, _ := directLab(t, 5, scheduler.Options{}, job)
		l.run(t)
		for n := range uint32(2) {
			if diff := cmp.Diff(map[uint32]string{3: "succeeded"}, l.outcomes(t, 0, n)); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
		}

		l, c := directLab(t, 5, scheduler.Options{}, job)
		c.absent = true
		l.run(t)
		for n := range uint32(2) {
			if rep := l.repetition(t, 0, n); !rep.Skipped || rep.Reason != "device not found: d3" {
				t.Errorf("repetition %+v", rep)
			}
		}
		if len(c.calls) != 0 {
			t.Errorf("%d calls", len(c.calls))
		}
	})
}

func TestQueryThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 5, scheduler.Options{}, direct(nil))
		c.queryErr = errDead
		if err := l.s.Run(t.Context()); !errors.Is(err, errDead) || !strings.Contains(err.Error(), "job lock: query targets") {
			t.Errorf("Run = %v", err)
		}
		if rep := l.repetition(t, 0, 0); !rep.Skipped || !strings.Contains(rep.Reason, "connection refused") {
			t.Errorf("repetition %+v", rep)
		}
	})
}

func TestDrainOfADirectJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 6, scheduler.Options{Drain: 2 * time.Second}, direct(func(j *scheduler.Job) {
			j.Rate, j.Times, j.Every = 1, 3, time.Minute
		}))
		c.answer = func(id string) (scheduler.Reply, error) {
			if id == "d2" {
				c.mu.Lock()
				c.pausedUntil = time.Now().Add(time.Hour)
				c.mu.Unlock()
			}
			return scheduler.Reply{}, nil
		}
		c.latency = 1500 * ms
		if took := l.stop(t, 2100*ms); took != 2*time.Second {
			t.Errorf("drained in %v, want the 2 s that the hanging call gets", took)
		}
		want := map[uint32]string{
			0: "succeeded", 1: "succeeded", 2: "unknown", 3: "notDispatched", 4: "notDispatched", 5: "notDispatched",
		}
		if diff := cmp.Diff(want, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if rep := l.repetition(t, 0, 0); rep.Status != "cancelled" || rep.Targeted != 6 {
			t.Errorf("repetition %+v", rep)
		}
		if n := len(of[*sample.Repetition](l.records)); n != 1 {
			t.Errorf("%d repetitions closed, want the one that began", n)
		}
	})
}

func TestAHighRateKeepsItsSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 20_000, scheduler.Options{}, direct(func(j *scheduler.Job) { j.Rate = 20_000 }))
		c.latency = ms
		l.run(t)
		if c.top > 25 {
			t.Errorf("%d calls on their way at once, want about 20", c.top)
		}
		finals := l.finals(t, 0, 0)
		for device, e := range finals {
			if lag, _ := e.Dispatched.Since(e.Due); lag != 0 {
				t.Fatalf("device %d was dispatched %v late", device, lag)
			}
		}
		if len(finals) != 20_000 {
			t.Errorf("%d executions", len(finals))
		}
	})
}

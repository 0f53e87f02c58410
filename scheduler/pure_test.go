package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"muster/internal/sample"
	"muster/scheduler"
)

func TestConstantPace(t *testing.T) {
	check := func(perSecond float64, count, n uint64, want time.Duration, wantOK bool) {
		t.Helper()
		due, ok := scheduler.NewConstant(perSecond, count).At(n)
		if due != want || ok != wantOK {
			t.Errorf("constant(%v/s, %d).At(%d) = %v, %v; want %v, %v", perSecond, count, n, due, ok, want, wantOK)
		}
	}
	check(0, 3, 0, 0, true)
	check(0, 3, 2, 0, true)
	check(0, 3, 3, 0, false)
	check(10, 100, 1, 100*time.Millisecond, true)
	check(10, 100, 99, 9900*time.Millisecond, true)
	check(10, 100, 100, 10*time.Second, false)
	check(20_000, 1_000_000, 1, 50*time.Microsecond, true)
	check(3, 10, 3, time.Second, true)
	check(0.5, 10, 3, 6*time.Second, true)
	check(1, 0, 0, 0, false)
}

func TestConstantPaceNeverGoesBack(t *testing.T) {
	pace := scheduler.NewConstant(19_999, 100_000)
	last := time.Duration(-1)
	for n := range uint64(100_000) {
		due, _ := pace.At(n)
		if due <= last {
			t.Fatalf("At(%d) = %v, after %v", n, due, last)
		}
		last = due
	}
}

func TestCadence(t *testing.T) {
	check := func(every time.Duration, times, n uint64, want time.Duration, wantOK bool) {
		t.Helper()
		due, ok := scheduler.NewCadence(every, times).At(n)
		if due != want || ok != wantOK {
			t.Errorf("cadence(%v, %d).At(%d) = %v, %v; want %v, %v", every, times, n, due, ok, want, wantOK)
		}
	}
	check(4*time.Second, 5, 0, 0, true)
	check(4*time.Second, 5, 4, 16*time.Second, true)
	check(4*time.Second, 5, 5, 20*time.Second, false)
	check(0, 1, 0, 0, true)
}

func TestRowOutcome(t *testing.T) {
	check := func(kind scheduler.Kind, status, code string, methodStatus int32, seen bool, want sample.Outcome) {
		t.Helper()
		if got := scheduler.RowOutcome(kind, status, code, methodStatus, seen); got != want {
			t.Errorf("rowOutcome(%v, %q, %q, %d, %v) = %v, want %v", kind, status, code, methodStatus, seen, got, want)
		}
	}
	const method, desired, tags = scheduler.Method, scheduler.Desired, scheduler.Tags
	check(method, "completed", "", 200, true, sample.Succeeded)
	check(method, "completed", "", 204, true, sample.Succeeded)
	check(method, "completed", "", 500, true, sample.Failed)
	check(method, "completed", "", 404, true, sample.Failed)
	check(method, "completed", "", 0, true, sample.Failed)
	check(desired, "completed", "", 0, true, sample.Succeeded)
	check(desired, "completed", "", 0, false, sample.Succeeded)
	check(tags, "completed", "", 0, false, sample.Succeeded)
	check(method, "failed", "DeviceNotOnline", 0, false, sample.Offline)
	check(method, "failed", "GatewayTimeout", 0, true, sample.TimedOut)
	check(method, "failed", "ThrottlingException", 0, false, sample.Failed)
	check(method, "failed", "", 0, true, sample.Failed)
	check(method, "canceled", "", 0, false, sample.Cancelled)
	check(method, "cancelled", "", 0, true, sample.Cancelled)
	check(method, "pending", "", 0, false, sample.NotDispatched)
	check(method, "scheduled", "", 0, false, sample.NotDispatched)
	check(method, "pending", "", 0, true, sample.TimedOut)
	check(method, "running", "", 0, true, sample.TimedOut)
	check(method, "running", "", 0, false, sample.NotDispatched)
	check(method, "somethingNew", "", 0, false, sample.NotDispatched)
}

func TestCallOutcome(t *testing.T) {
	check := func(name string, got scheduler.Booked, want scheduler.Booked) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	book := scheduler.BookCall
	const method, desired, tags = scheduler.Method, scheduler.Desired, scheduler.Tags
	failure := func(o sample.Outcome, code string, wrote sample.Moment, cause error) error {
		return fmt.Errorf("invoke: %w", &scheduler.CallError{Outcome: o, Code: code, Wrote: wrote, Err: cause})
	}
	status := func(n int) scheduler.Reply { return scheduler.Reply{Status: n, Wrote: 1} }
	var none scheduler.Reply

	check("2xx", book(method, status(200), nil, nil, true), booked(sample.Succeeded, 200, "", true))
	check("device's 404", book(method, status(404), nil, nil, true), booked(sample.Failed, 404, "", true))
	check("no status", book(method, status(0), nil, nil, true), booked(sample.Failed, 0, "", true))
	check("tags", book(tags, status(0), nil, nil, false), booked(sample.Succeeded, 0, "", true))
	check("desired ends at the device", book(desired, status(200), nil, nil, false), booked(sample.Succeeded, 200, "", false))
	check("offline", book(method, none, failure(sample.Offline, "DeviceNotOnline", 1, nil), nil, false), booked(sample.Offline, 0, "DeviceNotOnline", true))
	check("timed out", book(method, none, failure(sample.TimedOut, "GatewayTimeout", 1, nil), nil, true), booked(sample.TimedOut, 0, "GatewayTimeout", true))
	check("failed", book(method, none, failure(sample.Failed, "", 0, nil), nil, false), booked(sample.Failed, 0, "", false))
	check("no hint", book(method, none, failure(sample.Open, "", 0, nil), nil, false), booked(sample.Failed, 0, "", false))
	check("untyped", book(method, none, errors.New("broken pipe"), nil, false), booked(sample.Failed, 0, "", false))

	cut := func(wrote sample.Moment) error { return failure(sample.Failed, "", wrote, context.Canceled) }
	check("drained", book(method, none, cut(1), context.Canceled, true), scheduler.Booked{Outcome: sample.Unknown})
	check("drained, untyped", book(method, none, errors.New("closed"), context.Canceled, true), scheduler.Booked{Outcome: sample.Unknown})
	check("over time, asked", book(method, none, cut(1), scheduler.ErrMaxExecution, false), scheduler.Booked{Outcome: sample.TimedOut})
	check("over time, received", book(method, none, cut(0), scheduler.ErrMaxExecution, true), scheduler.Booked{Outcome: sample.TimedOut})
	check("over time, not asked", book(method, none, cut(0), scheduler.ErrMaxExecution, false), scheduler.Booked{Outcome: sample.NotDispatched})
	check("answered just then", book(method, none, failure(sample.Offline, "DeviceNotOnline", 1, nil), context.Canceled, false), booked(sample.Offline, 0, "DeviceNotOnline", true))
}

func booked(o sample.Outcome, status int32, code string, finished bool) scheduler.Booked {
	return scheduler.Booked{Outcome: o, Status: status, Code: code, Finished: finished}
}

func TestCanonical(t *testing.T) {
	check := func(doc, want string) {
		t.Helper()
		if got := scheduler.Canonical(doc); got != want {
			t.Errorf("canonical(%s) = %s, want %s", doc, got, want)
		}
	}
	check(`{"b":1, "a" : [1.0, 2e0,-0] }`, `{"a":[1,2,0],"b":1}`)
	check(`{"a":{"z":null,"y":"\u0041"}}`, `{"a":{"y":"A","z":null}}`)
	check(`1.50`, `1.5`)
	check(`9007199254740993`, `9007199254740993`)
	check(`1e400`, `1e400`)
	check(``, `null`)
	check(`  `, `null`)
	check(`null`, `null`)
	check(`"x"`, `"x"`)
	check(`{broken`, `{broken`)
	check(`{} {}`, `{} {}`)
}

func TestMark(t *testing.T) {
	check := func(doc, want, wantErr string) {
		t.Helper()
		got, err := scheduler.Marked(doc, "id-1")
		if got != want || (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Errorf("marked(%s) = %s, %v; want %s, %q", doc, got, err, want, wantErr)
		}
	}
	check(`{"z":1}`, `{"musterId":"id-1","z":1}`, "")
	check(`{}`, `{"musterId":"id-1"}`, "")
	check(`{"musterId":1}`, "", "already")
	check(`[1]`, "", "object")
	check(`null`, "", "object")
	check(``, "", "object")
}

func TestConflicts(t *testing.T) {
	const s = time.Second
	job := func(change func(*scheduler.Job)) scheduler.Job {
		j := scheduler.Job{
			Name: "a", Kind: scheduler.Method, MethodName: "lock", Payload: json.RawMessage(`{"n":1,"m":2}`),
			MaxExecution: 10 * s, Settle: 5 * s, ConditionText: "*",
		}
		if change != nil {
			change(&j)
		}
		return j
	}
	check := func(name string, change func(*scheduler.Job), want bool) {
		t.Helper()
		b := job(change)
		b.Name = "b"
		for _, jobs := range [][]scheduler.Job{{job(nil), b}, {b, job(nil)}} {
			err := scheduler.Conflicts(jobs)
			if (err != nil) != want {
				t.Errorf("%s: Conflicts = %v, want conflict %v", name, err, want)
			}
			if err != nil && !(strings.Contains(err.Error(), `"a"`) && strings.Contains(err.Error(), `"b"`)) {
				t.Errorf("%s: %v does not name both jobs", name, err)
			}
		}
	}
	day := time.Date(2030, 1, 1, 2, 0, 0, 0, time.UTC)
	check("the same", nil, true)
	check("other form", func(j *scheduler.Job) { j.Payload = json.RawMessage(`{ "m": 2.0, "n": 1 }`) }, true)
	check("other payload", func(j *scheduler.Job) { j.Payload = json.RawMessage(`{"n":2}`) }, false)
	check("other method", func(j *scheduler.Job) { j.MethodName = "unlock" }, false)
	check("marked", func(j *scheduler.Job) { j.Mark = true }, false)
	check("twin", func(j *scheduler.Job) { j.Kind, j.Desired = scheduler.Desired, j.Payload }, false)
	check("tags", func(j *scheduler.Job) { j.Kind, j.Tags = scheduler.Tags, j.Payload }, false)
	check("just after", func(j *scheduler.Job) { j.After = 20 * s }, true)
	check("well after", func(j *scheduler.Job) { j.After = 26 * s }, false)
	check("well after, unbounded", func(j *scheduler.Job) { j.After, j.MaxExecution = 26*s, 0 }, false)
	check("unbounded before", func(j *scheduler.Job) { j.After, j.MaxExecution = -1000*s, 0 }, true)
	check("repeated before", func(j *scheduler.Job) { j.After, j.Times, j.Every = -60*s, 3, 4*s }, true)
	check("at a wall time", func(j *scheduler.Job) { j.At = day }, true)

	at := func(at time.Time) scheduler.Job { return job(func(j *scheduler.Job) { j.At = at }) }
	if err := scheduler.Conflicts([]scheduler.Job{at(day), at(day.Add(time.Minute))}); err != nil {
		t.Errorf("Conflicts of jobs a minute apart = %v", err)
	}
	if err := scheduler.Conflicts([]scheduler.Job{at(day), at(day.Add(time.Second))}); err == nil {
		t.Error("Conflicts of jobs a second apart = nil")
	}
}

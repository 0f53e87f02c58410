package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"muster/internal/sample"
	"muster/scheduler"
)

// asked is a caller whose queries take a while and give what the hub targets.
type asked struct {
	ids   []string
	takes time.Duration
	count int
	calls int
}

func (a *asked) Query(ctx context.Context, _ string) ([]string, error) {
	a.count++
	select {
	case <-time.After(a.takes):
		return a.ids, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *asked) Invoke(context.Context, string, scheduler.Call) (scheduler.Reply, error) {
	a.calls++
	return scheduler.Reply{Status: 200}, nil
}

func (a *asked) Patch(context.Context, string, json.RawMessage, json.RawMessage) (scheduler.Reply, error) {
	a.calls++
	return scheduler.Reply{}, nil
}

// TestForeignDevicesAreRefusedBeforeTheirJob holds one way of a job on each
// line.
func TestForeignDevicesAreRefusedBeforeTheirJob(t *testing.T) {
	for name, job := range map[string]scheduler.Job{
		"hub":    method(nil),
		"direct": method(func(j *scheduler.Job) { j.Via = scheduler.Direct }),
		"device": method(func(j *scheduler.Job) { j.Via, j.ConditionText, j.Device = scheduler.Direct, "", "stranger" }),
	} {
		synctest.Test(t, func(t *testing.T) {
			caller := &asked{ids: []string{"d0", "stranger", "d1", "neighbour"}}
			l := newLab(t, 2, scheduler.Options{Direct: caller, OnlyFleet: true}, job)
			err := l.s.Run(t.Context())
			var foreign *scheduler.ForeignError
			if !errors.As(err, &foreign) || foreign.IDs[0] != "stranger" || foreign.Reached {
				t.Errorf("via %s: Run() = %v, want a ForeignError that names stranger", name, err)
			}
			if len(l.hub.jobs)+caller.calls != 0 {
				t.Errorf("via %s: %d jobs and %d calls were made, want none", name, len(l.hub.jobs), caller.calls)
			}
			if rep := l.repetition(t, 0, 0); !rep.Skipped || rep.Reason != foreign.Error() {
				t.Errorf("via %s: the repetition is %+v, want it skipped because of %q", name, rep, foreign)
			}
		})
	}
}

// TestAllowedForeignDevicesAreNotLookedFor runs the same job without the rule.
func TestAllowedForeignDevicesAreNotLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller := &asked{ids: []string{"d0", "stranger"}}
		l := newLab(t, 1, scheduler.Options{Direct: caller}, method(nil))
		l.run(t)
		if caller.count != 0 || len(l.hub.jobs) != 1 {
			t.Errorf("%d queries, %d jobs; want 0, 1", caller.count, len(l.hub.jobs))
		}
	})
}

// TestRowsOfForeignDevicesEndTheJob lets the hub reach somebody whom the query
// did not show.
func TestRowsOfForeignDevicesEndTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2, scheduler.Options{Direct: &asked{ids: names(2)}, OnlyFleet: true},
			method(func(j *scheduler.Job) { j.Times, j.Every, j.MaxExecution = 3, 30*time.Second, 20*time.Second }))
		l.hub.targets = append(l.hub.targets, "stranger")
		l.hub.devices["stranger"] = device{offline: true}
		err := l.s.Run(t.Context())
		var foreign *scheduler.ForeignError
		if !errors.As(err, &foreign) || !foreign.Reached || foreign.Count != 1 {
			t.Errorf("Run() = %v, want a ForeignError of the one whom it has reached", err)
		}
		if len(l.hub.jobs) != 1 || !l.repetition(t, 0, 1).Skipped || l.repetition(t, 0, 0).Extra != 1 {
			t.Errorf("%d jobs were made, want the first alone", len(l.hub.jobs))
		}
	})
}

// TestALookAheadDelaysNoJob has queries that take as long as they do on a
// small tier. Jobs must be created in time all the same.
func TestALookAheadDelaysNoJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller := &asked{ids: names(2), takes: 3 * time.Minute}
		l := newLab(t, 2, scheduler.Options{Direct: caller, OnlyFleet: true, QueryTime: time.Hour}, method(func(j *scheduler.Job) {
			j.After, j.Times, j.Every, j.MaxExecution = 10*time.Second, 2, time.Hour, time.Minute
		}))
		l.run(t)
		for n, due := range []time.Duration{3*time.Minute + 10*time.Second, 63*time.Minute + 10*time.Second} {
			rep := l.repetition(t, 0, uint32(n))
			if rep.Due != sample.Moment(due+1) || l.hub.jobs[n].put != rep.Due-sample.Moment(scheduler.Lead) {
				t.Errorf("repetition %d is due at %v, its job put at %v; want %v, and %v before it",
					n, time.Duration(rep.Due), time.Duration(l.hub.jobs[n].put), due, scheduler.Lead)
			}
		}
		if caller.count != 2 {
			t.Errorf("%d looks, want 2: at the start, and before the second repetition an hour later", caller.count)
		}
	})
}

// TestRepetitionsInARowAreLookedAtOnce: their rows are looks as well.
func TestRepetitionsInARowAreLookedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller := &asked{ids: names(2), takes: time.Second}
		l := newLab(t, 2, scheduler.Options{Direct: caller, OnlyFleet: true},
			method(func(j *scheduler.Job) { j.Times, j.Every, j.MaxExecution = 20, 20*time.Second, 10*time.Second }))
		l.run(t)
		if caller.count != 1 || len(l.hub.jobs) != 20 {
			t.Errorf("%d looks for %d jobs, want 1 for 20", caller.count, len(l.hub.jobs))
		}
	})
}

// TestRowsAreALookAtTheJobsStart has a job that runs for minutes: what its rows
// say of whom the query matches is as old as its start.
func TestRowsAreALookAtTheJobsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller := &asked{ids: names(2)}
		l := newLab(t, 2, scheduler.Options{Direct: caller, OnlyFleet: true},
			method(func(j *scheduler.Job) { j.Times, j.Every, j.MaxExecution = 2, 5*time.Minute, 5*time.Minute }))
		l.hub.devices["d1"] = device{latency: 4*time.Minute + 30*time.Second}
		l.run(t)
		if caller.count != 2 || len(l.hub.jobs) != 2 {
			t.Errorf("%d looks for %d jobs, want 2 for 2", caller.count, len(l.hub.jobs))
		}
	})
}

// TestAnInterruptEndsALook stops the run while the hub is asked.
func TestAnInterruptEndsALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2, scheduler.Options{Direct: &asked{takes: time.Hour}, OnlyFleet: true}, method(nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.s.Run(ctx); err != nil || time.Duration(l.clock.Now()).Round(time.Millisecond) != time.Second || len(l.hub.jobs) != 0 {
			t.Errorf("Run() = %v after %v with %d jobs; want nil after 1s with none", err, time.Duration(l.clock.Now()), len(l.hub.jobs))
		}
	})
}

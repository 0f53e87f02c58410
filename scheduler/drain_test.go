package scheduler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
	"muster/scheduler"
)

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
		if l.hub.cancels != 0 {
			t.Error("a running job was to be cancelled")
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

func TestNothingIsAwaitedOnceLifeHasEnded(t *testing.T) {
	check := func(name string, via scheduler.Via, interrupted time.Duration, want map[uint32]string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			t.Helper()
			life, die := context.WithCancel(t.Context())
			later := method(func(j *scheduler.Job) { j.Name, j.MethodName, j.After = "later", "other", time.Hour })
			l, c := directLab(t, 2, scheduler.Options{Life: life}, later, method(func(j *scheduler.Job) { j.Via = via }))
			l.hub.devices["d1"], c.latency = device{latency: time.Minute}, time.Minute
			var died time.Time
			time.AfterFunc(5*time.Second, func() {
				l.hub.die()
				died = time.Now()
				die()
			})
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(interrupted, cancel)
			if err := l.s.Run(ctx); err != nil {
				t.Errorf("%s: Run: %v", name, err)
			}
			if took := time.Since(died); died.IsZero() || took != 0 {
				t.Errorf("%s: Run returned %v after the hub's death", name, took)
			}
			if diff := cmp.Diff(want, l.outcomes(t, 1, 0)); diff != "" {
				t.Errorf("%s: outcomes (-want +got):\n%s", name, diff)
			}
			if rep := l.repetition(t, 1, 0); rep.Targeted != 2 || rep.Reason != "the run was stopped" {
				t.Errorf("%s: repetition %+v", name, rep)
			}
			if n := len(of[*sample.Repetition](l.records)); n != 1 {
				t.Errorf("%s: %d repetitions closed, want the one that began", name, n)
			}
			time.Sleep(2 * time.Minute) // for the fake's last timers
		})
	}
	want := map[uint32]string{0: "unknown", 1: "unknown"}
	check("hub", scheduler.Hub, time.Hour, want)
	check("direct", scheduler.Direct, time.Hour, want)
	check("hub, in the drain", scheduler.Hub, 4*time.Second, want)
	check("direct, in the drain", scheduler.Direct, 4*time.Second, want)
}

package scheduler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

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

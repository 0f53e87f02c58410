package scheduler_test

import (
	"testing"
	"testing/synctest"
	"time"

	"muster/internal/sample"
	"muster/scheduler"
)

// late returns two jobs of one signature that are planned half a minute apart
// and both late, the later one first.
func late(via scheduler.Via) []scheduler.Job {
	job := func(name string, ago time.Duration) scheduler.Job {
		return method(func(j *scheduler.Job) {
			j.Name, j.Via, j.At, j.MaxExecution, j.Settle = name, via, time.Now().Add(-ago), 10*time.Second, 3*time.Second
		})
	}
	return []scheduler.Job{job("second", 30*time.Second), job("first", time.Minute)}
}

// checkTurns checks that each of two late jobs has its own receipts, and the
// due of its plan.
func (l *lab) checkTurns(t *testing.T, start sample.Moment) {
	t.Helper()
	for job, ago := range []time.Duration{30 * time.Second, time.Minute} {
		finals := l.finals(t, uint32(job), 0)
		for _, e := range finals {
			if e.Outcome != sample.Succeeded || e.Duplicates != 0 || e.Due != start.Add(-ago) || !e.Received.Seen() {
				t.Errorf("job %d: %+v", job, e)
			}
		}
		if len(finals) != 2 {
			t.Errorf("job %d: %d executions", job, len(finals))
		}
	}
	if u := of[*sample.Unexpected](l.records); len(u) != 0 {
		t.Errorf("unexpected %+v", u[0])
	}
}

func TestLateJobsOfOneSignatureTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2, scheduler.Options{}, late(scheduler.Hub)...)
		start := l.clock.Now()
		l.hub.devices["d1"] = device{latency: 5 * time.Second}
		l.run(t)
		l.checkTurns(t, start)
		first, second := l.hub.jobs[0], l.hub.jobs[1]
		if !first.Start.Before(second.Start) || second.put < l.repetition(t, 1, 0).Ended {
			t.Errorf("put at %v and %v, want the second one after the first one's rows", first.put, second.put)
		}
	})
}

func TestLateDirectJobsOfOneSignatureTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 2, scheduler.Options{}, late(scheduler.Direct)...)
		start := l.clock.Now()
		c.latency = 4 * time.Second
		l.run(t)
		l.checkTurns(t, start)
		if begin, end := l.repetition(t, 0, 0).Started, l.repetition(t, 1, 0).Ended; begin < end {
			t.Errorf("the second job's calls began at %v, the first job's ended at %v", begin, end)
		}
	})
}

func TestWaitingForATurnEndsWithTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2, scheduler.Options{}, late(scheduler.Hub)...)
		l.hub.devices["d1"] = device{latency: 5 * time.Second}
		if took := l.stop(t, time.Second); took < 4*time.Second || took > 5*time.Second {
			t.Errorf("drained in %v, want the first job's 4 s", took)
		}
		if len(l.hub.jobs) != 1 {
			t.Errorf("%d jobs of the hub, want the first alone", len(l.hub.jobs))
		}
	})
}

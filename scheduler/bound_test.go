package scheduler_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
	"muster/scheduler"
)

func TestMaximumExecutionTimeOfADirectJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 4, scheduler.Options{}, direct(func(j *scheduler.Job) {
			j.Rate, j.InFlight, j.MaxExecution = 1, 1, 2500*ms
		}))
		c.pause(500*ms, time.Minute)
		l.run(t)
		want := map[uint32]string{0: "succeeded", 1: "timedOut", 2: "notDispatched", 3: "notDispatched"}
		if diff := cmp.Diff(want, l.outcomes(t, 0, 0)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		rep := l.repetition(t, 0, 0)
		if took, _ := rep.Ended.Since(rep.Due); took != 2500*ms || rep.Reason != "the maximum execution time is over" {
			t.Errorf("repetition %+v took %v", rep, took)
		}
	})
}

func TestALateDirectJobHasAllItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := directLab(t, 3, scheduler.Options{}, direct(func(j *scheduler.Job) {
			j.Times, j.Every, j.InFlight, j.MaxExecution = 2, time.Second, 1, 4*time.Second
		}))
		c.latency = 1200 * ms
		l.run(t)
		for n := range uint32(2) {
			if diff := cmp.Diff(map[uint32]string{0: "succeeded", 1: "succeeded", 2: "succeeded"}, l.outcomes(t, 0, n)); diff != "" {
				t.Errorf("outcomes of repetition %d (-want +got):\n%s", n, diff)
			}
		}
		rep := l.repetition(t, 0, 1)
		if took, _ := rep.Ended.Since(rep.Due); took != 6200*ms || rep.Status != "completed" {
			t.Errorf("repetition %+v ended %v after it was due, want 2.6 s late and 3.6 s on", rep, took)
		}
	})
}

func TestNothingIsDispatchedAtTheBound(t *testing.T) {
	for range 20 { // what has the same deadline fires in any order
		synctest.Test(t, func(t *testing.T) {
			l, c := directLab(t, 4, scheduler.Options{}, direct(func(j *scheduler.Job) { j.Rate, j.MaxExecution = 1, 2*time.Second }))
			l.run(t)
			want := map[uint32]string{0: "succeeded", 1: "succeeded", 2: "notDispatched", 3: "notDispatched"}
			if diff := cmp.Diff(want, l.outcomes(t, 0, 0)); diff != "" || len(c.calls) != 2 {
				t.Errorf("%d calls; outcomes (-want +got):\n%s", len(c.calls), diff)
			}
			if rep := l.repetition(t, 0, 0); rep.Reason != "the maximum execution time is over" {
				t.Errorf("repetition %+v", rep)
			}
		})
	}
}

func TestReceiptsOfCallsThatWereCut(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			l, c := directLab(t, 3, scheduler.Options{}, direct(func(j *scheduler.Job) { j.MaxExecution = time.Second }))
			c.latency, c.stray = 5*time.Second, 300*ms
			l.run(t)
			if u := of[*sample.Unexpected](l.records); len(u) != 0 {
				t.Errorf("unexpected %+v", u[0])
			}
			for device, e := range l.finals(t, 0, 0) {
				if late, _ := e.Received.Since(e.Due); e.Outcome != sample.TimedOut || late != 1300*ms {
					t.Errorf("device %d: %+v", device, e)
				}
			}
			rep := l.repetition(t, 0, 0)
			if took, _ := rep.Ended.Since(rep.Due); took != time.Second || rep.Reason != "the maximum execution time is over" {
				t.Errorf("repetition %+v took %v", rep, took)
			}
		})
	}
}

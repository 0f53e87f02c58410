package scheduler_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/scheduler"
)

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

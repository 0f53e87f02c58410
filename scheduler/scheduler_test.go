package scheduler_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/internal/sample"
	"muster/scheduler"
)

func TestJobsRunSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unlock := direct(func(j *scheduler.Job) { j.Name, j.MethodName, j.After = "unlock", "unlockDoor", 2*time.Second })
		tomorrow := method(func(j *scheduler.Job) {
			j.Name, j.MethodName, j.At = "later", "other", time.Now().Add(24*time.Hour)
			j.Times, j.Every = 2, time.Hour
		})
		l, _ := directLab(t, 3, scheduler.Options{}, method(nil), unlock, tomorrow)
		start := time.Now()
		l.run(t)
		for job := range uint32(3) {
			if rep := l.repetition(t, job, 0); rep.Targeted != 3 || rep.Status != "completed" {
				t.Errorf("repetition %+v", rep)
			}
		}
		jobs := l.hub.jobs
		for n, want := range []time.Time{start, start.Add(24 * time.Hour), start.Add(25 * time.Hour)} {
			if !jobs[n].Start.Equal(want) {
				t.Errorf("job %d of the hub starts at %v, want %v", n, jobs[n].Start, want)
			}
		}
	})
}

func TestNewReportsEveryFault(t *testing.T) {
	check := func(name string, opts scheduler.Options, jobs []scheduler.Job, wants ...string) {
		t.Helper()
		_, err := scheduler.New(jobs, opts)
		if err == nil {
			t.Fatalf("%s: New returned no error", name)
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: New = %v, want %q in it", name, err, want)
			}
		}
	}
	f := &fleet{size: 1}
	check("no fleet", scheduler.Options{}, nil, "fleet is required")
	check("no targets", scheduler.Options{Fleet: f}, []scheduler.Job{method(nil), direct(nil)},
		"jobs[0].via: hub needs", "jobs[1].via: direct needs", `jobs "lock" and "lock"`)
	check("values", scheduler.Options{Fleet: f, Service: &hub{}}, []scheduler.Job{{}, {
		Kind: scheduler.Method, Payload: json.RawMessage(`{`), Rate: -1, InFlight: -1, Times: -1, Every: -1, Device: "d", Mark: true,
	}, {Kind: scheduler.Desired}, {Kind: scheduler.Tags}},
		"jobs[0].kind", "jobs[0].conditionText", "jobs[1].methodName", "jobs[1].payload", "jobs[1].rate", "jobs[1].inFlight", "jobs[1].times",
		"jobs[1].every", "jobs[1].device", "jobs[1].mark: needs a payload that is an object", "jobs[2].desired", "jobs[3].tags")
}

func TestZeroOptionsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := scheduler.New(nil, scheduler.Options{Fleet: &fleet{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
		s.Received(sample.Receipt{Device: 1, Kind: sample.MethodReceipt, Name: "x"})
	})
}

func ExampleCallError() {
	err := fmt.Errorf("invoke: %w", &scheduler.CallError{Outcome: sample.Offline, Code: "DeviceNotOnline"})
	var call *scheduler.CallError
	fmt.Println(errors.As(err, &call), call)
	// Output: true offline: DeviceNotOnline
}

package report_test

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
	"muster/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	ms = sample.Moment(time.Millisecond)
	s  = sample.Moment(time.Second)
)

// fixture is a run folder in the making.
type fixture struct {
	run     report.Run
	records []sample.Record
	end     *sample.End // nil: the run died
}

// small is a run of one job on two devices that went well: due at 1 s, done
// within 100 ms, a wake of 100 µs every millisecond.
func small() *fixture {
	f := &fixture{
		run: report.Run{
			Scenario: "small", MusterVersion: "v0.1.0", Driver: "paho", Seed: 42, Target: report.Target{Kind: "embedded", Transport: "tcp"},
			StartedAt:  time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
			Groups:     []report.Group{{Name: "doors", Devices: 2}},
			Jobs:       []report.RunJob{{Name: "lock", Type: "scheduleDeviceMethod", Via: "hub", QueryCondition: "*", Repetitions: 1}},
			Thresholds: []string{"jobs.lock.total.p99 < 2s"},
		},
		end: &sample.End{At: 3 * s, Reason: "completed"},
	}
	f.add(
		&sample.Device{Index: 0, ID: "door-0", Group: "doors"},
		&sample.Device{Index: 1, ID: "door-1", Group: "doors"},
		&sample.Connect{Device: 0, Attempt: 1, Due: 1 * ms, Dialed: 2 * ms, Accepted: 3 * ms, Ready: 5 * ms},
		&sample.Connect{Device: 1, Attempt: 1, Due: 2 * ms, Dialed: 3 * ms, Accepted: 4 * ms, Ready: 8 * ms},
		&sample.Targets{ID: "lock-1", Due: 1 * s, Checkable: true, Devices: []uint32{0, 1}},
		execution(0, sample.Succeeded, 20*ms),
		execution(1, sample.Succeeded, 100*ms),
		&sample.Repetition{
			ID: "lock-1", Status: "completed", Due: 1 * s, Ended: 1*s + 100*ms, Targeted: 2, Checked: true, HubBooks: true,
			Rows: sample.Statistics{Devices: 2, Succeeded: 2}, Stats: sample.Statistics{Devices: 2, Succeeded: 2},
		},
	)
	f.wakes(0, 3*s, 100*time.Microsecond)
	return f
}

// execution is the final record of a method that took so long in all.
func execution(device uint32, o sample.Outcome, took sample.Moment) *sample.Execution {
	return &sample.Execution{
		Device: device, Outcome: o, Final: true, Due: 1 * s, Dispatched: 1*s + took/4, Received: 1*s + took/2,
		Answered: 1*s + took, Finished: 1*s + took, Booked: 1*s + took + ms, HubClock: true, Status: 200,
	}
}

func (f *fixture) add(records ...sample.Record) { f.records = append(f.records, records...) }

// wakes adds health records with a wake each millisecond, of which every tenth
// waits four times as long.
func (f *fixture) wakes(from, to sample.Moment, delay time.Duration) {
	for at := from + s; at <= to; at += s {
		h := &sample.Health{
			At: at, TimerLate: delay, CPU: time.Duration(at) / 4, RSS: 90 << 20, MaxRSS: 100 << 20, GCPauseP99: 200 * time.Microsecond,
			Goroutines: 100, Descriptors: 20,
		}
		for sent := at - s + ms; sent <= at; sent += ms {
			w := sample.Wake{Sent: sent, Delay: delay}
			if (sent/ms)%10 == 0 {
				w.Delay *= 4
			}
			h.Wakes = append(h.Wakes, w)
		}
		f.add(h)
	}
}

// find returns the n-th record of type T, to be changed.
func find[T any](f *fixture, n int) *T {
	for _, rec := range f.records {
		if r, ok := any(rec).(*T); ok {
			if n == 0 {
				return r
			}
			n--
		}
	}
	panic(fmt.Sprintf("no record %T number %d", *new(T), n))
}

// drop removes the records of type T.
func drop[T any](f *fixture) {
	var kept []sample.Record
	for _, rec := range f.records {
		if _, ok := any(rec).(*T); !ok {
			kept = append(kept, rec)
		}
	}
	f.records = kept
}

// write writes the run's folder and returns it.
func (f *fixture) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := report.WriteRun(dir, &f.run); err != nil {
		t.Fatal(err)
	}
	w, err := sample.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range f.records {
		w.Write(rec)
	}
	if f.end == nil {
		err = w.Flush()
	} else {
		err = w.Close(*f.end)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func (f *fixture) build(t testing.TB) *report.Report {
	t.Helper()
	r, err := report.Build(f.write(t))
	if err != nil {
		t.Fatalf("Build() = %v", err)
	}
	return r
}

// golden compares got with testdata/name, which -update writes.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// broadcast is a run of two jobs on a fleet, as a real one looks: a job that
// the hub paces, five times, and a twin update on one device in fifty.
func broadcast(devices int) *fixture {
	const seed = 42
	rng := rand.New(rand.NewPCG(seed, 1))
	f := &fixture{
		run: report.Run{
			Scenario: "lockdoor-10k", MusterVersion: "v0.1.0", GoVersion: "go1.26", Driver: "paho", Seed: seed,
			Target:    report.Target{Kind: "embedded", Transport: "tcp", JobRate: 4000},
			StartedAt: time.Date(2030, 1, 2, 2, 0, 0, 0, time.UTC),
			Groups:    []report.Group{{Name: "doors", Devices: devices}},
			Jobs: []report.RunJob{
				{Name: "lock", Type: "scheduleDeviceMethod", Via: "hub", QueryCondition: "tags.site = 'north'", Repetitions: 5},
				{Name: "place", Type: "scheduleUpdateTwin", Via: "hub", QueryCondition: "tags.building = 43", Repetitions: 5},
			},
			Thresholds: []string{"jobs.lock.total.p99 < 4s", "jobs.lock.succeeded == 100%", "jobs.place.unknown == 0", "fleet.connect.p99 < 5s"},
		},
		end: &sample.End{At: 40 * s, Reason: "completed"},
	}
	for i := range uint32(devices) {
		due := sample.Moment(i)*ms/2 + 1
		took := lognormal(rng, 6*time.Millisecond, 0.6)
		f.add(
			&sample.Device{Index: i, ID: fmt.Sprintf("door-%05d", i), Group: "doors"},
			&sample.Connect{Device: i, Attempt: 1, Due: due, Dialed: due + took/10, Accepted: due + took/2, Ready: due + took},
		)
	}
	for rep := range uint32(5) {
		f.repetition(rng, 0, rep, 10*s+sample.Moment(rep)*5*s, devices, 1)
		f.repetition(rng, 1, rep, 8*s+sample.Moment(rep)*5*s, devices, 50)
	}
	f.wakes(0, 40*s, 40*time.Microsecond)
	f.add(&sample.HubStats{At: 39 * s, CPU: 9200 * time.Millisecond, RSS: 180 << 20, MaxRSS: 212 << 20, Connections: int64(devices)})
	return f
}

// repetition adds one repetition of a job on every step-th device.
func (f *fixture) repetition(rng *rand.Rand, job, rep uint32, due sample.Moment, devices, step int) {
	id := fmt.Sprintf("%s-%d", f.run.Jobs[job].Name, rep+1)
	targets := &sample.Targets{Job: job, Repetition: rep, ID: id, Due: due, Checkable: true}
	closing := &sample.Repetition{
		Job: job, Repetition: rep, ID: id, Status: "completed", Due: due, Started: due + 3*ms, Checked: true, HubBooks: true,
	}
	f.add(targets)
	for n := range devices / step {
		d := uint32(n * step)
		targets.Devices = append(targets.Devices, d)
		dispatched := due + 3*ms + sample.Moment(n)*s/4000
		received := dispatched + lognormal(rng, 700*time.Microsecond, 0.5)
		answered := received + lognormal(rng, 2*time.Millisecond, 0.2)
		e := sample.Execution{
			Job: job, Repetition: rep, Device: d, Due: due, Dispatched: dispatched, Received: received, Answered: answered, Status: 200, HubClock: true,
		}
		f.add(&e)
		final := e
		final.Outcome, final.Final, final.Finished = sample.Succeeded, true, answered
		if job == 1 {
			final.Finished += lognormal(rng, 500*time.Microsecond, 0.3)
		}
		final.Booked = final.Finished + 400000
		closing.Ended = max(closing.Ended, final.Booked)
		f.add(&final)
	}
	closing.Targeted = int64(len(targets.Devices))
	closing.Stats = sample.Statistics{Devices: closing.Targeted, Succeeded: closing.Targeted}
	closing.Rows = closing.Stats
	f.add(closing)
}

func lognormal(rng *rand.Rand, median time.Duration, sigma float64) sample.Moment {
	return sample.Moment(float64(median) * math.Exp(sigma*rng.NormFloat64()))
}

// sorted returns the exact percentiles of all.
func sorted(all []time.Duration) func(percentile float64) time.Duration {
	slices.Sort(all)
	return func(percentile float64) time.Duration {
		n := int(math.Ceil(percentile / 100 * float64(len(all))))
		return all[max(n-1, 0)]
	}
}

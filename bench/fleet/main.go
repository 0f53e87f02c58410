// Command fleet writes the results folder of a made run of very many devices,
// to measure what a report of it costs:
//
//	go run ./bench/fleet -devices 1000000 -out /tmp/million
//	GOMAXPROCS=1 bin/muster report /tmp/million
//
// Each device connects, has a method call of one job and a twin update of
// another, as a real run records them. Latencies are spread as real ones are.
package main

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"muster/internal/sample"
	"muster/report"
)

func main() {
	devices := flag.Int("devices", 1_000_000, "how many devices the fleet has")
	out := flag.String("out", "", "the results folder; it must not hold a run")
	flag.Parse()
	if *devices < 1 || *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := write(*out, *devices); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

const (
	ramp    = 20 * time.Microsecond // between two connects
	pace    = 10 * time.Microsecond // between two dispatches
	unlucky = 50_003                // every so-manieth device does not succeed
)

// run writes a run's samples.
type run struct {
	*sample.Writer
	devices int
	rng     *rand.Rand
	due     sample.Moment // when the next thing begins
}

func write(dir string, devices int) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	jobs := []report.RunJob{
		{Name: "lock", Type: "scheduleDeviceMethod", Via: "hub", QueryCondition: "*", Repetitions: 1},
		{Name: "place", Type: "scheduleUpdateTwin", Via: "hub", QueryCondition: "*", Repetitions: 1},
	}
	err := report.WriteRun(dir, &report.Run{
		Scenario: "made", MusterVersion: "devel", Seed: 42, Driver: "lean", Target: report.Target{Kind: "embedded", Transport: "memory"},
		StartedAt: time.Date(2030, 1, 2, 2, 0, 0, 0, time.UTC), Groups: []report.Group{{Name: "doors", Devices: devices}}, Jobs: jobs,
		Thresholds: []string{"jobs.lock.total.p99 < 30s", "jobs.lock.succeeded > 99%", "jobs.place.succeeded > 99%"},
	})
	if err != nil {
		return err
	}
	w, err := sample.Create(dir, nil)
	if err != nil {
		return err
	}
	r := &run{Writer: w, devices: devices, rng: rand.New(rand.NewPCG(42, 1)), due: 1}
	if err := r.all(len(jobs)); err != nil {
		return err
	}
	return w.Close(sample.End{At: r.due, Reason: "completed"})
}

func (r *run) all(jobs int) error {
	if err := r.connects(); err != nil {
		return err
	}
	for job := range jobs {
		if err := r.job(uint32(job)); err != nil {
			return err
		}
	}
	for at := sample.Moment(time.Second); at < r.due; at += sample.Moment(time.Second) {
		h := &sample.Health{At: at, CPU: time.Duration(at), RSS: 8 << 30, MaxRSS: 8 << 30, Goroutines: 1000}
		for n := range sample.Moment(1000) {
			h.Wakes = append(h.Wakes, sample.Wake{Sent: at - sample.Moment(time.Second) + n*sample.Moment(time.Millisecond), Delay: r.near(60 * time.Microsecond)})
		}
		r.Write(h)
	}
	return nil
}

// near returns a duration that is spread around the median.
func (r *run) near(median time.Duration) time.Duration {
	return time.Duration(float64(median) * math.Exp(0.5*r.rng.NormFloat64()))
}

// each calls do for each device and writes what it recorded now and then, as
// long as a flush takes of a run.
func (r *run) each(do func(device uint32)) error {
	const atOnce = 20_000
	for device := range uint32(r.devices) {
		do(device)
		if device%atOnce == atOnce-1 {
			if err := r.Flush(); err != nil {
				return err
			}
		}
	}
	return r.Flush()
}

func (r *run) connects() error {
	err := r.each(func(d uint32) {
		r.Write(&sample.Device{Index: d, ID: fmt.Sprintf("door-%07d", d), Group: "doors"})
	})
	if err != nil {
		return err
	}
	begun := r.due
	return r.each(func(d uint32) {
		due := begun + sample.Moment(d)*sample.Moment(ramp)
		c := sample.Connect{Device: d, Attempt: 1, Due: due, Dialed: due.Add(r.near(50 * time.Microsecond))}
		c.Accepted = c.Dialed.Add(r.near(time.Millisecond))
		c.Ready = c.Accepted.Add(r.near(time.Millisecond))
		r.Connect(&c)
		r.due = max(r.due, c.Ready)
	})
}

// job writes a repetition of a job: what devices tell, and then what the hub's
// rows do.
func (r *run) job(job uint32) error {
	due := r.due + sample.Moment(time.Second)
	targets := &sample.Targets{Job: job, ID: fmt.Sprintf("job-%d", job), Due: due, Checkable: true, Devices: make([]uint32, r.devices)}
	for i := range targets.Devices {
		targets.Devices[i] = uint32(i)
	}
	r.Write(targets)
	ends := make([]sample.Execution, r.devices)
	stats := sample.Statistics{Devices: int64(r.devices)}
	if err := r.each(func(d uint32) {
		ends[d] = r.execution(job, d, due)
		if ends[d].Outcome == sample.Succeeded {
			stats.Succeeded++
		} else {
			stats.Failed++
		}
	}); err != nil {
		return err
	}
	if err := r.each(func(d uint32) { r.Execution(&ends[d]) }); err != nil {
		return err
	}
	r.Write(&sample.Repetition{
		Job: job, ID: targets.ID, Status: "completed", Due: due, Started: due + 1, Ended: r.due, Targeted: int64(r.devices), Checked: true,
		HubBooks: true, Rows: stats, Stats: stats,
	})
	return nil
}

// execution records what a device tells and returns how it ended.
func (r *run) execution(job, device uint32, due sample.Moment) sample.Execution {
	e := sample.Execution{Job: job, Device: device, Due: due, Dispatched: due + 1 + sample.Moment(device)*sample.Moment(pace), HubClock: true}
	end := e
	end.Final, end.Outcome, end.Code = true, sample.Offline, "DeviceNotOnline"
	if device%unlucky != unlucky-1 {
		e.Received = e.Dispatched.Add(r.near(300 * time.Microsecond))
		r.Execution(&e)
		e.Answered = e.Received.Add(r.near(2 * time.Millisecond))
		r.Execution(&e)
		end = e
		end.Final, end.Outcome, end.Status, end.Finished = true, sample.Succeeded, 200, e.Answered
		if job == 1 {
			end.Finished = e.Answered.Add(r.near(200 * time.Microsecond))
		}
	}
	end.Booked = max(end.Finished, end.Dispatched).Add(r.near(100 * time.Microsecond))
	r.due = max(r.due, end.Booked)
	return end
}

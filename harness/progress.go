package harness

import (
	"context"
	"sync"
	"time"

	"muster/fleet"
	"muster/internal/sample"
	"muster/report"
	"muster/scenarios"
	"muster/scheduler"
)

// Stage is what a run is doing.
type Stage string

// The stages of a run, in order.
const (
	Starting    Stage = "starting"    // the hub comes up
	Registering Stage = "registering" // identities and twins are made
	Checking    Stage = "checking"    // a hub that is not ours is asked for the fleet
	Connecting  Stage = "connecting"  // devices connect along the ramp
	Running     Stage = "running"     // jobs are waited for, fired and followed
	Draining    Stage = "draining"    // interrupted: what has begun is awaited
	Closing     Stage = "closing"     // connections are closed
	Reporting   Stage = "reporting"   // the report is made from the samples
)

// Stages are the stages of a run, in order.
var Stages = [...]Stage{Starting, Registering, Checking, Connecting, Running, Draining, Closing, Reporting}

// Progress is a run at one moment.
type Progress struct {
	Stage   Stage
	Elapsed time.Duration // since the run began
	Fleet   fleet.Stats
	Jobs    []scheduler.Progress
	News    []JobNews // what happened to jobs since the last Progress, in order
}

// JobNews is a repetition of a job that changed its status.
type JobNews struct {
	Job         string
	Repetition  int    // from 1
	Repetitions int    // how many the job has
	ID          string // the hub's job id; "" for a direct job
	Status      string // in the hub's own words; "skipped" if it does not run
	Reason      string // why it failed or does not run
	Devices     int64  // whom it targeted, once that is known
}

// recorder writes samples, and has them counted if somebody watches.
type recorder struct {
	*sample.Writer
	live  *report.Live  // nil if nobody does
	guard *report.Guard // of the thresholds that may abort the run; nil if there is none
}

// Execution, with Write, implements scheduler.Recorder.
func (r *recorder) Execution(e *sample.Execution) {
	r.Writer.Execution(e)
	if r.live != nil {
		r.live.Execution(e)
	}
	if r.guard != nil {
		r.guard.Execution(e)
	}
}

// Connect implements fleet.Recorder.
func (r *recorder) Connect(c *sample.Connect) {
	r.Writer.Connect(c)
	if r.live != nil {
		r.live.Connect(c)
	}
	if r.guard != nil {
		r.guard.Connect(c)
	}
}

// Write records what is of any other kind.
func (r *recorder) Write(rec sample.Record) {
	r.Writer.Write(rec)
	if r.live != nil {
		r.live.Write(rec)
	}
	if r.guard != nil {
		r.guard.Write(rec)
	}
}

// reporter records what the scheduler measures and keeps the news of it for
// the observer.
type reporter struct {
	*recorder
	jobs []scenarios.Job

	mu     sync.Mutex // guards the fields below
	status map[[2]uint32]string
	news   []JobNews
}

// Write implements scheduler.Recorder.
func (r *reporter) Write(rec sample.Record) {
	r.recorder.Write(rec)
	switch rec := rec.(type) {
	case *sample.JobState:
		r.note(rec.Job, rec.Repetition, JobNews{ID: rec.ID, Status: rec.Status, Devices: rec.Stats.Devices})
	case *sample.Repetition:
		n := JobNews{ID: rec.ID, Status: rec.Status, Reason: rec.Reason, Devices: rec.Targeted}
		if rec.Skipped {
			n.Status = "skipped"
		}
		r.note(rec.Job, rec.Repetition, n)
	}
}

// note keeps n if the status is another than before.
func (r *reporter) note(job, repetition uint32, n JobNews) {
	n.Job, n.Repetition, n.Repetitions = r.jobs[job].Name, int(repetition)+1, r.jobs[job].Times
	r.mu.Lock()
	defer r.mu.Unlock()
	key := [2]uint32{job, repetition}
	if r.status[key] == n.Status {
		return
	}
	r.status[key] = n.Status
	r.news = append(r.news, n)
}

// take returns the news since the last call.
func (r *reporter) take() []JobNews {
	r.mu.Lock()
	defer r.mu.Unlock()
	news := r.news
	r.news = nil
	return news
}

// observeEvery is often enough for a bar that moves.
const observeEvery = 250 * time.Millisecond

// observe tells the observer how the run goes until ctx ends.
func (r *run) observe(ctx context.Context) error {
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.changed:
		}
		r.opts.Observe(r.progress())
	}
}

func (r *run) progress() Progress {
	p := Progress{Stage: *r.stage.Load(), Elapsed: time.Duration(r.clock.Now())}
	if f := r.devices.Load(); f != nil {
		p.Fleet = (*f).Stats()
	}
	if s := r.scheduler.Load(); s != nil {
		p.Jobs = s.Progress()
		p.News = r.reporter.take()
	}
	return p
}

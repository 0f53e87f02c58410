package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/internal/sample"
)

// runner runs one job.
type runner struct {
	s      *Scheduler
	index  uint32
	job    Job
	sig    *signature // of the job without marks; nil if devices receive nothing
	plan   pacer      // of its repetitions
	writes [][]string // the attributes of twins that it changes, as paths of a query

	start     sample.Moment
	startWall time.Time // Job.At

	mu       sync.Mutex // guards the fields below, which other goroutines ask for
	stage    string
	current  *window                  // of the repetition that began last; nil before
	pending  map[uint32]sample.Moment // dues of the repetitions that go on, and of the one after them
	ended    sample.Moment            // when a repetition was over last
	vetted   sample.Moment            // when nobody foreign was seen last
	vetting  time.Duration            // how long a look for that takes
	outcomes [len(Counts{})]atomic.Int64
}

func newRunner(s *Scheduler, index uint32, job Job) *runner {
	return &runner{
		s: s, index: index, job: job, sig: signatureOf(&job), stage: stageWaiting, startWall: job.At,
		pending: map[uint32]sample.Moment{}, writes: job.writes(),
		plan: cadence{every: job.Every, times: uint64(max(job.Times, 0))},
	}
}

// halt ends a job, which is no fault of the service: it could not be run, or
// was not ended by the hub.
type halt struct{ reason string }

func (h *halt) Error() string { return h.reason }

// errStopped ends a repetition because the run is over.
var errStopped = errors.New("the run was stopped")

// begins makes the plan count from a moment, which is wall in wall time. All
// jobs have the same, before any of them runs: each may look at others' plans.
func (r *runner) begins(start sample.Moment, wall time.Time) {
	r.start = start.Add(r.job.After)
	if !r.startWall.IsZero() {
		r.start = start.Add(r.startWall.Sub(wall))
	}
	r.expect(0)
}

// run runs the job's repetitions and returns the error of the service that
// ended it, if one did.
func (r *runner) run(life *lifetime) error {
	defer r.finish()
	begun, err := 0, r.check(life)
	if err == nil {
		begun, err = r.repeat(life)
	}
	if !life.draining() {
		r.skip(begun, err)
	}
	if h := (*halt)(nil); errors.As(err, &h) || errors.Is(err, errStopped) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("job %s: %w", r.job.Name, err)
	}
	return nil
}

// repeat begins each repetition in its time, until one ends the job, and
// returns how many began when all of them are over.
func (r *runner) repeat(life *lifetime) (begun int, err error) {
	overlapping, next := errgroup.WithContext(life.stop) // one goroutine a marked repetition; the first error ends the job
	for ; begun < r.job.Times; begun++ {
		due := r.due(begun)
		if !r.s.sleepUntil(next, due-sample.Moment(r.lead())) || !r.awaitTurn(next, due) {
			break
		}
		r.expect(begun + 1)
		p := newRepetition(r, uint32(begun), due)
		if r.job.Mark {
			overlapping.Go(func() error { return p.run(life) })
		} else if err = p.run(life); err != nil {
			begun++
			break
		}
	}
	if werr := overlapping.Wait(); err == nil {
		err = werr
	}
	return begun, err
}

// lead is how long before it is due a repetition begins.
func (r *runner) lead() time.Duration {
	if r.job.Via != Hub {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return Lead + 2*r.vetting // another look may take longer
}

// due returns when repetition n is.
func (r *runner) due(n int) sample.Moment {
	offset, _ := r.plan.At(uint64(n))
	return r.start.Add(offset)
}

// startTime returns when repetition n is due in wall time.
func (r *runner) startTime(n uint32, due sample.Moment) time.Time {
	offset, _ := r.plan.At(uint64(n))
	if !r.startWall.IsZero() {
		return r.startWall.Add(offset)
	}
	return time.Now().Add(time.Duration(due - r.s.opts.Clock.Now())).Round(0)
}

// check makes sure that the one device of a job is there.
func (r *runner) check(life *lifetime) error {
	exister, ok := r.s.opts.Direct.(Exister)
	if r.job.Device == "" || !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(life.follow, r.s.opts.Patience)
	defer cancel()
	found, err := exister.Exists(ctx, r.job.Device)
	switch {
	case err != nil && life.draining():
		return errStopped
	case err != nil:
		return fmt.Errorf("look up device %s: %w", r.job.Device, err)
	case !found:
		return &halt{reason: "device not found: " + r.job.Device}
	}
	return nil
}

// skip records the repetitions from the first given that do not run, and why.
func (r *runner) skip(first int, err error) {
	for n := first; n < r.job.Times; n++ {
		reason := "an earlier repetition ended the job"
		if first == 0 && err != nil {
			reason = err.Error()
		}
		r.s.opts.Samples.Write(&sample.Repetition{
			Job: r.index, Repetition: uint32(n), Due: r.due(n), Reason: reason, Skipped: true,
		})
	}
}

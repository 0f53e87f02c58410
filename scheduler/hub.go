package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"muster/internal/sample"
)

const (
	pollMin = 250 * time.Millisecond // between two looks at a job's status
	// pollSoon is the same once all devices have answered, if the hub is on this
	// host: it books the last answers at that moment.
	pollSoon = 5 * time.Millisecond
	pollMax  = time.Second // the default of Options.PollTime

	cancelWait = 2 * time.Second // what a cancellation may take of the drain
)

// hubJob is a repetition that the hub runs.
type hubJob struct {
	*repetition
	status  JobStatus
	created sample.Moment
	noted   sample.Moment // when the last JobState was written
	failing sample.Moment // since when the service has failed; zero if it does not
	soon    time.Duration // until the next look, if that is sooner than its interval; 0: all devices have not answered
	read    bool          // its rows were read whole, at least once
}

// runHub gives the repetition to the hub, follows it to its end and closes its
// ledger with the hub's rows.
func (p *repetition) runHub(life *lifetime) error {
	if err := p.vetBefore(life); err != nil {
		return p.skipped(err)
	}
	h := &hubJob{repetition: p}
	p.s.open(p.w)
	err := h.vetRows(h.carryOut(life))
	p.expect() // the ledger of a job that was not even created has its targets
	if errors.Is(err, errStopped) || isHalt(err) {
		h.lastLook(life)
	}
	h.conclude(err)
	p.w.each(func(device uint32, sl *slot) {
		if sl.booking.state == rowCompleted {
			p.apply(device)
		}
	})
	if err == nil {
		p.await(life.follow, func(sl *slot) bool {
			return rowOutcome(p.job.Kind, &sl.booking, true) == sample.Succeeded
		})
	}
	p.close(h.outcome, h.unnamed)
	return err
}

// carryOut creates the job and follows it until its rows are final. An error
// says why its end, or its rows, could not be seen.
func (h *hubJob) carryOut(life *lifetime) error {
	h.r.enter(stageScheduled)
	soon := h.w.due - sample.Moment(ahead)
	if h.s.opts.Clock.Now() >= soon {
		h.expect()
	}
	if err := h.create(life); err != nil {
		return err
	}
	if h.expecting {
		h.doubt() // the hub asks its own twins as soon as it has the job
	}
	h.s.sleepUntil(life.stop, soon)
	h.expect()
	if err := h.follow(life); err != nil {
		return err
	}
	return h.settle(life)
}

// lastLook reads the rows of a job that is not followed any more: what has
// ended by now is worth knowing.
func (h *hubJob) lastLook(life *lifetime) {
	if life.calls.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(life.calls, h.s.opts.Patience)
	defer cancel()
	if err := h.readRows(ctx); err != nil {
		h.s.opts.Logger.Warn("rows not read", "job", h.job.Name, "id", h.id, "error", err)
	}
}

func isHalt(err error) bool {
	var h *halt
	return errors.As(err, &h)
}

// create asks the hub for the job.
func (h *hubJob) create(life *lifetime) error {
	ctx, cancel := context.WithTimeout(life.follow, h.s.opts.Patience)
	defer cancel()
	h.created = h.s.opts.Clock.Now()
	err := h.s.opts.Service.CreateJob(ctx, JobRequest{
		ID: h.id, Kind: h.job.Kind, MethodName: h.job.MethodName, Payload: h.job.Payload,
		ResponseTimeout: h.job.ResponseTimeout, ConnectTimeout: h.job.ConnectTimeout,
		Tags: h.job.Tags, Desired: h.job.Desired, Condition: h.job.ConditionText,
		Start: h.r.startTime(h.w.number, h.w.due), MaxExecution: h.job.MaxExecution,
	})
	switch {
	case err != nil && life.follow.Err() != nil:
		return errStopped
	case err != nil:
		return fmt.Errorf("create job %s: %w", h.id, err)
	}
	return nil
}

// follow looks at the job until the hub has ended it. The run's end cancels a
// job that is not running yet, and gives up one that does not end in time.
func (h *hubJob) follow(life *lifetime) error {
	stop := life.stop.Done()
	var answered <-chan struct{}
	if h.s.opts.HubClock {
		answered = h.w.answered
	}
	h.r.enter(stageRunning)
	for wait := time.Duration(0); ; wait = h.interval() {
		select {
		case <-stop:
			stop = nil
			h.cancel(life)
		case <-life.follow.Done():
			return errStopped
		case <-answered:
			h.soon = pollSoon
			continue
		case <-time.After(wait):
		}
		if err := h.poll(life); err != nil {
			return err
		}
		if h.status.ended() {
			return nil
		}
		if h.overdue() {
			return &halt{reason: fmt.Sprintf("the hub has not ended job %s by its maximum execution time", h.id)}
		}
	}
}

// interval returns how long to wait until the next look: longer the longer the
// job has run, as a hub's job operations are few. After all devices have answered
// it begins anew.
func (h *hubJob) interval() time.Duration {
	ran := time.Duration(h.s.opts.Clock.Now() - max(h.w.due, h.created))
	wait := min(max(ran/10, pollMin), h.s.opts.PollTime)
	if h.soon == 0 || h.soon > wait {
		return wait
	}
	soon := h.soon
	h.soon *= 2
	return soon
}

// overdue reports whether the hub should have ended the job a while ago. The
// bound is what Conflicts counts on.
func (h *hubJob) overdue() bool {
	if h.job.MaxExecution == 0 {
		return false
	}
	end := max(h.w.due, h.created).Add(h.job.MaxExecution + h.job.Settle)
	return h.s.opts.Clock.Now() > end
}

// poll looks at the job's status once. It returns an error if the service has
// failed for longer than it may.
func (h *hubJob) poll(life *lifetime) error {
	began := h.s.opts.Clock.Now()
	ctx, cancel := context.WithTimeout(life.follow, h.s.opts.Patience)
	defer cancel()
	status, err := h.s.opts.Service.JobStatus(ctx, h.id)
	switch {
	case err == nil:
		h.failing = 0
		h.note(status)
		return nil
	case life.follow.Err() != nil:
		return errStopped
	}
	if !h.failing.Seen() {
		h.failing = began
	}
	if failed := time.Duration(h.s.opts.Clock.Now() - h.failing); failed < h.s.opts.Patience {
		return nil
	}
	return fmt.Errorf("follow job %s: %w", h.id, err)
}

// note takes a status over and records it about once a second, and whenever it
// changes.
func (h *hubJob) note(status JobStatus) {
	now := h.s.opts.Clock.Now()
	changed := status.Status != h.status.Status
	h.status = status
	state := &sample.JobState{At: now, Job: h.w.job, Repetition: h.w.number, ID: h.id, Status: status.Status}
	if status.Stats != nil {
		state.Stats = *status.Stats
		booked := state.Stats.Succeeded + state.Stats.Failed
		if h.job.Kind == Tags { // devices tell nothing of it
			h.w.done.Store(booked)
		}
	}
	if since, ok := now.Since(h.noted); changed || !ok || since >= time.Second-pollMin/2 {
		h.noted = now
		h.s.opts.Samples.Write(state)
	}
}

// cancel cancels the job unless it runs, as far as the service can.
func (h *hubJob) cancel(life *lifetime) {
	canceller, ok := h.s.opts.Service.(Canceller)
	if !ok || h.status.Status == statusRunning {
		return
	}
	ctx, cancel := context.WithTimeout(life.follow, cancelWait)
	defer cancel()
	if err := canceller.CancelJob(ctx, h.id); err != nil {
		h.s.opts.Logger.Warn("job not cancelled", "job", h.job.Name, "id", h.id, "error", err)
	}
}

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"muster/internal/sample"
)

// On a hub that others use too a job must reach nobody but the fleet. Who does
// not allow more has each job's query looked at before the hub gets the job,
// and the rows of each repetition afterwards.

const (
	// fresh is for how long a look at whom a job matches is good, at least.
	fresh = time.Minute
	// foreignShown is how many foreign devices an error names.
	foreignShown = 5
)

// ForeignError refuses a job that matches, or has reached, devices that are
// not of the fleet.
type ForeignError struct {
	Job     string
	IDs     []string // some of them
	Count   int
	Reached bool // the hub's rows say so: it is done
}

// Error names the job and some of the devices.
func (e *ForeignError) Error() string {
	did := "matches"
	if e.Reached {
		did = "has reached"
	}
	more := ""
	if e.Count > len(e.IDs) {
		more = ", …"
	}
	return fmt.Sprintf("job %s %s devices that are not of this fleet, %d: %s%s", e.Job, did, e.Count, strings.Join(e.IDs, ", "), more)
}

// foreigners returns an error if there are ids that are not of the fleet.
func (r *runner) foreigners(ids []string, reached bool) error {
	e := &ForeignError{Job: r.job.Name, Reached: reached}
	for _, id := range ids {
		if _, ok := r.s.opts.Fleet.Index(id); ok {
			continue
		}
		if e.Count++; len(e.IDs) < foreignShown {
			e.IDs = append(e.IDs, id)
		}
	}
	if e.Count == 0 {
		return nil
	}
	return e
}

// vetAll looks at whom each job matches before any of them has a start, so
// that none is late for it.
func (s *Scheduler) vetAll(life *lifetime) error {
	if !s.opts.OnlyFleet {
		return nil
	}
	began := s.opts.Clock.Now()
	var errs []error
	for _, r := range s.runners {
		errs = append(errs, r.vet(life))
	}
	s.fresh = max(fresh, 2*time.Duration(s.opts.Clock.Now()-began))
	return errors.Join(errs...)
}

// refuse records that no job runs, and why, which it returns unless the run was
// stopped.
func (s *Scheduler) refuse(life *lifetime, err error) error {
	start, wall := s.opts.Clock.Now(), time.Now()
	if life.draining() {
		return nil
	}
	for _, r := range s.runners {
		r.begins(start, wall)
		r.skip(0, err)
		r.finish()
	}
	return err
}

// vet asks the hub whom the job matches, and refuses it if anybody is not of
// the fleet.
func (r *runner) vet(life *lifetime) error {
	began := r.s.opts.Clock.Now()
	ids := []string{r.job.Device}
	if r.job.Device == "" {
		ctx, cancel := context.WithTimeout(life.stop, r.s.opts.QueryTime)
		defer cancel()
		var err error
		ids, err = r.s.opts.Direct.Query(ctx, r.job.ConditionText)
		switch {
		case err != nil && life.draining():
			return errStopped
		case err != nil:
			return fmt.Errorf("look whom job %s matches: %w", r.job.Name, err)
		}
	}
	if err := r.foreigners(ids, false); err != nil {
		return err
	}
	now := r.s.opts.Clock.Now()
	r.clean(now, time.Duration(now-began))
	return nil
}

// clean notes that nobody foreign matched at a moment, and how long looking
// took.
func (r *runner) clean(at sample.Moment, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.vetted = max(r.vetted, at)
	r.vetting = max(r.vetting, took)
}

// stale reports whether the last look will be too old at a moment.
func (r *runner) stale(at sample.Moment) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	since, ok := at.Since(r.vetted)
	return !ok || since > r.s.fresh
}

// vetBefore looks once more before the hub gets the repetition, unless the
// last look is fresh. One that has begun early for it waits for its time.
func (p *repetition) vetBefore(life *lifetime) error {
	if !p.s.opts.OnlyFleet {
		return nil
	}
	if p.r.stale(p.s.opts.Clock.Now()) {
		if err := p.r.vet(life); err != nil {
			return err
		}
	}
	if !p.s.sleepUntil(life.stop, p.w.due-sample.Moment(Lead)) {
		return errStopped
	}
	return nil
}

// vetRows looks at whom the hub has reached.
func (h *hubJob) vetRows(err error) error {
	if !h.s.opts.OnlyFleet {
		return err
	}
	ids := make([]string, 0, len(h.foreign))
	for id := range h.foreign {
		ids = append(ids, id)
	}
	if found := h.r.foreigners(ids, true); found != nil {
		return errors.Join(found, err)
	}
	if err == nil {
		h.r.clean(max(h.w.due, h.created), 0) // when the hub asked, however long the job took
	}
	return err
}

// skipped records a repetition that reached nobody, and returns why.
func (p *repetition) skipped(err error) error {
	p.record.Reason, p.record.Skipped = err.Error(), true
	p.s.opts.Samples.Write(&p.record)
	return err
}

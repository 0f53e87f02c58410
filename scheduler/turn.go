package scheduler

import (
	"context"

	"muster/internal/sample"
)

// awaitTurn waits until the repetition that is due may open its window, and
// reports whether ctx let it. Receipts tell windows of one signature apart by
// time alone, so that at most one is open: jobs of one signature take turns in
// the order of their plans, also when some of them are late.
func (r *runner) awaitTurn(ctx context.Context, due sample.Moment) bool {
	for {
		moved := r.s.nextMove()
		if !r.follows(due) {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-moved:
		}
	}
}

// follows reports whether another job has a repetition of r's signature that
// is planned before the moment given and not over.
func (r *runner) follows(due sample.Moment) bool {
	if !r.takesTurns() {
		return false
	}
	for _, o := range r.s.runners {
		if o == r || !o.takesTurns() || !o.sig.same(r.sig) {
			continue
		}
		if first, ok := o.first(); ok && (first < due || first == due && o.index < r.index) {
			return true
		}
	}
	return false
}

// takesTurns reports whether only one repetition of the job's signature may be
// open: not of jobs without receipts, nor where a mark tells them apart.
func (r *runner) takesTurns() bool { return r.sig != nil && !r.job.Mark }

// nextMove returns a channel that is closed when the next repetition is over.
func (s *Scheduler) nextMove() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved == nil {
		s.moved = make(chan struct{})
	}
	return s.moved
}

func (s *Scheduler) move() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved != nil {
		close(s.moved)
		s.moved = nil
	}
}

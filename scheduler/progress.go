package scheduler

import (
	"time"

	"muster/internal/sample"
)

// Counts are executions by outcome: Counts[sample.Succeeded] and so on.
type Counts [len(sample.Outcomes) + 1]int64

// Progress is how one job stands.
type Progress struct {
	Job         string
	Repetition  int    // the one that began last, from 1; 0 before the first
	Repetitions int    // how many are planned
	Status      string // "waiting", "scheduled", "running", "settling" or "done"

	// Of the repetition that began last.
	Targeted int64 // the query matches over the fleet, then whom it really targeted
	Received int64 // executions that reached their device
	Done     int64 // executions that have ended, as far as is known

	Outcomes Counts // of all repetitions that are over
}

// The stages of a job in Progress.Status.
const (
	stageWaiting   = "waiting"   // for its start, or the next repetition's
	stageScheduled = "scheduled" // given to the hub, not due yet
	stageRunning   = "running"
	stageSettling  = "settling" // ended; rows and late receipts are awaited
	stageDone      = "done"
)

// Progress returns how each job stands, in their order.
func (s *Scheduler) Progress() []Progress {
	all := make([]Progress, len(s.runners))
	for i, r := range s.runners {
		all[i] = r.progress()
	}
	return all
}

func (r *runner) progress() Progress {
	p := Progress{Job: r.job.Name, Repetitions: r.job.Times}
	r.mu.Lock()
	w := r.current
	p.Status = r.stage
	r.mu.Unlock()
	if w != nil {
		p.Repetition = int(w.number) + 1
		p.Targeted, p.Received, p.Done = w.targeted.Load(), w.received.Load(), w.done.Load()
	}
	for i := range r.outcomes {
		p.Outcomes[i] = r.outcomes[i].Load()
	}
	return p
}

func (r *runner) enter(stage string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stage = stage
}

// begin makes w the window that Progress shows.
func (r *runner) begin(w *window) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = w
}

// Quiet returns for how long nothing is due: 0 while a repetition goes on or
// is late, an hour once all jobs are done. It is when a process may do what
// would disturb a measurement.
func (s *Scheduler) Quiet() time.Duration {
	now := s.opts.Clock.Now()
	quiet := time.Hour
	for _, r := range s.runners {
		quiet = min(quiet, r.quiet(now))
	}
	return max(quiet, 0)
}

func (r *runner) quiet(now sample.Moment) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stage == stageDone {
		return time.Hour
	}
	first, ok := r.firstLocked()
	if !ok {
		return 0 // Run has not been called
	}
	return time.Duration(first - now)
}

// first returns when the earliest repetition that is not over is due, and
// whether there is one.
func (r *runner) first() (due sample.Moment, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.firstLocked()
}

func (r *runner) firstLocked() (first sample.Moment, ok bool) {
	for _, due := range r.pending {
		if !ok || due < first {
			first, ok = due, true
		}
	}
	return first, ok
}

// expect notes when repetition n is due, if there is one. It is called before
// the one before it begins, so that pending always holds the next one.
func (r *runner) expect(n int) {
	if n >= r.job.Times {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[uint32(n)] = r.due(n)
}

// over notes that the ledger of repetition n is closed.
func (r *runner) over(n uint32) {
	r.mu.Lock()
	r.stage = stageWaiting
	delete(r.pending, n)
	r.ended = r.s.opts.Clock.Now()
	r.mu.Unlock()
	r.s.move()
}

// finish notes that all repetitions are over.
func (r *runner) finish() {
	r.mu.Lock()
	r.stage = stageDone
	clear(r.pending)
	r.mu.Unlock()
	r.s.move()
}

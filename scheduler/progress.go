package scheduler

import "muster/internal/sample"

// Counts are executions by outcome: Counts[sample.Succeeded] and so on.
type Counts [len(sample.Outcomes) + 1]int64

// Progress is how one job stands.
type Progress struct {
	Job         string
	Repetition  int    // the one that began last, from 1; 0 before the first
	Repetitions int    // how many are planned
	Status      string // "waiting", "scheduled", "running", "settling" or "done"
	ID          string // the hub's id of that repetition's job
	HubStatus   string // how that job stands, in the hub's own words; "" before the first look
	Reason      string // why the job was ended early, or did not run

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
	p.Status, p.Reason, p.HubStatus = r.stage, r.reason, r.hubStatus
	r.mu.Unlock()
	if w != nil {
		p.Repetition, p.ID = int(w.number)+1, w.id
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
	r.current, r.hubStatus = w, ""
}

// noteHub keeps how the hub says that w's job stands, if w is the current one.
func (r *runner) noteHub(w *window, status string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == w {
		r.hubStatus = status
	}
}

// noteReason keeps why the job ended early.
func (r *runner) noteReason(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reason = reason
}

package report

import (
	"math"
	"slices"
	"time"

	"muster/internal/sample"
)

// Repetition is one firing of a job: when it was asked to start, when it did,
// and how far it came. A moment is told in milliseconds after the repetition
// was due, and absent if it was not seen.
type Repetition struct {
	Number          int         `json:"number"` // from 1
	ID              string      `json:"id,omitempty"`
	DueSeconds      *float64    `json:"dueSeconds"` // since startedAt; null if it never came to it
	FirstDispatched *Millis     `json:"firstDispatched,omitempty"`
	LastDispatched  *Millis     `json:"lastDispatched,omitempty"`
	FirstReceived   *Millis     `json:"firstReceived,omitempty"`
	LastReceived    *Millis     `json:"lastReceived,omitempty"`
	Ended           *Millis     `json:"ended,omitempty"` // its last execution was known
	Clock           string      `json:"clock,omitempty"` // "hub" if the dispatches are row times
	Skipped         bool        `json:"skipped,omitempty"`
	Targeted        int64       `json:"targeted"`
	Succeeded       int64       `json:"succeeded"`
	Completion      *Completion `json:"completion,omitempty"` // absent if it targeted nobody
}

// Completion is how long after due so much of what was targeted had
// succeeded: 50, 90, 99 and 100 %. Null means that so much never did.
type Completion struct {
	By   string  `json:"by"` // the moment that counts: "finished"; "booked" where there is no other
	P50  *Millis `json:"p50"`
	P90  *Millis `json:"p90"`
	P99  *Millis `json:"p99"`
	P100 *Millis `json:"p100"`
}

// complete fills in how each repetition of j began and came to its end.
func (f *folder) complete(b *jobBook, j *Job) {
	j.ByRepetition = []Repetition{}
	by, end := b.ends()
	var all []time.Duration
	for _, n := range b.inOrder() {
		rep := b.reps[n]
		r := rep.begun(int(n) + 1)
		ends := rep.succeededAfter(end)
		r.Completion = newCompletion(by, ends, int64(len(rep.rows)))
		j.ByRepetition = append(j.ByRepetition, r)
		f.detail.addCurve(r.Number, ends, int64(len(rep.rows)))
		all = append(all, ends...)
	}
	slices.Sort(all)
	j.Completion = newCompletion(by, all, j.Targeted)
}

// ends returns which moment tells that an execution of the job has ended.
// Devices see nothing of a tags job, whose end only the hub's rows have.
func (j *jobBook) ends() (by string, end func(*row) sample.Moment) {
	for _, rep := range j.reps {
		for i := range rep.rows {
			if rep.rows[i].finished.Seen() {
				return "finished", func(e *row) sample.Moment { return e.finished }
			}
		}
	}
	return "booked", func(e *row) sample.Moment { return e.booked }
}

// succeededAfter returns how long after due each execution that succeeded
// ended, in order.
func (r *repetition) succeededAfter(end func(*row) sample.Moment) []time.Duration {
	var all []time.Duration
	for i := range r.rows {
		if e := &r.rows[i]; e.outcome == sample.Succeeded {
			if took, ok := end(e).Since(r.due()); ok {
				all = append(all, took)
			}
		}
	}
	slices.Sort(all)
	return all
}

func newCompletion(by string, sorted []time.Duration, targeted int64) *Completion {
	if targeted == 0 {
		return nil
	}
	reached := func(percent int64) *Millis {
		n := (targeted*percent + 99) / 100
		if n > int64(len(sorted)) {
			return nil
		}
		at := Millis(sorted[n-1])
		return &at
	}
	return &Completion{By: by, P50: reached(50), P90: reached(90), P99: reached(99), P100: reached(100)}
}

// begun returns how the repetition began, against when it was asked to.
func (r *repetition) begun(number int) Repetition {
	due := r.due()
	out := Repetition{Number: number, ID: r.id(), Skipped: r.skipped(), Targeted: int64(len(r.rows)), Succeeded: r.succeeded()}
	if due.Seen() {
		at := seconds(time.Duration(due))
		out.DueSeconds = &at
	}
	dispatched, received := newExtent(), newExtent()
	for i := range r.rows {
		e := &r.rows[i]
		dispatched.add(e.dispatched)
		received.add(e.received)
		if e.hubClock && e.dispatched.Seen() {
			out.Clock = "hub"
		}
	}
	out.FirstDispatched, out.LastDispatched = dispatched.after(due)
	out.FirstReceived, out.LastReceived = received.after(due)
	if r.closed != nil && !r.skipped() {
		out.Ended = after(r.closed.Ended, due)
	}
	return out
}

// extent is the first and the last of some moments.
type extent struct{ first, last sample.Moment }

func newExtent() extent { return extent{first: math.MaxInt64, last: math.MinInt64} }

func (x *extent) add(m sample.Moment) {
	if m.Seen() {
		x.first, x.last = min(x.first, m), max(x.last, m)
	}
}

func (x *extent) after(due sample.Moment) (first, last *Millis) {
	if x.first > x.last {
		return nil, nil
	}
	return after(x.first, due), after(x.last, due)
}

func after(m, due sample.Moment) *Millis {
	d, ok := m.Since(due)
	if !ok {
		return nil
	}
	at := Millis(d)
	return &at
}

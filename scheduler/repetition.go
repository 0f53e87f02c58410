package scheduler

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"muster/internal/sample"
)

// repetition is one firing of a job, from before it is due until its ledger
// is closed. It belongs to one goroutine.
type repetition struct {
	r   *runner
	s   *Scheduler
	job Job    // with the repetition's mark
	id  string // of the hub's job; the mark of a marked one
	w   *window

	expecting bool          // whom the query matches has been evaluated
	asked     sample.Moment // when that was
	checkable bool          // what it gave can be held against the hub's targets
	expected  int64
	foreign   map[string]*booking // targets that are not of the fleet
	record    sample.Repetition   // what closes it, as far as it is known
}

func newRepetition(r *runner, n uint32, due sample.Moment) *repetition {
	p := &repetition{r: r, s: r.s, job: r.job, foreign: map[string]*booking{}}
	sig := r.sig
	if r.job.Via == Hub || r.job.Mark {
		p.id = uuid.NewString()
	}
	if r.job.Mark && sig != nil {
		job, err := r.job.withMark(p.id)
		if err != nil {
			panic("scheduler: a mark that New accepted cannot be put: " + err.Error())
		}
		p.job, sig = job, signatureOf(&job)
	}
	fleet := r.s.opts.Fleet.Len()
	p.w = &window{
		answered: make(chan struct{}, 1), // one token, whoever awaits it
		job:      r.index, number: n, kind: r.job.Kind, via: r.job.Via, due: due, sig: sig, fleet: fleet,
		pages: make([]atomic.Pointer[page], (fleet+pageSize-1)/pageSize),
	}
	p.record = sample.Repetition{Job: r.index, Repetition: n, Due: due, ID: p.hubID()}
	return p
}

// hubID is the hub's id of the job: none if it is not the hub's.
func (p *repetition) hubID() string {
	if p.job.Via == Hub {
		return p.id
	}
	return ""
}

func (p *repetition) run(life *lifetime) error {
	p.r.begin(p.w)
	defer p.r.over(p.w.number)
	if p.job.Via == Direct {
		return p.runDirect(life)
	}
	return p.runHub(life)
}

// expect evaluates over the fleet whom the job should target, and records it.
func (p *repetition) expect() {
	if p.expecting {
		return
	}
	p.expecting, p.asked = true, p.s.opts.Clock.Now()
	p.s.settle()
	targets := &sample.Targets{Job: p.w.job, Repetition: p.w.number, ID: p.hubID(), Due: p.w.due}
	if p.job.Device != "" {
		if device, ok := p.s.opts.Fleet.Index(p.job.Device); ok {
			targets.Devices, targets.Checkable = []uint32{device}, true
		}
	} else {
		targets.Devices, targets.Checkable = p.s.opts.Fleet.Match(p.job.Condition)
	}
	for _, device := range targets.Devices {
		if sl := p.w.slot(device); sl != nil && !sl.expected {
			sl.expected = true
			p.expected++
		}
	}
	p.checkable = targets.Checkable
	p.doubt()
	targets.Checkable = p.checkable
	p.w.targeted.Store(p.expected)
	p.s.opts.Samples.Write(targets)
}

// await waits for what devices still have to tell of executions that ended
// well, as long as there is news.
func (p *repetition) await(ctx context.Context, well func(*slot) bool) {
	news, since := int64(-1), time.Now()
	for {
		open := false
		p.w.each(func(_ uint32, sl *slot) { open = open || well(sl) && !p.w.sideEnded(sl) })
		if !open {
			return
		}
		if n := p.w.news.Load(); n != news {
			news, since = n, time.Now()
		}
		if time.Since(since) >= linger || !sleep(ctx, linger/20) {
			return
		}
	}
}

// apply keeps the fleet's own twin of a device in step with an update that
// succeeded.
func (p *repetition) apply(device uint32) {
	fleet, ok := p.s.opts.Fleet.(Applier)
	if ok && p.job.Kind != Method {
		fleet.Apply(device, p.job.Tags, p.job.Desired)
	}
}

// close closes the window and writes the ledger. verdict tells of each slot
// how its execution ended, or that there was none; unnamed is how many targets
// the hub counted beyond all that are known.
func (p *repetition) close(verdict func(*slot) (sample.Outcome, bool), unnamed func(targeted int64) int64) {
	p.s.settle()
	p.s.shut(p.w)
	var e sample.Execution
	rec := &p.record
	p.w.each(func(device uint32, sl *slot) {
		outcome, targeted := verdict(sl)
		switch {
		case !targeted && sl.expected:
			rec.Missing++
		case targeted:
			if !sl.expected {
				rec.Extra++
			}
			p.w.fill(&e, device, sl)
			sl.booking.book(&e)
			p.write(&e, outcome, sl.booking.state)
		}
	})
	for _, b := range p.foreign {
		rec.Extra++
		p.writeNamed(&e, b)
	}
	for range unnamed(rec.Targeted) {
		p.writeNamed(&e, &booking{outcome: sample.Unknown})
	}
	if rec.Checked = p.checkable; !rec.Checked {
		rec.Missing, rec.Extra = 0, 0
	}
	p.w.targeted.Store(rec.Targeted)
	p.w.done.Store(rec.Targeted)
	p.w.forget() // Progress shows the window until the next one, but no slot
	p.s.opts.Samples.Write(rec)
}

// writeNamed writes the execution of a device that has no index.
func (p *repetition) writeNamed(e *sample.Execution, b *booking) {
	*e = sample.Execution{Job: p.w.job, Repetition: p.w.number, Device: sample.NoDevice, Due: p.w.due}
	b.book(e)
	p.write(e, b.outcome, b.state)
}

// write writes the final record of an execution. state is of its row.
func (p *repetition) write(e *sample.Execution, outcome sample.Outcome, state rowState) {
	e.Outcome, e.Final = outcome, true
	if e.Code == "" {
		e.Code = ownCause(p.job.Via, outcome, e, state)
	}
	e.HubClock = p.job.Via == Hub && (e.Dispatched.Seen() || e.Booked.Seen())
	p.record.Targeted++
	p.r.outcomes[outcome].Add(1)
	p.s.opts.Samples.Execution(e)
}

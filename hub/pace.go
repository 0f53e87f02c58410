package hub

import (
	"sync"
	"time"
)

// pacer hands out the moments at which executions are due, over all jobs of a hub together: the nth one after the
// schedule's start is due n/rate later. Whoever is late finds its moments in the past and catches up; nothing drifts.
// A schedule goes on for good, but for the time in which no job dispatches: nobody makes up for that. So it begins anew
// with a job that dispatches alone, if its next moment has passed by then.
type pacer struct {
	perSecond float64 // 0 = everything is due at once

	mu    sync.Mutex // guards the fields below
	jobs  int        // that dispatch
	start time.Time
	n     uint64
}

// join counts a job that begins to dispatch now; leave must follow.
func (p *pacer) join(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jobs == 0 && p.dueLocked().Before(now) {
		p.start, p.n = now, 0
	}
	p.jobs++
}

func (p *pacer) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs--
}

// next returns when the next execution of any job is due.
func (p *pacer) next() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	due := p.dueLocked()
	p.n++
	return due
}

// dueLocked returns when the next execution is due.
func (p *pacer) dueLocked() time.Time {
	if p.perSecond == 0 {
		return p.start
	}
	return p.start.Add(offset(p.n, p.perSecond))
}

// offset returns when arrival n is due, counted from the start of a schedule of so many a second.
func offset(n uint64, perSecond float64) time.Duration {
	return time.Duration(float64(n) / perSecond * float64(time.Second))
}

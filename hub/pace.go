package hub

import (
	"sync"
	"time"
)

// pacer hands out the moments at which executions are due, over all jobs of a hub together: the nth one after the
// schedule's start is due n/rate later. Whoever is late finds its moments in the past and catches up; nothing drifts.
type pacer struct {
	perSecond float64 // 0 = everything is due at once

	mu    sync.Mutex // guards the fields below
	start time.Time
	n     uint64
}

// next returns when the next execution of a job that began at the given time is due. A job that begins after
// everything handed out so far was due starts the schedule anew.
func (p *pacer) next(began time.Time) time.Time {
	if p.perSecond <= 0 {
		return began
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	due := p.start.Add(offset(p.n, p.perSecond))
	if due.Before(began) {
		p.start, p.n, due = began, 0, began
	}
	p.n++
	return due
}

// offset returns when arrival n is due, counted from the start of a schedule of so many a second.
func offset(n uint64, perSecond float64) time.Duration {
	return time.Duration(float64(n) / perSecond * float64(time.Second))
}

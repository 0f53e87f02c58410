package scheduler

import "time"

// pacer is a plan: At returns when arrival n is due, as an offset from the
// plan's start, and whether there is one. It is a pure function.
type pacer interface {
	At(n uint64) (due time.Duration, ok bool)
}

// constant is count arrivals at a constant rate; a rate of 0 has all of them
// due at the start.
type constant struct {
	perSecond float64
	count     uint64
}

// At implements pacer.
func (c constant) At(n uint64) (due time.Duration, ok bool) {
	if c.perSecond > 0 {
		due = time.Duration(float64(n) / c.perSecond * float64(time.Second))
	}
	return due, n < c.count
}

// cadence is a number of arrivals a fixed time apart: the repetitions of a job.
type cadence struct {
	every time.Duration
	times uint64
}

// At implements pacer.
func (c cadence) At(n uint64) (due time.Duration, ok bool) {
	return time.Duration(n) * c.every, n < c.times
}

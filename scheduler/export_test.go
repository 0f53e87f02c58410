package scheduler

import (
	"time"
	"unsafe"

	"muster/internal/sample"
)

// What the tests of this package look at from outside.

type (
	Constant = constant
	Cadence  = cadence
)

func NewConstant(perSecond float64, count uint64) Constant {
	return constant{perSecond: perSecond, count: count}
}

var (
	Canonical = func(doc string) string { return string(canonical([]byte(doc))) }
	Marked    = func(doc, id string) (string, error) {
		out, err := marked([]byte(doc), id)
		return string(out), err
	}
)

func NewCadence(every time.Duration, times uint64) Cadence {
	return cadence{every: every, times: times}
}

func RowOutcome(kind Kind, status, code string, methodStatus int32, seen bool) sample.Outcome {
	return rowOutcome(kind, &booking{state: stateOf(status), begun: true, code: code, status: methodStatus}, seen)
}

// Booked is what tests read of a booking.
type Booked struct {
	Outcome  sample.Outcome
	Status   int32
	Code     string
	Finished bool
}

func BookCall(kind Kind, reply Reply, err, cut error, received bool) Booked {
	r := result{reply: reply, err: err, at: 1, cut: cut}
	b := r.book(kind, received)
	return Booked{b.outcome, b.status, b.code, b.finished.Seen()}
}

var ErrMaxExecution = errMaxExecution

// SlotBytes is what a slot takes.
const SlotBytes = unsafe.Sizeof(slot{})

// OpenWindow opens the first repetition of a job for receipts, and returns
// what closes it and counts what it holds then.
func OpenWindow(s *Scheduler, job int) (shut func() (receipts int)) {
	p := newRepetition(s.runners[job], 0, 1)
	s.open(p.w)
	return func() (receipts int) {
		s.shut(p.w)
		p.w.each(func(_ uint32, sl *slot) {
			receipts += int(sl.duplicates.Load())
			if sl.received.Load() != 0 {
				receipts++
			}
		})
		return receipts
	}
}

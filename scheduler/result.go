package scheduler

import (
	"cmp"
	"context"
	"errors"

	"muster/internal/sample"
)

// result is how one call of a fan-out returned.
type result struct {
	reply Reply
	err   error
	at    sample.Moment // when it returned
	cut   error         // why the call's context had ended by then; nil if it had not
}

// book returns what the call says of its execution. received says whether the
// device received anything.
func (r *result) book(kind Kind, received bool) booking {
	if r.err == nil {
		return r.bookReply(kind)
	}
	b := booking{outcome: sample.Failed, attempts: 1}
	var call *CallError
	if errors.As(r.err, &call) {
		b.dispatched, b.attempts, b.code = call.Wrote, attempts(call.Attempts), cmp.Or(call.Code, call.Cause)
		if call.Outcome == sample.Offline || call.Outcome == sample.TimedOut {
			b.outcome = call.Outcome
		}
	}
	switch {
	case r.wasCut(call):
		b.outcome, b.cut, b.code = cutOutcome(r.cut, received || b.dispatched.Seen()), true, "" // see ownCause
	case call != nil && call.Code != "" && kind != Desired:
		b.finished = r.at // the hub's response was read
	}
	return b
}

func (r *result) bookReply(kind Kind) booking {
	b := booking{
		outcome: sample.Failed, status: int32(r.reply.Status),
		dispatched: r.reply.Wrote, attempts: attempts(r.reply.Attempts),
	}
	if success(b.status) || b.status == 0 && kind != Method {
		b.outcome = sample.Succeeded
	}
	if kind != Desired { // which ends at the device
		b.finished = r.at
	}
	return b
}

// wasCut reports whether the call failed because its context ended, and not by
// an answer that came at the same time.
func (r *result) wasCut(call *CallError) bool {
	if r.cut == nil {
		return false
	}
	return call == nil || errors.Is(r.err, context.Canceled) || errors.Is(r.err, context.DeadlineExceeded)
}

// cutOutcome is the outcome of a call that was given up: nobody knows when the
// run ended before it, else the device was asked in vain, or never asked.
func cutOutcome(cut error, asked bool) sample.Outcome {
	switch {
	case errors.Is(cut, context.Canceled):
		return sample.Unknown
	case asked:
		return sample.TimedOut
	}
	return sample.NotDispatched
}

// attempts counts a call that was made as one at least.
func attempts(n int) uint32 { return uint32(max(n, 1)) }

// callOutcome tells how an execution of a fan-out ended, or that its device
// was not a target.
func callOutcome(sl *slot) (sample.Outcome, bool) {
	switch {
	case !sl.targeted:
		return sample.Open, false
	case sl.booking.outcome == sample.Open:
		return sample.NotDispatched, true
	case sl.booking.outcome == sample.NotDispatched && sl.received.Load() != 0:
		return sample.TimedOut, true // the call that was cut got there after all
	}
	return sl.booking.outcome, true
}

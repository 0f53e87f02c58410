package scheduler

import "muster/internal/sample"

// The causes that the scheduler names where nobody else has named one.
const (
	causeNoAnswer    = "NoAnswer"     // the time of the call, or of the job, was over before an answer came
	causeNotCalled   = "NotCalled"    // the job ended before the device's turn came
	causeInterrupted = "Interrupted"  // the call was given up with the run
	causeNoResponse  = "NoResponse"   // the call failed, and nobody said why
	causeNoRow       = "NoRow"        // the hub has not said how it ended
	causeOpenRow     = "RowNotEnded"  // the hub's row was still open in the end
	causeCancelled   = "JobCancelled" // the job was, before it came to the device
)

// ownCause returns why an execution did not succeed of which neither the hub,
// nor the device by its status, nor the caller has said it. state is of its row.
func ownCause(via Via, o sample.Outcome, e *sample.Execution, state rowState) string {
	switch {
	case o == sample.Succeeded, o == sample.Failed && e.Status != 0:
		return ""
	case o == sample.Cancelled:
		return causeCancelled
	case via == Hub && state == noRow:
		return causeNoRow
	case via == Hub && !state.ended():
		return causeOpenRow
	case via == Hub:
		return ""
	}
	switch o {
	case sample.TimedOut:
		return causeNoAnswer
	case sample.NotDispatched:
		return causeNotCalled
	case sample.Unknown:
		return causeInterrupted
	}
	return causeNoResponse
}

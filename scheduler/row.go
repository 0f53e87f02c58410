package scheduler

import (
	"strings"

	"muster/internal/sample"
)

// rowState is how far a hub's row is.
type rowState uint8

const (
	noRow rowState = iota
	rowPending
	rowRunning
	rowCompleted
	rowFailed
	rowCancelled
)

// ended reports whether the row will not change any more.
func (s rowState) ended() bool { return s >= rowCompleted }

// stateOf reads the status of a row. What is not known has not ended.
func stateOf(status string) rowState {
	switch {
	case status == "completed":
		return rowCompleted
	case status == "failed":
		return rowFailed
	case status == "running":
		return rowRunning
	case strings.HasPrefix(status, "cancel"):
		return rowCancelled
	}
	return rowPending
}

// The error names of rows that say more than that it failed.
const (
	codeNotOnline      = "DeviceNotOnline"
	codeGatewayTimeout = "GatewayTimeout"
)

// rowOutcome returns how an execution ended by its row, once its job has
// ended. seen says whether the device received anything.
func rowOutcome(kind Kind, b *booking, seen bool) sample.Outcome {
	switch b.state {
	case noRow:
		return sample.Unknown
	case rowCompleted:
		if kind == Method && !success(b.status) {
			return sample.Failed
		}
		return sample.Succeeded
	case rowFailed:
		switch b.code {
		case codeNotOnline:
			return sample.Offline
		case codeGatewayTimeout:
			return sample.TimedOut
		}
		if !b.begun && !seen {
			return sample.NotDispatched // the hub ended the job before it got to it
		}
		return sample.Failed
	case rowCancelled:
		return sample.Cancelled
	}
	if seen {
		return sample.TimedOut
	}
	return sample.NotDispatched
}

// count adds a row to the hub's counts. The hub's own statistics have no place
// for cancelled rows beyond the sum.
func count(s *sample.Statistics, state rowState) {
	if state == noRow {
		return
	}
	s.Devices++
	switch state {
	case rowPending:
		s.Pending++
	case rowRunning:
		s.Running++
	case rowCompleted:
		s.Succeeded++
	case rowFailed:
		s.Failed++
	}
}

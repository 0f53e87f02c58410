package wire

import (
	"errors"

	"muster/internal/sample"
)

// What is an event's kind.
type What byte

// The events.
const (
	Received  What = iota + 1 // Receipt; it is given the next number
	Answered                  // Number, Status, At; no Device
	Finished                  // Number, At; no Device
	Attempted                 // Attempt
	Lost                      // Loss
	Online                    // nothing else
	Offline                   // nothing else
	Reported                  // Patch
	forget                    // both sides let go of the texts that they keep
)

// Event is one thing that happened to a device. Receipts are numbered from 1 in
// the order in which they are encoded; the Number of another event is that of
// its receipt.
type Event struct {
	What    What
	Device  uint32 // to whom it happened
	Number  uint64
	Receipt sample.Receipt
	Status  int32
	At      sample.Moment
	Attempt sample.Connect
	Loss    sample.Lost
	Patch   []byte
}

// Texts that come again and again, such as the payload of a broadcast, are sent
// once and named by their place afterwards. When one more would go beyond these
// bounds all are forgotten; a text that is longer than mostText is not kept.
const (
	mostTexts     = 1024
	mostTextBytes = 1 << 20
	mostText      = 64 << 10
)

// How a text is written: a new one that is kept, one that is not, or the place
// of one that is, from textAt.
const (
	textNew  = 0
	textOnce = 1
	textAt   = 2
)

var errMalformed = errors.New("malformed events")

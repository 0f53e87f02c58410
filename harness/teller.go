package harness

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"muster/harness/wire"
	"muster/internal/sample"
)

const (
	// tellAfter is how long an event waits for others that go with it.
	tellAfter = time.Millisecond
	// tellFrom is how many bytes of them do not wait.
	tellFrom = 32 << 10
	// tellAtMost is how many of them go in one frame, but for what one event takes.
	tellAtMost = 256 << 10
	// tellMost bounds what waits for a run that does not read.
	tellMost = 64 << 20
)

var errUnread = fmt.Errorf("the run did not read %d MiB of what happened", tellMost>>20)

// teller is who tells a generator's run what happens: fleet.Observer,
// fleet.Recorder and fleet.Mirror. Telling takes a lock for as long as a few
// bytes take to encode, and never waits for the pipe.
type teller struct {
	waits chan struct{} // holds one token if there is something to write

	mu      sync.Mutex   // guards the fields below
	events  wire.Encoder // in no frame yet
	frames  []byte       // complete ones, which go before the events
	spare   []byte       // a buffer that nobody uses
	unread  bool         // more than tellMost waited
	urgency bool         // what waits is to be written at once
}

func newTeller() *teller { return &teller{waits: make(chan struct{}, 1)} }

// Received implements fleet.Observer.
func (t *teller) Received(r sample.Receipt) (ticket uint64) {
	t.tell(func(e *wire.Encoder) { ticket = e.Received(&r) })
	return ticket
}

// Answered implements fleet.Observer.
func (t *teller) Answered(ticket uint64, status int32, at sample.Moment) {
	t.tell(func(e *wire.Encoder) { e.Answered(ticket, status, at) })
}

// Finished implements fleet.Observer.
func (t *teller) Finished(ticket uint64, at sample.Moment) {
	t.tell(func(e *wire.Encoder) { e.Finished(ticket, at) })
}

// Connect implements fleet.Recorder.
func (t *teller) Connect(c *sample.Connect) { t.tell(func(e *wire.Encoder) { e.Attempted(c) }) }

// Lost implements fleet.Recorder.
func (t *teller) Lost(l *sample.Lost) { t.tell(func(e *wire.Encoder) { e.Lost(l) }) }

// Moved implements fleet.Mirror.
func (t *teller) Moved(device uint32, isOnline bool) {
	t.tell(func(e *wire.Encoder) { e.Moved(device, isOnline) })
}

// Reported implements fleet.Mirror.
func (t *teller) Reported(device uint32, patch []byte) {
	t.tell(func(e *wire.Encoder) { e.Reported(device, patch) })
}

func (t *teller) tell(encode func(*wire.Encoder)) {
	t.mu.Lock()
	before := t.events.Len()
	encode(&t.events)
	now := t.events.Len()
	if now >= tellAtMost {
		t.packLocked()
	}
	t.unread = t.unread || len(t.frames) > tellMost
	t.urgency = t.urgency || now >= tellFrom
	wakes := before == 0 || before < tellFrom && now >= tellFrom
	t.mu.Unlock()
	if wakes {
		t.wake()
	}
}

func (t *teller) wake() {
	select {
	case t.waits <- struct{}{}:
	default: // it will look anyway
	}
}

// frame tells something that is no event. The events before it go before it.
func (t *teller) frame(k wire.Kind, payload []byte) {
	t.mu.Lock()
	t.packLocked()
	frames, err := wire.AppendFrame(t.frames, k, payload)
	t.frames = frames
	t.unread = t.unread || err != nil
	t.urgency = true
	t.mu.Unlock()
	t.wake()
}

// packLocked makes frames of the events.
func (t *teller) packLocked() {
	if t.events.Len() == 0 {
		return
	}
	events := t.events.Take(t.spare)
	frames, err := wire.AppendFrame(t.frames, wire.Events, events)
	t.frames, t.spare = frames, events
	t.unread = t.unread || err != nil
}

// run writes to out what is told, until ctx ends, and then what is left.
func (t *teller) run(ctx context.Context, out io.Writer) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var written []byte
	for {
		over := false
		select {
		case <-ctx.Done():
			over = true
		case <-t.waits:
		}
		if !over && !t.urgent() {
			timer.Reset(tellAfter)
			select {
			case <-timer.C:
			case <-t.waits: // enough for a frame
			case <-ctx.Done():
			}
		}
		var err error
		if written, err = t.write(out, written); err != nil || over {
			return err
		}
	}
}

func (t *teller) urgent() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.urgency
}

// write writes all that waits, and takes a buffer that is free again in
// exchange for one.
func (t *teller) write(out io.Writer, free []byte) ([]byte, error) {
	t.mu.Lock()
	t.packLocked()
	frames := t.frames
	t.frames, t.urgency = free[:0], false
	unread := t.unread
	t.mu.Unlock()
	if unread {
		return frames, errUnread
	}
	if len(frames) == 0 {
		return frames, nil
	}
	if _, err := out.Write(frames); err != nil {
		return frames, fmt.Errorf("tell the run: %w", err)
	}
	return frames, nil
}

// appendMoment and decodeMoment are a moment as a frame's payload.
func appendMoment(dst []byte, m sample.Moment) []byte { return binary.AppendVarint(dst, int64(m)) }

func decodeMoment(src []byte) (sample.Moment, error) {
	v, n := binary.Varint(src)
	if n != len(src) || n <= 0 || v == 0 {
		return 0, errors.New("a frame holds no moment")
	}
	return sample.Moment(v), nil
}

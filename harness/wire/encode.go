package wire

import (
	"encoding/binary"

	"muster/internal/sample"
)

// Encoder encodes events. In a steady state it allocates nothing.
type Encoder struct {
	buf      []byte
	number   uint64        // of the last receipt
	last     sample.Moment // the one that the next is told from
	texts    map[string]uint64
	textSize int
}

// Len returns how many bytes wait to be taken.
func (e *Encoder) Len() int { return len(e.buf) }

// Take returns the events since the last call, and goes on in a buffer that the
// caller has no use for any more.
func (e *Encoder) Take(spare []byte) []byte {
	events := e.buf
	e.buf = spare[:0]
	return events
}

// Received encodes a receipt and returns its number.
func (e *Encoder) Received(r *sample.Receipt) uint64 {
	e.number++
	e.room(r.Name, r.Payload)
	e.buf = append(e.buf, byte(Received), byte(r.Kind))
	e.unsigned(uint64(r.Device))
	text(e, r.Name)
	text(e, r.Payload)
	e.moment(r.At)
	return e.number
}

// Answered encodes that a receipt was answered.
func (e *Encoder) Answered(number uint64, status int32, at sample.Moment) {
	e.buf = append(e.buf, byte(Answered))
	e.unsigned(e.number - number)
	e.signed(int64(status))
	e.moment(at)
}

// Finished encodes that there is no more to do for a receipt.
func (e *Encoder) Finished(number uint64, at sample.Moment) {
	e.buf = append(e.buf, byte(Finished))
	e.unsigned(e.number - number)
	e.moment(at)
}

// Attempted encodes an attempt to connect.
func (e *Encoder) Attempted(c *sample.Connect) {
	e.room(c.Error, nil)
	e.buf = append(e.buf, byte(Attempted))
	e.unsigned(uint64(c.Device))
	e.unsigned(uint64(c.Attempt))
	reconnect := byte(0)
	if c.Reconnect {
		reconnect = 1
	}
	e.buf = append(e.buf, reconnect)
	e.moment(c.Due)
	for _, m := range [...]sample.Moment{c.Dialed, c.Accepted, c.Ready} {
		e.signed(int64(m - c.Due)) // one that was not seen is only longer
	}
	text(e, c.Error)
}

// Lost encodes the loss of a connection.
func (e *Encoder) Lost(l *sample.Lost) {
	e.room(l.Error, nil)
	e.buf = append(e.buf, byte(Lost))
	e.unsigned(uint64(l.Device))
	e.moment(l.At)
	text(e, l.Error)
}

// Moved encodes that a device is online now, or not any more.
func (e *Encoder) Moved(device uint32, isOnline bool) {
	what := Offline
	if isOnline {
		what = Online
	}
	e.buf = append(e.buf, byte(what))
	e.unsigned(uint64(device))
}

// Reported encodes a patch of a device's reported properties.
func (e *Encoder) Reported(device uint32, patch []byte) {
	e.room("", patch)
	e.buf = append(e.buf, byte(Reported))
	e.unsigned(uint64(device))
	text(e, patch)
}

func (e *Encoder) unsigned(v uint64) { e.buf = binary.AppendUvarint(e.buf, v) }
func (e *Encoder) signed(v int64)    { e.buf = binary.AppendVarint(e.buf, v) }

// moment encodes how long after the last moment at was.
func (e *Encoder) moment(at sample.Moment) {
	e.signed(int64(at - e.last))
	e.last = at
}

// room makes sure that an event's texts can be kept if they are new: in the
// middle of an event nothing may be forgotten.
func (e *Encoder) room(name string, payload []byte) {
	if len(e.texts)+2 > mostTexts || e.textSize+min(len(name), mostText)+min(len(payload), mostText) > mostTextBytes {
		e.buf = append(e.buf, byte(forget))
		clear(e.texts)
		e.textSize = 0
	}
}

// text encodes a text.
func text[T string | []byte](e *Encoder, s T) {
	if at, ok := e.texts[string(s)]; ok {
		e.unsigned(textAt + at)
		return
	}
	how := uint64(textOnce)
	if len(s) <= mostText {
		how = textNew
		if e.texts == nil {
			e.texts = map[string]uint64{}
		}
		e.texts[string(s)] = uint64(len(e.texts))
		e.textSize += len(s)
	}
	e.unsigned(how)
	e.unsigned(uint64(len(s)))
	e.buf = append(e.buf, s...)
}

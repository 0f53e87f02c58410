package wire

import (
	"encoding/binary"
	"math"

	"muster/internal/sample"
)

// Decoder decodes what one Encoder has encoded, in its order.
type Decoder struct {
	buf      []byte
	bad      bool
	number   uint64
	last     sample.Moment
	texts    []kept
	textSize int
	event    Event
}

// kept is a text in both its forms, so that it is made once.
type kept struct {
	text    string
	payload []byte
}

// Decode calls do with each event of a frame. The event and what it points to
// are valid until do returns, and must not be changed. An error of do's ends it.
func (d *Decoder) Decode(events []byte, do func(*Event) error) error {
	d.buf = events
	for len(d.buf) > 0 && !d.bad {
		if d.next(); d.bad {
			break
		}
		if d.event.What == forget {
			continue
		}
		if err := do(&d.event); err != nil {
			return err
		}
	}
	if d.bad {
		return errMalformed
	}
	return nil
}

// next decodes one event.
func (d *Decoder) next() {
	d.event = Event{What: What(d.byte())}
	e := &d.event
	switch e.What {
	case Received:
		d.number++
		e.Number = d.number
		e.Receipt = sample.Receipt{Kind: sample.ReceiptKind(d.byte()), Device: d.uint32(), Name: d.text().text, Payload: d.text().payload, At: d.moment()}
		e.Device = e.Receipt.Device
		d.bad = d.bad || e.Receipt.Kind != sample.MethodReceipt && e.Receipt.Kind != sample.DesiredReceipt
	case Answered:
		e.Number, e.Status, e.At = d.receipt(), d.int32(), d.moment()
	case Finished:
		e.Number, e.At = d.receipt(), d.moment()
	case Attempted:
		d.attempt(&e.Attempt)
		e.Device = e.Attempt.Device
	case Lost:
		e.Loss = sample.Lost{Device: d.uint32(), At: d.moment(), Error: d.text().text}
		e.Device = e.Loss.Device
	case Online, Offline:
		e.Device = d.uint32()
	case Reported:
		e.Device, e.Patch = d.uint32(), d.text().payload
	case forget:
		d.texts, d.textSize = d.texts[:0], 0
	default:
		d.bad = true
	}
}

func (d *Decoder) attempt(c *sample.Connect) {
	c.Device, c.Attempt = d.uint32(), d.uint32()
	reconnect := d.byte()
	c.Reconnect = reconnect == 1
	d.bad = d.bad || reconnect > 1
	c.Due = d.moment()
	for _, m := range [...]*sample.Moment{&c.Dialed, &c.Accepted, &c.Ready} {
		*m = c.Due + sample.Moment(d.signed())
	}
	c.Error = d.text().text
}

// fail has every read from now on yield zero.
func (d *Decoder) fail() {
	d.bad = true
	d.buf = nil
}

func (d *Decoder) byte() byte {
	if len(d.buf) == 0 {
		d.fail()
		return 0
	}
	b := d.buf[0]
	d.buf = d.buf[1:]
	return b
}

func (d *Decoder) unsigned() uint64 {
	v, n := binary.Uvarint(d.buf)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.buf = d.buf[n:]
	return v
}

func (d *Decoder) signed() int64 {
	v, n := binary.Varint(d.buf)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.buf = d.buf[n:]
	return v
}

func (d *Decoder) uint32() uint32 {
	v := d.unsigned()
	if v > math.MaxUint32 {
		d.fail()
		return 0
	}
	return uint32(v)
}

func (d *Decoder) int32() int32 {
	v := d.signed()
	if v < math.MinInt32 || v > math.MaxInt32 {
		d.fail()
		return 0
	}
	return int32(v)
}

func (d *Decoder) moment() sample.Moment {
	d.last += sample.Moment(d.signed())
	return d.last
}

// receipt decodes the number of a receipt that came before.
func (d *Decoder) receipt() uint64 {
	back := d.unsigned()
	if back >= d.number {
		d.fail()
		return 0
	}
	return d.number - back
}

func (d *Decoder) text() kept {
	how := d.unsigned()
	if how >= textAt {
		if at := how - textAt; at < uint64(len(d.texts)) {
			return d.texts[at]
		}
		d.fail()
		return kept{}
	}
	size := d.unsigned()
	if d.bad || size > uint64(len(d.buf)) {
		d.fail()
		return kept{}
	}
	raw := d.buf[:size]
	d.buf = d.buf[size:]
	s := kept{string(raw), append([]byte{}, raw...)}
	if how == textNew {
		d.keep(s)
	}
	return s
}

func (d *Decoder) keep(s kept) {
	d.textSize += len(s.text)
	if len(s.text) > mostText || len(d.texts) == mostTexts || d.textSize > mostTextBytes {
		d.fail()
		return
	}
	d.texts = append(d.texts, s)
}

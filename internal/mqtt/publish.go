package mqtt

import "encoding/binary"

// Publish is an application message on its way.
type Publish struct {
	Topic   []byte
	Payload []byte
	ID      uint16 // 0 if QoS is 0 and only then
	QoS     byte   // 0 to 2
	Retain  bool
	Dup     bool // sent before; never with QoS 0
}

// ParsePublish decodes a PUBLISH. Its slices are views into body.
func ParsePublish(h Header, body []byte) (Publish, error) {
	if err := checkPublishFlags(h.Flags); err != nil {
		return Publish{}, err
	}
	c := cursor{packet: TypePublish, rest: body}
	p := Publish{
		Topic:  c.binary(),
		QoS:    h.Flags & flagQoS >> shiftQoS,
		Retain: h.Flags&flagRetain != 0,
		Dup:    h.Flags&flagDup != 0,
	}
	if p.QoS > 0 { // [MQTT-2.3.1-5]: QoS 0 has no packet identifier
		p.ID = c.id()
	}
	if c.err == nil {
		c.err = checkPublishTopic(p.Topic)
	}
	p.Payload = c.take(len(c.rest))
	if c.err != nil {
		return Publish{}, c.err
	}
	return p, nil
}

func checkPublishFlags(flags byte) error {
	switch {
	case flags&flagQoS == flagQoS:
		return fault(TypePublish, "MQTT-3.3.1-4", "QoS is 3")
	case flags&flagQoS == 0 && flags&flagDup != 0:
		return fault(TypePublish, "MQTT-3.3.1-2", "DUP with QoS 0")
	}
	return nil
}

func checkPublishTopic(topic []byte) error {
	return checkTopic(TypePublish, "MQTT-3.3.2-1", "MQTT-3.3.2-2", topic)
}

// AppendPublish appends p to dst. On an error it returns dst as it was.
func AppendPublish(dst []byte, p Publish) ([]byte, error) {
	flags := p.flags()
	if err := p.check(flags); err != nil {
		return dst, err
	}
	n := 2 + len(p.Topic) + len(p.Payload)
	if p.QoS > 0 {
		n += 2
	}
	if n > maxRemaining {
		return dst, ErrTooLarge
	}
	dst = appendHeader(dst, TypePublish, flags, n)
	dst = appendField(dst, p.Topic)
	if p.QoS > 0 {
		dst = binary.BigEndian.AppendUint16(dst, p.ID)
	}
	return append(dst, p.Payload...), nil
}

func (p Publish) flags() byte {
	f := min(p.QoS, 3) << shiftQoS
	if p.Retain {
		f |= flagRetain
	}
	if p.Dup {
		f |= flagDup
	}
	return f
}

// check refuses what must not be written.
func (p Publish) check(flags byte) error {
	if err := checkPublishFlags(flags); err != nil {
		return err
	}
	if p.QoS > 0 && p.ID == 0 {
		return fault(TypePublish, "MQTT-2.3.1-1", "packet identifier is 0")
	}
	if p.QoS == 0 && p.ID != 0 {
		return fault(TypePublish, "MQTT-2.3.1-5", "packet identifier with QoS 0")
	}
	return checkPublishTopic(p.Topic)
}

// ParseAck decodes the body of a PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK: the
// packet identifier of what it answers.
func ParseAck(body []byte) (id uint16, err error) {
	c := cursor{rest: body} // which of them it is, only the header knows
	id = c.id()
	if err := c.end(); err != nil {
		return 0, err
	}
	return id, nil
}

// AppendPuback appends a PUBACK to dst. It panics if id is 0, which no PUBLISH
// that ParsePublish accepted has [MQTT-2.3.1-6].
func AppendPuback(dst []byte, id uint16) []byte {
	return appendAck(dst, TypePuback, id)
}

func appendAck(dst []byte, t Type, id uint16) []byte {
	mustID(id)
	return binary.BigEndian.AppendUint16(appendHeader(dst, t, flagsOf(t), 2), id)
}

// AppendPingreq appends a PINGREQ to dst.
func AppendPingreq(dst []byte) []byte { return appendHeader(dst, TypePingreq, flagsNone, 0) }

// AppendPingresp appends a PINGRESP to dst.
func AppendPingresp(dst []byte) []byte { return appendHeader(dst, TypePingresp, flagsNone, 0) }

// AppendDisconnect appends a DISCONNECT to dst.
func AppendDisconnect(dst []byte) []byte { return appendHeader(dst, TypeDisconnect, flagsNone, 0) }

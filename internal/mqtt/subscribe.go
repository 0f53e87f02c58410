package mqtt

import (
	"encoding/binary"
	"iter"
)

// Filter is one wish of a SUBSCRIBE.
type Filter struct {
	Topic []byte // a topic filter
	QoS   byte   // the highest QoS at which to deliver, 0 to 2
}

// Subscribe is a request for messages. ParseSubscribe makes it.
type Subscribe struct {
	ID      uint16
	filters []byte // as on the wire, checked
}

// Filters ranges over the filters in their order, in which a SUBACK must answer
// them [MQTT-3.9.3-1]. It does not allocate.
func (s Subscribe) Filters() iter.Seq[Filter] {
	return func(yield func(Filter) bool) {
		c := cursor{packet: TypeSubscribe, rest: s.filters}
		for len(c.rest) > 0 && yield(Filter{Topic: c.binary(), QoS: c.octet()}) {
			continue
		}
	}
}

// ParseSubscribe decodes the body of a SUBSCRIBE. Its filters are views into body.
func ParseSubscribe(body []byte) (Subscribe, error) {
	c := cursor{packet: TypeSubscribe, rest: body}
	s := Subscribe{ID: c.id()}
	s.filters = c.rest
	if len(c.rest) == 0 {
		c.fail("MQTT-3.8.3-3", "no topic filter")
	}
	for c.err == nil && len(c.rest) > 0 {
		f := Filter{Topic: c.binary(), QoS: c.octet()}
		if c.err == nil {
			c.err = f.check()
		}
	}
	if c.err != nil {
		return Subscribe{}, c.err
	}
	return s, nil
}

func (f Filter) check() error {
	if f.QoS > 2 { // the reserved bits are above
		return fault(TypeSubscribe, "MQTT-3.8.3-4", "requested QoS is not 0, 1 or 2")
	}
	return checkFilter(TypeSubscribe, "MQTT-3.8.3-1", f.Topic)
}

// AppendSubscribe appends a SUBSCRIBE to dst. On an error it returns dst as it was.
func AppendSubscribe(dst []byte, id uint16, filters ...Filter) ([]byte, error) {
	n := 2
	for _, f := range filters {
		if err := f.check(); err != nil {
			return dst, err
		}
		n += 2 + len(f.Topic) + 1
	}
	if err := checkRequest(TypeSubscribe, "MQTT-3.8.3-3", id, len(filters), n); err != nil {
		return dst, err
	}
	dst = appendHeader(dst, TypeSubscribe, flagsRequest, n)
	dst = binary.BigEndian.AppendUint16(dst, id)
	for _, f := range filters {
		dst = append(appendField(dst, f.Topic), f.QoS)
	}
	return dst, nil
}

// checkRequest refuses a SUBSCRIBE or UNSUBSCRIBE that must not be written.
func checkRequest(t Type, clause string, id uint16, filters, remaining int) error {
	switch {
	case id == 0:
		return fault(t, "MQTT-2.3.1-1", "packet identifier is 0")
	case filters == 0:
		return fault(t, clause, "no topic filter")
	case remaining > maxRemaining:
		return ErrTooLarge
	}
	return nil
}

// Suback is a server's answer to a SUBSCRIBE.
type Suback struct {
	ID    uint16
	Codes []byte // one a filter: the granted QoS, or SubackFailure
}

// ParseSuback decodes the body of a SUBACK. Its codes are a view into body.
func ParseSuback(body []byte) (Suback, error) {
	c := cursor{packet: TypeSuback, rest: body}
	s := Suback{ID: c.id()}
	s.Codes = c.take(len(c.rest))
	if c.err == nil {
		c.err = checkCodes(s.Codes)
	}
	if c.err != nil {
		return Suback{}, c.err
	}
	return s, nil
}

func checkCodes(codes []byte) error {
	if len(codes) == 0 {
		return fault(TypeSuback, "MQTT-3.8.4-5", "no return code")
	}
	for _, code := range codes {
		if code > 2 && code != SubackFailure {
			return fault(TypeSuback, "MQTT-3.9.3-2", "return code is reserved")
		}
	}
	return nil
}

// AppendSuback appends a SUBACK to dst. It panics if id is 0 or codes are not
// return codes, at least one.
func AppendSuback(dst []byte, id uint16, codes ...byte) []byte {
	mustID(id)
	if err := checkCodes(codes); err != nil {
		panic(err.Error())
	}
	dst = appendHeader(dst, TypeSuback, flagsNone, 2+len(codes))
	dst = binary.BigEndian.AppendUint16(dst, id)
	return append(dst, codes...)
}

// Unsubscribe takes subscriptions back. ParseUnsubscribe makes it.
type Unsubscribe struct {
	ID      uint16
	filters []byte // as on the wire, checked
}

// Filters ranges over the topic filters. It does not allocate.
func (u Unsubscribe) Filters() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		c := cursor{packet: TypeUnsubscribe, rest: u.filters}
		for len(c.rest) > 0 && yield(c.binary()) {
			continue
		}
	}
}

// ParseUnsubscribe decodes the body of an UNSUBSCRIBE. Its filters are views into
// body.
func ParseUnsubscribe(body []byte) (Unsubscribe, error) {
	c := cursor{packet: TypeUnsubscribe, rest: body}
	u := Unsubscribe{ID: c.id()}
	u.filters = c.rest
	if len(c.rest) == 0 {
		c.fail("MQTT-3.10.3-2", "no topic filter")
	}
	for c.err == nil && len(c.rest) > 0 {
		filter := c.binary()
		if c.err == nil {
			c.err = checkFilter(TypeUnsubscribe, "MQTT-3.10.3-1", filter)
		}
	}
	if c.err != nil {
		return Unsubscribe{}, c.err
	}
	return u, nil
}

// AppendUnsubscribe appends an UNSUBSCRIBE to dst. On an error it returns dst as
// it was.
func AppendUnsubscribe(dst []byte, id uint16, filters ...[]byte) ([]byte, error) {
	n := 2
	for _, f := range filters {
		if err := checkFilter(TypeUnsubscribe, "MQTT-3.10.3-1", f); err != nil {
			return dst, err
		}
		n += 2 + len(f)
	}
	if err := checkRequest(TypeUnsubscribe, "MQTT-3.10.3-2", id, len(filters), n); err != nil {
		return dst, err
	}
	dst = appendHeader(dst, TypeUnsubscribe, flagsRequest, n)
	dst = binary.BigEndian.AppendUint16(dst, id)
	for _, f := range filters {
		dst = appendField(dst, f)
	}
	return dst, nil
}

// AppendUnsuback appends an UNSUBACK to dst. It panics if id is 0.
func AppendUnsuback(dst []byte, id uint16) []byte {
	return appendAck(dst, TypeUnsuback, id)
}

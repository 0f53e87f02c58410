package mqtt

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// A cursor walks over the body of a packet. It remembers the first fault and
// returns zero values after it, so that a parser checks once, at its end.
type cursor struct {
	packet Type
	rest   []byte
	err    error
}

func (c *cursor) fail(clause, msg string) {
	if c.err == nil {
		c.err = fault(c.packet, clause, msg)
	}
}

// take returns the next n bytes.
func (c *cursor) take(n int) []byte {
	if c.err != nil {
		return nil
	}
	if len(c.rest) < n {
		c.fail("", "packet is shorter than its fields")
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cursor) octet() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) integer() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// binary returns a field with a length of two bytes in front.
func (c *cursor) binary() []byte {
	return c.take(int(c.integer()))
}

// text returns a field that must be a string; clause is the one that says so.
func (c *cursor) text(clause string) []byte {
	b := c.binary()
	c.check(checkText(c.packet, clause, b))
	return b
}

func (c *cursor) id() uint16 {
	id := c.integer()
	if c.err == nil && id == 0 {
		c.fail("MQTT-2.3.1-1", "packet identifier is 0")
	}
	return id
}

func (c *cursor) check(err error) {
	if c.err == nil {
		c.err = err
	}
}

// end returns the first fault. Bytes behind the last field are one.
func (c *cursor) end() error {
	if len(c.rest) > 0 {
		c.fail("", "packet is longer than its fields")
	}
	return c.err
}

// checkText refuses what is not a string. Control codes and noncharacters are
// let pass, and so is U+FEFF [MQTT-1.5.3-3].
func checkText(t Type, clause string, s []byte) error {
	switch {
	case len(s) > maxString:
		return fault(t, "", "string is longer than 65,535 bytes")
	case !utf8.Valid(s): // surrogates are not valid either [MQTT-1.5.3-1]
		return fault(t, clause, "string is not UTF-8")
	case bytes.IndexByte(s, 0) >= 0:
		return fault(t, "MQTT-1.5.3-2", "string holds U+0000")
	}
	return nil
}

// checkTopic refuses what is not a topic name; clauses are those of the field.
func checkTopic(t Type, utf8Clause, wildcardClause string, topic []byte) error {
	switch {
	case len(topic) == 0:
		return fault(t, "MQTT-4.7.3-1", "topic name is empty")
	case bytes.IndexByte(topic, '#') >= 0, bytes.IndexByte(topic, '+') >= 0:
		return fault(t, wildcardClause, "topic name holds a wildcard")
	}
	return checkText(t, utf8Clause, topic)
}

// checkFilter refuses what is not a topic filter.
func checkFilter(t Type, utf8Clause string, filter []byte) error {
	if len(filter) == 0 {
		return fault(t, "MQTT-4.7.3-1", "topic filter is empty")
	}
	for i, b := range filter {
		alone := i == 0 || filter[i-1] == '/'
		last := i == len(filter)-1
		switch {
		case b == '#' && !(alone && last):
			return fault(t, "MQTT-4.7.1-2", "# is not the filter's last level")
		case b == '+' && !(alone && (last || filter[i+1] == '/')):
			return fault(t, "MQTT-4.7.1-3", "+ does not stand for a whole level")
		}
	}
	return checkText(t, utf8Clause, filter)
}

// appendHeader appends a fixed header, the remaining length in as few bytes as
// can hold it.
func appendHeader(dst []byte, t Type, flags byte, remaining int) []byte {
	dst = append(dst, byte(t)<<4|flags)
	for remaining > 0x7f {
		dst = append(dst, byte(remaining)|0x80)
		remaining >>= 7
	}
	return append(dst, byte(remaining))
}

// appendField appends b with its length in front; b has been checked.
func appendField(dst, b []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(b)))
	return append(dst, b...)
}

// mustID panics on the packet identifier 0, which a caller can only have made up.
func mustID(id uint16) {
	if id == 0 {
		panic("mqtt: packet identifier is 0 [MQTT-2.3.1-1]")
	}
}

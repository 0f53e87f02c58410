package mqtt

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
)

// The connect flags. MQTT 3.1.1, 3.1.2.3.
const (
	connectReserved   = 0x01
	connectClean      = 0x02
	connectWill       = 0x04
	connectWillQoS    = 0x18
	connectWillRetain = 0x20
	connectPassword   = 0x40
	connectUsername   = 0x80
	shiftWillQoS      = 3
)

// Connect is a client's first packet.
type Connect struct {
	Protocol []byte // empty to AppendConnect: "MQTT"
	Level    byte   // 0 to AppendConnect: 4, MQTT 3.1.1

	CleanSession bool
	KeepAlive    uint16 // seconds; 0: none
	ClientID     []byte

	HasUsername, HasPassword bool
	Username, Password       []byte

	HasWill     bool
	WillRetain  bool
	WillQoS     byte
	WillTopic   []byte
	WillPayload []byte
}

// String tells who connects. The password is often a token that others could
// use, so neither it nor the will is ever printed, whatever the verb.
func (p Connect) String() string {
	return fmt.Sprintf("CONNECT %q level %d", p.ClientID, p.Level)
}

// Format writes String.
func (p Connect) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// LogValue returns String.
func (p Connect) LogValue() slog.Value { return slog.StringValue(p.String()) }

// ParseConnect decodes the body of a CONNECT. Its slices are views into body.
//
// Of a Level other than 4 only Protocol and Level are decoded, without an error,
// since the rest is another protocol's: a server answers it with a CONNACK
// RefusedLevel [MQTT-3.1.2-2]. An empty ClientID without CleanSession is accepted
// too: a server answers it with RefusedIdentifier [MQTT-3.1.3-8].
func ParseConnect(body []byte) (Connect, error) {
	c := cursor{packet: TypeConnect, rest: body}
	p := Connect{Protocol: c.text("MQTT-1.5.3-1"), Level: c.octet()}
	if c.err == nil && p.Level != protocolLevel {
		return p, nil
	}
	if string(p.Protocol) != protocolName {
		c.fail("MQTT-3.1.2-1", "protocol name is not MQTT")
	}
	flags := c.octet()
	c.check(checkConnectFlags(flags))
	p.CleanSession = flags&connectClean != 0
	p.KeepAlive = c.integer()
	p.ClientID = c.text("MQTT-3.1.3-4") // [MQTT-3.1.3-3]: always there
	if flags&connectWill != 0 {
		p.HasWill = true
		p.WillRetain = flags&connectWillRetain != 0
		p.WillQoS = flags & connectWillQoS >> shiftWillQoS
		p.WillTopic = c.binary()
		p.WillPayload = c.binary()
		if c.err == nil {
			c.check(checkWill(p))
		}
	}
	if flags&connectUsername != 0 {
		p.HasUsername = true
		p.Username = c.text("MQTT-3.1.3-11")
	}
	if flags&connectPassword != 0 {
		p.HasPassword = true
		p.Password = c.binary()
	}
	if err := c.end(); err != nil {
		return Connect{}, err
	}
	return p, nil
}

func checkConnectFlags(flags byte) error {
	switch {
	case flags&connectReserved != 0:
		return fault(TypeConnect, "MQTT-3.1.2-3", "reserved flag is set")
	case flags&connectWillQoS == connectWillQoS:
		return fault(TypeConnect, "MQTT-3.1.2-14", "will QoS is 3")
	case flags&connectWill == 0 && flags&connectWillQoS != 0:
		return fault(TypeConnect, "MQTT-3.1.2-13", "will QoS without a will")
	case flags&connectWill == 0 && flags&connectWillRetain != 0:
		return fault(TypeConnect, "MQTT-3.1.2-15", "will retain without a will")
	case flags&connectUsername == 0 && flags&connectPassword != 0:
		return fault(TypeConnect, "MQTT-3.1.2-22", "password without a user name")
	}
	return nil
}

func checkWill(p Connect) error {
	return checkTopic(TypeConnect, "MQTT-3.1.3-10", "MQTT-4.7.1-1", p.WillTopic)
}

// AppendConnect appends p to dst. On an error it returns dst as it was.
func AppendConnect(dst []byte, p Connect) ([]byte, error) {
	flags := p.flags()
	if err := p.check(flags); err != nil {
		return dst, err
	}
	n := 2 + len(protocolName) + 1 + 1 + 2 + 2 + len(p.ClientID)
	if p.HasWill {
		n += 2 + len(p.WillTopic) + 2 + len(p.WillPayload)
	}
	if p.HasUsername {
		n += 2 + len(p.Username)
	}
	if p.HasPassword {
		n += 2 + len(p.Password)
	}
	dst = appendHeader(dst, TypeConnect, flagsNone, n)
	dst = append(dst, 0, byte(len(protocolName)))
	dst = append(dst, protocolName...)
	dst = append(dst, protocolLevel, flags)
	dst = binary.BigEndian.AppendUint16(dst, p.KeepAlive)
	dst = appendField(dst, p.ClientID) // this and what follows in the order of [MQTT-3.1.3-1]
	if p.HasWill {
		dst = appendField(appendField(dst, p.WillTopic), p.WillPayload)
	}
	if p.HasUsername {
		dst = appendField(dst, p.Username)
	}
	if p.HasPassword {
		dst = appendField(dst, p.Password)
	}
	return dst, nil
}

func (p Connect) flags() byte {
	var f byte
	for _, bit := range [...]struct {
		set  bool
		flag byte
	}{
		{p.CleanSession, connectClean},
		{p.HasWill, connectWill},
		{p.WillRetain, connectWillRetain},
		{p.HasPassword, connectPassword},
		{p.HasUsername, connectUsername},
	} {
		if bit.set {
			f |= bit.flag
		}
	}
	return f | min(p.WillQoS, 3)<<shiftWillQoS
}

// check refuses what must not be written.
func (p Connect) check(flags byte) error {
	switch {
	case len(p.Protocol) > 0 && string(p.Protocol) != protocolName:
		return fault(TypeConnect, "MQTT-3.1.2-1", "protocol name is not MQTT")
	case p.Level != 0 && p.Level != protocolLevel:
		return fault(TypeConnect, "MQTT-3.1.2-2", "protocol level is not 4")
	case len(p.WillPayload) > maxString || len(p.Password) > maxString:
		return fault(TypeConnect, "", "field is longer than 65,535 bytes")
	case !p.HasUsername && len(p.Username) > 0:
		return fault(TypeConnect, "MQTT-3.1.2-18", "user name without its flag")
	case !p.HasPassword && len(p.Password) > 0:
		return fault(TypeConnect, "MQTT-3.1.2-20", "password without its flag")
	case !p.HasWill && len(p.WillTopic)+len(p.WillPayload) > 0:
		return fault(TypeConnect, "MQTT-3.1.2-11", "will without its flag")
	}
	if err := checkConnectFlags(flags); err != nil {
		return err
	}
	if p.HasWill {
		if err := checkWill(p); err != nil {
			return err
		}
	}
	if err := checkText(TypeConnect, "MQTT-3.1.3-4", p.ClientID); err != nil {
		return err
	}
	return checkText(TypeConnect, "MQTT-3.1.3-11", p.Username)
}

// Connack is a server's answer to a CONNECT.
type Connack struct {
	SessionPresent bool
	Code           byte // Accepted or a refusal; those above RefusedNotAuthorized are reserved
}

// ParseConnack decodes the body of a CONNACK. It accepts the reserved return
// codes, which are refusals that have no name.
func ParseConnack(body []byte) (Connack, error) {
	c := cursor{packet: TypeConnack, rest: body}
	flags, code := c.octet(), c.octet()
	switch {
	case flags&^1 != 0:
		c.fail("", "reserved flags are set")
	case flags != 0 && code != Accepted:
		c.fail("MQTT-3.2.2-4", "refusal with a session present")
	}
	if err := c.end(); err != nil {
		return Connack{}, err
	}
	return Connack{SessionPresent: flags != 0, Code: code}, nil
}

// AppendConnack appends a CONNACK to dst. A refusal is written without the
// session, whatever sessionPresent says [MQTT-3.2.2-4].
func AppendConnack(dst []byte, sessionPresent bool, code byte) []byte {
	var flags byte
	if sessionPresent && code == Accepted {
		flags = 1
	}
	return append(appendHeader(dst, TypeConnack, flagsNone, 2), flags, code)
}

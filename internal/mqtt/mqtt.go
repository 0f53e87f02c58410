// Package mqtt is a bounded codec of MQTT 3.1.1 packets that does not allocate.
//
// A [Reader] cuts a stream into packets, the Parse functions decode a packet's
// body into a struct whose byte slices are views into it, and the Append
// functions encode packets onto a slice. All of them refuse what the standard
// forbids: what the package accepts is well formed, and so is what it encodes.
// Clause ids such as [MQTT-3.1.0-1] are those of the OASIS standard of
// 29 October 2014.
//
// What a packet means (an unknown client, a second CONNECT, a QoS that a server
// does not offer) is the caller's affair.
package mqtt

// Type is the kind of a control packet. MQTT 3.1.1, table 2.1.
type Type byte

// The control packets of MQTT 3.1.1. The values 0 and 15 are reserved.
const (
	TypeConnect Type = iota + 1
	TypeConnack
	TypePublish
	TypePuback
	TypePubrec
	TypePubrel
	TypePubcomp
	TypeSubscribe
	TypeSuback
	TypeUnsubscribe
	TypeUnsuback
	TypePingreq
	TypePingresp
	TypeDisconnect
)

// The return codes of a CONNACK. MQTT 3.1.1, table 3.1.
const (
	Accepted             byte = iota
	RefusedLevel              // the server does not speak the client's protocol level
	RefusedIdentifier         // the client identifier is not allowed
	RefusedUnavailable        // the MQTT service is not available
	RefusedCredentials        // the user name or password is malformed
	RefusedNotAuthorized      // the client is not authorized to connect
)

// SubackFailure is the return code in a SUBACK for a filter that the server did
// not subscribe. The other codes are the granted QoS.
const SubackFailure byte = 0x80

// MaxPacket is the size of the largest packet that MQTT can carry: five bytes of
// fixed header and 268,435,455 that a remaining length of four bytes can count.
const MaxPacket = 5 + maxRemaining

const (
	protocolName  = "MQTT" // [MQTT-3.1.2-1]
	protocolLevel = 4      // [MQTT-3.1.2-2]

	maxRemaining = 1<<28 - 1 // four bytes of seven bits, MQTT 3.1.1, table 2.4
	maxString    = 1<<16 - 1 // a length of two bytes, MQTT 3.1.1, 1.5.3
)

// The flags in the first byte of a PUBLISH. MQTT 3.1.1, 3.3.1.
const (
	flagRetain = 0x01
	flagQoS    = 0x06
	flagDup    = 0x08
	shiftQoS   = 1
)

// The flags of the other packets. MQTT 3.1.1, table 2.2.
const (
	flagsNone    = 0x00
	flagsRequest = 0x02 // of PUBREL, SUBSCRIBE and UNSUBSCRIBE
)

var typeNames = [...]string{
	TypeConnect:     "CONNECT",
	TypeConnack:     "CONNACK",
	TypePublish:     "PUBLISH",
	TypePuback:      "PUBACK",
	TypePubrec:      "PUBREC",
	TypePubrel:      "PUBREL",
	TypePubcomp:     "PUBCOMP",
	TypeSubscribe:   "SUBSCRIBE",
	TypeSuback:      "SUBACK",
	TypeUnsubscribe: "UNSUBSCRIBE",
	TypeUnsuback:    "UNSUBACK",
	TypePingreq:     "PINGREQ",
	TypePingresp:    "PINGRESP",
	TypeDisconnect:  "DISCONNECT",
}

// String returns the packet's name as the standard writes it, such as "CONNECT".
func (t Type) String() string {
	if t < TypeConnect || t > TypeDisconnect {
		return "reserved"
	}
	return typeNames[t]
}

// Header is the first byte of a packet.
type Header struct {
	Type  Type
	Flags byte // the low four bits
}

// parseHeader splits and checks a packet's first byte.
func parseHeader(b byte) (Header, error) {
	h := Header{Type: Type(b >> 4), Flags: b & 0x0f}
	if h.Type < TypeConnect || h.Type > TypeDisconnect {
		return Header{}, fault(0, "", "packet type is reserved")
	}
	if h.Type == TypePublish {
		return h, checkPublishFlags(h.Flags)
	}
	if h.Flags != flagsOf(h.Type) { // [MQTT-2.2.2-1]
		return Header{}, fault(h.Type, "MQTT-2.2.2-2", "reserved flags are not as they must be")
	}
	return h, nil
}

// flagsOf returns the fixed flags of a packet other than PUBLISH.
func flagsOf(t Type) byte {
	switch t {
	case TypePubrel, TypeSubscribe, TypeUnsubscribe: // [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1]
		return flagsRequest
	}
	return flagsNone
}

// checkLength refuses a remaining length that a packet of its type cannot have.
// It knows only those of fixed length, so that they need no body to be refused.
func checkLength(t Type, remaining int) error {
	want := remaining
	switch t {
	case TypeConnack, TypePuback, TypePubrec, TypePubrel, TypePubcomp, TypeUnsuback:
		want = 2
	case TypePingreq, TypePingresp, TypeDisconnect:
		want = 0
	}
	if remaining != want {
		return fault(t, "", "remaining length is wrong for its type")
	}
	return nil
}

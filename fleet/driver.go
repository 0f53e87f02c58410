package fleet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// DialFunc opens the network connection under an MQTT connection: TCP, TLS or
// memory.
type DialFunc func(ctx context.Context) (net.Conn, error)

// Telling is a network connection that tells when there is something to read,
// so that a driver may do without a goroutine that waits for it. Connections in
// memory are, and others if a driver asks for that (AskTelling).
type Telling interface {
	net.Conn
	// TryRead is Read, but where that would wait its error is syscall.EAGAIN.
	TryRead(p []byte) (int, error)
	// TellRead has tell called whenever something came that lets a TryRead return
	// what it did not before, the end and the own Close among it. tell must not
	// block. What came before is not told.
	TellRead(tell func())
}

type dialingKey struct{}

type tellingKey struct{}

// AskTelling returns a context by which a driver asks a DialFunc for a connection
// that is Telling, if it can have one.
func AskTelling(ctx context.Context) context.Context {
	return context.WithValue(ctx, tellingKey{}, true)
}

// TellingAsked says whether a DialFunc's call asks for a connection that is
// Telling. To one that waits in Read any other is better.
func TellingAsked(ctx context.Context) bool { return ctx.Value(tellingKey{}) != nil }

// dialing is what a DialFunc may ask of its context.
type dialing struct {
	id     string
	source netip.Addr
}

// Dialing returns the id of the device for which a DialFunc is called, for
// what belongs to one device, such as its TLS sessions; "" if none is known.
func Dialing(ctx context.Context) string {
	d, ok := ctx.Value(dialingKey{}).(*dialing)
	if !ok {
		return ""
	}
	return d.id
}

// Source returns the address that the connection of a DialFunc's call is to
// come from; the zero Addr leaves it to the system.
func Source(ctx context.Context) netip.Addr {
	d, ok := ctx.Value(dialingKey{}).(*dialing)
	if !ok {
		return netip.Addr{}
	}
	return d.source
}

// AckTimeout is how long a driver waits for an acknowledgement at most.
const AckTimeout = time.Minute

// Driver is the MQTT client code under a connection. It is safe for concurrent
// use.
type Driver interface {
	// Dial opens a network connection with dial and an MQTT 3.1.1 session on it,
	// in one attempt. It returns when the CONNACK has been read: a Conn, a
	// *RefusedError, or what went wrong; if ctx ended, an error that wraps its
	// cause. Nothing of a failed attempt is left open. A connection that was
	// opened does not depend on ctx any more.
	Dial(ctx context.Context, dial DialFunc, s Session) (Conn, error)
}

// Session is what a device brings to a connection.
type Session struct {
	ClientID     string
	Username     string
	Password     string // a SAS token: a secret
	CleanSession bool
	KeepAlive    time.Duration // rounded up to whole seconds; 0: no pings

	// OnMessage is called for each PUBLISH, apart from all others, so it may block
	// and use the Conn. Topic and payload are lent: it may change the payload, but
	// must copy what it keeps of either, parts of the topic's text too, as they are
	// used for other messages once it has returned.
	OnMessage func(topic string, payload []byte)
	// OnLost is called once if an accepted connection ends by itself, possibly
	// before Dial has returned it, and not after Close. The Conn is of no use any
	// more, but must still be closed.
	OnLost func(error)
}

// String names the session's client, and not its secret.
func (s Session) String() string { return "session of " + s.ClientID }

// GoString returns the same as String.
func (s Session) GoString() string { return s.String() }

// Conn is one MQTT connection. It is safe for concurrent use.
type Conn interface {
	// Publish sends a message. It returns once the message was written (QoS 0)
	// or acknowledged (QoS 1), or with an error when that cannot happen any more,
	// ctx ended or AckTimeout is over. The topic is lent: its text is not kept. The
	// payload must not be changed afterwards.
	Publish(ctx context.Context, topic string, payload []byte, qos byte) error
	// Subscribe asks for all filters at QoS 0 in one packet and returns once all
	// were granted, or with an error as Publish does.
	Subscribe(ctx context.Context, filters ...string) error
	// Close disconnects and returns once nothing of the connection is left, in
	// bounded time even if the peer is silent. Closing again does nothing.
	Close() error
}

// RefusedError is a CONNACK with a return code that refuses the connection.
type RefusedError struct {
	Code byte // MQTT 3.1.1, table 3.1
}

// Error names the code's meaning.
func (e *RefusedError) Error() string { return "refused: " + e.reason() }

func (e *RefusedError) reason() string {
	switch e.Code {
	case 1:
		return "unacceptable protocol version"
	case 2:
		return "identifier rejected"
	case 3:
		return "server unavailable"
	case 4:
		return "bad user name or password"
	case 5:
		return "not authorized"
	}
	return fmt.Sprintf("reserved return code %d", e.Code)
}

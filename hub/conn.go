package hub

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"muster/internal/mqtt"
	"muster/internal/socket"
)

const (
	// maxPacket bounds what a device may send: a telemetry message of 256 KB, its topic with properties and headers.
	maxPacket = 256<<10 + 64<<10 + 16

	// maxConnect bounds what a connection may send before its CONNECT is accepted, maxWill what a will adds to that.
	maxConnect = 16 << 10
	maxWill    = 64 << 10

	// A connection with more than maxPending unsent bytes is a slow consumer when another message comes, if its peer has
	// not taken a chunk for as long as patience. A burst alone makes none, short of maxBurst.
	maxPending = 64 << 10
	maxBurst   = 2 << 20
	patience   = 500 * time.Millisecond

	// chunk is how many bytes are written at once, the measure of a peer's progress.
	chunk = 16 << 10

	// crowded is from how many unsent bytes on methods and cloud-to-device messages wait for room.
	crowded = 256 << 10

	connectTimeout = 10 * time.Second // from accept to CONNECT, TLS handshake included
	writeTimeout   = 5 * time.Second  // a chunk that takes longer makes a slow consumer

	// maxKeepAlive is how long the service waits at most for a packet, whatever keep-alive was asked for.
	maxKeepAlive = 1767 * time.Second
)

// ending says why a connection ended.
type ending uint32

const (
	endNone         ending = iota
	endPeer                // the peer went away without DISCONNECT
	endHandshake           // no TLS
	endDisconnect          // DISCONNECT
	endProtocol            // the peer broke the protocol, or asked for what the service does not have
	endRefused             // CONNACK with a refusal
	endKeepAlive           // nothing heard for one and a half times the keep-alive
	endExpired             // the token expired
	endSlow                // the peer does not read
	endTakeover            // the same device connected anew
	endUnauthorized        // the device was deleted or disabled
	endClosed              // the hub closes
	endUnsendable          // a message for the device does not fit into a packet
	endFault               // a fault on purpose
	endCrowded             // too many have not proved who they are
)

var endingNames = [...]string{
	"none", "peer", "handshake", "disconnect", "protocol", "refused", "keepAlive", "expired", "slow", "takeover", "unauthorized", "closed",
	"unsendable", "fault", "crowded",
}

func (e ending) String() string { return endingNames[e] }

// conn is one MQTT connection. Its reader is the only one that reads, that moves deadlines forward and that closes nc;
// everybody else ends the connection by calling end. The reader is a goroutine of its own (serve, owned by Hub.tasks), or,
// if nc tells when there is something to read, whichever of the hub's readers has it: with TLS from CONNECT on. Writers append to pending;
// whoever flushes it is counted by flushers, for which finish waits.
type conn struct {
	hub *Hub
	nc  net.Conn
	in  io.Reader    // nc, or the WebSocket on it; deadlines pass unseen
	out writer       // nc, or the WebSocket on it
	rd  *mqtt.Reader // nil while nobody reads
	dev *device      // nil before CONNECT was accepted

	nt       telling       // nc, if it tells; nil: a goroutine waits in its Read
	trying   prompter      // nc, if it is one
	isSecure bool          // nc is TLS
	told     atomic.Uint32 // how often it was woken in this turn; 0: nobody reads
	next     *conn         // in the readers' queue
	alarm    deadline      // in place of nc's read deadline, once polled

	started  bool          // something was read
	credit   int           // how many bytes may still be read before CONNECT is accepted, once started; after it, those of rest
	unheard  bool          // a fault lets the device wait for the answer to its CONNECT: what it sends meanwhile is passed over
	patience time.Duration // 0 = for ever
	heard    time.Time     // when the last packet came in; before CONNECT, when the connection did
	expiry   time.Time     // of the token; zero before CONNECT
	will     *shown        // told when the connection ends without DISCONNECT

	place  place         // while it is a stranger
	reason atomic.Uint32 // an ending; set once
	held   atomic.Int32  // twin requests that wait for their turn
	unkept atomic.Int32  // packets that wait for the store

	mu       sync.Mutex // guards the fields below; never held across a write
	pending  *packets   // to be written; nil: none
	unsent   int        // bytes in pending and in the flusher's hands
	flushing bool
	gathers  bool      // somebody will flush, as it is about to send: the reader, or a request
	gathered bool      // there is something for it to flush
	since    time.Time // when the write of the chunk under way began; zero if there is none
	wanted   bool      // methods or messages wait for room
	granting int       // SUBACKs and UNSUBACKs that wait for the store
	closed   bool      // nothing is written any more
	flushers sync.WaitGroup
}

// writer is where a connection's packets go.
type writer interface {
	io.Writer
	SetWriteDeadline(at time.Time) error
}

func newConn(h *Hub, nc net.Conn) *conn {
	c := &conn{hub: h, nc: nc, out: nc, heard: time.Now(), patience: connectTimeout}
	c.in = patient{c}
	c.told.Store(1) // until it is polled, its reader has it
	return c
}

// begin lets the hub's readers read the connection from the beginning.
func (c *conn) begin() {
	if err := c.handshake(); err != nil {
		c.finish(err)
		return
	}
	c.nt.TellRead(c.wake)
	c.hub.readers.push(c) // for what has come before
}

// serve reads packets until the connection ends, or until CONNECT if others read it then.
func (c *conn) serve() {
	c.rd = codecs.Take(c, maxPacket)
	err := c.handshake()
	if err == nil {
		err = c.read()
	}
	if err == errTurn {
		c.nt.TellRead(c.wake)
		c.hub.readers.push(c)
		return
	}
	c.finish(err)
}

// read acts on packets until there is an error. It is the connection's end; or, if it is polled, syscall.EAGAIN or errTurn.
func (c *conn) read() error {
	for n := 1; ; n++ {
		h, body, err := c.rd.Next()
		if err != nil {
			return err
		}
		polled := c.polled()
		c.heard = time.Now()
		if err := c.handle(h, body); err != nil {
			return err
		}
		if c.polled() && (!polled || n >= turn) {
			return errTurn
		}
	}
}

// finish ends the connection and leaves nothing of it behind.
func (c *conn) finish(err error) {
	defer c.hub.tasks.Done()
	c.end(endingOf(err))
	c.hub.timers.disarm(&c.alarm)
	if c.dev != nil {
		c.hub.detach(c)
	}
	c.mu.Lock()
	c.closed, c.pending = true, nil
	c.mu.Unlock()
	c.closeTransport()
	c.flushers.Wait()
	c.hub.ended(c, ending(c.reason.Load()), err)
}

// handshake makes the TLS connection, if it is one, and lets the peer's time for CONNECT begin.
func (c *conn) handshake() error {
	t, ok := c.nc.(socket.Secure)
	at := c.heard.Add(c.patience)
	if !ok {
		return c.waitUntil(at)
	}
	err := c.nc.SetWriteDeadline(at)
	if err == nil {
		err = c.waitUntil(at)
	}
	if err != nil {
		return err
	}
	switch err := t.Handshake(); {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &endError{endKeepAlive, "deadline passed"}
	case errors.Is(err, io.EOF):
		return err
	default:
		return &endError{endHandshake, err.Error()}
	}
}

// closeTransport closes nc. A peer that may not read is not told that its TLS connection ends: that would take time. Another one
// may not read either, and other connections do not wait with it.
func (c *conn) closeTransport() {
	t, ok := c.nc.(socket.Secure)
	if !ok {
		_ = c.nc.Close()
		return
	}
	switch ending(c.reason.Load()) {
	case endSlow, endKeepAlive, endClosed, endFault, endCrowded:
		_ = t.NetConn().Close()
	default:
		c.aside(func() { _ = t.Close() })
	}
}

// endError is an ending as an error, by which a handler ends its connection.
type endError struct {
	why ending
	msg string
}

func (e *endError) Error() string { return e.msg }

func breach(msg string) error { return &endError{endProtocol, msg} }

// endingOf returns why a connection ended whose reader got this error.
func endingOf(err error) ending {
	var end *endError
	var malformed *mqtt.Error
	switch {
	case errors.As(err, &end):
		return end.why
	case errors.As(err, &malformed), errors.Is(err, mqtt.ErrTooLarge):
		return endProtocol
	}
	return endPeer
}

// end makes the reader end the connection; the first reason counts. It neither blocks nor calls anyone back, so it may
// be called under a device's lock.
func (c *conn) end(why ending) {
	if c.reason.CompareAndSwap(uint32(endNone), uint32(why)) {
		_ = c.nc.SetDeadline(past)
		c.wake()
	}
}

// past is a deadline that lets every read and write fail at once.
var past = time.Unix(1, 0)

// Read is the reader's source. Before CONNECT was accepted it gives out no more than a CONNECT may have.
func (c *conn) Read(p []byte) (int, error) {
	if c.dev != nil {
		return c.in.Read(p)
	}
	if c.started {
		if c.credit == 0 {
			return 0, mqtt.ErrTooLarge
		}
		p = p[:min(len(p), c.credit)]
	}
	n, err := c.in.Read(p)
	if n > 0 {
		c.spend(p[:n])
	}
	return n, err
}

// patient reads from nc. The read deadline is moved only when it passes: what it stands for is computed anew then, so that a
// packet costs no timer, and yet a connection ends exactly when it should.
type patient struct{ *conn }

func (r patient) Read(p []byte) (int, error) {
	for {
		n, err := r.receive(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if n := r.rest(p); n > 0 {
			return n, nil
		}
		if err := r.rearm(); err != nil {
			return 0, err
		}
	}
}

// receive reads from nc, and does not wait if the connection is polled.
func (c *conn) receive(p []byte) (int, error) {
	if c.polled() {
		return c.nt.TryRead(p)
	}
	return c.nc.Read(p)
}

// maxRest bounds what is read of a connection that has ended: as much as one in memory holds.
const maxRest = 64 << 10

// rest reads what came before the read deadline, but waits for the connection's turn to be read. What a device has sent before it
// went away or connected anew counts, and whoever has sent something in time is alive.
func (c *conn) rest(p []byte) (n int) {
	if !c.polled() {
		return 0
	}
	switch ending(c.reason.Load()) {
	case endNone:
		if why, _ := c.deadline(); why != endKeepAlive {
			return 0
		}
	case endTakeover, endPeer: // the latter is what a write met
		if c.dev == nil {
			return 0
		}
		p = p[:min(len(p), c.credit)]
		defer func() { c.credit -= n }()
	default:
		return 0
	}
	_ = c.nc.SetReadDeadline(time.Time{})
	n, _ = c.nt.TryRead(p)
	_ = c.nc.SetReadDeadline(past) // also if somebody has ended the connection meanwhile
	return n
}

// spend counts what was read before CONNECT was accepted. The first bytes tell how much that may be: the reader's first
// buffer is smaller than that.
func (c *conn) spend(read []byte) {
	if !c.started {
		c.started, c.credit = true, maxConnect
		if announcesWill(read) {
			c.credit += maxWill
		}
	}
	c.credit -= len(read)
}

// announcesWill says whether a CONNECT that begins with these bytes has a will. Where the flags are not among them it has
// none.
func announcesWill(b []byte) bool {
	i := 1
	for i < len(b) && b[i] >= 0x80 { // the remaining length
		i++
	}
	i++
	if i+2 > len(b) {
		return false
	}
	i += 2 + int(binary.BigEndian.Uint16(b[i:])) + 1 // the protocol's name and level
	const willFlag = 1 << 2                          // MQTT 3.1.1, figure 3.4
	return i < len(b) && b[i]&willFlag != 0
}

// rearm sets the read deadline to when the connection ends if nothing more is heard, or says that it has come.
func (c *conn) rearm() error {
	if c.reason.Load() != uint32(endNone) {
		return errEnded
	}
	why, at := c.deadline()
	if !at.IsZero() && !at.After(time.Now()) {
		return &endError{why, "deadline passed"}
	}
	return c.waitUntil(at)
}

// deadline returns when the connection ends if nothing more is heard, and why then; the zero time is never.
func (c *conn) deadline() (ending, time.Time) {
	if c.patience > 0 {
		if quiet := c.heard.Add(c.patience); c.expiry.IsZero() || quiet.Before(c.expiry) {
			return endKeepAlive, quiet
		}
	}
	return endExpired, c.expiry
}

// waitUntil sets the read deadline, unless somebody has ended the connection: end sets the reason before its own
// deadline, so either it is seen here, or its deadline comes after ours. If the connection is polled, the hub's timers keep
// the deadline, and nc has none until it passes.
func (c *conn) waitUntil(at time.Time) error {
	until := at
	if c.polled() {
		until = time.Time{}
	}
	if err := c.nc.SetReadDeadline(until); err != nil {
		return err
	}
	switch {
	case !c.polled():
	case at.IsZero():
		c.hub.timers.disarm(&c.alarm)
	default:
		c.hub.timers.arm(&c.alarm, at, c)
	}
	if c.reason.Load() != uint32(endNone) {
		return errEnded
	}
	return nil
}

// errEnded is what a reader gets when somebody else has ended the connection, and said why.
var errEnded = &endError{endPeer, "ended by another goroutine"}

// expired is told by the timers that the read deadline has passed.
func (c *conn) expired(time.Time) {
	_ = c.nc.SetReadDeadline(past)
	c.wake()
}

// send appends a packet to what the connection has to write. It never blocks. The callback only appends.
func (c *conn) send(appendPacket func([]byte) []byte) {
	c.mu.Lock()
	switch {
	case c.closed:
	case c.unsent > maxPending && c.slowLocked():
		c.closed, c.pending = true, nil
		c.end(endSlow)
	default:
		if c.pending == nil {
			c.pending = packetBuffers.Get().(*packets)
		}
		before := len(c.pending.bytes)
		c.pending.bytes = appendPacket(c.pending.bytes)
		c.unsent += len(c.pending.bytes) - before
		if !c.flushing && c.unsent > 0 {
			c.flushLocked()
		}
	}
	c.mu.Unlock()
}

// slowLocked says whether what is pending is too much: the peer does not take it, or it is more than any burst.
func (c *conn) slowLocked() bool {
	return c.unsent > maxBurst || !c.since.IsZero() && time.Since(c.since) > patience
}

// room says whether methods and messages may be sent. If not, the device is told (drained) when they may.
func (c *conn) room() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = !c.closed && (c.unsent > crowded || c.granting > 0)
	return !c.wanted
}

// handle acts on one packet; an error ends the connection.
func (c *conn) handle(h mqtt.Header, body []byte) error {
	if c.dev == nil {
		if c.unheard { // a client need not wait for its CONNACK [MQTT-3.1.4-5]
			return nil
		}
		if h.Type != mqtt.TypeConnect { // [MQTT-3.1.0-1]
			return breach("the first packet is no CONNECT")
		}
		c.gather()
		defer c.flushGathered()
		return c.connect(body)
	}
	if err := c.awaitKept(); err != nil {
		return err
	}
	c.gather()
	defer c.flushGathered()
	switch h.Type {
	case mqtt.TypePublish:
		return c.publish(h, body)
	case mqtt.TypePuback:
		return c.acknowledge(body)
	case mqtt.TypeSubscribe:
		return c.subscribe(body)
	case mqtt.TypeUnsubscribe:
		return c.unsubscribe(body)
	case mqtt.TypePingreq:
		c.send(mqtt.AppendPingresp)
		return nil
	case mqtt.TypeDisconnect:
		c.will = nil // [MQTT-3.14.4-3]
		return &endError{endDisconnect, "DISCONNECT"}
	}
	return breach("unexpected packet") // a second CONNECT [MQTT-3.1.0-2], QoS 2, or a server's packet
}

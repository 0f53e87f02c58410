package hub

import (
	"bytes"
	"net"
	"time"

	faultmodel "muster/internal/fault"
	"muster/internal/mqtt"
)

// turnedAway says whether a connection that has just been accepted is closed at once, since the hub is away.
func (fs *faults) turnedAway() bool {
	if !fs.on.Load() {
		return false
	}
	in, _ := fs.meet(meeting{part: FaultConnect}, FaultRestart)
	return in != nil
}

// meetConnect lets faults strike a CONNECT whose device has proved itself. It says whether they have dealt with it; then the
// error, if any, ends the connection.
func (c *conn) meetConnect(d *device) (done bool, err error) {
	fs := &c.hub.faults
	if !fs.on.Load() {
		return false, nil
	}
	m := meeting{part: FaultConnect, device: d.deviceID()}
	if in, _ := fs.meet(m, FaultRestart, FaultDrop, FaultRefuse, FaultSilent); in != nil {
		return true, c.struck(in)
	}
	if in, nth := fs.meet(m, FaultLatency); in != nil {
		// The reader waits: nothing else may come before the answer.
		c.aside(func() { err = sleep(c.hub.ctx, in.DelayOf(m.device, nth)) })
		if err != nil {
			return true, &endError{endClosed, "the hub closes"}
		}
		if d.connectedAfter(c.heard) {
			return true, &endError{endTakeover, "connected anew before its CONNACK"}
		}
		c.heard = time.Now() // its keep-alive counts from the answer
	}
	return false, nil
}

// connectedAfter says whether the device has a connection that was accepted after that time.
func (d *device) connectedAfter(t time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conn != nil && d.identity.connAt > t.UnixNano()
}

// struck is what a fault does to a CONNECT.
func (c *conn) struck(in *injected) error {
	switch {
	case in.Kind == FaultSilent:
		c.patience = 0 // it is the fault's end, or the device, that ends this
		c.unheard = true
		c.hub.faults.silence(in, c)
		return nil
	case in.Kind == FaultRefuse && in.Answer == faultmodel.Unavailable:
		return c.refuse(mqtt.RefusedUnavailable, "fault "+in.id)
	case in.Kind == FaultRefuse && in.Answer == faultmodel.NotAuthorized:
		return c.refuse(mqtt.RefusedNotAuthorized, "fault "+in.id)
	}
	return &endError{endFault, "fault " + in.id}
}

// silence notes a connection whose CONNECT gets no answer, to be closed at the fault's end.
func (fs *faults) silence(in *injected, c *conn) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if !in.ended.IsZero() {
		c.end(endFault)
		return
	}
	if in.silenced == nil {
		in.silenced = make(map[*conn]struct{})
	}
	in.silenced[c] = struct{}{}
}

// forget drops what is kept of a connection that has ended.
func (fs *faults) forget(c *conn) {
	if !fs.on.Load() {
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, in := range fs.active {
		delete(in.silenced, c)
	}
	if l := fs.lines[c]; l != nil {
		fs.hub.timers.disarm(&l.deadline)
		delete(fs.lines, c)
		fs.settleLocked()
	}
}

// deliver sends a message of that part to the device, unless a fault swallows or delays it. The slices are not kept.
func (c *conn) deliver(part faultmodel.Part, topic, payload []byte) {
	if c.hub.faults.on.Load() && c.hub.faults.intercept(c, part, topic, payload) {
		return
	}
	c.sendPublish(topic, payload)
}

// line is what latency holds back on its way to one connection, in order.
type line struct {
	deadline // of the first message

	faults *faults
	conn   *conn
	held   []heldMessage
	bytes  int
}

type heldMessage struct {
	at             time.Time
	topic, payload []byte
}

// intercept takes a message that a fault swallows, or holds it back. What follows a message that is held back waits behind
// it, struck or not, also when the fault is over: a device must not get one before the other.
func (fs *faults) intercept(c *conn, part faultmodel.Part, topic, payload []byte) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	m := meeting{part: part, device: c.dev.deviceID()}
	if in, _ := fs.meetLocked(m, FaultSilent); in != nil {
		return true
	}
	at := time.Now()
	in, nth := fs.meetLocked(m, FaultLatency)
	if in != nil {
		at = at.Add(in.DelayOf(m.device, nth))
	}
	l := fs.lines[c]
	if in == nil && l == nil {
		return false
	}
	if l == nil {
		l = &line{faults: fs, conn: c}
		if fs.lines == nil {
			fs.lines = make(map[*conn]*line)
		}
		fs.lines[c] = l
		fs.on.Store(true) // the fault may have struck for the last time
	}
	l.addLocked(at, topic, payload)
	return true
}

// addLocked puts a message at the line's end. A line that grows beyond any burst ends its connection, as a slow peer does.
func (l *line) addLocked(at time.Time, topic, payload []byte) {
	if n := len(l.held); n > 0 && at.Before(l.held[n-1].at) {
		at = l.held[n-1].at
	}
	l.held = append(l.held, heldMessage{at, bytes.Clone(topic), bytes.Clone(payload)})
	if l.bytes += len(topic) + len(payload); l.bytes > maxBurst {
		l.conn.end(endSlow)
	}
	if len(l.held) == 1 {
		l.faults.hub.timers.arm(&l.deadline, at, l)
	}
}

// expired is told by the timers that the first message is due. Messages are sent under the lock, so that none overtakes
// them; to send is to append.
func (l *line) expired(now time.Time) {
	fs := l.faults
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.lines[l.conn] != l {
		return
	}
	for len(l.held) > 0 && !l.held[0].at.After(now) {
		m := l.held[0]
		l.held = l.held[1:]
		l.bytes -= len(m.topic) + len(m.payload)
		l.conn.sendPublish(m.topic, m.payload)
	}
	if len(l.held) > 0 {
		fs.hub.timers.arm(&l.deadline, l.held[0].at, l)
		return
	}
	delete(fs.lines, l.conn)
	fs.settleLocked()
}

// drop cuts the connections in a fault's scope that it strikes.
func (fs *faults) drop(in *injected, spared net.Conn) {
	switch {
	case in.CutsRequests():
		return
	case in.Part == FaultREST:
		fs.cutServices(in, spared)
		return
	}
	for _, d := range fs.hub.registry.after(0) {
		d.mu.Lock()
		c := d.conn
		d.mu.Unlock()
		if c == nil || !in.Covers(d.deviceID()) {
			continue
		}
		struck, over := fs.cut(in, d.deviceID())
		if struck {
			c.end(endFault)
		}
		if over {
			return
		}
	}
}

// cut says whether a fault that has begun cuts one more connection, and whether it is over now.
func (fs *faults) cut(in *injected, device string) (struck, over bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if !in.ended.IsZero() {
		return false, true
	}
	_, struck = fs.strikeLocked(in, device)
	return struck, !in.ended.IsZero()
}

// restart cuts every connection, and makes methods on their way be lost: their devices can answer them no more, so that they
// end with their time.
func (fs *faults) restart(in *injected, spared net.Conn) {
	h := fs.hub
	h.mu.Lock()
	conns := make([]*conn, 0, len(h.conns))
	for c := range h.conns {
		conns = append(conns, c)
	}
	h.mu.Unlock()
	for _, c := range conns {
		c.end(endFault)
		fs.cut(in, "")
	}
	for _, d := range h.registry.after(0) {
		d.mu.Lock()
		for c := range d.pending.all() {
			c.rid = lostRequest
		}
		d.mu.Unlock()
	}
	fs.cutServices(in, spared)
}

// lostRequest is the id of a method request that cannot be answered any more. None is sent with it.
const lostRequest = 0

// Package lean drives the fleet's connections with muster's own MQTT codec, for
// density: a connection that tells when there is something to read
// (fleet.Telling), as those in memory and, on Linux, over TCP and TLS do, costs
// neither a goroutine nor a buffer while it is idle; any other costs one
// goroutine, its reader, and a small buffer.
//
// Messages are written by whoever publishes them, and handled by a few workers
// that all connections share, and that read what tells. Keep-alives and all
// timeouts are kept by one wheel for all connections, which looks at each that
// wants something every two seconds or oftener, so a timeout is late by as much.
//
// # Concurrency
//
// A Driver and its connections are safe for concurrent use. The wheel runs while
// there is a connection: the first starts it, and the Close of the last stops
// and joins it. Workers are made as handlers block side by side and end when they
// have been idle for some seconds, or with the last connection; one that is in a
// handler then ends with it. Handlers that block hold up no message.
package lean

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"muster/fleet"
	"muster/internal/mqtt"
)

const (
	connectTimeout = 30 * time.Second // from the open network connection to the CONNACK
	pingTimeout    = 30 * time.Second
	writeTimeout   = 10 * time.Second

	// killAfter is how long Close lets a silent peer hold up the DISCONNECT.
	killAfter = 250 * time.Millisecond

	// maxPacket bounds what a server may send at once. What hubs send to devices
	// is far below.
	maxPacket = 1 << 20

	// maxHeld bounds the messages of one connection that are in handlers, with
	// heldFor for the goroutine of each: 16,000 small ones.
	maxHeld = 64 << 20
	heldFor = 4 << 10
)

var (
	errClosed    = errors.New("connection is closed")
	errNoConnack = errors.New("no CONNACK in time")
	errNoPong    = errors.New("no answer to a ping in time")
	errNoAck     = errors.New("no acknowledgement in time")
	errStalled   = errors.New("the server does not read")
	errFlood     = errors.New("the server sends faster than messages can be handled")
)

// Driver is a fleet.Driver. Its zero value is ready for use; it must not be
// copied.
type Driver struct {
	mu    sync.Mutex // guards the fields below
	conns int
	crew  *crew // of the connections that there are; nil: none
}

// join counts a connection and returns the crew that serves it until leave.
func (d *Driver) join() *crew {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == 0 {
		d.crew = newCrew(d)
	}
	d.conns++
	return d.crew
}

// leave takes a connection off. The last one ends the crew.
func (d *Driver) leave() {
	d.mu.Lock()
	d.conns--
	var done *crew
	if d.conns == 0 {
		done, d.crew = d.crew, nil
	}
	d.mu.Unlock()
	if done != nil {
		done.close()
	}
}

// Hand has f called as if it were the handler of a message that has just come: so
// who calls it finds out how long messages wait for a worker. Without connections
// none does, and f is called at once. It may never be if the last one is closing.
func (d *Driver) Hand(f func()) {
	d.mu.Lock()
	c := d.crew
	d.mu.Unlock()
	if c == nil {
		f()
		return
	}
	c.workers.dispatch(handed(f))
}

// Dial connects as fleet.Driver says. It returns as soon as ctx ends if dial
// does.
func (d *Driver) Dial(ctx context.Context, dial fleet.DialFunc, s fleet.Session) (fleet.Conn, error) {
	hello := takePacket()
	defer hello.give()
	if err := hello.connect(s); err != nil {
		return nil, err
	}
	nc, err := dial(fleet.AskTelling(ctx))
	if err == nil {
		return d.open(ctx, nc, s, hello.bytes)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, err
}

// open makes the MQTT session on a network connection, which ctx closes until
// the server has accepted.
func (d *Driver) open(ctx context.Context, nc net.Conn, s fleet.Session, hello []byte) (fleet.Conn, error) {
	c := newConn(d, nc, s)
	c.crew.watch(c)
	release := afterFunc(ctx, func() { _ = nc.Close() }) // nobody is left to tell
	err := c.greet(ctx, hello)
	if !release() {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.end(err)
		_ = nc.Close() // the attempt failed anyway
		c.giveReader()
		d.leave()
		return nil, err
	}
	c.startReading()
	return c, nil
}

// afterFunc is context.AfterFunc, which makes a context of its own even if ctx
// can do what it is to do, as a fleet's can.
func afterFunc(ctx context.Context, f func()) (stop func() bool) {
	if able, ok := ctx.(interface{ AfterFunc(func()) func() bool }); ok {
		return able.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

// connect encodes the CONNECT of a session.
func (p *packet) connect(s fleet.Session) (err error) {
	p.topic = append(append(append(p.topic[:0], s.ClientID...), s.Username...), s.Password...)
	id, rest := p.topic[:len(s.ClientID)], p.topic[len(s.ClientID):]
	p.bytes, err = mqtt.AppendConnect(p.bytes[:0], mqtt.Connect{
		CleanSession: s.CleanSession, KeepAlive: keepAliveSeconds(s.KeepAlive), ClientID: id,
		HasUsername: s.Username != "", Username: rest[:len(s.Username)],
		HasPassword: s.Password != "", Password: rest[len(s.Username):],
	})
	if err != nil {
		return fmt.Errorf("encode CONNECT: %w", err)
	}
	return nil
}

// keepAliveSeconds rounds a keep-alive up to what MQTT can say.
func keepAliveSeconds(d time.Duration) uint16 {
	return uint16(min((d+time.Second-1)/time.Second, math.MaxUint16))
}

// greet sends the CONNECT and reads its answer.
func (c *conn) greet(ctx context.Context, hello []byte) error {
	err := c.write(ctx, hello)
	if err != nil {
		return err
	}
	h, body, err := c.in.Next()
	switch {
	case err != nil:
		return c.end(err)
	case h.Type != mqtt.TypeConnack:
		return fmt.Errorf("the first packet is a %v, not a CONNACK", h.Type)
	case body[1] != mqtt.Accepted: // the codec has checked the length
		return &fleet.RefusedError{Code: body[1]}
	}
	if _, err := mqtt.ParseConnack(body); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.greeted = true
	return c.err
}

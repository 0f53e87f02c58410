package lean

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"muster/fleet"
	"muster/internal/mqtt"
)

// conn is one connection. Who reads it Dial starts, ends with the network
// connection, and is joined by Close: a goroutine, or where the network
// connection tells when there is something to read, a worker at that time.
type conn struct {
	nc        net.Conn
	in        *mqtt.Reader // the dial's until the CONNACK, then the reader's; nil while there is nothing to read
	onMessage func(topic string, payload []byte)
	crew      *crew
	held      atomic.Int64  // bytes of messages that are in handlers, and heldFor for each
	told      atomic.Uint32 // how often there was something to read since somebody reads; 0: nobody does

	mu      sync.Mutex      // guards the fields up to pending; never held across a write or callback
	closed  bool            // by Close
	greeted bool            // the server has accepted
	watched bool            // the wheel will look: not at those of a large fleet that want nothing
	busy    bool            // somebody has the right to write, or it is on its way to who waits for it
	err     error           // why the connection is over; nil: it is not
	writing context.Context // of the write that goes on; nil: none
	since   tick            // when that began
	sent    tick            // when the last write ended
	waiting int             // how many wait for the right to write
	turn    chan struct{}   // hands the right to one of them; closed at the end; nil: nobody waits
	pinged  tick            // when a ping was sent that was not answered; 0: none
	lastID  uint16          // of a packet that is acknowledged
	pending requests

	keepAlive tick // 0: no pings
	every     tick // how long from one look of the wheel to the next
	onLost    func(error)
	reader    sync.WaitGroup
	closing   sync.Once
}

func newConn(d *Driver, nc net.Conn, s fleet.Session) *conn {
	c := &conn{crew: d.join(), nc: nc, onMessage: s.OnMessage, onLost: s.OnLost}
	c.in, c.watched = readers.Take((*source)(c), maxPacket), true
	c.keepAlive = ticks(time.Duration(keepAliveSeconds(s.KeepAlive)) * time.Second)
	c.every = revolution
	if c.keepAlive > 0 {
		c.every = max(1, min(revolution, c.keepAlive/4))
	}
	c.sent = c.crew.time()
	return c
}

// end marks the connection as over, tells who waits for it, and returns why it
// is: the first reason stays.
func (c *conn) end(reason error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = reason
		if c.turn != nil {
			close(c.turn)
		}
		for r := range c.pending.all {
			r.answer <- reason // there is room for the one answer
		}
		c.pending = requests{}
	}
	return c.err
}

// Publish sends a message as fleet.Conn says. If ctx ends in the middle of its
// write the connection is lost, since half a packet cannot be taken back.
func (c *conn) Publish(ctx context.Context, topic string, payload []byte, qos byte) error {
	if qos > 1 {
		return fmt.Errorf("QoS %d: want 0 or 1", qos)
	}
	if err := c.usable(ctx); err != nil {
		return err
	}
	p := takePacket()
	defer p.give()
	p.topic = append(p.topic[:0], topic...)
	m := mqtt.Publish{Topic: p.topic, Payload: payload, QoS: qos}
	if qos == 0 {
		return c.publish(ctx, p, m)
	}
	r, err := c.expect(mqtt.TypePuback, nil)
	if err != nil {
		return err
	}
	m.ID = r.id
	if err := c.publish(ctx, p, m); err != nil {
		c.forget(r)
		return err
	}
	return c.await(ctx, r)
}

func (c *conn) publish(ctx context.Context, p *packet, m mqtt.Publish) (err error) {
	if p.bytes, err = mqtt.AppendPublish(p.bytes[:0], m); err != nil {
		return fmt.Errorf("encode PUBLISH: %w", err)
	}
	return c.write(ctx, p.bytes)
}

// Subscribe asks for the filters as fleet.Conn says.
func (c *conn) Subscribe(ctx context.Context, filters ...string) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	p := takePacket()
	defer p.give()
	r, err := c.expect(mqtt.TypeSuback, filters)
	if err != nil {
		return err
	}
	if err := p.subscribe(r.id, filters); err != nil {
		c.forget(r)
		return fmt.Errorf("encode SUBSCRIBE: %w", err)
	}
	if err := c.write(ctx, p.bytes); err != nil {
		c.forget(r)
		return err
	}
	return c.await(ctx, r)
}

// subscribe encodes a SUBSCRIBE.
func (p *packet) subscribe(id uint16, filters []string) (err error) {
	p.topic = p.topic[:0]
	for _, filter := range filters {
		p.topic = append(p.topic, filter...)
	}
	wanted := make([]mqtt.Filter, 0, 4) // a device has three
	rest := p.topic
	for _, filter := range filters {
		wanted = append(wanted, mqtt.Filter{Topic: rest[:len(filter)]})
		rest = rest[len(filter):]
	}
	p.bytes, err = mqtt.AppendSubscribe(p.bytes[:0], id, wanted...)
	return err
}

// usable returns why nothing can be sent, if that is so.
func (c *conn) usable(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	return c.err
}

// write writes a packet in its caller's goroutine when it is its turn. Nobody
// holds a lock meanwhile: the wheel must be able to look how long it takes.
func (c *conn) write(ctx context.Context, b []byte) error {
	if err := c.beginWrite(ctx); err != nil {
		return err
	}
	_, err := c.nc.Write(b)
	c.endWrite()
	if err == nil {
		return nil
	}
	err = c.end(err)
	_ = c.nc.Close() // wakes the reader, which tells of the loss
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// beginWrite takes the right to write, or says why nothing is written any more.
func (c *conn) beginWrite(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.busy {
		if err := c.awaitTurnLocked(ctx); err != nil {
			return err
		}
	}
	if c.err == nil {
		c.busy, c.writing, c.since = true, ctx, c.crew.time()
		if !c.watched {
			c.watched = true
			c.crew.watch(c)
		}
	}
	return c.err
}

// awaitTurnLocked waits, without the lock, until the right to write is handed
// over, the connection is over, or ctx ends, which is the only error.
func (c *conn) awaitTurnLocked(ctx context.Context) (err error) {
	if c.turn == nil {
		c.turn = make(chan struct{}, 1) // there is one right to write
	}
	turn := c.turn
	c.waiting++
	c.mu.Unlock()
	select {
	case <-turn:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.mu.Lock()
	if c.waiting--; c.waiting > 0 || c.err != nil {
		return err
	}
	c.turn = nil
	if err != nil {
		select {
		case <-turn: // it was on its way, and nobody else wants it
			c.busy = false
		default:
		}
	}
	return err
}

// endWrite hands the right to write on.
func (c *conn) endWrite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing, c.sent = nil, c.crew.time()
	if c.waiting == 0 || c.err != nil {
		c.busy = false
		return
	}
	c.turn <- struct{}{} // there is room for the one right
}

// Close disconnects. If the peer does not take the DISCONNECT, the network
// connection is closed under its writer.
func (c *conn) Close() error {
	c.closing.Do(func() {
		c.mu.Lock()
		c.closed = true
		over := c.err != nil
		c.mu.Unlock()
		if !over {
			kill := time.AfterFunc(killAfter, func() { _ = c.nc.Close() })
			_ = c.write(context.Background(), farewell) // it is over either way
			kill.Stop()
			_ = c.end(errClosed)
		}
		c.closeReading()
		c.crew.driver.leave()
	})
	return nil
}

var farewell = mqtt.AppendDisconnect(nil)

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

// conn is one connection. Its reader goroutine is started by Dial, ends with
// the network connection, and is joined by Close.
type conn struct {
	driver    *Driver
	crew      *crew
	nc        net.Conn
	in        *mqtt.Reader // the dial's until the CONNACK, then the reader's
	onMessage func(topic string, payload []byte)
	onLost    func(error)
	keepAlive tick // 0: no pings
	every     tick // how long from one look of the wheel to the next

	reader  sync.WaitGroup
	closing sync.Once
	turn    chan struct{} // one token: the right to write
	done    chan struct{} // closed when err is set
	held    atomic.Int64  // bytes of messages that are in handlers, and heldFor for each

	mu      sync.Mutex      // guards the fields below; never held across a write or callback
	err     error           // why the connection is over; nil: it is not
	closed  bool            // by Close
	greeted bool            // the server has accepted
	writing context.Context // of the write that goes on; nil: none
	since   tick            // when that began
	sent    tick            // when the last write ended
	pinged  tick            // when a ping was sent that was not answered; 0: none
	lastID  uint16          // of a packet that is acknowledged
	pending map[uint16]*request
}

func newConn(d *Driver, nc net.Conn, s fleet.Session) *conn {
	c := &conn{
		driver: d, crew: d.join(), nc: nc, in: mqtt.NewReader(nc, maxPacket),
		onMessage: s.OnMessage, onLost: s.OnLost,
		turn: make(chan struct{}, 1), // the one token
		done: make(chan struct{}),
	}
	c.keepAlive = ticks(time.Duration(keepAliveSeconds(s.KeepAlive)) * time.Second)
	c.every = revolution
	if c.keepAlive > 0 {
		c.every = max(1, min(revolution, c.keepAlive/4))
	}
	c.sent = c.crew.time()
	return c
}

// end marks the connection as over and returns why it is: the first reason
// stays.
func (c *conn) end(reason error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = reason
		close(c.done)
	}
	return c.err
}

// reason returns why the connection is over; nil if it is not.
func (c *conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
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
	wanted := make([]mqtt.Filter, len(filters))
	for i, filter := range filters {
		wanted[i].Topic = []byte(filter)
	}
	r, err := c.expect(mqtt.TypeSuback, filters)
	if err != nil {
		return err
	}
	b, err := mqtt.AppendSubscribe(nil, r.id, wanted...)
	if err != nil {
		c.forget(r)
		return fmt.Errorf("encode SUBSCRIBE: %w", err)
	}
	if err := c.write(ctx, b); err != nil {
		c.forget(r)
		return err
	}
	return c.await(ctx, r)
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
	select {
	case c.turn <- struct{}{}:
	default:
		select {
		case c.turn <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.done:
			return c.reason()
		}
	}
	defer func() { <-c.turn }()
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

func (c *conn) beginWrite(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.writing, c.since = ctx, c.crew.time()
	}
	return c.err
}

func (c *conn) endWrite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing, c.sent = nil, c.crew.time()
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
		_ = c.nc.Close() // it may be closed already
		c.reader.Wait()
		c.driver.leave()
	})
	return nil
}

var farewell = mqtt.AppendDisconnect(nil)

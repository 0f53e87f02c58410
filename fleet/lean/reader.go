package lean

import (
	"errors"
	"fmt"
	"syscall"

	"muster/fleet"
	"muster/internal/mqtt"
)

// source is a connection as its codec reads it. Where the network connection
// tells when there is something to read, a read does not wait once the server has
// accepted.
type source conn

func (s *source) Read(p []byte) (int, error) {
	if s.told.Load() > 0 {
		return s.nc.(fleet.Telling).TryRead(p)
	}
	return s.nc.Read(p)
}

// readers are shared by all connections.
var readers mqtt.ReaderPool

// giveReader takes the codec back, if the connection has one.
func (c *conn) giveReader() {
	if c.in == nil {
		return
	}
	readers.Give(c.in)
	c.in = nil
}

// startReading lets the connection be read until it is over.
func (c *conn) startReading() {
	nc, tells := c.nc.(fleet.Telling)
	if !tells {
		c.reader.Go(c.read)
		return
	}
	c.reader.Add(1) // the last worker that reads is done with it
	nc.TellRead(c.tell)
	c.tell() // of what came before
}

// tell lets a worker read, unless one does, which then looks once more.
func (c *conn) tell() {
	if c.told.Add(1) == 1 {
		c.crew.workers.dispatch((*reading)(c))
	}
}

// closeReading closes the network connection and waits until nobody reads it
// any more. If nobody does now, the caller is the last who reads.
func (c *conn) closeReading() {
	_, tells := c.nc.(fleet.Telling)
	last := tells && c.told.Add(1) == 1
	_ = c.nc.Close() // it may be closed already
	if last {
		c.readOn()
	}
	c.reader.Wait()
}

// read reads until the connection is over and tells of a loss. It never writes,
// so that a server that does not read cannot hold it up.
func (c *conn) read() {
	var err error
	for err == nil {
		var m *message
		if m, err = c.next(); m != nil {
			c.crew.workers.dispatch(m)
		}
	}
	if c.readingEnds(err) {
		c.crew.workers.dispatch((*losing)(c))
	}
}

// readingEnds ends the connection because of what its reader met, and reports
// whether that must be told.
func (c *conn) readingEnds(err error) bool {
	_ = c.end(err)
	_ = c.nc.Close() // nobody reads it any more
	c.giveReader()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.onLost != nil && !c.closed
}

// readOn reads what there is, in the goroutine of a worker. It handles the last
// message itself once somebody else may read.
func (c *conn) readOn() {
	last, err := c.readAll()
	if err != nil {
		lost := c.readingEnds(err)
		c.reader.Done()
		if lost {
			c.crew.workers.dispatch((*losing)(c))
		}
	}
	if last != nil {
		last.run()
	}
}

// readAll reads until there is nothing to read, and then gives up the right to
// read, or until the connection is over, and then keeps it. It returns the last
// message.
func (c *conn) readAll() (last *message, err error) {
	for {
		seen := c.told.Load()
		if c.in == nil {
			c.in = readers.Take((*source)(c), maxPacket)
		}
		for err == nil {
			var m *message
			if m, err = c.next(); m == nil {
				continue
			}
			if last != nil {
				c.crew.workers.dispatch(last)
			}
			last = m
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return last, err
		}
		err = nil
		if c.in.Buffered() == 0 {
			c.giveReader()
		}
		if c.told.CompareAndSwap(seen, 0) {
			return last, nil
		}
	}
}

// next reads one packet. It returns the message, if it is one.
func (c *conn) next() (*message, error) {
	h, body, err := c.in.Next()
	if errors.Is(err, mqtt.ErrTooLarge) {
		return nil, fmt.Errorf("the server sends a packet of more than %d bytes: %w", maxPacket, err)
	}
	if err != nil {
		return nil, err
	}
	switch h.Type {
	case mqtt.TypePublish:
		return c.published(h, body)
	case mqtt.TypePuback:
		return nil, c.acknowledged(body)
	case mqtt.TypeSuback:
		return nil, c.granted(body)
	case mqtt.TypePingresp:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pinged = 0
		return nil, nil
	}
	return nil, fmt.Errorf("the server sends a %v, which it must not", h.Type)
}

// published returns what a worker is to do with a message.
func (c *conn) published(h mqtt.Header, body []byte) (*message, error) {
	p, err := mqtt.ParsePublish(h, body)
	if err != nil {
		return nil, err
	}
	if p.QoS > 1 {
		return nil, errors.New("the server sends at QoS 2, which was not asked for")
	}
	if c.held.Add(cost(len(p.Topic)+len(p.Payload))) > maxHeld {
		return nil, errFlood
	}
	m := messages.Get().(*message)
	m.conn, m.id, m.topic = c, p.ID, len(p.Topic)
	m.data = append(append(m.data[:0], p.Topic...), p.Payload...)
	return m, nil
}

package lean

import (
	"errors"
	"fmt"

	"muster/internal/mqtt"
)

// read reads until the connection is over and tells of a loss. It never writes,
// so that a server that does not read cannot hold it up.
func (c *conn) read() {
	var err error
	for err == nil {
		err = c.next()
	}
	_ = c.end(err)
	_ = c.nc.Close() // nobody reads it any more
	if c.onLost != nil {
		c.crew.dispatch(&task{conn: c, do: doLost})
	}
}

// next reads one packet.
func (c *conn) next() error {
	h, body, err := c.in.Next()
	if errors.Is(err, mqtt.ErrTooLarge) {
		return fmt.Errorf("the server sends a packet of more than %d bytes: %w", maxPacket, err)
	}
	if err != nil {
		return err
	}
	switch h.Type {
	case mqtt.TypePublish:
		return c.published(h, body)
	case mqtt.TypePuback:
		return c.acknowledged(body)
	case mqtt.TypeSuback:
		return c.granted(body)
	case mqtt.TypePingresp:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pinged = 0
		return nil
	}
	return fmt.Errorf("the server sends a %v, which it must not", h.Type)
}

func cost(body int) int64 { return int64(body) + heldFor }

// published hands a message to a worker.
func (c *conn) published(h mqtt.Header, body []byte) error {
	m, err := mqtt.ParsePublish(h, body)
	if err != nil {
		return err
	}
	if m.QoS > 1 {
		return errors.New("the server sends at QoS 2, which was not asked for")
	}
	if c.held.Add(cost(len(body))) > maxHeld {
		return errFlood
	}
	t := takeTask()
	t.conn, t.do, t.id = c, doDeliver, m.ID
	t.data = append(append(t.data[:0], m.Topic...), m.Payload...)
	t.topic, t.cost = len(m.Topic), cost(len(body))
	c.crew.dispatch(t)
	return nil
}

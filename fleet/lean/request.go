package lean

import (
	"context"
	"errors"
	"fmt"
	"math"

	"muster/internal/mqtt"
)

var errTooMany = errors.New("65,535 messages wait for their acknowledgement")

// request is a packet that the server acknowledges.
type request struct {
	id      uint16
	ack     mqtt.Type
	filters []string   // of a SUBSCRIBE
	begun   tick       // when it was made
	answer  chan error // one answer, so that whoever gives it never waits
}

// expect makes a request, which await or forget must end.
func (c *conn) expect(ack mqtt.Type, filters []string) (*request, error) {
	r := c.crew.takeRequest()
	r.ack, r.filters, r.begun = ack, filters, c.crew.time()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		c.crew.giveRequest(r)
		return nil, c.err
	case len(c.pending) == math.MaxUint16:
		c.crew.giveRequest(r)
		return nil, errTooMany
	}
	if c.pending == nil {
		c.pending = map[uint16]*request{}
	}
	for taken := true; taken; {
		c.lastID++
		_, taken = c.pending[c.lastID]
		taken = taken || c.lastID == 0 // [MQTT-2.3.1-1]
	}
	r.id = c.lastID
	c.pending[r.id] = r
	return r, nil
}

// await waits for the answer of a request.
func (c *conn) await(ctx context.Context, r *request) error {
	select {
	case err := <-r.answer:
		c.crew.giveRequest(r)
		return err
	case <-ctx.Done():
		c.forget(r)
		return context.Cause(ctx)
	}
}

// forget gives a request up. It is used again only if nobody has taken it to
// answer it.
func (c *conn) forget(r *request) {
	if c.take(r.id, r.ack) == r {
		c.crew.giveRequest(r)
	}
}

// take removes a request and returns it, or nil if none of the kind waits under
// the id.
func (c *conn) take(id uint16, ack mqtt.Type) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.pending[id]
	if r == nil || r.ack != ack {
		return nil
	}
	delete(c.pending, id)
	if ack == mqtt.TypeSuback && len(c.pending) == 0 {
		c.pending = nil // a device that has subscribed may never publish at QoS 1
	}
	return r
}

// overdueLocked answers the requests that have waited too long.
func (c *conn) overdueLocked(now tick) {
	for id, r := range c.pending {
		if now-r.begun >= ackTicks {
			delete(c.pending, id)
			r.answer <- errNoAck // there is room for the one answer
		}
	}
}

// acknowledged takes a PUBACK. One that nobody waits for comes for a publish
// that was given up.
func (c *conn) acknowledged(body []byte) error {
	id, err := mqtt.ParseAck(body)
	if err != nil {
		return err
	}
	if r := c.take(id, mqtt.TypePuback); r != nil {
		r.answer <- nil
	}
	return nil
}

// granted takes a SUBACK.
func (c *conn) granted(body []byte) error {
	s, err := mqtt.ParseSuback(body)
	if err != nil {
		return err
	}
	r := c.take(s.ID, mqtt.TypeSuback)
	if r == nil {
		return nil
	}
	if len(s.Codes) != len(r.filters) { // [MQTT-3.8.4-5]
		err = fmt.Errorf("SUBACK has %d return codes, want %d", len(s.Codes), len(r.filters))
		r.answer <- err
		return err
	}
	r.answer <- refusedIn(s.Codes, r.filters)
	return nil
}

func refusedIn(codes []byte, filters []string) error {
	for i, code := range codes {
		if code == mqtt.SubackFailure {
			return fmt.Errorf("filter %s is refused", filters[i])
		}
	}
	return nil
}

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

// requests are those that wait for their acknowledgement. Few connections ever
// have more than one.
type requests struct {
	one  *request            // nil: none, or it has been acknowledged
	more map[uint16]*request // by id
}

func (q *requests) len() int {
	if q.one == nil {
		return len(q.more)
	}
	return len(q.more) + 1
}

// of returns the request of an id, or nil.
func (q *requests) of(id uint16) *request {
	if q.one != nil && q.one.id == id {
		return q.one
	}
	return q.more[id]
}

func (q *requests) add(r *request) {
	switch {
	case q.one == nil:
		q.one = r
		return
	case q.more == nil:
		q.more = map[uint16]*request{}
	}
	q.more[r.id] = r
}

func (q *requests) remove(r *request) {
	if q.one == r {
		q.one = nil
	} else {
		delete(q.more, r.id)
	}
}

// all ranges over the requests, which may be removed meanwhile.
func (q *requests) all(yield func(*request) bool) {
	if q.one != nil && !yield(q.one) {
		return
	}
	for _, r := range q.more {
		if !yield(r) {
			return
		}
	}
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
	case c.pending.len() == math.MaxUint16:
		c.crew.giveRequest(r)
		return nil, errTooMany
	}
	for taken := true; taken; {
		c.lastID++
		taken = c.lastID == 0 || c.pending.of(c.lastID) != nil // [MQTT-2.3.1-1]
	}
	r.id = c.lastID
	c.pending.add(r)
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
	r := c.pending.of(id)
	if r == nil || r.ack != ack {
		return nil
	}
	c.pending.remove(r)
	return r
}

// overdueLocked answers the requests that have waited too long.
func (c *conn) overdueLocked(now tick) {
	for r := range c.pending.all {
		if now-r.begun >= ackTicks {
			c.pending.remove(r)
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

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"

	"muster/fleet"
	"muster/internal/sample"
	"muster/iothub"
	"muster/scheduler"
)

// nullPath is a path to devices that costs next to nothing: no hub, no bytes,
// no network. A call is handed to the device's own handler, and what that
// publishes to whom the call waits. It is a fleet.Driver on the one side and a
// scheduler.Caller on the other.
type nullPath struct {
	clock *sample.Clock
	calls atomic.Uint64 // the last call's number

	mu      sync.Mutex // guards the fields below; never held across a handler
	conns   map[string]*nullConn
	waiting map[string]chan iothub.Topic // by request id; each takes the one answer
}

func newNullPath(clock *sample.Clock) *nullPath {
	return &nullPath{clock: clock, conns: map[string]*nullConn{}, waiting: map[string]chan iothub.Topic{}}
}

// Dial implements fleet.Driver.
func (p *nullPath) Dial(_ context.Context, _ fleet.DialFunc, s fleet.Session) (fleet.Conn, error) {
	c := &nullConn{path: p, session: s}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[s.ClientID] = c
	return c, nil
}

// nullConn is one device's connection. Close joins its handlers.
type nullConn struct {
	path     *nullPath
	session  fleet.Session
	handlers sync.WaitGroup // one goroutine a message, as fleet.Session asks for
}

// emptyTwin answers a device that reads its twin.
var emptyTwin = []byte(`{"desired":{"$version":1},"reported":{"$version":1}}`)

// Publish implements fleet.Conn.
func (c *nullConn) Publish(_ context.Context, topic string, _ []byte, _ byte) error {
	t, err := iothub.ParseTopic(topic)
	switch {
	case err != nil:
		return err
	case t.Kind == iothub.TopicTwinGet:
		c.deliver(iothub.TwinResponseTopic(200, t.RequestID, 1), emptyTwin)
	case t.Kind == iothub.TopicMethodResponse:
		c.path.answer(t)
	}
	return nil
}

func (c *nullConn) deliver(topic string, payload []byte) {
	c.handlers.Go(func() { c.session.OnMessage(topic, payload) })
}

// Subscribe implements fleet.Conn.
func (c *nullConn) Subscribe(context.Context, ...string) error { return nil }

// Close implements fleet.Conn.
func (c *nullConn) Close() error {
	c.path.mu.Lock()
	delete(c.path.conns, c.session.ClientID)
	c.path.mu.Unlock()
	c.handlers.Wait()
	return nil
}

// answer gives a reply to the call that waits for it.
func (p *nullPath) answer(t iothub.Topic) {
	p.mu.Lock()
	waiter := p.waiting[t.RequestID]
	delete(p.waiting, t.RequestID)
	p.mu.Unlock()
	if waiter != nil {
		waiter <- t
	}
}

// Query implements scheduler.Caller: every device that is connected.
func (p *nullPath) Query(context.Context, string) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]string, 0, len(p.conns))
	for id := range p.conns {
		ids = append(ids, id)
	}
	return ids, nil
}

var errNoConnection = errors.New("the device has no connection")

// Invoke implements scheduler.Caller.
func (p *nullPath) Invoke(ctx context.Context, deviceID string, call scheduler.Call) (scheduler.Reply, error) {
	rid := strconv.FormatUint(p.calls.Add(1), 16)
	waiter := make(chan iothub.Topic, 1) // the one answer, so that the device waits for nobody
	p.mu.Lock()
	conn := p.conns[deviceID]
	p.waiting[rid] = waiter
	p.mu.Unlock()
	if conn == nil {
		return scheduler.Reply{}, &scheduler.CallError{Outcome: sample.Offline, Err: errNoConnection}
	}
	wrote := p.clock.Now()
	conn.deliver(iothub.MethodRequestTopic(call.Method, rid), call.Payload)
	select {
	case t := <-waiter:
		return scheduler.Reply{Wrote: wrote, Attempts: 1, Status: t.Status}, nil
	case <-ctx.Done():
		return scheduler.Reply{}, ctx.Err()
	}
}

// Patch implements scheduler.Caller. No calibration patches.
func (p *nullPath) Patch(context.Context, string, json.RawMessage, json.RawMessage) (scheduler.Reply, error) {
	return scheduler.Reply{}, errors.ErrUnsupported
}

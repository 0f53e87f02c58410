package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"muster/fleet"
	"muster/iothub"
)

const (
	// twinTimeout bounds the wait for the answer to a twin request. It leaves a
	// throttled hub time for its queue.
	twinTimeout = 60 * time.Second
	// drainGrace is how long handlers that run when the connection is closed may
	// take to answer.
	drainGrace = time.Second
)

var (
	errTimeout  = errors.New("timeout")
	errNoAnswer = errors.New("no answer from the hub")
	errClosed   = errors.New("connection is closed")
)

// session is one connection of the device, from the attempt to open it to its
// end. Handlers of its messages run in the driver's goroutines: receive admits
// them until close, which joins them.
type session struct {
	device   *Device
	ctx      context.Context // ends with the session; what waits on the connection waits with it
	cancel   context.CancelCauseFunc
	attached chan struct{} // closed once conn is set
	conn     fleet.Conn
	handlers sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	ended   bool       // no handler is admitted any more
	pending map[string]chan response
}

// response is a hub's answer to a twin request.
type response struct {
	status  int
	version int64 // of the reported properties, after a PATCH
	payload []byte
}

func newSession(ctx context.Context, d *Device) *session {
	s := &session{device: d, attached: make(chan struct{}), pending: map[string]chan response{}}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	return s
}

// open connects, subscribes and reads the twin. It takes the turn, which
// catchUp gives back, so that notifications wait for it.
func (s *session) open(password string) (twin, error) {
	deadline := time.AfterFunc(s.device.opts.ConnectTimeout, func() { s.cancel(errTimeout) })
	t, err := s.prepare(password)
	if !deadline.Stop() && err == nil {
		s.give()
		err = errTimeout
	}
	if err != nil && s.ctx.Err() != nil { // it says better than the driver why
		err = context.Cause(s.ctx)
	}
	return t, err
}

func (s *session) prepare(password string) (twin, error) {
	cs := &s.device.cs
	conn, err := s.device.driver.Dial(s.ctx, s.device.dial, fleet.Session{
		ClientID:     cs.DeviceID,
		Username:     iothub.Username(cs.HostName, cs.DeviceID),
		Password:     password,
		CleanSession: false, // subscriptions outlive a renewal, so that no call finds the device without them
		KeepAlive:    s.device.opts.KeepAlive,
		OnMessage:    s.receive,
		OnLost:       func(err error) { s.cancel(err) },
	})
	if err != nil {
		return twin{}, err
	}
	s.conn = conn
	close(s.attached)
	if err := conn.Subscribe(s.ctx, iothub.FilterMethods, iothub.FilterTwinResponses, iothub.FilterDesired); err != nil {
		return twin{}, fmt.Errorf("subscribe: %w", err)
	}
	if !s.take() {
		return twin{}, context.Cause(s.ctx)
	}
	t, err := s.fetch()
	if err != nil {
		s.give()
	}
	return t, err
}

// wait waits for the end of the session, or until it is to be renewed, which it
// reports. The zero time is never.
func (s *session) wait(renewAt time.Time) (renew bool) {
	var due <-chan time.Time
	if !renewAt.IsZero() {
		timer := time.NewTimer(time.Until(renewAt))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-due:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// close lets no handler start any more, gives those that run time to answer,
// and returns when nothing of the session is left.
func (s *session) close(grace time.Duration) {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	drained := make(chan struct{})
	var waiting sync.WaitGroup // one goroutine, which ends with the handlers; joined below
	waiting.Go(func() {
		defer close(drained)
		s.handlers.Wait()
	})
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
	}
	s.cancel(errClosed)
	if s.conn != nil {
		_ = s.conn.Close() // it is over either way
	}
	waiting.Wait()
}

// receive handles one message. What it is lent is copied, since the program's
// handlers may keep what they are given.
func (s *session) receive(topic string, payload []byte) {
	topic, payload = strings.Clone(topic), bytes.Clone(payload)
	if !s.enter() {
		return
	}
	defer s.handlers.Done()
	select {
	case <-s.attached: // a session that goes on can be called before Dial has returned
	case <-s.ctx.Done():
		return
	}
	t, err := iothub.ParseTopic(topic)
	if err != nil {
		s.device.opts.Logger.Debug("unexpected message", "error", err)
		return
	}
	switch t.Kind {
	case iothub.TopicMethodRequest:
		s.call(t, payload)
	case iothub.TopicDesired:
		s.notified(t, payload)
	case iothub.TopicTwinResponse:
		s.answered(t, payload)
	}
}

// enter admits a handler, which must call handlers.Done, until close.
func (s *session) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.handlers.Add(1)
	}
	return !s.ended
}

// call handles a direct method. Its answer is written even when the run has
// ended, as long as the connection is there.
func (s *session) call(t iothub.Topic, payload []byte) {
	answer := s.device.opts.Method(s.ctx, Call{Name: t.Method, Payload: payload})
	body := []byte(answer.Payload)
	if body == nil {
		body = []byte{}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), drainGrace)
	defer cancel()
	if err := s.conn.Publish(ctx, iothub.MethodResponseTopic(answer.Status, t.RequestID), body, 0); err != nil {
		s.device.opts.Logger.Debug("a method's answer was not written", "method", t.Method, "error", err)
	}
}

package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"muster/internal/sample"
	"muster/iothub"
)

// twinTimeout bounds a device's wait for the answer to its reported PATCH. It
// leaves a throttled hub time for its queue.
const twinTimeout = 60 * time.Second

var (
	errTimeout   = errors.New("timeout")
	errRunOver   = errors.New("run over")
	errNoAnswer  = errors.New("no answer from the hub")
	errAway      = errors.New("left on purpose")
	emptyPayload = []byte{}
)

// session is one connection of a device, from the attempt to open it to its
// end. Handlers of its messages run in the driver's goroutines.
//
// What a message needs comes first: a large fleet's devices are not in the
// processor's cache, and each line of 64 bytes costs as much as a clock read. A
// test holds a session to whole lines.
type session struct {
	fleet  *Fleet
	link   *link // nil until attached: &own; guarded by mu, and never changed afterwards
	device uint32
	phase  phase      // guarded by mu
	mu     sync.Mutex // guards what says so; never held across Publish or an Observer's call
	token  *token     // of a fleet that renews tokens, else nil; set once, while the session opens
	own    link       // its connection, once it has one
	life   life       // what waits on the connection waits with it

	handling atomic.Int32 // handlers that run, counted only with a token

	// All below is guarded by mu.
	lastRID uint32
	attempt *attempt      // nil once the session is open
	pending []waiter      // twin requests that wait for their answer, few at a time; nil: none
	fetched int64         // the desired version that the twin GET returned
	echo    *echo         // made by the first one
	away    time.Duration // for how long the device leaves once it is online; 0: it stays
	renewal *time.Timer   // ends the session for a new token; nil: none
}

// phase is how far a session is.
//
//	from     event                            to
//	opening  subscribed and twin read         active
//	opening  failed, lost or run over         ended
//	active   lost, left or run over           ended
type phase uint8

const (
	opening phase = iota
	active
	ended
)

// waiter is where the answer of a twin request comes.
type waiter struct {
	rid    uint32
	answer chan response
}

// response is a hub's answer to a twin request.
type response struct {
	status  int
	version int64 // of the desired properties, if it is a twin
	err     error // why that is not known
	at      sample.Moment
}

func newSession(f *Fleet, device uint32) *session { return &session{fleet: f, device: device} }

// open connects, subscribes and reads the twin, and notes in record when, all
// while run lasts. A session that fails to open has ended and holds nothing.
func (s *session) open(run context.Context, record *sample.Connect) error {
	f := s.fleet
	c := s.credentials()
	ctx := f.attempts.begin(dialing{c.ClientID, f.pool.source(s.device)})
	s.setAttempt(ctx)
	defer s.setAttempt(nil)
	err := s.prepare(ctx, c, record)
	f.attempts.finish(ctx)
	why := ctx.Err()
	if err == nil && why != errTimeout {
		record.Ready = f.cfg.Clock.Now()
		return nil
	}
	if why != nil { // it says better than the driver why
		err = why
	}
	if run.Err() != nil {
		err = errRunOver
	}
	s.end(err)
	if s.link != nil {
		_ = s.link.Close() // the attempt failed anyway
	}
	return err
}

func (s *session) setAttempt(t *attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempt = t
}

func (s *session) prepare(ctx *attempt, c Session, record *sample.Connect) error {
	g, _ := s.fleet.group(s.device)
	if err := s.fleet.pool.Attach(ctx, &s.own, g.Driver, c); err != nil {
		return err
	}
	s.mu.Lock()
	s.link = &s.own
	s.mu.Unlock()
	record.Accepted = s.fleet.cfg.Clock.Now()
	if err := s.link.Subscribe(ctx, iothub.FilterMethods, iothub.FilterTwinResponses, iothub.FilterDesired); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return s.fetch(ctx)
}

// credentials returns the session as its driver sees it, with a token.
func (s *session) credentials() Session {
	f := s.fleet
	id := f.id(s.device)
	return Session{
		ClientID:     id,
		Username:     iothub.Username(f.cfg.HostName, id),
		Password:     s.password(id),
		CleanSession: true, // the device subscribes and reads its twin each time anyway
		KeepAlive:    f.cfg.Connect.KeepAlive,
		OnMessage:    s.receive,
		OnLost:       s.lost,
	}
}

// fetch reads the twin, for the version up to which notifications are stale.
func (s *session) fetch(ctx context.Context) error {
	rid, answer := s.expect()
	defer s.forget(rid)
	if err := s.link.Publish(ctx, iothub.TwinGetTopic(rid), emptyPayload, 0); err != nil {
		return fmt.Errorf("read twin: %w", err)
	}
	var r response
	select {
	case r = <-answer:
	case <-ctx.Done():
		return fmt.Errorf("read twin: %w", ctx.Err())
	}
	switch {
	case r.status != 200:
		return fmt.Errorf("read twin: status %d", r.status)
	case r.err != nil:
		return fmt.Errorf("read twin: %w", r.err)
	}
	s.mu.Lock()
	s.fetched = r.version
	s.mu.Unlock()
	return nil
}

// begin puts the device online. If the connection was lost since it was ready,
// the driver's word found nobody to act on it, so begin does.
func (s *session) begin() {
	f := s.fleet
	d := &f.devices[s.device]
	if !d.reached.Swap(true) {
		f.reached.Add(1)
	}
	d.session.Store(s)
	f.move(s.device, online)
	s.mu.Lock()
	holds := s.phase == opening
	if holds {
		s.phase = active
		s.armRenewalLocked()
	}
	away := s.away
	s.mu.Unlock()
	switch {
	case !holds:
		f.lost(s)
	case away > 0:
		s.leave(away)
	}
}

// leave lets the device disconnect on purpose and come back after a while. A
// session that is still opening does so when it is online.
func (s *session) leave(away time.Duration) {
	s.mu.Lock()
	if s.phase == opening {
		s.away = away
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	if s.end(errAway) == active {
		s.fleet.left(s, away)
	}
}

// lost is the driver's word that the connection is over.
func (s *session) lost(err error) {
	if s.end(&lostError{err}) == active {
		s.fleet.lost(s)
	}
}

// lostError is the end of a connection by itself.
type lostError struct{ err error }

func (e *lostError) Error() string { return "connection lost: " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// whyLost words why the connection is over, for a record.
func (s *session) whyLost() string {
	err := s.life.Err()
	var lost *lostError
	if errors.As(err, &lost) {
		err = lost.err
	}
	return reason(err)
}

// end lets no handler start any more, wakes those that wait, and returns the
// phase that the session was in.
func (s *session) end(cause error) phase {
	s.mu.Lock()
	was, attempt := s.phase, s.attempt
	s.phase = ended
	if s.renewal != nil {
		s.renewal.Stop()
	}
	s.mu.Unlock()
	s.life.end(cause)
	if attempt != nil {
		attempt.end(cause)
	}
	return was
}

// receive handles one message. Its first statement takes the moment of receipt.
func (s *session) receive(topic string, payload []byte) {
	at := s.fleet.cfg.Clock.Now()
	if !s.enter() {
		return
	}
	defer s.exit()
	t, err := iothub.ParseTopic(topic)
	if err != nil {
		s.fleet.counts.unexpected.Add(1)
		return
	}
	switch t.Kind {
	case iothub.TopicMethodRequest:
		s.call(t, payload, at)
	case iothub.TopicDesired:
		s.notified(t, payload, at)
	case iothub.TopicTwinResponse:
		s.answered(t.RequestID, t.Status, payload, at)
	default:
		s.fleet.counts.unexpected.Add(1)
	}
}

// enter admits a handler, which must call exit, while the session has
// a connection and has not ended.
func (s *session) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == ended || s.link == nil {
		return false
	}
	s.fleet.handlers.Add(1)
	if s.token != nil {
		s.handling.Add(1)
	}
	return true
}

// exit ends a handler.
func (s *session) exit() {
	if s.token != nil {
		s.handling.Add(-1)
	}
	s.fleet.handlers.Done()
}

// expect prepares for the answer of a twin request: its id, and where the
// answer comes.
func (s *session) expect() (rid string, answer <-chan response) {
	w := waiter{answer: make(chan response, 1)} // one answer, so that its reader never waits for the waiter
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastRID++
	w.rid = s.lastRID
	s.pending = append(s.pending, w)
	return strconv.FormatUint(uint64(w.rid), 10), w.answer
}

// answered hands a response to the request that waits for it, if one does.
func (s *session) answered(rid string, status int, payload []byte, at sample.Moment) {
	answer := s.take(rid)
	if answer == nil {
		return
	}
	r := response{status: status, at: at}
	if status == 200 { // a patch has 204
		r.version, r.err = iothub.DesiredVersion(payload)
	}
	answer <- r
}

// forget gives a request up.
func (s *session) forget(rid string) { s.take(rid) }

// take removes the waiter of a request and returns it, or nil.
func (s *session) take(rid string) chan response {
	n, err := strconv.ParseUint(rid, 10, 32)
	if err != nil {
		return nil // no id of ours
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.pending, func(w waiter) bool { return w.rid == uint32(n) })
	if i < 0 {
		return nil
	}
	answer := s.pending[i].answer
	if s.pending = slices.Delete(s.pending, i, i+1); len(s.pending) == 0 {
		s.pending = nil
	}
	return answer
}

// await waits for the answer of a reported PATCH.
func await(ctx context.Context, answer <-chan response) (response, error) {
	timer := time.NewTimer(twinTimeout)
	defer timer.Stop()
	select {
	case r := <-answer:
		return r, nil
	case <-ctx.Done():
		return response{}, context.Cause(ctx)
	case <-timer.C:
		return response{}, errNoAnswer
	}
}

// sleep waits in the handler's own goroutine and reports whether the session
// lasted.
func (s *session) sleep(d time.Duration) bool {
	if d <= 0 {
		return s.life.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.life.Done():
		return false
	}
}

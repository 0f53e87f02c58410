package memnet

import (
	"math"
	"time"
)

// A side is what one end did to a half. It is guarded by the half's mutex.
//
// A deadline is looked at by each call, and has a timer only while a call waits
// for it: most reads and writes do not. A timer is left as it is when a deadline
// is put off, and set anew when it fires too early.
type side struct {
	deadline moment // 0: none
	alarm    *alarm // nil: no timer
	closed   bool
}

// An alarm is a timer that calls half.ring.
type alarm struct {
	timer *time.Timer
	at    moment // when it will fire; 0: it has fired
}

// A moment is a time on the clock of whoever asks: that of its bubble, or the
// monotonic one of the system. It is counted from epoch, which is some time ago on
// the one and far ahead on the other.
type moment time.Duration

var epoch = time.Now()

const (
	longAgo moment = math.MinInt64
	never   moment = math.MaxInt64
)

func now() moment { return moment(time.Since(epoch)) }

// momentOf returns when a deadline is; it is never 0. One that has passed needs no
// clock any more.
func momentOf(t time.Time) moment {
	wait := time.Until(t)
	if wait <= 0 {
		return longAgo
	}
	at := now()
	if at > never-moment(wait) {
		return never
	}
	if at += moment(wait); at == 0 {
		at = 1
	}
	return at
}

func (s *side) expired() bool {
	return s.deadline != 0 && (s.deadline == longAgo || s.deadline <= now())
}

// close stops the side's timer for good.
func (s *side) close() {
	s.closed = true
	s.clear()
}

func (s *side) clear() {
	s.deadline = 0
	if s.alarm != nil {
		s.alarm.timer.Stop()
		s.alarm = nil
	}
}

// setDeadline sets the deadline of s, one of h's two sides. It reports false if
// the side is closed.
func (h *half) setDeadline(s *side, t time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case s.closed:
		return false
	case t.IsZero():
		s.clear()
		return true
	}
	s.deadline = momentOf(t)
	switch {
	case s.deadline == longAgo:
		h.broadcast()
	case h.blocked > 0:
		h.arm(s)
	}
	return true
}

// arm makes sure that h rings at the deadline of s at the latest. It is called
// when somebody begins to wait, and when the deadline of who may wait has changed.
func (h *half) arm(s *side) {
	switch {
	case s.deadline == 0 || s.deadline == longAgo:
	case s.alarm == nil:
		a := &alarm{at: s.deadline}
		s.alarm = a
		a.timer = time.AfterFunc(time.Duration(s.deadline-now()), func() { h.ring(s, a) })
	case s.alarm.at == 0 || s.alarm.at > s.deadline:
		s.alarm.at = s.deadline
		s.alarm.timer.Reset(time.Duration(s.deadline - now()))
	}
}

// ring is what a timer calls: the deadline of s has come, or was put off.
func (h *half) ring(s *side, a *alarm) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.alarm != a {
		return
	}
	a.at = 0
	switch {
	case s.expired():
		h.broadcast()
	case h.blocked > 0:
		h.arm(s)
	}
}

package memnet

import "time"

// A deadline is guarded by the mutex of its half.
type deadline struct {
	at      time.Time // zero: none
	expired bool
	timer   *time.Timer // nil until a deadline in the future is set
}

// setDeadline sets the deadline of s, one of h's two sides. It reports false if
// the side is closed.
func (h *half) setDeadline(s *side, t time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case s.closed:
		return false
	case t.IsZero() && s.deadline != nil:
		s.deadline.clear()
	case !t.IsZero():
		h.arm(s, t)
	}
	return true
}

func (h *half) arm(s *side, t time.Time) {
	if s.deadline == nil {
		s.deadline = &deadline{}
	}
	d, wait := s.deadline, time.Until(t)
	d.clear()
	d.at = t
	switch {
	case wait <= 0:
		d.expired = true
		h.changed.Broadcast()
	case d.timer == nil:
		d.timer = time.AfterFunc(wait, func() { h.expire(d) })
	default:
		d.timer.Reset(wait)
	}
}

// expire is what the timer calls. The deadline can have changed since the timer
// fired, and a deadline by the wall clock can lie a little ahead of it.
func (h *half) expire(d *deadline) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.at.IsZero() || d.expired {
		return
	}
	if wait := time.Until(d.at); wait > 0 {
		d.timer.Reset(wait)
		return
	}
	d.expired = true
	h.changed.Broadcast()
}

func (d *deadline) clear() {
	d.at, d.expired = time.Time{}, false
	if d.timer != nil {
		d.timer.Stop()
	}
}

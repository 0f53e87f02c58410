package fleet

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"muster/internal/sample"
)

// state is where a device is in its life.
//
//	from        event                              to
//	idle        its attempt is due and has a place connecting
//	connecting  subscribed and twin read           online
//	connecting  the attempt failed                 offline
//	online      the connection was lost            offline
//	online      it left, after a method            offline
//	offline     its time away is over, and a place
//	            is free                            connecting
//	offline     a wait was drawn                   backoff
//	backoff     the wait is over, a place is free  connecting
//	any         the run is over                    closed
//
// A device moves only in the one goroutine that has its turn: the task that
// connects it, then, from its loss on, the task that connects it again. The
// driver's report of the loss hands over from the one to the other.
type state uint32

const (
	idle state = iota
	connecting
	online
	offline
	backoff
	closed
	stateCount
)

// device is what the fleet keeps of one device. All else follows from the
// configuration and the device's index.
type device struct {
	state   atomic.Uint32
	losses  atomic.Uint32 // connections lost or left, which key the backoff draws
	reached atomic.Bool   // was online before
	session atomic.Pointer[session]
	token   atomic.Pointer[token] // only of a fleet that renews tokens

	mu      sync.Mutex // guards changed
	changed *changes   // how its twin differs from the seeded one; nil: not at all
}

// move puts a device into a state.
func (f *Fleet) move(device uint32, to state) {
	from := state(f.devices[device].state.Swap(uint32(to)))
	f.states[from].Add(-1)
	f.states[to].Add(1)
	if f.cfg.Mirror != nil && to != closed && (from == online) != (to == online) {
		f.cfg.Mirror.Moved(device, to == online)
	}
}

// connect brings a device online for the first time. Its first attempt has a
// place already.
func (f *Fleet) connect(ctx context.Context, device uint32, due sample.Moment) {
	begun := f.cfg.Clock.Now()
	if f.attempt(ctx, sample.Connect{Device: device, Attempt: 1, Due: due}) {
		f.settle()
		return
	}
	left := f.cfg.Connect.Timeout - time.Duration(f.cfg.Clock.Now()-begun)
	f.tasks.start(func() { f.connectLate(ctx, device, left) })
}

// connectLate brings a device online whose first attempt failed. It may still be
// so in time, and is decided when it is not.
func (f *Fleet) connectLate(ctx context.Context, device uint32, left time.Duration) {
	settle := sync.OnceFunc(f.settle)
	deadline := time.AfterFunc(left, settle)
	defer deadline.Stop()
	if f.retry(ctx, sample.Connect{Device: device, Attempt: 1}, 1) {
		settle()
	}
}

// comeBack brings a device back online that left: at once when its time away is
// over, and if that fails as after a loss.
func (f *Fleet) comeBack(ctx context.Context, device uint32, due sample.Moment) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	if !f.pool.waitUntil(ctx, timer, due) || !f.pool.acquire(ctx) {
		return
	}
	record := sample.Connect{Device: device, Attempt: 1, Due: due, Reconnect: true}
	if !f.attempt(ctx, record) {
		f.retry(ctx, record, 1)
	}
}

// settle counts a device whose first connect is decided.
func (f *Fleet) settle() {
	if f.settled.Add(1) == int64(f.part.len()) {
		close(f.ready)
	}
}

// reconnect brings a device back online after a loss.
func (f *Fleet) reconnect(ctx context.Context, device uint32) {
	f.retry(ctx, sample.Connect{Device: device, Reconnect: true}, 1)
}

// retry makes attempts, each after a backoff, until one succeeds, which it
// reports, or ctx ends. last is the attempt before, failures how many things
// went wrong in a row.
func (f *Fleet) retry(ctx context.Context, last sample.Connect, failures uint32) bool {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ; ; failures++ {
		f.move(last.Device, backoff)
		due := f.cfg.Clock.Now().Add(f.wait(last.Device, failures))
		if !f.pool.waitUntil(ctx, timer, due) || !f.pool.acquire(ctx) {
			return false
		}
		last.Attempt++
		last.Due = due
		if f.attempt(ctx, last) {
			return true
		}
	}
}

// wait returns how long a device waits after so many failures in a row: its
// backoff, unless it was this host that failed.
func (f *Fleet) wait(device, failures uint32) time.Duration {
	if f.short.has(device) {
		return min(shortWait, f.cfg.Connect.BackoffBase)
	}
	return f.backoff(device, failures)
}

// backoff draws how long a device waits after so many failures in a row.
func (f *Fleet) backoff(device, failures uint32) time.Duration {
	event := uint64(f.devices[device].losses.Load())<<32 | uint64(failures)
	d := newDraw(f.cfg.Seed, device, streamBackoff, event)
	return jitter(d, f.cfg.Connect.BackoffBase, f.cfg.Connect.BackoffCap, failures)
}

// attempt makes one attempt to bring a device online, gives its place back,
// records how it went and reports whether the device came online.
func (f *Fleet) attempt(ctx context.Context, record sample.Connect) bool {
	f.move(record.Device, connecting)
	record.Dialed = f.cfg.Clock.Now()
	s := newSession(f, record.Device)
	err := s.open(ctx, &record)
	f.pool.release()
	f.short.note(record.Device, err)
	if err != nil {
		record.Error = reason(err)
		f.move(record.Device, offline)
	}
	f.cfg.Samples.Connect(&record)
	if err == nil {
		s.begin()
	}
	return err == nil
}

// lost takes the end of an online device's connection: it goes through its
// backoff and connects again, unless the run is over.
func (f *Fleet) lost(s *session) {
	f.pool.lost.Add(1)
	f.cfg.Samples.Lost(&sample.Lost{Device: s.device, At: f.cfg.Clock.Now(), Error: s.whyLost()})
	f.devices[s.device].losses.Add(1)
	f.devices[s.device].session.CompareAndSwap(s, nil)
	f.move(s.device, offline)
	f.tasks.start(func() {
		_ = s.link.Close() // it is lost already; this frees what the driver holds
		f.reconnect(f.run, s.device)
	})
}

// left takes the end of an online device's connection that the device has
// wanted. What it has written before is sent ahead of the end.
func (f *Fleet) left(s *session, away time.Duration) {
	f.counts.left.Add(1)
	f.depart(s, away)
}

// depart closes the connection of a device whose session has ended, and brings
// the device back when its time away is over.
func (f *Fleet) depart(s *session, away time.Duration) {
	due := f.cfg.Clock.Now().Add(away)
	f.devices[s.device].losses.Add(1) // the key of its next backoff, if it needs one
	f.devices[s.device].session.CompareAndSwap(s, nil)
	f.move(s.device, offline)
	f.tasks.start(func() {
		_ = s.link.Close() // it is over either way
		f.comeBack(f.run, s.device, due)
	})
}

// reason words why an attempt failed, without what differs from one device to
// the next, so that records of one cause are alike.
func reason(err error) string {
	var refused *RefusedError
	var op *net.OpError
	switch {
	case errors.As(err, &refused):
		return refused.Error()
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

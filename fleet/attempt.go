package fleet

import (
	"slices"
	"sync"
	"time"
)

// attempt is the context of an attempt to open a session. It ends with the
// session, when its time is over, or with the run, and tells a DialFunc for whom
// the connection is. Of a large fleet that connects at once many begin and end:
// contexts and timers of their own would be much of what each of them allocates.
type attempt struct {
	life
	dialing
	all   *attempts
	after []*func() // what is to be called after the end; guarded by life.mu

	until      time.Time
	prev, next *attempt // in attempts, guarded by its lock
	listed     bool
}

// end ends the attempt, as life.end does.
func (t *attempt) end(cause error) {
	t.life.end(cause)
	t.mu.Lock()
	after := t.after
	t.after = nil
	t.mu.Unlock()
	for _, f := range after {
		t.all.afters.Go(*f)
	}
}

// Value implements context.Context.
func (t *attempt) Value(key any) any {
	if key == (dialingKey{}) {
		return &t.dialing
	}
	return nil
}

// AfterFunc does what context.AfterFunc promises of a context that has it.
func (t *attempt) AfterFunc(f func()) (stop func() bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cause.Load() != nil {
		t.all.afters.Go(f)
		return func() bool { return false }
	}
	t.after = append(t.after, &f)
	return func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		i := slices.Index(t.after, &f)
		if i >= 0 {
			t.after = slices.Delete(t.after, i, i+1)
		}
		return i >= 0
	}
}

// attempts are those that go on, in the order in which they began: as all may
// take as long, one timer serves them. close ends them and joins what is called
// after their end.
type attempts struct {
	timeout time.Duration
	afters  sync.WaitGroup

	mu          sync.Mutex // guards the fields below; never held while an attempt ends
	first, last *attempt
	timer       *time.Timer
	armed       bool  // the timer will call expire, not after the first's time
	over        error // why there are no attempts any more
}

// begin begins an attempt, which finish must end.
func (a *attempts) begin(d dialing) *attempt {
	t := &attempt{dialing: d, all: a, listed: true}
	a.mu.Lock()
	defer a.mu.Unlock()
	t.until = time.Now().Add(a.timeout)
	if t.prev = a.last; t.prev == nil {
		a.first = t
	} else {
		t.prev.next = t
	}
	a.last = t
	if a.over != nil {
		t.end(a.over) // nobody else knows it yet
	}
	a.armLocked(a.timeout)
	return t
}

func (a *attempts) armLocked(d time.Duration) {
	switch {
	case a.armed:
		return
	case a.timer == nil:
		a.timer = time.AfterFunc(d, a.expire)
	default:
		a.timer.Reset(d)
	}
	a.armed = true
}

// finish lets go of an attempt that is decided.
func (a *attempts) finish(t *attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.removeLocked(t)
}

func (a *attempts) removeLocked(t *attempt) {
	if !t.listed {
		return
	}
	if t.prev == nil {
		a.first = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		a.last = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next, t.listed = nil, nil, false
}

// expire ends the attempts whose time is over.
func (a *attempts) expire() {
	for _, t := range a.due() {
		t.end(errTimeout)
	}
}

// due takes the attempts whose time is over out, and lets the timer wait for the
// next one's.
func (a *attempts) due() (due []*attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armed = false
	now := time.Now()
	for t := a.first; t != nil; t = a.first {
		if wait := t.until.Sub(now); wait > 0 {
			a.armLocked(wait)
			break
		}
		a.removeLocked(t)
		due = append(due, t)
	}
	return due
}

// endAll ends all attempts, and those that begin from now on.
func (a *attempts) endAll(cause error) {
	a.mu.Lock()
	a.over = cause
	var all []*attempt
	for t := a.first; t != nil; t = a.first {
		a.removeLocked(t)
		all = append(all, t)
	}
	a.mu.Unlock()
	for _, t := range all {
		t.end(cause)
	}
}

// close waits for what is called after the end of attempts, of which there must
// be none any more.
func (a *attempts) close() {
	a.mu.Lock()
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Unlock()
	a.afters.Wait()
}

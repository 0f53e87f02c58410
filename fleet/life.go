package fleet

import (
	"sync"
	"sync/atomic"
	"time"
)

// life is a session's context: what waits on a connection waits with it. It
// ends by end alone, and costs nothing as long as nobody waits for that, where
// one of package context has a place in its parent and a channel: most of a
// large fleet's devices are idle. Its Err is its cause, so that context.Cause
// tells it too.
type life struct {
	cause atomic.Pointer[error] // nil: it lasts; set with mu held

	mu   sync.Mutex    // guards done
	done chan struct{} // closed at the end; nil: nobody has asked for it
}

// over is a channel that is closed.
var over = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// end ends it; the first cause stays.
func (l *life) end(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause.Load() != nil {
		return
	}
	if l.cause.Store(&cause); l.done != nil {
		close(l.done)
	}
}

// Done, with the methods below, implements context.Context.
func (l *life) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil && l.cause.Load() != nil {
		return over
	}
	if l.done == nil {
		l.done = make(chan struct{})
	}
	return l.done
}

// Err returns the cause. While it lasts, which is asked often, that takes no lock.
func (l *life) Err() error {
	cause := l.cause.Load()
	if cause == nil {
		return nil
	}
	l.mu.Lock() // held until done is closed: who has an error finds Done over
	defer l.mu.Unlock()
	return *cause
}

// Deadline says that there is none.
func (l *life) Deadline() (at time.Time, ok bool) { return time.Time{}, false }

// Value has nothing.
func (l *life) Value(any) any { return nil }

package iothub

import (
	"context"
	"net/http/httptrace"
	"sync"
)

// Trace watches one call of a Client. Make a new one for each call. Its fields
// may be read when the call has returned.
type Trace struct {
	// Wrote, if not nil, is called when the request of an attempt (1, 2, …) was
	// written, headers and body, which is just before its last bytes go to the
	// socket. It must be quick and must not call the client. It runs on a
	// goroutine of the transport, but never twice at once and never after the
	// call has returned, so that it may write what the caller reads then.
	// Transports that know nothing of net/http/httptrace never call it.
	Wrote func(attempt int)
	// Attempts is how many requests were begun: 1 without a retry.
	Attempts int
}

type traceKey struct{}

// WithTrace returns a context with which one call of a Client fills t.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// writeWatch passes the writing of one attempt's request on to a Trace.
type writeWatch struct {
	trace   *Trace
	attempt int
	hooks   httptrace.ClientTrace

	// mu guards over. It is held across the callback, against the rule of the
	// house, because that is what keeps a callback from outliving its call.
	mu   sync.Mutex
	over bool
}

// watchWrites returns a context for one attempt, and what ends the watch; it
// returns ctx itself if nobody watches.
func watchWrites(ctx context.Context, t *Trace) (context.Context, *writeWatch) {
	if t == nil || t.Wrote == nil {
		return ctx, nil
	}
	w := &writeWatch{trace: t, attempt: t.Attempts}
	w.hooks.WroteRequest = w.wrote
	return httptrace.WithClientTrace(ctx, &w.hooks), w
}

// wrote is called again if net/http replays a request on another connection;
// only the first time counts.
func (w *writeWatch) wrote(info httptrace.WroteRequestInfo) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if info.Err != nil || w.over {
		return
	}
	w.over = true
	w.trace.Wrote(w.attempt)
}

// end makes sure that nothing is called any more.
func (w *writeWatch) end() {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
}

package iothub

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// RetryOptions say how long a client waits before it repeats a request: at
// random between zero and Base·2ⁿ before retry n (0, 1, …), at most Cap ("full
// jitter").
type RetryOptions struct {
	Base          time.Duration // default 1 s
	ThrottledBase time.Duration // in place of Base after a 429; default 10 s
	Cap           time.Duration // default 60 s
	MaxAttempts   int           // default no limit; 1 never retries
	For           time.Duration // no retry begins this long after the call; default 4 min, below 0 no limit
}

func (o RetryOptions) resolved() RetryOptions {
	if o.Base <= 0 {
		o.Base = time.Second
	}
	if o.ThrottledBase <= 0 {
		o.ThrottledBase = 10 * time.Second
	}
	if o.Cap <= 0 {
		o.Cap = time.Minute
	}
	if o.For == 0 {
		o.For = 4 * time.Minute
	}
	return o
}

// ceiling returns the longest wait before a retry.
func (o RetryOptions) ceiling(retry int, throttled bool) time.Duration {
	wait := o.Base
	if throttled {
		wait = o.ThrottledBase
	}
	for ; retry > 0 && wait < o.Cap; retry-- {
		wait *= 2
	}
	return min(wait, o.Cap)
}

// jitter is a source of waits. Retries are rare, so one lock serves all calls.
type jitter struct {
	mu   sync.Mutex // guards rand
	rand *rand.Rand
}

// newJitter returns a source that repeats itself for a seed other than 0.
func newJitter(seed uint64) *jitter {
	if seed == 0 {
		seed = rand.Uint64()
	}
	return &jitter{rand: rand.New(rand.NewPCG(seed, seed))}
}

// below returns a wait from 0 to limit.
func (j *jitter) below(limit time.Duration) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return time.Duration(j.rand.Int64N(int64(limit) + 1))
}

// repeatable says after which failures a call may be made again.
type repeatable uint8

const (
	onThrottle repeatable = iota // after a 429 alone: the hub did nothing
	always                       // also after a 500, a 503 or a broken connection: twice does the same as once
)

// retries decides whether a call may be made again after err, and whether it
// was throttled.
func (r repeatable) retries(err error) (again, throttled bool) {
	if refused, ok := errors.AsType[*Error](err); ok {
		switch refused.StatusCode {
		case http.StatusTooManyRequests:
			return true, true
		case http.StatusInternalServerError, http.StatusServiceUnavailable:
			return r == always, false
		}
		return false, false
	}
	if _, ok := errors.AsType[*brokenError](err); ok {
		return r == always, false
	}
	return false, false
}

// brokenError is a request without an answer: the connection was not made, or
// was lost, or nothing came in time.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// Unanswered reports whether err is of a request that got no answer: its
// connection was not made, or was lost, or nothing came in time.
func Unanswered(err error) bool {
	_, ok := errors.AsType[*brokenError](err)
	return ok
}

// broken wraps a transport's error if another attempt could fare better: not
// when there is no such host, or its certificate is not trusted.
func broken(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return err
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return err
	}
	return &brokenError{err}
}

// sleep waits and reports whether it was for the whole time.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

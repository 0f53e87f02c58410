package iothub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// call is one request to the hub, with what a retry needs to know.
type call struct {
	doing   string // what and to what, for errors: "read twin dev1"
	method  string
	path    string // decoded, from the root of the API
	rawPath string // path encoded; empty if it is the same
	query   string // further parameters, each after &
	body    []byte // nil for none
	ifMatch string // an etag or *; empty for none
	header  http.Header
	repeat  repeatable
	longer  time.Duration // than the client's timeout an attempt may take

	// accepts, if not nil, says whether a refusal is an answer to be read.
	accepts func(status int, body []byte) bool
	// read takes a successful answer. The body is its own only until it
	// returns.
	read func(header http.Header, body []byte) error
}

// on adds one path segment, which it encodes, between two fixed parts.
func (k call) on(prefix, id, rest string) call {
	if encoded := escape(id); encoded != id || k.rawPath != "" {
		k.rawPath = firstOf(k.rawPath, k.path) + prefix + encoded + rest
	}
	k.path += prefix + id + rest
	return k
}

// do makes a call, again and again where that is allowed. It reports whether
// an attempt before the last may have been carried out, so that the last one's
// answer may be due to it.
func (c *Client) do(ctx context.Context, k call) (repeated bool, err error) {
	trace, _ := ctx.Value(traceKey{}).(*Trace)
	if trace == nil {
		trace = new(Trace)
	}
	began := time.Now()
	for retry := 0; ; retry++ {
		trace.Attempts++
		err = c.attempt(ctx, &k, trace)
		again, throttled := k.repeat.retries(err)
		if err == nil {
			return repeated, nil
		}
		if !again || ctx.Err() != nil {
			break
		}
		wait := c.jitter.below(c.retry.ceiling(retry, throttled))
		if !c.timeFor(ctx, retry+1, began, wait) {
			break
		}
		c.logger.Debug("a request is made again", "request", k.doing, "attempt", retry+2, "wait", wait, "cause", err)
		if !sleep(ctx, wait) {
			err = fmt.Errorf("%w (%w before attempt %d)", err, ctx.Err(), retry+2)
			break
		}
		repeated = repeated || !throttled
	}
	return repeated, fmt.Errorf("%s: %w", k.doing, err)
}

// timeFor reports whether there may be another attempt after made ones and a
// wait.
func (c *Client) timeFor(ctx context.Context, made int, began time.Time, wait time.Duration) bool {
	at := time.Now().Add(wait)
	deadline, bound := ctx.Deadline()
	return (c.retry.MaxAttempts <= 0 || made < c.retry.MaxAttempts) &&
		(c.retry.For < 0 || at.Sub(began) < c.retry.For) &&
		(!bound || at.Before(deadline))
}

// attempt sends the request once and reads the answer.
func (c *Client) attempt(ctx context.Context, k *call, trace *Trace) error {
	if c.pace != nil {
		if err := c.pace(c.request(ctx, k)); err != nil {
			return err
		}
	}
	limit := c.timeout + k.longer
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	sent, watch := watchWrites(ctx, trace)
	defer watch.end()

	response, err := c.transport.RoundTrip(c.request(sent, k))
	if err != nil {
		return c.noAnswer(ctx, err)
	}
	buffer := buffers.Get().(*bytes.Buffer)
	defer release(buffer)
	if err := readAll(buffer, response); err != nil {
		return c.noAnswer(ctx, fmt.Errorf("read answer: %w", err))
	}
	body := buffer.Bytes()
	if status := response.StatusCode; (status < 200 || status > 299) && (k.accepts == nil || !k.accepts(status, body)) {
		return ParseError(status, response.Header, body)
	}
	if k.read == nil {
		return nil
	}
	if err := k.read(response.Header, body); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// request makes the HTTP request of one attempt. Its headers are shared with
// others; a RoundTripper does not write to them.
func (c *Client) request(ctx context.Context, k *call) *http.Request {
	u := c.base
	if k.rawPath != "" || u.RawPath != "" {
		u.RawPath = u.EscapedPath() + firstOf(k.rawPath, k.path)
	}
	u.Path += k.path
	u.RawQuery = "api-version=" + APIVersion + k.query
	r := blank.WithContext(ctx) // a copy
	r.Method, r.URL, r.Host, r.Header = k.method, &u, u.Host, c.credentials.headers().of(k)
	if body := k.body; len(body) > 0 {
		// GetBody lets net/http replace a connection that proved dead before a
		// byte was written: the hub has seen nothing then.
		r.ContentLength = int64(len(body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		r.Body, _ = r.GetBody()
	}
	return r
}

// blank is what all requests have in common.
var blank = http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// errLate is why an attempt ended that had no answer in its time. It is a
// deadline's error, for those who ask.
var errLate = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)

// noAnswer says what became of an attempt that brought no answer. ctx is the
// attempt's own.
func (c *Client) noAnswer(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errTooLong):
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &brokenError{errLate}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return broken(err)
}

const (
	maxAnswer = 64 << 20 // bytes; a full page of the largest twins is a tenth of it
	maxPooled = 256 << 10
)

var errTooLong = errors.New("longer than 64 MiB")

// buffers hold answers while they are read.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// release gives a buffer back, unless it is of an unusual size.
func release(b *bytes.Buffer) {
	if b.Cap() <= maxPooled {
		b.Reset()
		buffers.Put(b)
	}
}

// readAll reads an answer to its end, so that its connection can be used
// again.
func readAll(b *bytes.Buffer, r *http.Response) error {
	defer r.Body.Close()
	if n := r.ContentLength; n == 0 {
		return nil
	} else if n > 0 && n <= maxPooled {
		b.Grow(int(n) + bytes.MinRead) // room for the read that finds the end
	}
	n, err := b.ReadFrom(&io.LimitedReader{R: r.Body, N: maxAnswer + 1})
	if err == nil && n > maxAnswer {
		return errTooLong
	}
	return err
}

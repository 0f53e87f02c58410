package fleet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/internal/sample"
)

// closingAtOnce bounds the connections that are closed at a time: enough to be
// done with a large fleet in seconds, few enough not to be a storm of their own.
const closingAtOnce = 256

var errPoolClosed = errors.New("connection pool is closed")

// pool owns every connection of the fleet: it says when one may be opened,
// opens, counts and ends them. No connection outlives Close. The goroutines in
// which connections are opened are their callers'.
type pool struct {
	dial   DialFunc
	from   []netip.Addr // Connect.Sources
	clock  *sample.Clock
	turn   func(context.Context) error // Connect.Turn
	places chan struct{}               // one token per connection being opened; its capacity is the in-flight cap

	attempts, refused, failed, lost atomic.Int64

	mu     sync.Mutex // guards the fields below; never held across Dial or Conn.Close
	links  map[*link]struct{}
	closed bool
}

// link is a device's hold on a connection of the pool. On a hub it is the
// connection's only one.
type link struct {
	Conn
	wrote atomic.Int64 // a sample.Moment: when the last write to the network began
	raw   noted        // what the driver knows of the network connection
	pool  *pool
}

// noted is a network connection that notes when each write to it begins. A
// peer may answer before the writer has returned from its write, so that a
// moment taken afterwards could lie behind the answer.
type noted struct {
	net.Conn
	link *link
}

func (c *noted) Write(b []byte) (int, error) {
	c.link.wrote.Store(int64(c.link.pool.clock.Now()))
	return c.Conn.Write(b)
}

// notedTelling is noted of one that tells when there is something to read.
type notedTelling noted

func (c *notedTelling) Write(b []byte) (int, error) { return (*noted)(c).Write(b) }

func (c *notedTelling) TryRead(p []byte) (int, error) { return c.Conn.(Telling).TryRead(p) }
func (c *notedTelling) TellRead(tell func())          { c.Conn.(Telling).TellRead(tell) }

// note returns the network connection as the driver is to know it.
func (l *link) note(c net.Conn) net.Conn {
	l.raw = noted{c, l}
	if _, tells := c.(Telling); tells {
		return (*notedTelling)(&l.raw)
	}
	return &l.raw
}

// lastWrite returns when the last write to the network began, which after a
// Publish is that of the message, or of one that another handler has sent
// since.
func (l *link) lastWrite() sample.Moment {
	if at := sample.Moment(l.wrote.Load()); at.Seen() {
		return at
	}
	return l.pool.clock.Now() // a driver that wrote nothing through its dial
}

func newPool(cfg *Config) *pool {
	return &pool{
		dial:   cfg.Dial,
		from:   cfg.Connect.Sources,
		clock:  cfg.Clock,
		turn:   cfg.Connect.Turn,
		places: make(chan struct{}, cfg.Connect.InFlight),
		links:  map[*link]struct{}{},
	}
}

// dueAfter returns when attempt n of the ramp is due, as an offset from its
// start.
func dueAfter(n int, perSecond float64) time.Duration {
	if perSecond <= 0 {
		return 0
	}
	return time.Duration(float64(n) / perSecond * float64(time.Second))
}

// ramp calls start for each device of a part once its attempt is due and has
// a place, which start must see released. A ramp that waits for places is late
// and shifts no due time. It ends early with ctx.
func (p *pool) ramp(ctx context.Context, begin sample.Moment, part Part, perSecond float64, start func(i int, due sample.Moment)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := part.From; i < part.To; i++ {
		due := begin.Add(dueAfter(part.place(i), perSecond))
		if !p.waitUntil(ctx, timer, due) || !p.acquire(ctx) {
			return
		}
		start(i, due)
	}
}

// waitUntil waits for the moment and reports whether it came before ctx's end.
func (p *pool) waitUntil(ctx context.Context, timer *time.Timer, at sample.Moment) bool {
	wait := time.Duration(at - p.clock.Now())
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer.Reset(wait)
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// acquire waits for the attempt's turn and for a place among the connections
// being opened, and reports whether both came before ctx's end.
func (p *pool) acquire(ctx context.Context) bool {
	if p.turn != nil && p.turn(ctx) != nil {
		return false
	}
	select {
	case p.places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// release gives a place back: the connection is open and set up, or given up.
func (p *pool) release() { <-p.places }

// source returns the address that a device's connections come from.
func (p *pool) source(device uint32) netip.Addr {
	if len(p.from) == 0 {
		return netip.Addr{}
	}
	return p.from[int(device)%len(p.from)]
}

// Attach opens a connection for an attempt that has a place, and makes l the hold
// on it. The connection is the pool's: it ends with Close at the latest.
func (p *pool) Attach(ctx *attempt, l *link, driver Driver, s Session) error {
	p.attempts.Add(1)
	l.pool = p
	conn, err := driver.Dial(ctx, func(ctx context.Context) (net.Conn, error) {
		c, err := p.dial(ctx)
		if err != nil {
			return nil, err
		}
		return l.note(c), nil
	}, s)
	if err != nil {
		p.countFailure(err)
		return err
	}
	l.Conn = conn
	if !p.add(l) {
		_ = conn.Close() // nobody has used it
		return errPoolClosed
	}
	return nil
}

func (p *pool) countFailure(err error) {
	var refused *RefusedError
	if errors.As(err, &refused) {
		p.refused.Add(1)
	}
	p.failed.Add(1)
}

func (p *pool) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.links[l] = struct{}{}
	}
	return !p.closed
}

// Close ends the connection. Its error says nothing that the run could use: the
// connection is over either way.
func (l *link) Close() error {
	l.pool.mu.Lock()
	delete(l.pool.links, l)
	l.pool.mu.Unlock()
	return l.Conn.Close()
}

// Close ends every connection and returns when all are closed. Attach fails
// from then on.
func (p *pool) Close() {
	p.mu.Lock()
	p.closed = true
	links := p.links
	p.links = nil
	p.mu.Unlock()

	var closing errgroup.Group
	closing.SetLimit(closingAtOnce)
	for l := range links {
		closing.Go(l.Conn.Close)
	}
	_ = closing.Wait() // see link.Close
}

// open returns how many connections there are.
func (p *pool) open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

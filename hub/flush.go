package hub

import (
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// flushers write what connections have pending: as many goroutines as there are processors, for all connections of a hub,
// and only while there is something to write. They never wait for a peer. A connection whose peer does not take at once what is
// written gets a goroutine of its own (conn.flush), as does one that has no TryWrite.
type flushers struct {
	workers sync.WaitGroup // each ends when nothing is left to write
	most    int            // of them
	work    func()         // what each does

	mu      sync.Mutex // guards the fields below; never held across a write
	running int
	queue   []*conn // in the order in which they came
	next    int     // of the queue
}

// flushShare is how many connections a flusher takes from the queue at most, so that the lock is not what they wait for.
const flushShare = 8

// flushTurn is how often a flusher writes for one connection before others have their turn.
const flushTurn = 8

func newFlushers() *flushers {
	f := &flushers{most: runtime.GOMAXPROCS(0)}
	f.work = f.run
	return f
}

// push lets a flusher write what a connection has pending, whose flushers it counts. It does not block.
func (f *flushers) push(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == cap(f.queue) && f.next > len(f.queue)/2 { // in the place of those that were taken: it may never be empty
		left := copy(f.queue, f.queue[f.next:])
		clear(f.queue[left:])
		f.queue, f.next = f.queue[:left], 0
	}
	f.queue = append(f.queue, c)
	if f.running < f.most {
		f.running++
		f.workers.Go(f.work)
	}
}

// take takes a fair share of the queue. It takes a flusher off that finds nothing.
func (f *flushers) take(into []*conn) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting := f.queue[f.next:]
	n := copy(into[:min(len(into), (len(waiting)+f.running-1)/f.running)], waiting)
	clear(waiting[:n])
	if f.next += n; f.next == len(f.queue) {
		f.queue, f.next = f.queue[:0], 0
	}
	if n == 0 {
		f.running--
	}
	return n
}

// run writes until the queue is empty.
func (f *flushers) run() {
	var share [flushShare]*conn
	for n := f.take(share[:]); n > 0; n = f.take(share[:]) {
		for i, c := range share[:n] {
			share[i] = nil
			c.flushNow()
			c.flushers.Done()
		}
	}
}

// packets are packets that are to be written. Only a connection that has some holds a buffer for them.
type packets struct{ bytes []byte }

// keptPackets bounds the buffers that are kept for other packets.
const keptPackets = 4 << 10

// packetBuffers is a cache of memory without content.
var packetBuffers = sync.Pool{New: func() any { return new(packets) }}

func (p *packets) give() {
	if cap(p.bytes) <= keptPackets {
		p.bytes = p.bytes[:0]
		packetBuffers.Put(p)
	}
}

// prompter is a network connection that can be written to without waiting: those in memory, and sockets.
type prompter interface {
	TryWrite(p []byte) (int, error) // less than all, without an error, where Write would wait
}

// prompt says whether packets can be written without waiting.
func (c *conn) prompt() bool { return c.trying != nil }

// flushLocked has what is pending written.
func (c *conn) flushLocked() {
	c.flushing = true
	if !c.prompt() {
		c.flushers.Go(c.flush)
		return
	}
	c.flushers.Add(1) // until flushNow is done
	if c.gathers {
		c.gathered = true
		return
	}
	c.hub.flushers.push(c)
}

// gather lets what is sent from now on wait for flushGathered.
func (c *conn) gather() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gathers = true
}

// flushGathered writes what the reader has answered, or a request has asked for: who calls it is awake, where a flusher would have
// to be woken. Of several who gather the first to come here writes for all.
func (c *conn) flushGathered() {
	c.mu.Lock()
	flush := c.gathered
	c.gathers, c.gathered = false, false
	c.mu.Unlock()
	if !flush {
		return
	}
	c.flushNow()
	c.flushers.Done()
}

// pendingPackets takes what is pending, or ends flushing if nothing is.
func (c *conn) pendingPackets() *packets {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.pending
	c.pending = nil
	if out == nil || len(out.bytes) == 0 || c.closed {
		c.flushing = false
		return nil
	}
	return out
}

// flushNow writes what is pending as far as the peer takes it. What it does not take is left to a goroutine, and what is always
// pending anew to the connection's next turn.
func (c *conn) flushNow() {
	for range flushTurn {
		out := c.pendingPackets()
		if out == nil {
			return
		}
		n, err := 0, error(nil)
		if len(out.bytes) <= chunk {
			n, err = c.writeNow(out.bytes)
		}
		switch {
		case err != nil:
			c.wrote(n, err)
		case n == len(out.bytes):
			c.wrote(n, nil)
			out.give()
		default:
			c.flushers.Go(func() {
				c.wrote(n, nil)
				c.flushAll(out.bytes[n:])
				c.flush()
			})
			return
		}
	}
	c.flushers.Add(1)
	c.hub.flushers.push(c)
}

func (c *conn) writeNow(b []byte) (int, error) {
	if c.reason.Load() != uint32(endNone) { // as in waitUntil
		return 0, net.ErrClosed
	}
	return c.trying.TryWrite(b)
}

// flush writes what is pending until nothing is, however long the peer takes.
func (c *conn) flush() {
	for out := c.pendingPackets(); out != nil; out = c.pendingPackets() {
		c.flushAll(out.bytes)
		out.give()
	}
}

// flushAll writes chunk by chunk, as long as the connection is good.
func (c *conn) flushAll(out []byte) {
	for next := true; next && len(out) > 0; {
		n := min(len(out), chunk)
		c.mu.Lock()
		c.since = time.Now()
		c.mu.Unlock()
		next = c.wrote(n, c.write(out[:n]))
		out = out[n:]
	}
	if c.prompt() { // a write that does not wait must not meet the deadline of one that did
		_ = c.nc.SetWriteDeadline(time.Time{})
	}
}

// wrote is told what became of a write, and reports whether there may be another one.
func (c *conn) wrote(n int, err error) bool {
	c.mu.Lock()
	c.since = time.Time{}
	c.unsent -= n
	if err != nil {
		c.closed, c.pending = true, nil
	}
	next := !c.closed
	drained := next && c.wanted && c.unsent <= crowded
	if drained {
		c.wanted = false
	}
	c.mu.Unlock()
	switch {
	case drained:
		c.dev.drained(c)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.end(endSlow)
	case err != nil:
		c.end(endPeer)
	}
	return next
}

func (c *conn) write(out []byte) error {
	if err := c.out.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if c.reason.Load() != uint32(endNone) { // as in waitUntil
		return net.ErrClosed
	}
	_, err := c.out.Write(out)
	return err
}

package hub

import (
	"errors"
	"runtime"
	"sync"
	"syscall"

	"muster/internal/mqtt"
)

// telling is a network connection that tells when there is something to read: those in memory, sockets, and TLS on them.
type telling interface {
	TryRead(p []byte) (int, error) // the error is syscall.EAGAIN where Read would wait
	TellRead(tell func())          // tell is called for whatever comes that can be read, or ends
}

// errTurn is what a reader gets of a connection that has not ended and had its turn.
var errTurn = errors.New("others want to be read too")

// turn is how many packets of one connection are read before others have their turn, and how often it is looked whether there
// are some.
const turn = 64

// readers read the connections that tell, those of TLS from their CONNECT on, so that an idle one holds neither a goroutine nor a buffer.
// Who makes one readable puts it into the queue; as many workers as there are processors take them out. A worker whose
// handler has to wait lets another take its place (without).
//
// A connection is in the queue or in a worker's hands, and its told is above 0 then; or nobody has it, and the first who tells
// puts it into the queue. So one goroutine at a time is its reader.
type readers struct {
	most    int            // workers that work
	workers sync.WaitGroup // each ends when there are enough idle ones, and with close

	mu          sync.Mutex // guards the fields below; taken under any lock, as it takes none
	first, last *conn      // the queue, by conn.next
	working     int        // workers that neither are idle nor wait in a handler
	idle        int        // workers that wait for work, and are not called
	called      int        // of those that were idle: not awake yet
	closed      bool
	work        sync.Cond // for the idle
}

// start starts the workers. close ends them.
func (r *readers) start() {
	r.most = runtime.GOMAXPROCS(0)
	r.work.L = &r.mu
	r.working = r.most
	for range r.most {
		r.workers.Go(r.run)
	}
}

// push puts a connection at the end of the queue.
func (r *readers) push(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.next = nil; r.first == nil {
		r.first = c
	} else {
		r.last.next = c
	}
	r.last = c
	r.callLocked()
}

// callLocked lets one more worker work, if there is something to do and not enough of them do.
func (r *readers) callLocked() {
	if r.first == nil || r.working >= r.most {
		return
	}
	r.working++
	if r.idle == 0 {
		r.workers.Go(r.run)
		return
	}
	r.idle--
	r.called++
	r.work.Signal()
}

// run is a worker.
func (r *readers) run() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		for r.first != nil && r.working <= r.most {
			c := r.first
			r.first, c.next = c.next, nil
			r.mu.Unlock()
			c.resume()
			r.mu.Lock()
		}
		r.working--
		if !r.restLocked() {
			return
		}
	}
}

// restLocked lets a worker wait for work; it reports false if the worker is to end.
func (r *readers) restLocked() bool {
	if r.idle >= r.most {
		return false
	}
	r.idle++
	for r.called == 0 {
		if r.closed {
			return false
		}
		r.work.Wait()
	}
	r.called--
	return true
}

// without lets a worker's handler wait while another worker takes its place.
func (r *readers) without(wait func()) {
	r.mu.Lock()
	r.working--
	r.callLocked()
	r.mu.Unlock()
	wait()
	r.mu.Lock()
	r.working++
	r.mu.Unlock()
}

// close ends the workers. There must be no connections any more.
func (r *readers) close() {
	r.mu.Lock()
	r.closed = true
	r.work.Broadcast()
	r.mu.Unlock()
	r.workers.Wait()
}

// wake says that there is something to read, that the read deadline has passed, or that somebody has ended the connection.
func (c *conn) wake() {
	if c.told.Add(1) == 1 {
		c.hub.readers.push(c)
	}
}

// polled says whether the connection is read by the hub's readers: not while its TLS handshake, which waits, may go on. Only
// its reader may ask.
func (c *conn) polled() bool { return c.nt != nil && (c.dev != nil || !c.isSecure) }

// aside lets the reader wait. If it is one of the hub's, another takes its place.
func (c *conn) aside(wait func()) {
	if c.polled() {
		c.hub.readers.without(wait)
	} else {
		wait()
	}
}

// resume goes on reading, as a worker. A connection that has nothing to read is nobody's then.
func (c *conn) resume() {
	for range turn {
		c.told.Store(1) // what was told before is read now
		if c.rd == nil {
			c.rd = codecs.Take(c, maxPacket)
		}
		err := c.read()
		switch {
		case err == errTurn:
			c.hub.readers.push(c)
			return
		case err != syscall.EAGAIN:
			c.finish(err)
			return
		}
		if c.rd.Buffered() == 0 {
			c.giveCodec()
		}
		if c.told.CompareAndSwap(1, 0) {
			return
		}
	}
	c.hub.readers.push(c)
}

// codecs are shared by all connections of the process.
var codecs mqtt.ReaderPool

// giveCodec takes the codec back, in which nothing is left.
func (c *conn) giveCodec() {
	codecs.Give(c.rd)
	c.rd = nil
}

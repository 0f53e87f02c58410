package hub

import (
	"errors"
	"runtime"
	"sync"

	"muster/internal/memnet"
)

// poller is a network connection that tells when there is something to read, as those in memory do.
type poller interface {
	TryRead(p []byte) (int, error)     // returns 0 and no error where Read would wait
	Await(told memnet.Waker) (ok bool) // tells once when Read would not wait any more; false: it would not now
}

// What read returns when a connection has not ended, to whoever reads a poller.
var (
	errIdle = errors.New("there is nothing to read")
	errTurn = errors.New("others want to be read too")
)

// turn is how many packets of one connection are read before others have their turn.
const turn = 64

// readers read the connections that are pollers, from their CONNECT on, so that an idle one holds neither a goroutine nor a
// buffer. Who makes one readable puts it into the queue; as many workers as there are processors take them out. A worker
// whose handler has to wait lets another take its place (without).
//
// A connection is in one of three places: in the queue, in a worker's hands, or with its poller, which has it to tell. So
// only one goroutine at a time is its reader.
type readers struct {
	most    int            // workers that work
	workers sync.WaitGroup // each ends when there are enough idle ones, and with close

	mu          sync.Mutex // guards the fields below; taken under any lock, and takes none
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

// Wake puts the connection into the queue: its poller tells that there is something to read.
func (c *conn) Wake() { c.hub.readers.push(c) }

// polled says whether the connection is read by the hub's readers.
func (c *conn) polled() bool { return c.poll != nil && c.dev != nil }

// resume goes on reading, as a worker.
func (c *conn) resume() { c.leave(c.read()) }

// leave is what a reader does that can read no more: it gives the connection back, or ends it. Once it is given back somebody
// else may be its reader.
func (c *conn) leave(err error) {
	for {
		switch {
		case err == errTurn:
			c.Wake()
			return
		case err != errIdle:
			c.finish(err)
			return
		case c.poll.Await(c):
			return
		}
		err = c.read()
	}
}

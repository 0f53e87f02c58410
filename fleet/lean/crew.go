package lean

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tick counts the wheel's ticks, from 1. Whatever is older than its wrap, after
// 34 years, is not there any more.
type tick uint32

const (
	tickLength      = 250 * time.Millisecond
	revolution tick = 8 // ticks of one turn of the wheel
)

// pingsAtOnce is how many connections one worker pings: a large fleet needs no
// more workers for it than are busy at a time.
const pingsAtOnce = 64

// The timeouts in ticks.
const (
	connectTicks = tick(connectTimeout / tickLength)
	pingTicks    = tick(pingTimeout / tickLength)
	writeTicks   = tick(writeTimeout / tickLength)
)

func ticks(d time.Duration) tick { return tick(d / tickLength) }

// crew is what all connections of a driver share while there are some: the wheel
// and the workers. close stops both and joins the wheel; see Package lean of
// workers.
type crew struct {
	driver   *Driver
	now      atomic.Uint32
	stop     chan struct{} // closed by close
	wheel    sync.WaitGroup
	workers  workers
	requests sync.Pool // of the crew, as a channel belongs to one testing/synctest bubble

	mu    sync.Mutex // guards the fields below; never held across a visit
	slots [revolution][]*conn
	next  tick // spreads connections over the slots
}

func newCrew(d *Driver) *crew {
	c := &crew{driver: d, stop: make(chan struct{})}
	c.now.Store(1)
	c.wheel.Go(c.turn)
	return c
}

// time returns the present tick.
func (c *crew) time() tick { return tick(c.now.Load()) }

// close ends the crew: its wheel, and its workers as they are idle.
func (c *crew) close() {
	c.workers.close()
	close(c.stop)
	c.wheel.Wait()
}

// turn turns the wheel until close.
func (c *crew) turn() {
	ticker := time.NewTicker(tickLength)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-c.stop:
			return
		}
		now := tick(c.now.Add(1))
		c.visit(now)
		if now%revolution == 0 {
			c.workers.dismissSpare()
		}
	}
}

// watch lets the wheel look after a connection until that is over, or wants
// nothing. It may be called under the connection's lock.
func (c *crew) watch(conn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	c.putLocked(conn, c.time()+1+c.next%conn.every)
}

func (c *crew) putLocked(conn *conn, at tick) {
	slot := &c.slots[at%revolution]
	*slot = append(*slot, conn)
}

// visit looks at each connection whose turn it is.
func (c *crew) visit(now tick) {
	slot := &c.slots[now%revolution]
	c.mu.Lock()
	conns := *slot
	*slot = nil
	c.mu.Unlock()
	again := conns[:0]
	var quiet []*conn
	for _, conn := range conns {
		goesOn, pings := conn.look(now)
		if goesOn {
			again = append(again, conn)
		}
		if pings {
			quiet = append(quiet, conn)
		}
	}
	for some := range slices.Chunk(quiet, pingsAtOnce) {
		c.workers.dispatch(pinging(some))
	}
	clear(conns[len(again):])
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := again[:0]
	for _, conn := range again {
		if conn.every == revolution {
			kept = append(kept, conn)
		} else {
			c.putLocked(conn, now+conn.every)
		}
	}
	clear(again[len(kept):])
	*slot = append(kept, *slot...)
}

// takeRequest returns a request that nobody uses.
func (c *crew) takeRequest() *request {
	if r, ok := c.requests.Get().(*request); ok {
		return r
	}
	return &request{answer: make(chan error, 1)} // one answer
}

// giveRequest takes a request back that nobody can answer any more.
func (c *crew) giveRequest(r *request) {
	r.filters = nil
	c.requests.Put(r)
}

package lean_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"muster/fleet"
	"muster/fleet/fleettest"
	"muster/fleet/lean"
	"muster/internal/mqtt"
)

// crowd is connections of one driver, and the peer of each.
type crowd struct {
	driver *lean.Driver
	conns  []fleet.Conn
	peers  []*fleettest.Peer
}

// openCrowd opens n connections in a bubble whose messages handle gets.
func openCrowd(t *testing.T, n int, handle func(payload []byte)) *crowd {
	t.Helper()
	c := &crowd{new(lean.Driver), make([]fleet.Conn, n), make([]*fleettest.Peer, n)}
	network := fleettest.NewNetwork(t)
	for i := range n {
		var dialing sync.WaitGroup
		dialing.Go(func() {
			s := fleet.Session{ClientID: fmt.Sprintf("dev-%d", i), OnMessage: func(_ string, payload []byte) { handle(payload) }}
			var err error
			if c.conns[i], err = c.driver.Dial(t.Context(), network.Dial, s); err != nil {
				t.Errorf("Dial: %v", err)
			}
		})
		c.peers[i] = network.Accept()
		c.peers[i].Greet(0)
		dialing.Wait()
	}
	t.Cleanup(c.close)
	return c
}

func (c *crowd) close() {
	var closing sync.WaitGroup
	for _, conn := range c.conns {
		closing.Go(func() { _ = conn.Close() })
	}
	closing.Wait()
}

// send has the peers send n messages, numbered from 0, the same number each, in
// one go.
func (c *crowd) send(n int) {
	of := n / len(c.peers)
	for i, peer := range c.peers {
		var b []byte
		for k := range of {
			b = append(b, packet(mqtt.Publish{Topic: []byte("t"), Payload: binary.BigEndian.AppendUint32(nil, uint32(i*of+k))})...)
		}
		peer.Send(b)
	}
}

// TestHandlersThatBlockHoldNobodyUp has 10,000 handlers block, and wants one more
// message to each connection to be handled beside them; and that twice, as workers
// are idle by then.
func TestHandlersThatBlockHoldNobodyUp(t *testing.T) {
	check := func(conns int) {
		t.Helper()
		const messages = 10_000
		synctest.Test(t, func(t *testing.T) {
			var seen [messages]atomic.Int32 // by number
			var blocked atomic.Int32
			proceed := make(chan struct{})
			c := openCrowd(t, conns, func(payload []byte) {
				seen[binary.BigEndian.Uint32(payload)].Add(1)
				blocked.Add(1)
				<-proceed
			})
			for range 2 {
				c.send(messages)
				synctest.Wait()
				c.send(conns)
				synctest.Wait()
				if n := blocked.Swap(0); n != messages+int32(conns) {
					t.Errorf("%d connections: %d of %d messages are in handlers, want all", conns, n, messages+conns)
				}
				close(proceed)
				synctest.Wait()
				proceed = make(chan struct{})
			}
			wrong := 0
			for i := range seen {
				if n := seen[i].Load(); i < conns && n != 4 || i >= conns && n != 2 {
					wrong++
				}
			}
			if wrong != 0 {
				t.Errorf("%d connections: %d of %d messages were not handled once each time they were sent", conns, wrong, messages)
			}
		})
	}
	check(1)
	check(1_000)
}

// TestCloseLeavesHandlersThatBlock closes connections whose handlers block until
// after that, with messages behind them.
func TestCloseLeavesHandlersThatBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const conns, messages = 100, 1_000
		closed := make(chan struct{})
		var began, ended atomic.Int32
		c := openCrowd(t, conns, func([]byte) {
			began.Add(1)
			<-closed
			ended.Add(1)
		})
		c.send(messages)
		synctest.Wait()
		begun := time.Now()
		c.close()
		if took := time.Since(begun); took > time.Second || began.Load() != messages || ended.Load() != 0 {
			t.Errorf("Close took %v, with %d of %d handlers begun and %d ended; want less than 1s, all and none", took, began.Load(), messages, ended.Load())
		}
		close(closed)
		synctest.Wait()
		if left := ofLean(); left != "" || ended.Load() != messages {
			t.Errorf("%d of %d handlers ended after Close, and goroutines are left:\n%s", ended.Load(), messages, left)
		}
	})
}

// onOneProcessor lets goroutines run one at a time, so that no more than one worker
// is busy at a time but for handlers that block.
func onOneProcessor(t *testing.T) {
	before := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// TestFewWorkersHandleManyMessages wants no worker for each message of a burst where
// no handler blocks; the runtime may interrupt one in a handler now and then.
func TestFewWorkersHandleManyMessages(t *testing.T) {
	onOneProcessor(t)
	synctest.Test(t, func(t *testing.T) {
		var handled, most atomic.Int32
		c := openCrowd(t, 100, func([]byte) {
			handled.Add(1)
			most.Store(max(most.Load(), int32(runtime.NumGoroutine())))
		})
		synctest.Wait()
		before := int32(runtime.NumGoroutine())
		c.send(10_000)
		synctest.Wait()
		if n := most.Load() - before; handled.Load() != 10_000 || n > 100 {
			t.Errorf("%d of 10,000 messages were handled by up to %d workers, want all by at most 100", handled.Load(), n)
		}
	})
}

// TestWorkersLetOthersRun wants a goroutine to run soon that a handler wakes while
// many messages wait.
func TestWorkersLetOthersRun(t *testing.T) {
	onOneProcessor(t)
	synctest.Test(t, func(t *testing.T) {
		const messages = 100_000
		var handled, then atomic.Int32
		first := make(chan struct{})
		c := openCrowd(t, 100, func([]byte) {
			if handled.Add(1) == 1 {
				close(first)
			}
		})
		var other sync.WaitGroup
		other.Go(func() {
			<-first
			then.Store(handled.Load())
		})
		synctest.Wait()
		c.send(messages)
		other.Wait()
		synctest.Wait()
		if n := then.Load(); n > 1_000 || handled.Load() != messages {
			t.Errorf("a goroutine ran %d messages after it was woken, with %d of %d handled in the end; want at most 1,000, and all", n, handled.Load(), messages)
		}
	})
}

// TestHand has f called at once where there are no connections, and else by a
// worker, also while a handler blocks.
func TestHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		called := 0
		new(lean.Driver).Hand(func() { called++ })
		if called != 1 {
			t.Errorf("without connections Hand has called f %d times when it returns, want once", called)
		}
		release := make(chan struct{})
		c := openCrowd(t, 1, func([]byte) { <-release })
		c.send(1)
		synctest.Wait()
		held := make(chan struct{})
		c.driver.Hand(func() { close(held); <-release })
		<-held // or the test is stuck: it was called, and Hand has not waited for it
		close(release)
	})
}

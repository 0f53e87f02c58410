package lean_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
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

// opened is a connection to a peer that the test plays.
type opened struct {
	conn fleet.Conn
	peer *fleettest.Peer
	lost chan error // takes the one loss
}

// open opens a connection in a bubble. The session's OnLost is its own.
func open(t *testing.T, s fleet.Session) *opened {
	t.Helper()
	o := &opened{lost: make(chan error, 1)}
	s.ClientID = "dev"
	s.OnLost = func(err error) { o.lost <- err }
	network := fleettest.NewNetwork(t)
	var dialing sync.WaitGroup
	dialing.Go(func() {
		var err error
		if o.conn, err = new(lean.Driver).Dial(t.Context(), network.Dial, s); err != nil {
			t.Errorf("Dial: %v", err)
		}
	})
	o.peer = network.Accept()
	o.peer.Greet(0)
	dialing.Wait()
	t.Cleanup(func() { _ = o.conn.Close() })
	return o
}

func packet(p mqtt.Publish) []byte {
	b, err := mqtt.AppendPublish(nil, p)
	if err != nil {
		panic(err)
	}
	return b
}

// TestWhatAServerMustNotSend wants each to end the connection with an error
// that says what it was.
func TestWhatAServerMustNotSend(t *testing.T) {
	check := func(name string, sent []byte, want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := open(t, fleet.Session{})
				for i := range sent { // byte by byte
					if _, err := o.peer.Write(sent[i : i+1]); err != nil {
						break // the client has seen enough
					}
					synctest.Wait()
				}
				synctest.Wait()
				select {
				case err := <-o.lost:
					if !strings.Contains(err.Error(), want) {
						t.Errorf("after %x the connection is lost for %q, want %q", sent, err, want)
					}
				default:
					t.Errorf("after %x the connection is not lost", sent)
				}
				if err := o.conn.Publish(t.Context(), "t", nil, 0); err == nil {
					t.Error("Publish afterwards returned no error")
				}
			})
		})
	}
	check("reserved type", []byte{0xf0, 0}, "packet type is reserved")
	check("reserved flags", []byte{0xd1, 0}, "reserved flags")
	check("endless length", []byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x01}, "remaining length has more than four bytes")
	check("too large", []byte{0x30, 0xff, 0xff, 0xff, 0x7f}, "a packet of more than 1048576 bytes")
	check("another CONNACK", mqtt.AppendConnack(nil, false, 0), "sends a CONNACK, which it must not")
	check("a client's packet", mqtt.AppendPingreq(nil), "sends a PINGREQ, which it must not")
	check("QoS 2", packet(mqtt.Publish{Topic: []byte("t"), QoS: 2, ID: 1}), "QoS 2")
	check("QoS 3", []byte{0x36, 5, 0, 1, 't', 0, 1}, "QoS is 3")
	check("wildcard", []byte{0x30, 3, 0, 1, '#'}, "wildcard")
	check("no text", []byte{0x30, 3, 0, 1, 0xff}, "UTF-8")
	check("topic beyond the packet", []byte{0x30, 3, 0xff, 0xff, 't'}, "shorter than its fields")
	check("PUBACK 0", []byte{0x40, 2, 0, 0}, "packet identifier is 0")
	check("SUBACK without codes", []byte{0x90, 2, 0, 1}, "no return code")
}

func TestSubackOfTheWrongLengthIsALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, fleet.Session{})
		var subscribing sync.WaitGroup
		subscribing.Go(func() {
			if err := o.conn.Subscribe(t.Context(), "a", "b"); err == nil {
				t.Error("Subscribe returned no error")
			}
		})
		o.peer.Want(mqtt.TypeSubscribe)
		o.peer.Send(mqtt.AppendSuback(nil, 1, 0))
		subscribing.Wait()
		if err := <-o.lost; !strings.Contains(err.Error(), "1 return codes, want 2") {
			t.Errorf("lost for %q", err)
		}
	})
}

// TestAServerThatNeverReadsIsLost wants the wheel to find it also where it has not
// looked at the connection for long, as that wanted nothing.
func TestAServerThatNeverReadsIsLost(t *testing.T) {
	t.Run("at once", func(t *testing.T) { neverReads(t, 0) })
	t.Run("later", func(t *testing.T) { neverReads(t, time.Minute) })
}

func neverReads(t *testing.T, idle time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, fleet.Session{})
		time.Sleep(idle)
		begun := time.Now()
		var err error
		for err == nil {
			err = o.conn.Publish(t.Context(), "t", make([]byte, 1000), 0)
		}
		if took := time.Since(begun); took < 10*time.Second || took > 13*time.Second {
			t.Errorf("Publish gave up after %v, want 10 to 13 s", took)
		}
		if lost := <-o.lost; !strings.Contains(lost.Error(), "does not read") {
			t.Errorf("Publish returned %q, and the connection was lost for %q", err, lost)
		}
	})
}

func TestPublishThatIsStuckEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, fleet.Session{})
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		var sending sync.WaitGroup
		begun := time.Now()
		for range 3 { // one that is stuck, and two that wait for their turn
			sending.Go(func() {
				if err := o.conn.Publish(ctx, "t", make([]byte, 200_000), 0); !errors.Is(err, cause) {
					t.Errorf("Publish returned %v, want %v", err, cause)
				}
			})
		}
		sending.Wait()
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("Publish returned after %v, want 1 s and two more for the wheel", took)
		}
	})
}

func TestHalfAConnackEndsTheDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := fleettest.NewNetwork(t)
		var dialing sync.WaitGroup
		begun := time.Now()
		dialing.Go(func() {
			_, err := new(lean.Driver).Dial(t.Context(), network.Dial, fleet.Session{ClientID: "dev"})
			if took := time.Since(begun); err == nil || !strings.Contains(err.Error(), "no CONNACK") || took > 33*time.Second {
				t.Errorf("Dial returned %v after %v, want no CONNACK within 33 s", err, took)
			}
		})
		peer := network.Accept()
		peer.Want(mqtt.TypeConnect)
		peer.Send([]byte{0x20, 2, 0})
		dialing.Wait()
	})
}

func TestAServerThatFloodsIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := make(chan struct{})
		o := open(t, fleet.Session{OnMessage: func(string, []byte) { <-blocked }})
		large := packet(mqtt.Publish{Topic: []byte("t"), Payload: make([]byte, 500_000)})
		sent := 0
		for ; sent < 1000; sent++ {
			if _, err := o.peer.Write(large); err != nil {
				break
			}
		}
		if err := <-o.lost; !strings.Contains(err.Error(), "faster than") {
			t.Errorf("lost for %q", err)
		}
		if sent > 200 {
			t.Errorf("the client took %d messages of half a MB", sent)
		}
		close(blocked)
	})
}

// TestIdleWorkersEnd wants no more goroutines some seconds after many handlers
// have run side by side than before.
func TestIdleWorkersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var handling sync.WaitGroup
		handling.Add(500)
		proceed := make(chan struct{})
		o := open(t, fleet.Session{OnMessage: func(string, []byte) {
			handling.Done()
			<-proceed
		}})
		synctest.Wait()
		before := runtime.NumGoroutine()
		o.peer.Send(bytes.Repeat(packet(mqtt.Publish{Topic: []byte("t")}), 500))
		handling.Wait()
		close(proceed)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if after := runtime.NumGoroutine(); after > before+1 {
			t.Errorf("%d goroutines after a burst of 500 messages, %d before", after, before)
		}
	})
}

// TestOneWheelKeepsManyConnectionsAlive has more connections on one driver than
// the wheel has slots, with keep-alives of several lengths.
func TestOneWheelKeepsManyConnectionsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const conns = 300
		var driver lean.Driver
		var lost atomic.Int32
		hub := fleettest.StartHub(t, nil)
		before := runtime.NumGoroutine()
		all := make([]fleet.Conn, conns)
		for i := range all {
			s := fleet.Session{ClientID: fmt.Sprintf("dev-%d", i), KeepAlive: time.Duration(1+i%40) * time.Second, OnLost: func(error) { lost.Add(1) }}
			var err error
			if all[i], err = driver.Dial(t.Context(), hub.Dial, s); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; lost.Load() != 0 || n > 2*conns+10 {
			t.Errorf("after ten minutes %d connections are lost, and %d goroutines run with the hub's %d", lost.Load(), n, conns)
		}
		for _, conn := range all {
			_ = conn.Close()
		}
		synctest.Wait()
		if left := ofLean(); left != "" {
			t.Errorf("goroutines are left after the last Close:\n%s", left)
		}
	})
}

// ofLean returns the stacks of the driver's goroutines. The runtime's count of all
// will not do where many have just ended: it has some of them still.
func ofLean() string {
	buf := make([]byte, 1<<20)
	var left []string
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "muster/fleet/lean.(") {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}

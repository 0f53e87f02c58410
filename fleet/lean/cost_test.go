//go:build !race

package lean_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/fleet"
	"muster/fleet/fleettest"
	"muster/fleet/lean"
	"muster/internal/mqtt"
)

// An idle device holds 5.5 KB in memory pipes, whose buffers are the hub's: the reader's goroutine, the codec's buffer of
// half a KB, the fleet's state. The race detector adds to all bounds.
const maxIdleBytes = 6500

func TestIdleDeviceIsSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		workersEnd := func() {
			time.Sleep(10 * time.Second)
			synctest.Wait()
		}
		bytes, goroutines := fleettest.IdleDevice(t, new(lean.Driver), 1000, workersEnd)
		if bytes > maxIdleBytes || goroutines > 1.005 {
			t.Errorf("an idle device holds %.0f bytes and %.3f goroutines, want at most %d and 1", bytes, goroutines, maxIdleBytes)
		}
	})
}

// exchange connects the driver to a peer that acknowledges what it reads. What
// the peer sends the driver's handler sends back at QoS qos.
func exchange(t *testing.T, qos byte) (call func()) {
	t.Helper()
	network := fleettest.NewNetwork(t)
	var conn fleet.Conn
	ready := make(chan struct{})
	answered := make(chan error, 1) // one call at a time
	s := fleet.Session{ClientID: "dev", OnMessage: func(topic string, payload []byte) {
		<-ready
		answered <- conn.Publish(context.Background(), topic, payload, qos)
	}}
	var running sync.WaitGroup
	running.Go(func() {
		defer close(ready)
		var err error
		if conn, err = new(lean.Driver).Dial(context.Background(), network.Dial, s); err != nil {
			t.Errorf("Dial: %v", err)
		}
	})
	peer := network.Accept()
	peer.Greet(0)
	running.Wait()
	t.Cleanup(running.Wait)
	t.Cleanup(func() { _ = conn.Close() })
	running.Go(func() { acknowledge(peer) })
	request := packet(mqtt.Publish{Topic: []byte("$iothub/methods/POST/lockDoor/?$rid=1"), Payload: []byte(`{"lockTime":"10m"}`), QoS: qos, ID: uint16(qos)})
	return func() {
		peer.Send(request)
		if err := <-answered; err != nil {
			t.Fatalf("Publish: %v", err)
		}
	}
}

// acknowledge answers each PUBLISH at QoS 1 until the connection ends.
func acknowledge(peer *fleettest.Peer) {
	in, ack := mqtt.NewReader(peer, 1<<20), []byte(nil)
	for {
		h, body, err := in.Next()
		if err != nil {
			return
		}
		if h.Type != mqtt.TypePublish { // it acknowledges itself
			continue
		}
		m, err := mqtt.ParsePublish(h, body)
		if err != nil || m.QoS == 0 {
			continue
		}
		ack = mqtt.AppendPuback(ack[:0], m.ID)
		if _, err := peer.Write(ack); err != nil {
			return
		}
	}
}

func TestMessagesDoNotAllocate(t *testing.T) {
	for qos := range byte(2) {
		call := exchange(t, qos)
		for range 100 { // workers and buffers are made
			call()
		}
		if allocs := testing.AllocsPerRun(2000, call); allocs != 0 {
			t.Errorf("to receive a message and publish one at QoS %d allocates %.2f times, want 0", qos, allocs)
		}
	}
}

// TestMethodCallDoesNotAllocate has the fleet's own share in it, of a device
// that answers at once.
func TestMethodCallDoesNotAllocate(t *testing.T) {
	call, stop := fleettest.MethodCalls(t, new(lean.Driver))
	defer stop()
	for range 100 {
		call()
	}
	if allocs := testing.AllocsPerRun(2000, call); allocs != 0 {
		t.Errorf("a method call allocates %.2f times, want 0", allocs)
	}
}

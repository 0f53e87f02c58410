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

// What an idle device holds of the heap at most, the fleet's state included, but not the pipe to the hub. A goroutine that waits
// for the network adds itself and the codec's buffer, and a stack, of which no more is asked than that it is a small one. The race
// detector adds to all bounds.
const (
	maxIdleBytes        = 800
	maxWaitingIdleBytes = 2000
	maxStackBytes       = 5000
)

// TestIdleDeviceIsSmall has as many devices as it takes for what ended goroutines
// leave, to be used again or not, to matter little.
func TestIdleDeviceIsSmall(t *testing.T) {
	const devices = 2500
	check := func(name string, driver fleet.Driver, maxHeap, goroutines float64) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			workersEnd := func() {
				time.Sleep(10 * time.Second)
				synctest.Wait()
			}
			idle := fleettest.IdleDevice(t, driver, devices, workersEnd)
			if idle.Heap > maxHeap || idle.Stacks > maxStackBytes || idle.Goroutines > goroutines+0.005 {
				t.Errorf("%s: an idle device holds %.0f bytes of heap, %.0f of stacks and %.3f goroutines, want at most %.0f, %d and %.0f",
					name, idle.Heap, idle.Stacks, idle.Goroutines, maxHeap, maxStackBytes, goroutines)
			}
		})
	}
	check("network", plainDriver{new(lean.Driver)}, maxWaitingIdleBytes, 1)
	check("memory", new(lean.Driver), maxIdleBytes, 0)
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

package harness_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"muster/fleet"
	"muster/harness"
	"muster/internal/sample"
)

// A message to a device waits until those of other devices were told that came
// before: so a wake waits for that too.
func TestAWakeWaitsForTheDevicesSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	device, err := harness.DialTCP(l.Addr().String())(fleet.AskTelling(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var held time.Duration
	device.(fleet.Telling).TellRead(sync.OnceFunc(func() {
		begun := time.Now()
		<-time.After(stall)
		held = time.Since(begun)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	clock := sample.NewClock()
	var wakes, waited int // all, and those that came late by half of the stall or more
	err = harness.Canaries()["run"](ctx, clock, func(w sample.Wake) {
		if wakes++; wakes == 1 {
			_, _ = server.Write([]byte("x")) // what it does not reach nobody waits for
		}
		if w.Delay >= stall/2 {
			waited++
		}
		if wakes == int(2*stall/time.Millisecond) {
			cancel()
		}
	})
	if err != nil {
		t.Fatalf("canary() = %v, want nil at the context's end", err)
	}
	if want := int(held/time.Millisecond)/2 - 1; held == 0 || waited < want {
		t.Errorf("of %d wakes around the %v for which the devices' sockets were held up, %d waited for half of it or longer, want %d", wakes, held, waited, want)
	}
}

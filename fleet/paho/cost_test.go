//go:build !race

package paho_test

import (
	"testing"

	"muster/fleet/fleettest"
	"muster/fleet/paho"
)

// The bounds hold for paho v1.5.1 with some room. The race detector adds to
// both, so they are not held to under it.
const (
	maxIdleBytes  = 45_000
	maxCallAllocs = 45
)

func TestIdleDeviceIsSmall(t *testing.T) {
	if idle := fleettest.IdleDevice(t, paho.Driver{}, 300, func() {}); idle.Heap+idle.Stacks > maxIdleBytes || idle.Goroutines > 9.5 {
		t.Errorf("an idle device holds %.0f bytes and %.1f goroutines, want at most %d and 9", idle.Heap+idle.Stacks, idle.Goroutines, maxIdleBytes)
	}
}

func TestMethodCallAllocatesLittle(t *testing.T) {
	call, stop := fleettest.MethodCalls(t, paho.Driver{})
	defer stop()
	if allocs := testing.AllocsPerRun(200, call); allocs > maxCallAllocs {
		t.Errorf("a method call allocates %.0f times, want at most %d", allocs, maxCallAllocs)
	}
}

package paho_test

import (
	"testing"

	"muster/fleet/fleettest"
	"muster/fleet/paho"
)

func BenchmarkIdleDevice(b *testing.B) {
	for b.Loop() {
		idle := fleettest.IdleDevice(b, paho.Driver{}, 1000, func() {})
		b.ReportMetric(idle.Heap, "heap-B/device")
		b.ReportMetric(idle.Stacks, "stack-B/device")
		b.ReportMetric(idle.Goroutines, "goroutines/device")
	}
}

func BenchmarkMethodCall(b *testing.B) {
	call, stop := fleettest.MethodCalls(b, paho.Driver{})
	defer stop()
	b.ReportAllocs()
	for b.Loop() {
		call()
	}
}

package lean_test

import (
	"testing"

	"muster/fleet/fleettest"
	"muster/fleet/lean"
)

func BenchmarkIdleDevice(b *testing.B) {
	for b.Loop() {
		bytes, goroutines := fleettest.IdleDevice(b, new(lean.Driver), 1000, func() {})
		b.ReportMetric(bytes, "B/device")
		b.ReportMetric(goroutines, "goroutines/device")
	}
}

func BenchmarkMethodCall(b *testing.B) {
	call, stop := fleettest.MethodCalls(b, new(lean.Driver))
	defer stop()
	b.ReportAllocs()
	for b.Loop() {
		call()
	}
}

package lean_test

import (
	"testing"

	"muster/fleet"
	"muster/fleet/fleettest"
	"muster/fleet/lean"
)

func BenchmarkIdleDevice(b *testing.B) {
	for name, driver := range map[string]fleet.Driver{"memory": new(lean.Driver), "network": plainDriver{new(lean.Driver)}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				idle := fleettest.IdleDevice(b, driver, 1000, func() {})
				b.ReportMetric(idle.Heap, "heap-B/device")
				b.ReportMetric(idle.Stacks, "stack-B/device")
				b.ReportMetric(idle.Goroutines, "goroutines/device")
			}
		})
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

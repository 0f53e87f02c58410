//go:build !race

package harness_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"muster/harness"
	"muster/report"
	"muster/scenarios"
)

// idleInMemory is what a run in memory holds while its devices are idle.
type idleInMemory struct{ heap, goroutines float64 }

// idleRun runs so many devices and measures when they have waited for their job
// for most of a minute.
func idleRun(t *testing.T, devices int) (idle idleInMemory) {
	t.Helper()
	watchIdle(t, devices, func() {}, func() {
		runtime.GC()
		runtime.GC() // the first only empties the caches
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		idle = idleInMemory{float64(m.HeapAlloc), float64(runtime.NumGoroutine())}
	})
	return idle
}

// watchIdle runs so many devices and calls connecting while they connect and
// idle when they have waited for their job for most of a minute, each once.
func watchIdle(t *testing.T, devices int, connecting, idle func()) {
	t.Helper()
	early, late := sync.OnceFunc(connecting), sync.OnceFunc(idle)
	synctest.Test(t, func(t *testing.T) {
		src := fmt.Sprintf(`
name: idle
target: {embedded: {transport: memory}}
fleet:
- {group: doors, devices: %d, driver: lean, id: "door-{index:05d}", tags: {site: north}, methods: {lock: }}
connect: {rate: 1000/s}
jobs:
- {name: lock, type: scheduleDeviceMethod, cloudToDeviceMethod: {methodName: lock}, queryCondition: "*", startTime: +60s}
thresholds: [jobs.lock.succeeded == 100%%]
`, devices)
		s, err := scenarios.Parse("idle.yaml", []byte(src), scenarios.Options{})
		if err != nil {
			t.Fatal(err)
		}
		measured := false
		observe := func(p harness.Progress) {
			switch {
			case p.Stage == harness.Connecting:
				early()
			case p.Stage == harness.Running && p.Elapsed.Seconds() >= float64(devices)/1000+50:
				late()
				measured = true
			}
		}
		got, _, err := run(t.Context(), t, s, harness.Options{Observe: observe})
		if err != nil || got.Verdict != report.Pass || !measured {
			t.Errorf("%d devices: verdict %s, error %v, measured %t", devices, got.Verdict, err, measured)
		}
	})
}

// TestIdleDeviceInMemoryIsSmall wants little of the heap for a device more, with
// all that fleet, hub, scheduler and recorder have of it, and no goroutine: a
// million of them are to fit into one process.
func TestIdleDeviceInMemoryIsSmall(t *testing.T) {
	const few, many = 1000, 4000
	a, b := idleRun(t, few), idleRun(t, many)
	heap, goroutines := (b.heap-a.heap)/(many-few), (b.goroutines-a.goroutines)/(many-few)
	if heap > 3000 || goroutines > 0.01 {
		t.Errorf("a device that is idle in memory holds %.0f bytes of heap and %.3f goroutines, want at most 3000 and none", heap, goroutines)
	}
}

// TestWhatConnectingLeavesIsGivenBack makes garbage while devices connect, as
// TLS does, and wants the system to have that memory before the first job.
func TestWhatConnectingLeavesIsGivenBack(t *testing.T) {
	const piece, pieces, most = 1 << 20, 256, 64 << 20
	var kept uint64
	watchIdle(t, 1000, func() {
		var held [pieces][]byte
		for i := range held {
			held[i] = make([]byte, piece)
		}
		runtime.KeepAlive(&held)
	}, func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		kept = m.HeapAlloc + m.HeapIdle - m.HeapReleased
	})
	if kept > most {
		t.Errorf("when the fleet waits the process keeps %d MiB for objects and free ones, want at most %d of the %d that connecting took",
			kept>>20, most>>20, pieces*piece>>20)
	}
}

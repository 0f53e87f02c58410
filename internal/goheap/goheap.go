// Package goheap reads how a Go process stands against its GOMEMLIMIT.
package goheap

import (
	"math"
	"runtime/metrics"
	"time"
)

// State is how the process stands. Need, GC and CPU are as of the last
// collection: where memory is short there are many.
type State struct {
	Limit int64         `json:"limit"` // GOMEMLIMIT in bytes; 0 = none
	Need  int64         `json:"need"`  // bytes that no collection gives back: live objects, stacks, the runtime's own
	GC    time.Duration `json:"gc"`    // processor time of the collector since the process began, what was idle aside
	CPU   time.Duration `json:"cpu"`   // processor time that there was for the process in that time
}

// The metrics, in the order of a reading.
const (
	limit = iota
	live
	objects
	free
	unused
	released
	total
	gcTotal
	gcIdle
	cpuTotal
	metricCount
)

var names = [metricCount]string{
	limit: "/gc/gomemlimit:bytes",
	live:  "/gc/heap/live:bytes", objects: "/memory/classes/heap/objects:bytes",
	free: "/memory/classes/heap/free:bytes", unused: "/memory/classes/heap/unused:bytes", released: "/memory/classes/heap/released:bytes",
	total:   "/memory/classes/total:bytes",
	gcTotal: "/cpu/classes/gc/total:cpu-seconds", gcIdle: "/cpu/classes/gc/mark/idle:cpu-seconds", cpuTotal: "/cpu/classes/total:cpu-seconds",
}

// Read reads the state of this process, in microseconds and without stopping it.
func Read() State {
	var s [metricCount]metrics.Sample
	for i := range s {
		s[i].Name = names[i]
	}
	metrics.Read(s[:])
	bytes := func(i int) int64 { return int64(min(s[i].Value.Uint64(), math.MaxInt64)) }
	seconds := func(i int) time.Duration { return time.Duration(s[i].Value.Float64() * float64(time.Second)) }
	state := State{
		Limit: bytes(limit),
		Need:  bytes(live) + bytes(total) - bytes(released) - bytes(objects) - bytes(free) - bytes(unused),
		GC:    seconds(gcTotal) - seconds(gcIdle),
		CPU:   seconds(cpuTotal),
	}
	if state.Limit == math.MaxInt64 {
		state.Limit = 0
	}
	return state
}

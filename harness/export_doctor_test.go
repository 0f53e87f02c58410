package harness

import (
	"errors"
	"io/fs"
	"math"
	"time"

	"muster/scenarios"
)

// HostState is what a host tells that is no file.
type HostState struct{ state hostState }

// WellHost is a host that lacks nothing for ten thousand devices.
func WellHost() HostState {
	return HostState{hostState{
		limits: Limits{Descriptors: 20_000, Ports: 28_232}, hardDescriptors: 20_000, memoryBytes: 4 << 30,
		goMemoryLimit: math.MaxInt64, cpus: 2, clockCost: 30, wake: 100 * time.Microsecond,
	}}
}

func (h *HostState) SetLimits(descriptors, ports int) {
	h.state.limits = Limits{Descriptors: descriptors, Ports: ports}
}
func (h *HostState) SetMemory(n int64)      { h.state.memoryBytes = n }
func (h *HostState) SetMemoryLimit(n int64) { h.state.goMemoryLimit = n }
func (h *HostState) SetCPUs(n int)          { h.state.cpus = n }
func (h *HostState) SetClock(step time.Duration, unset bool) {
	h.state.clockStep, h.state.clockUnset = step, unset
}

func (h *HostState) SetWake(p99 time.Duration, fault string) {
	h.state.wake = p99
	if fault != "" {
		h.state.wakeFault = errors.New(fault)
	}
}

// Examine is Doctor on such a host with such files.
func Examine(s *scenarios.Scenario, host HostState, files fs.FS) (*Examination, error) {
	host.state.readFiles(files)
	return examine(s, host.state)
}

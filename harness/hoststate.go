package harness

import (
	"context"
	"io/fs"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"muster/internal/sample"
	"muster/scenarios"
)

// hostState is what Doctor judges. Zero and "" are not known, but for load,
// where that is negative.
type hostState struct {
	limits          Limits
	hardDescriptors int
	mostDescriptors int // that a limit can be raised to
	memoryBytes     int64
	goMemoryLimit   int64 // math.MaxInt64 = none
	group           cgroup

	cpus     int
	load     float64
	governor string // the first that is not "performance"

	clockSource string
	clockCost   time.Duration // of a reading
	clockStep   time.Duration // while messages were sent
	clockUnset  bool          // nothing sets it

	wake      time.Duration // p99
	wakeFault error
}

// probeFor is how long messages are sent.
const probeFor = 300 * time.Millisecond

// readState reads the state of this host.
func readState(ctx context.Context, s *scenarios.Scenario) (hostState, error) {
	host := ThisHost()
	h := hostState{
		limits: host.Limits, memoryBytes: host.MemoryBytes, goMemoryLimit: debug.SetMemoryLimit(-1),
		cpus: runtime.GOMAXPROCS(0), clockCost: clockCost(), clockUnset: clockUnset(),
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		h.hardDescriptors = int(min(files.Max, math.MaxInt32))
	}
	h.readFiles(os.DirFS("/"))
	h.probe(ctx, s)
	return h, ctx.Err()
}

// readFiles reads what the system tells in files below root.
func (h *hostState) readFiles(root fs.FS) {
	h.mostDescriptors, _ = strconv.Atoi(textOf(root, "proc/sys/fs/nr_open"))
	h.clockSource = textOf(root, "sys/devices/system/clocksource/clocksource0/current_clocksource")
	h.load = -1
	if fields := strings.Fields(textOf(root, "proc/loadavg")); len(fields) > 0 {
		if load, err := strconv.ParseFloat(fields[0], 64); err == nil {
			h.load = load
		}
	}
	governors, _ := fs.Glob(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor") // the pattern is right
	for _, file := range governors {
		if h.governor = textOf(root, file); h.governor != "performance" {
			break
		}
	}
	h.group = readCgroup(root)
}

// textOf returns a file's text without blanks around it, "" if it cannot be read.
func textOf(root fs.FS, name string) string {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// clockCost returns what a reading of the clock takes.
func clockCost() time.Duration {
	const readings = 1000
	start := time.Now()
	for range readings - 1 {
		_ = time.Now()
	}
	return time.Since(start) / readings
}

// probe sends this process messages for a while, over what a run's devices connect
// over, and watches the wall clock.
func (h *hostState) probe(ctx context.Context, s *scenarios.Scenario) {
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	wakes := wakeSource(loopbackWakes)
	if inMemory(s) {
		wakes = pipeWakes
	}
	clock := sample.NewClock()
	var delays []time.Duration
	h.wakeFault = wakes(ctx, clock, func(w sample.Wake) { delays = append(delays, w.Delay) })
	h.clockStep = clock.Step()
	if len(delays) > 0 {
		slices.Sort(delays)
		h.wake = delays[len(delays)*99/100]
	}
}

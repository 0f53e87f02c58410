package harness

import (
	"context"
	"fmt"
	"math"
	"time"

	"muster/scenarios"
)

// Status is what a check of the host came to.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Warning Status = "warning" // the run can go, and its numbers may suffer
	Problem Status = "problem" // the run cannot go
)

// Finding is one check of the host.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	Fix    string `json:"fix,omitempty"` // of a warning or problem: what to type, or what to do
}

// Examination is what Doctor found.
type Examination struct {
	Scenario string    `json:"scenario"`
	Devices  int       `json:"devices"`
	Needs    Needs     `json:"needs"`
	CanRun   bool      `json:"canRun"` // there is no problem
	Findings []Finding `json:"findings"`
	Bounds   []Bound   `json:"bounds"` // of the fleet on this host, the one that comes first before all others
}

// Doctor checks this host against what a run of s needs, as NewPlan tells it.
// It opens a connection of this process to itself and takes about half a second.
func Doctor(ctx context.Context, s *scenarios.Scenario) (*Examination, error) {
	state, err := readState(ctx, s)
	if err != nil {
		return nil, err
	}
	return examine(s, state)
}

// examine judges a host's state.
func examine(s *scenarios.Scenario, state hostState) (*Examination, error) {
	host := Host{Limits: state.limits, MemoryBytes: state.memoryBytes, GoBytes: goLimit(state.goMemoryLimit)}
	host.group(state.group)
	p, err := NewPlan(s, host)
	if err != nil {
		return nil, err
	}
	d := &doctor{hostState: state, scenario: s, needs: p.Needs, Examination: &Examination{
		Scenario: s.Name, Devices: p.Devices, Needs: p.Needs, CanRun: true, Bounds: p.Bounds,
	}}
	for _, fault := range p.Impossible {
		d.found("scenario", Problem, fault, "change the scenario; muster plan tells more")
	}
	if !inMemory(s) {
		d.openFiles()
		d.ports()
	}
	d.memory()
	d.memoryLimit()
	d.cgroup()
	d.processors()
	d.clock()
	d.loopback()
	return d.Examination, nil
}

// doctor makes an examination.
type doctor struct {
	hostState
	*Examination
	scenario *scenarios.Scenario
	needs    Needs
}

func (d *doctor) found(check string, status Status, found, fix string) {
	if status == OK {
		fix = ""
	}
	d.CanRun = d.CanRun && status != Problem
	d.Findings = append(d.Findings, Finding{Check: check, Status: status, Found: found, Fix: fix})
}

// unknown notes what this system does not tell: nothing is known against it.
func (d *doctor) unknown(check string) { d.found(check, OK, "not known on this system", "") }

// enough is OK if there is as much as is needed.
func enough(need, have int) Status {
	if need > have {
		return Problem
	}
	return OK
}

func (d *doctor) openFiles() {
	need := d.needs.Descriptors
	if d.limits.Descriptors == 0 {
		d.unknown("open files")
		return
	}
	found := fmt.Sprintf("%d needed, %d allowed (hard limit %d)", need, d.limits.Descriptors, d.hardDescriptors)
	if n := d.needs.Generators; n > 1 {
		found = fmt.Sprintf("%d needed in each of %d generators, %d allowed (hard limit %d)", need, n, d.limits.Descriptors, d.hardDescriptors)
	}
	fix := raiseDescriptors(need)
	if d.mostDescriptors > 0 && need > d.mostDescriptors {
		fix = fmt.Sprintf("sudo sysctl -w fs.nr_open=%d && %s", need, fix)
	}
	d.found("open files", enough(need, d.limits.Descriptors), found, fix)
}

func (d *doctor) ports() {
	if d.limits.Ports == 0 {
		d.unknown("local ports")
		return
	}
	from := sourcesOf(d.scenario, d.limits.Ports)
	if err := from.check(); err != nil {
		d.found("source addresses", Problem, err.Error(), "use addresses of this host")
		return
	}
	have := from.ports(d.limits.Ports)
	found := fmt.Sprintf("%d needed, %d for one source address", d.needs.Ports, d.limits.Ports)
	if n := len(from.addrs); n > 0 {
		found += fmt.Sprintf(", and %d of them: %d", n, have)
	}
	d.found("local ports", enough(d.needs.Ports, have), found, d.morePorts())
}

// morePorts says what gives the fleet the ports that it needs.
func (d *doctor) morePorts() string {
	fix := "sudo " + widenPorts
	if d.Devices <= mostPorts {
		return fix
	}
	fix += fmt.Sprintf(", which gives %d, and connect from several addresses of this host (connect.sourceAddresses), or use no more devices than that (--devices %d)", mostPorts, mostPorts)
	if !isRemote(d.scenario) {
		fix += ", or do without ports (--set target.embedded.transport=memory)"
	}
	return fix
}

// nearly is how much of a memory the run may take without a warning.
const nearly = 0.8

// fits compares a need with what there is, which is not known if it is 0.
func fits(need, have int64) Status {
	switch {
	case have > 0 && need > have:
		return Problem
	case have > 0 && float64(need) > nearly*float64(have):
		return Warning
	}
	return OK
}

// fitting returns how many devices fit into so many bytes without a warning.
func (d *doctor) fitting(bytes int64) int {
	return max(1, devicesWithin(int64(nearly*float64(bytes)), func(n int) int64 {
		generator, hub := needsMemory(d.scenario, n, false)
		return generator + hub
	}))
}

func (d *doctor) memory() {
	need := d.needs.GeneratorBytes + d.needs.HubBytes
	if d.memoryBytes == 0 {
		d.unknown("memory")
		return
	}
	found := fmt.Sprintf("about %d MiB needed, %d MiB available", need>>20, d.memoryBytes>>20)
	d.found("memory", fits(need, d.memoryBytes), found, fmt.Sprintf("use fewer devices (--devices %d), or free memory", d.fitting(d.memoryBytes)))
}

// memoryLimit looks at GOMEMLIMIT, which generator and hub each keep to: below
// what they need the collector never rests.
func (d *doctor) memoryLimit() {
	need := max(d.needs.GeneratorBytes, d.needs.HubBytes)
	switch {
	case d.goMemoryLimit == math.MaxInt64:
		d.found("GOMEMLIMIT", OK, "not set", "")
	case float64(need) > nearly*float64(d.goMemoryLimit):
		found := fmt.Sprintf("%d MiB for each process, which needs about %d MiB: the collector would run all the time", d.goMemoryLimit>>20, need>>20)
		d.found("GOMEMLIMIT", Warning, found, fmt.Sprintf("export GOMEMLIMIT=%dMiB, or unset GOMEMLIMIT", need>>20*2+64))
	default:
		d.found("GOMEMLIMIT", OK, fmt.Sprintf("%d MiB", d.goMemoryLimit>>20), "")
	}
}

func (d *doctor) cgroup() {
	g := d.group
	need := d.needs.GeneratorBytes + d.needs.HubBytes
	if g.memoryLeft > 0 {
		found := fmt.Sprintf("about %d MiB needed, %d MiB left of the limit", need>>20, g.memoryLeft>>20)
		d.found("cgroup memory", fits(need, g.memoryLeft), found,
			fmt.Sprintf("raise memory.max, as in systemd-run -p MemoryMax=%dM or docker run --memory %dm, or use fewer devices (--devices %d)", need>>20*2, need>>20*2, d.fitting(g.memoryLeft)))
	} else {
		d.found("cgroup memory", OK, "no limit", "")
	}
	switch {
	case g.cpus == 0:
		d.found("cgroup CPU", OK, "no limit", "")
	case g.cpus < 2:
		d.found("cgroup CPU", Warning, fmt.Sprintf("%.3g of %d CPUs: a process that has used them up stands still until the next period", g.cpus, d.cpus),
			"give it two at least, as in systemd-run -p CPUQuota=200% or docker run --cpus 2")
	default:
		d.found("cgroup CPU", OK, fmt.Sprintf("%.3g CPUs", g.cpus), "")
	}
	if g.threadsLeft > 0 && g.threadsLeft < leastThreads {
		d.found("cgroup threads", Problem, fmt.Sprintf("%d left of the limit", g.threadsLeft), raiseThreads)
	}
}

func (d *doctor) processors() {
	switch {
	case d.cpus < 2:
		d.found("CPUs", Warning, fmt.Sprintf("%d: generator and hub take it from each other", d.cpus), "use a host with two CPUs at least")
	default:
		d.found("CPUs", OK, fmt.Sprint(d.cpus), "")
	}
	if d.load >= 0 {
		status := OK
		if d.load > float64(d.cpus)/2 {
			status = Warning
		}
		d.found("load", status, fmt.Sprintf("%.2f processes want a CPU, over the last minute", d.load), "see what runs (top -o %CPU) and end it, or wait")
	}
	switch d.governor {
	case "":
		d.unknown("CPU governor")
	case "performance":
		d.found("CPU governor", OK, d.governor, "")
	default:
		d.found("CPU governor", Warning, d.governor+": the clock rate rises only when there is load", "sudo cpupower frequency-set -g performance")
	}
}

// slowClocks are read by leaving the process, which takes microseconds.
var slowClocks = map[string]bool{"hpet": true, "acpi_pm": true, "jiffies": true, "refined-jiffies": true}

// mostStep is how far the wall clock may move in the time of an examination.
const mostStep = time.Millisecond

func (d *doctor) clock() {
	switch {
	case d.clockSource == "":
		d.unknown("clock source")
	case slowClocks[d.clockSource]:
		d.found("clock source", Warning, fmt.Sprintf("%s, %v a reading", d.clockSource, d.clockCost),
			"echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource")
	default:
		d.found("clock source", OK, fmt.Sprintf("%s, %v a reading", d.clockSource, d.clockCost), "")
	}
	moved := fmt.Sprintf("moved %v against the monotonic clock in %v", d.clockStep.Round(time.Microsecond), probeFor)
	switch {
	case d.clockStep.Abs() > mostStep:
		d.found("wall clock", Warning, moved+": phases on the hub's clock would carry a warning", "wait until it is set (chronyc waitsync), or stop what steps it (timedatectl)")
	case d.clockUnset && isRemote(d.scenario):
		d.found("wall clock", Warning, "not synchronised: phases of hub jobs carry its difference to the hub's", "sudo timedatectl set-ntp true")
	default:
		d.found("wall clock", OK, moved, "")
	}
}

// mostWake is the canary's limit where a threshold reads nothing shorter.
const mostWake = time.Millisecond

func (d *doctor) loopback() {
	what := "loopback"
	if inMemory(d.scenario) {
		what = "pipe"
	}
	switch {
	case d.wakeFault != nil:
		d.found(what, Problem, d.wakeFault.Error(), "sudo ip link set lo up")
	case d.wake > mostWake:
		d.found(what, Warning, fmt.Sprintf("a message to itself waits %v at p99, and a run with more than %v and 10 %% of its latencies is invalid", d.wake.Round(time.Microsecond), mostWake),
			"see what runs (top -o %CPU) and end it, or wait")
	default:
		d.found(what, OK, fmt.Sprintf("a message to itself waits %v at p99", d.wake.Round(time.Microsecond)), "")
	}
}

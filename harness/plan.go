package harness

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"muster/fleet"
	"muster/internal/quota"
	"muster/iothub"
	"muster/scenarios"
)

// Plan is what a run of a scenario takes and needs, as far as it can be told beforehand: by the rates of the scenario and
// the quotas of its tier. What devices, the hub and this host take themselves comes on top.
type Plan struct {
	Scenario string
	Devices  int
	Tier     quota.Tier // "" = none
	Units    int

	Steps []Step
	Total time.Duration // from the first connect to the last row; jobs at a time of day are not in it
	Needs Needs

	Bounds     []Bound  // of the fleet on this host, the one that comes first before all others
	Impossible []string // what of the scenario cannot be, each with what to change
	Lacking    []string // what the scenario needs and this host does not have
}

// Step is a part of a run.
type Step struct {
	Name    string
	Takes   time.Duration // 0 = nothing limits it
	Because string
}

// Needs are what a run asks of the host.
type Needs struct {
	Descriptors    int   `json:"descriptors"`    // open files of each generator, and of the hub if that is a process of its own
	Generators     int   `json:"generators"`     // processes that share the devices
	Ports          int   `json:"ports"`          // local ports of the generators
	Sources        int   `json:"sources"`        // addresses that these are spread over; 0 = what the system chooses
	GeneratorBytes int64 `json:"generatorBytes"` // resident
	HubBytes       int64 `json:"hubBytes"`       // resident, of a hub that is a process of its own
}

// Host is what a host gives to a run. Zero is not known, and not checked.
type Host struct {
	Limits
	MemoryBytes int64 // available
	GroupBytes  int64 // that the control group's limit leaves
	GoBytes     int64 // GOMEMLIMIT, to which each process keeps
	Threads     int64 // that the control group's limit leaves
}

// ThisHost returns what the host of this process gives.
func ThisHost() Host {
	h := Host{Limits: HostLimits()}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		h.MemoryBytes = kibibytes(string(text), "MemAvailable:")
	}
	h.group(readCgroup(os.DirFS("/")))
	h.GoBytes = goLimit(debug.SetMemoryLimit(-1))
	return h
}

// group takes over what the control groups leave.
func (h *Host) group(g cgroup) { h.GroupBytes, h.Threads = g.memoryLeft, g.threadsLeft }

// goLimit returns a limit of the Go runtime, 0 if it is none.
func goLimit(limit int64) int64 {
	if limit == math.MaxInt64 {
		return 0
	}
	return limit
}

// NewPlan tells what a run of s takes and needs, and what of it cannot be. It opens nothing.
func NewPlan(s *scenarios.Scenario, host Host) (*Plan, error) {
	if err := Check(s); err != nil {
		return nil, err
	}
	f, err := fleet.New(fleet.Config{Seed: s.Seed, Groups: groupsOf(s), HostName: "plan"})
	if err != nil {
		return nil, err
	}
	targets := make([]target, len(s.Jobs))
	for i := range s.Jobs {
		targets[i] = targetOf(f, s, &s.Jobs[i])
	}
	return plan(s, targets, host)
}

// plan is NewPlan for jobs whose targets are known.
func plan(s *scenarios.Scenario, targets []target, host Host) (*Plan, error) {
	tier, units := quotaOf(s)
	p := &planner{s: s, Plan: &Plan{Scenario: s.Name, Devices: s.Devices(), Tier: tier, Units: units}}
	if tier != "" {
		var err error
		if p.limits, err = quota.For(tier, units); err != nil {
			return nil, fmt.Errorf("plan %s: %w", s.Name, err)
		}
	}
	p.register()
	p.connect()
	p.jobs(targets)
	p.faults()
	p.needs(host)
	return p.Plan, nil
}

// planner makes a plan. Without a tier, limits are zero.
type planner struct {
	*Plan
	s      *scenarios.Scenario
	limits quota.Limits
}

func (p *planner) step(name string, takes time.Duration, format string, args ...any) {
	p.Steps = append(p.Steps, Step{name, takes, fmt.Sprintf(format, args...)})
}

func (p *planner) refuse(format string, args ...any) {
	p.Impossible = append(p.Impossible, fmt.Sprintf(format, args...))
}

// pace is a number of operations under a limit, which may be none.
type pace struct {
	n     int
	what  string
	limit quota.Limit
	whose string
}

func (c pace) takes() time.Duration {
	if c.limit.Count == 0 {
		return 0
	}
	return c.limit.Takes(c.n)
}

func (c pace) String() string {
	if c.limit.Count == 0 {
		return fmt.Sprintf("%d %s, as fast as they go", c.n, c.what)
	}
	return fmt.Sprintf("%d %s at %v (%s)", c.n, c.what, c.limit, c.whose)
}

// slowest returns the pace that takes the longest, the first one of several.
func slowest(paces ...pace) pace {
	worst := paces[0]
	for _, c := range paces[1:] {
		if c.takes() > worst.takes() {
			worst = c
		}
	}
	return worst
}

func perSecond(rate float64) quota.Limit { return quota.Limit{Count: rate, Per: time.Second} }

// register plans the identities. A run seeds the embedded hub outside of its meters, so they are no part of its time; an
// IoT hub has them before it, and a run asks it for them.
func (p *planner) register() {
	if p.Tier == "" {
		return
	}
	c := pace{p.Devices, "identities", p.limits.Registry, "tier"}
	if isRemote(p.s) {
		p.step("provision", c.takes(), "%v; once, by muster fleet provision", c)
		p.askFor("check", p.Devices, "for the fleet's twins")
	} else {
		p.step("register", c.takes(), "%v; a run seeds the embedded hub at once", c)
	}
	if p.Devices > p.limits.Devices {
		p.refuse("fleet: %d devices are more than a hub of tier %s holds, which is %d", p.Devices, p.Tier, p.limits.Devices)
	}
}

// askFor plans queries of an IoT hub for so many devices ahead of the jobs.
func (p *planner) askFor(step string, devices int, what string) {
	n := max(1, (devices+iothub.MaxPage-1)/iothub.MaxPage)
	c := pace{n, "pages", p.limits.Queries, "tier"}
	takes := p.limits.Queries.TakesAtLeast(n)
	p.step(step, takes, "%v, %s", c, what)
	p.Total += takes
}

// connect plans the ramp. Each device reads its twin when it has connected.
func (p *planner) connect() {
	ramp := pace{p.Devices, "connects", perSecond(p.s.Connect.Rate), "connect.rate"}
	c := slowest(ramp, pace{p.Devices, "connects", p.limits.Connects, "tier"}, pace{p.Devices, "twin reads", p.limits.TwinReads, "tier"})
	p.step("connect", c.takes(), "%v", c)
	p.Total += c.takes()
	if p.Tier == "" {
		return
	}
	least := max(p.limits.Connects.TakesAtLeast(p.Devices), p.limits.TwinReads.TakesAtLeast(p.Devices))
	if last := ramp.takes() + p.s.Connect.Timeout; least > last {
		p.refuse("connect: %v take %v, but the last device gives up after %v (connect.rate, connect.timeout): "+
			"set connect.rate to %v", c, round(c.takes()), round(last), c.limit)
	}
}

// faults lists the faults. They take no time of the run: it does not wait for them.
func (p *planner) faults() {
	for i := range p.s.Faults {
		f := &p.s.Faults[i]
		p.step("fault at "+f.At(), f.For, "%v", f.String())
	}
}

// needs compares what the run needs with what the host gives. The hub is a
// process of its own where it can be.
func (p *planner) needs(host Host) {
	p.Needs.GeneratorBytes, p.Needs.HubBytes = needsMemory(p.s, p.Devices, false)
	if !inMemory(p.s) {
		p.Needs.Generators, p.Needs.Descriptors, p.Needs.Ports = 1, p.Devices+spareFor(p.s), p.Devices
		if n := layoutOf(p.s, false).count(host.Limits, p.s); isRemote(p.s) && n > 1 { // else the hub's limit comes first
			p.Needs.Generators, p.Needs.Descriptors = n, (p.Devices+n-1)/n+spareDescriptors
		}
		p.Needs.Sources = len(sourcesOf(p.s, host.Ports).addrs)
	}
	p.Bounds = Bounds(p.s, host, false)
	if err := Preflight(p.s, host, false); err != nil {
		p.Lacking = append(p.Lacking, strings.Split(err.Error(), "\n")...)
	}
	if all := p.Needs.GeneratorBytes + p.Needs.HubBytes; host.MemoryBytes > 0 && all > host.MemoryBytes {
		p.Lacking = append(p.Lacking, fmt.Sprintf("check memory: %d devices take about %d MiB, and this host has %d MiB available; use fewer devices",
			p.Devices, all>>20, host.MemoryBytes>>20))
	}
}

// round makes a duration readable.
func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

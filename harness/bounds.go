package harness

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"muster/internal/quota"
	"muster/scenarios"
)

// Bound is a limit of this host, or of the scenario, as a fleet meets it.
type Bound struct {
	Limit   string `json:"limit"`   // such as "open files of the hub"
	Devices int    `json:"devices"` // the largest fleet that it allows
	Because string `json:"because"` // the limit in its own unit
	Then    string `json:"then"`    // what happens to a larger fleet
	Fix     string `json:"fix"`     // what allows a larger fleet

	refusal string // why this fleet is not begun; "" if it is, or the limit does not refuse
}

// String says all of it in one line.
func (b Bound) String() string {
	return fmt.Sprintf("%s, at most %d devices, by %s; a larger fleet is %s; for more: %s", b.Limit, b.Devices, b.Because, b.Then, b.Fix)
}

// The bounds by memory.
const (
	boundByHost  = "memory"
	boundByGroup = "memory of the control group"
	boundByGo    = "GOMEMLIMIT"
)

// What happens to a fleet that is larger than a bound.
const (
	thenRefused = "refused before it begins"
	thenDivided = "divided among child generators"
	thenEnded   = "ended when it is nearly used up, with the results so far"
)

// Bounds returns what bounds the fleet of s on a host, the one that comes first
// before all others. inside says that an embedded hub shares the generator's
// process.
func Bounds(s *scenarios.Scenario, host Host, inside bool) []Bound {
	return boundsOf(s, host, layoutOf(s, inside))
}

func boundsOf(s *scenarios.Scenario, host Host, of layout) []Bound {
	b := &bounder{s: s, host: host, layout: of, devices: s.Devices()}
	if !inMemory(s) {
		b.files()
		b.ports()
	}
	b.memory()
	b.tier()
	b.add(scenarios.MaxDevices, Bound{Limit: "what a scenario may hold", Because: "the largest fleet that a scenario can have", Then: thenRefused, Fix: "several runs"})
	slices.SortStableFunc(b.all, func(x, y Bound) int {
		return cmp.Or(cmp.Compare(x.Devices, y.Devices), cmp.Compare(x.passable(), y.passable()))
	})
	return b.all
}

// passable is 1 for a bound that a larger fleet passes, else 0.
func (b Bound) passable() int {
	if b.Then == thenDivided {
		return 1
	}
	return 0
}

// First returns, of Bounds, the first that a fleet cannot pass, and what comes
// before it.
func First(bounds []Bound) []Bound {
	return bounds[:1+slices.IndexFunc(bounds, func(b Bound) bool { return b.passable() == 0 })]
}

// MostDevices returns how many devices a run of s can have at most, and what
// bounds them. inside is as for Bounds.
func MostDevices(s *scenarios.Scenario, host Host, inside bool) (devices int, why string) {
	first := First(Bounds(s, host, inside))
	last := first[len(first)-1]
	return last.Devices, last.Because
}

// bounder collects bounds.
type bounder struct {
	s       *scenarios.Scenario
	host    Host
	layout  // generators is 0 where as many share the devices as it takes
	devices int
	all     []Bound
}

func (b *bounder) add(devices int, bound Bound) {
	bound.Devices = max(0, devices)
	b.all = append(b.all, bound)
}

// wanted is the fleet that a fix is for: this one, or one beyond the bound.
func (b *bounder) wanted(most int) int { return max(b.devices, 2*most) }

// withoutSockets ends the list of what helps, where the hub can do without.
func (b *bounder) withoutSockets(what string) string {
	if isRemote(b.s) {
		return ""
	}
	return fmt.Sprintf(", or run without %s (--set target.embedded.transport=memory)", what)
}

// files adds the bounds by descriptors. A hub in a process of its own has the
// limit that the generator has, since it inherits it, and has the connections of
// all devices, however many generators share them.
func (b *bounder) files() {
	if b.host.Descriptors == 0 {
		return
	}
	spare := spareFor(b.s)
	most := max(0, b.host.Descriptors-spare)
	switch {
	case b.inside:
		b.file(most/2, 2, spare, "hub and generator", "in this process") // both ends of every connection
		return
	case !isRemote(b.s):
		b.file(most, 1, spare, "hub", "in the embedded hub, which is one process however many generators there are")
	}
	each := max(0, b.host.Descriptors-spareDescriptors) // devices of a generator: direct calls are the run's own
	switch n := b.generators; {
	case n == 0:
		b.add(most, Bound{
			Limit: "open files of one generator", Because: fmt.Sprintf("the limit of %d open files in a process (ulimit -Hn)", b.host.Descriptors),
			Then: thenDivided, Fix: "nothing needs to be done",
		})
		if isRemote(b.s) { // else the hub's limit comes first
			b.own(most/generatorFiles*each, generatorFiles/float64(max(1, each)), spare)
		}
	case n == 1:
		b.file(most, 1, spare, "generator", "in this process")
	case n > 1:
		b.file(n*each, 1/float64(n), spareDescriptors, "generators", fmt.Sprintf("in each of %d generators", n))
		if need := spare + n*generatorFiles; need > b.host.Descriptors {
			b.own(0, 0, need)
		}
	}
}

// own adds the bound of the process that starts the generators, if it is one.
func (b *bounder) own(most int, each float64, spare int) {
	if most < scenarios.MaxDevices {
		b.file(most, each, spare, "run's own process", "in the run's own process, which has the generators' pipes and makes the direct calls")
	}
}

// file adds the bound of a process that has so many connections a device, and
// needs so many files beside them. The same words are said once.
func (b *bounder) file(most int, each float64, spare int, process, where string) {
	limit := b.host.Descriptors
	needFor := func(devices int) int { return int(math.Ceil(each*float64(devices))) + spare }
	refusal := ""
	if !slices.ContainsFunc(b.all, func(o Bound) bool { return o.refusal != "" && o.Devices <= most }) {
		refusal = fmt.Sprintf("%d devices over tcp need %d open files %s, and its limit is %d; "+
			"raise it (`%s` in this shell, or LimitNOFILE=%d in a systemd unit), use fewer devices (--devices %d)%s",
			b.devices, needFor(b.devices), where, limit, raiseDescriptors(needFor(b.devices)), needFor(b.devices), max(1, most), b.withoutSockets("descriptors"))
	}
	b.add(most, Bound{
		Limit: "open files of the " + process, Because: fmt.Sprintf("the limit of %d open files in a process (ulimit -Hn)", limit),
		Then: thenRefused, Fix: raiseDescriptors(needFor(b.wanted(most))) + b.withoutSockets("descriptors"), refusal: refusal,
	})
}

// ports adds the bound by local ports, unless as many addresses are taken as
// are needed.
func (b *bounder) ports() {
	from := sourcesOf(b.s, b.host.Ports)
	if b.host.Ports == 0 || from.chosen {
		return
	}
	most := from.ports(b.host.Ports)
	because := fmt.Sprintf("the host's %d local ports (net.ipv4.ip_local_port_range)", b.host.Ports)
	gives := fmt.Sprintf("this host gives %d", most)
	if n := len(from.addrs); n > 0 {
		because += fmt.Sprintf(" for each of %s", count(n, "source address"))
		gives += fmt.Sprintf(" with %s", count(n, "source address"))
	}
	fix := fmt.Sprintf("widen the range (`%s`), connect from more addresses of this host (connect.sourceAddresses)", widenPorts)
	b.add(most, Bound{
		Limit: "local ports", Because: because, Then: thenRefused, Fix: fix + b.withoutSockets("ports"),
		refusal: fmt.Sprintf("%d devices over tcp need as many local ports, and %s; %s, use fewer devices (--devices %d)%s",
			b.devices, gives, fix, most, b.withoutSockets("ports")),
	})
}

// memory adds the bounds by memory. They are estimates, and refuse nothing.
func (b *bounder) memory() {
	both := func(n int) int64 {
		generator, hub := needsMemory(b.s, n, b.inside)
		return generator + hub
	}
	larger := func(n int) int64 {
		generator, hub := needsMemory(b.s, n, b.inside)
		return max(generator, hub)
	}
	b.within(b.host.MemoryBytes, boundByHost, "the host's memory: about %d MiB are available", "free memory", both)
	b.within(b.host.GroupBytes, boundByGroup, "the control group's memory.max, which leaves %d MiB", "raise memory.max", both)
	b.within(b.host.GoBytes, boundByGo, "GOMEMLIMIT, which gives each process %d MiB", "raise GOMEMLIMIT", larger)
}

// within adds a bound by bytes, unless these are not known.
func (b *bounder) within(bytes int64, limit, because, fix string, need func(devices int) int64) {
	if bytes == 0 {
		return
	}
	most := devicesWithin(bytes, need)
	if slices.Contains(b.s.Drivers(), scenarios.Paho) {
		fix += ", or --driver lean, which takes less of it"
	}
	b.add(most, Bound{
		Limit: limit, Because: fmt.Sprintf(because, bytes>>20), Then: thenEnded,
		Fix: fmt.Sprintf("about %d MiB for %d devices: %s", need(b.wanted(most))>>20, b.wanted(most), fix),
	})
}

// tier adds the bound by the hub's quota.
func (b *bounder) tier() {
	tier, units := quotaOf(b.s)
	if tier == "" {
		return
	}
	limits, err := quota.For(tier, units)
	if err != nil {
		return // the plan says so
	}
	because := fmt.Sprintf("tier %s, which holds %d devices", tier, limits.Devices)
	b.add(limits.Devices, Bound{Limit: "the tier's identities", Because: because, Then: thenRefused, Fix: "another tier"})
}

package harness

import (
	"fmt"
	"slices"
	"time"

	"muster/fleet"
	"muster/internal/goheap"
)

// What this file decides, it decides of readings: what a run that has too
// little looks like, and what a healthy one does that is near a limit.

const (
	// starvedFor is how long a shortage may last: what passes sooner is no reason
	// to end a run, such as ports of connections that have just ended.
	starvedFor = 5 * time.Second
	// thrashFor is how long a collector may do little else than collect.
	thrashFor = 3 * time.Second
	// fewThreads are left of a limit when Go may be refused the next one, which
	// ends the process.
	fewThreads = 8
)

// memoryUse is a limit of memory and how much of it is used.
type memoryUse struct{ most, used int64 }

func (m memoryUse) left() int64 { return m.most - m.used }

// isShort reports whether so little is left that the kernel may kill before the
// next readings: least of it, and twice what was used more since the reading
// before. A burst counts up to the tenth part of the limit.
func (m memoryUse) isShort(before memoryUse, least int64) bool {
	grown := min(max(0, m.used-before.used), m.most/10, 256<<20)
	return m.most > 0 && m.left() < least+2*grown
}

// lately returns what was used as long ago as the next look is ahead. Where that
// comes sooner than this one came it is less than before that memory grew from.
func (m memoryUse) lately(before memoryUse, sooner bool) memoryUse {
	if sooner {
		before.used = m.used - (m.used-before.used)*int64(watchClosely)/int64(watchEvery)
	}
	return before
}

// groupReserve is what is kept back of a control group's limit, which the
// kernel enforces by killing: 5 %, at least 8 MiB and at most 256.
func groupReserve(most int64) int64 { return min(max(most/20, 8<<20), 256<<20) }

// hostReserve is what is kept back of a host's memory: 2 %, at least 16 MiB and
// at most 256. The kernel gives back what it has cached long before.
func hostReserve(most int64) int64 { return min(max(most/50, 16<<20), 256<<20) }

// thrashes reports whether a process cannot keep to its GOMEMLIMIT, by its
// states at both ends of thrashFor: what it needs is more than the limit, or
// nearly as much while the collector takes a third of all processors. That the
// memory in use is near the limit means nothing, since garbage fills it.
func thrashes(before, now goheap.State) bool {
	if now.Limit == 0 || before.Limit == 0 {
		return false
	}
	if before.Need >= before.Limit && now.Need >= now.Limit {
		return true
	}
	near := min(before.Need, now.Need) >= now.Limit/10*9
	return near && now.CPU > before.CPU && 3*(now.GC-before.GC) > now.CPU-before.CPU
}

// lasting follows something that is or is not so, from one reading to the next.
type lasting struct{ since time.Duration } // plus 1, so that 0 is never

// note takes a reading and returns for how long it has been so.
func (l *lasting) note(is bool, at time.Duration) time.Duration {
	switch {
	case !is:
		l.since = 0
		return 0
	case l.since == 0:
		l.since = at + 1
	}
	return at + 1 - l.since
}

// heaps are the states of a process in the last thrashFor, one a second.
type heaps struct{ states []goheap.State }

// note takes a state, one a second, and reports whether the process thrashes.
func (h *heaps) note(s goheap.State) bool {
	const keep = int(thrashFor/time.Second) + 1
	h.states = append(h.states, s)
	if len(h.states) < keep {
		return false
	}
	h.states = slices.Delete(h.states, 0, len(h.states)-keep)
	return thrashes(h.states[0], s)
}

// starved is the end of a run that ran out of something on this host.
type starved struct {
	of     string // what it ran out of
	found  string // which limit, and what it came to
	online string // how many devices were online
	fix    string
}

func (e *starved) Error() string {
	return fmt.Sprintf("starved of %s: %s; %s were online; %s", e.of, e.found, e.online, e.fix)
}

// lessOf advises a smaller fleet than was online.
func lessOf(online int64) string {
	if online == 0 {
		return "use fewer devices"
	}
	return fmt.Sprintf("use fewer devices (--devices %d)", max(1, online*4/5))
}

// shortOf is the end of a run whose fleet cannot open connections.
func (r *run) shortOf(devices int, err error) error {
	limits, of := HostLimits(), fleet.ShortageOf(err)
	e := &starved{of: string(of), online: r.online()}
	e.found = fmt.Sprintf("%s could not connect (%v)", count(devices, "device"), unwrapped(err))
	without := ", or run without sockets (--set target.embedded.transport=memory)"
	if r.remote != nil {
		without = ""
	}
	switch of {
	case fleet.NoFiles:
		need := r.scenario.Devices() + spareFor(r.scenario)
		if r.hub.Inside {
			need += r.scenario.Devices()
		}
		e.found += fmt.Sprintf(", and a process may open %d files", limits.Descriptors)
		e.fix = fmt.Sprintf("raise the limit (`%s` in this shell), %s%s", raiseDescriptors(max(need, 2*limits.Descriptors)), lessOf(r.onlineNow()), without)
	case fleet.NoPorts:
		e.found += fmt.Sprintf(", and this host gives %d for each of %s", limits.Ports, count(max(1, len(r.sources.addrs)), "source address"))
		e.fix = fmt.Sprintf("widen the range (`%s`), connect from more addresses of this host (connect.sourceAddresses), %s%s", widenPorts, lessOf(r.onlineNow()), without)
	default:
		e.fix = "raise net.ipv4.tcp_mem, " + lessOf(r.onlineNow()) + without
	}
	return e
}

// onlineNow returns how many devices are online.
func (r *run) onlineNow() int64 {
	if f := r.devices.Load(); f != nil {
		return (*f).Stats().Online
	}
	return 0
}

func (r *run) online() string {
	return fmt.Sprintf("%d of %s", r.onlineNow(), count(r.scenario.Devices(), "device"))
}

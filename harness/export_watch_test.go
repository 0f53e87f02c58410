package harness

import (
	"io/fs"
	"time"

	"muster/fleet"
	"muster/internal/goheap"
	"muster/scenarios"
)

// HostReading is what the watch reads.
type HostReading = hostReading

// ReadingOf makes a reading of a host, a control group and its threads, each
// with its limit and how much of it is used.
func ReadingOf(host, group, threads [2]int64, heap goheap.State) HostReading {
	return hostReading{
		memory: memoryUse{host[0], host[1]}, heap: heap,
		groups: []memoryUse{{group[0], group[1]}}, threads: []memoryUse{{threads[0], threads[1]}},
	}
}

// SetReadings replaces the readings of this host.
func SetReadings(o *Options, read func() HostReading) { o.read = read }

// IsShort judges how much is used of a limit, and was before.
func IsShort(most, used, before, least int64) bool {
	return memoryUse{most, used}.isShort(memoryUse{most, before}, least)
}

var (
	Thrashes     = thrashes
	GroupReserve = groupReserve
	HostReserve  = hostReserve
	Killed       = func(ended error, rss, killed int64) error { return hubDeath(ended, hubReading{rss: rss}, killed) }
	OOMKills     = oomKills

	GeneratorKilled = func(ended error, killed int64) error {
		return generatorDeath(&part{Part: fleet.Part{To: 20, Of: 2}}, ended, killed)
	}
)

// IsShortLately is IsShort of readings between which a control group's limit was
// looked at from far, or closely, as they ask for.
func IsShortLately(most, used, before int64) bool {
	group := func(used int64) HostReading {
		return ReadingOf([2]int64{}, [2]int64{most, used}, [2]int64{}, goheap.State{})
	}
	w := &watch{run: &run{scenario: &scenarios.Scenario{}}}
	return w.memory(group(before), group(used)) != nil
}

// NextLook returns when a host is looked at again.
func NextLook(r HostReading) time.Duration { return r.next() }

// Lasted returns what a shortage that is or is not so at each of these seconds
// lasted at the last.
func Lasted(is ...bool) (lasted time.Duration) {
	var l lasting
	for i, so := range is {
		lasted = l.note(so, time.Duration(i)*time.Second)
	}
	return lasted
}

// HubRefuses tells after each of a hub's accounts whether it ends the run, by
// how often it could not accept a connection until then.
func HubRefuses(unaccepted ...int64) (ends []bool) {
	var w watch
	for i, n := range unaccepted {
		w.account(hubReading{at: time.Duration(i+1) * time.Second, unaccepted: n})
		ends = append(ends, w.refused())
	}
	return ends
}

// ReadHostFiles takes a reading of the files below root.
func ReadHostFiles(root fs.FS) (host [2]int64, groups [][2]int64) {
	r := hostFiles{root, memoryGroups(root), threadGroups(root)}.read()
	for _, g := range r.groups {
		groups = append(groups, [2]int64{g.most, g.used})
	}
	return [2]int64{r.memory.most, r.memory.used}, groups
}

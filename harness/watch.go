package harness

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"muster/internal/goheap"
)

// Memory is looked at so often that a fleet which connects as fast as it can
// does not use up what is kept back in between.
const (
	watchEvery   = 250 * time.Millisecond
	watchClosely = 20 * time.Millisecond // where little is left

	// little is more than a fleet takes between two looks from far: one on paho
	// that connected as fast as two cores let it took 38 MiB in a tenth of a second.
	little = 512 << 20
)

// hostReading is what the watch reads of this host and process.
type hostReading struct {
	memory  memoryUse   // of the host; most is 0 if it is not known
	groups  []memoryUse // of control groups with a limit
	threads []memoryUse // the same of threads
	heap    goheap.State
}

// hostFiles are where the readings come from.
type hostFiles struct {
	root    fs.FS
	memory  []limitFiles
	threads []limitFiles
}

func newHostFiles() hostFiles {
	root := os.DirFS("/")
	return hostFiles{root, memoryGroups(root), threadGroups(root)}
}

// read takes a reading, some ten microseconds a file.
func (f hostFiles) read() hostReading {
	text := textOf(f.root, "proc/meminfo")
	r := hostReading{heap: goheap.Read()}
	if r.memory.most = kibibytes(text, "MemTotal:"); r.memory.most > 0 {
		r.memory.used = r.memory.most - kibibytes(text, "MemAvailable:")
	}
	for _, g := range f.memory {
		most, used := g.read(f.root)
		r.groups = append(r.groups, memoryUse{most, used})
	}
	for _, g := range f.threads {
		most, used := g.read(f.root)
		r.threads = append(r.threads, memoryUse{most, used})
	}
	return r
}

// hubReading is what the watch knows of a hub in a process of its own.
type hubReading struct {
	at         time.Duration // since the run began; 0 = it said nothing yet
	unaccepted int64
	rss        int64
	heap       goheap.State
}

// watch ends a run that runs out of something before the kernel, or the
// collector, does.
type watch struct {
	run    *run
	before hostReading
	short  lasting // devices that cannot open a connection
	own    heaps

	mu     sync.Mutex // guards the fields below, which the hub's account writes
	hub    hubReading
	refuse lasting // the hub cannot accept
	missed int     // accounts since it last could not
	hubs   heaps
	thrash bool
}

// account takes the hub's account of itself, once a second: those that come
// between say nothing that the next does not.
func (w *watch) account(now hubReading) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hub.at > 0 && now.at-w.hub.at < healthEvery/2 {
		return
	}
	// A hub tries again after a second at most, so that one account in between
	// may find nothing new.
	switch grown := now.unaccepted > w.hub.unaccepted && w.hub.at > 0; {
	case grown:
		w.missed = 0
	default:
		w.missed++
	}
	w.refuse.note(w.missed < 2 && now.unaccepted > 0, now.at)
	w.thrash = w.hubs.note(now.heap)
	w.hub = now
}

// hubNow returns the hub's last account.
func (w *watch) hubNow() hubReading {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hub
}

// watchHost looks after the run until ctx ends.
func (r *run) watchHost(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	r.watch.before = r.opts.read()
	second := r.clock.Now()
	for {
		timer.Reset(r.watch.before.next())
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		now := r.clock.Now()
		full := time.Duration(now-second) >= time.Second
		if full {
			second = now
		}
		if err := r.watch.look(r.opts.read(), full); err != nil {
			return err
		}
	}
}

// next returns how long the watch may look away.
func (r *hostReading) next() time.Duration {
	for _, m := range append(r.groups, r.memory) {
		if m.most > 0 && m.left() < little {
			return watchClosely
		}
	}
	return watchEvery
}

// look judges a reading, and once a second what takes longer to tell.
func (w *watch) look(now hostReading, second bool) error {
	before := w.before
	w.before = now
	if err := w.memory(before, now); err != nil || !second {
		return err
	}
	for _, t := range now.threads {
		if t.most > 0 && t.left() < fewThreads {
			return w.starved("threads", fmt.Sprintf("%d of the control group's limit of %d are left", max(0, t.left()), t.most), raiseThreads)
		}
	}
	if w.own.note(now.heap) {
		return w.thrashing("generator", now.heap)
	}
	if err := w.hubShort(); err != nil {
		return err
	}
	if f := w.run.devices.Load(); f != nil {
		devices, err := (*f).Short()
		if w.short.note(devices > 0, time.Duration(w.run.clock.Now())) >= starvedFor {
			return w.run.shortOf(devices, err)
		}
	}
	return nil
}

// memory judges what is left of memory.
func (w *watch) memory(before, now hostReading) error {
	sooner := now.next() < before.next() // the next look, than this one came
	for i, g := range now.groups {
		if i < len(before.groups) && g.isShort(g.lately(before.groups[i], sooner), groupReserve(g.most)) {
			found := fmt.Sprintf("%d MiB of the control group's limit of %d MiB are left, and the kernel kills who needs more (%s)", max(0, g.left())>>20, g.most>>20, w.resident())
			return w.starved("memory", found, "raise memory.max, "+w.lighter(boundByGroup))
		}
	}
	if now.memory.isShort(now.memory.lately(before.memory, sooner), hostReserve(now.memory.most)) {
		found := fmt.Sprintf("%d MiB of this host's %d MiB are available, and the kernel kills when there are none (%s)", max(0, now.memory.left())>>20, now.memory.most>>20, w.resident())
		return w.starved("memory", found, "free memory, "+w.lighter(boundByHost))
	}
	return nil
}

// hubShort judges what the hub says of itself.
func (w *watch) hubShort() error {
	w.mu.Lock()
	last, thrash := w.hub, w.thrash
	w.mu.Unlock()
	switch {
	case thrash:
		return w.thrashing("hub", last.heap)
	case w.refused():
		return w.starved("open files", fmt.Sprintf("the hub could not accept connections for %v, as it has no descriptor for them", starvedFor),
			fmt.Sprintf("raise the limit (`%s` in this shell), %s, or run without sockets (--set target.embedded.transport=memory)",
				raiseDescriptors(2*w.run.scenario.Devices()+spareFor(w.run.scenario)), lessOf(w.run.onlineNow())))
	}
	return nil
}

// refused reports whether the hub has had no descriptor for new connections for
// too long.
func (w *watch) refused() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refuse.since > 0 && w.hub.at+1-w.refuse.since >= starvedFor
}

// thrashing is the end of a run of which a process cannot keep to its limit.
func (w *watch) thrashing(process string, s goheap.State) error {
	return w.starved("memory", overLimit("the "+process, s), "raise GOMEMLIMIT, "+w.lighter(boundByGo))
}

// overLimit says that a process cannot keep to its GOMEMLIMIT.
func overLimit(process string, s goheap.State) string {
	return fmt.Sprintf("%s needs %d MiB and GOMEMLIMIT gives it %d MiB, so that its collector runs all the time", process, s.Need>>20, s.Limit>>20)
}

func (w *watch) starved(of, found, fix string) error {
	return &starved{of: of, found: found, online: w.run.online(), fix: fix}
}

// lighter advises what takes less memory: the fleet that the estimate allows,
// if that told of the end, else less than was online.
func (w *watch) lighter(limit string) string {
	fix := lessOf(w.run.onlineNow())
	for _, b := range w.run.bounds {
		if b.Limit == limit && b.Devices > 0 && b.Devices < w.run.scenario.Devices() {
			fix = fmt.Sprintf("use fewer devices (--devices %d)", b.Devices)
		}
	}
	if w.run.opts.Driver == nil && DriverName(w.run.scenario) != "lean" {
		fix += ", or a driver that takes less (--driver lean)"
	}
	return fix
}

// resident says what the run's processes have of memory.
func (w *watch) resident() string {
	rss, _ := residentBytes()
	text := fmt.Sprintf("the generator has %d MiB", rss>>20)
	if hub := w.hubNow().rss; hub > 0 {
		text += fmt.Sprintf(", the hub %d MiB", hub>>20)
	}
	return text
}

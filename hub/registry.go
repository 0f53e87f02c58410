package hub

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"

	"muster/iothub"
)

// shardCount spreads the devices over locks of their own; a power of two, enough that readers of a broadcast's
// answers rarely meet.
const shardCount = 256

// registry holds the devices by id and their modules by client id, and all of them in the order in which they were
// registered: the order that queries page by and jobs dispatch in, which no change of a twin disturbs.
type registry struct {
	seed   maphash.Seed
	shards [shardCount]shard
	most   int    // devices and modules that there may be; 0 = any number
	store  *Store // nil = nothing is kept
	index  index
	tally  tally

	mu    sync.RWMutex // guards the fields below
	order []*device    // by seq; deleted devices stay in until half of it is such
	gone  int          // deleted devices in order
	ever  removals
	seq   uint64 // of the newest device
}

type shard struct {
	mu      sync.RWMutex // guards devices
	devices map[string]*device
}

func newRegistry() *registry {
	r := &registry{seed: maphash.MakeSeed(), index: newIndex()}
	for i := range r.shards {
		r.shards[i].devices = make(map[string]*device)
	}
	return r
}

func (r *registry) shard(id string) *shard {
	return &r.shards[maphash.String(r.seed, id)%shardCount]
}

// find returns the device of that id or the module of that client id, or nil.
func (r *registry) find(id string) *device {
	s := r.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.devices[id]
}

// device returns the device of that id, or nil. A module is none, though its client id may come as an id.
func (r *registry) device(id string) *device {
	if d := r.find(id); d != nil && !d.isModule() {
		return d
	}
	return nil
}

// add registers a device or module and gives it its place in the order, unless the id is taken or there are as many as may
// be.
func (r *registry) add(d *device) *iothub.Error {
	s := r.shard(d.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.devices[d.id]; taken {
		return d.taken()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.most > 0 && len(r.order)-r.gone >= r.most {
		return errHubFull(r.most)
	}
	r.seq++
	d.seq = r.seq
	r.index.changed(d, nil, d.tags) // before it is in the order: an index that is made then finds it there
	r.order = append(r.order, d)
	r.tally.count(d, 1)
	s.devices[d.id] = d
	r.store.keepDevice(d) // before anybody can see it
	return nil
}

// tally is how many devices there are, modules not counted.
type tally struct {
	mu              sync.Mutex // guards both; taken under devices' locks, and takes no other
	total, disabled int
}

// count counts a device in, by 1, or out, by -1. Its caller has the device's lock, or nobody knows it yet.
func (t *tally) count(d *device, n int) {
	if d.isModule() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total += n
	if d.identity.disabled {
		t.disabled += n
	}
}

// switched counts a device whose status is about to be set; its caller has the device's lock.
func (t *tally) switched(d *device, disabled bool) {
	if d.isModule() || d.identity.disabled == disabled {
		return
	}
	n := -1
	if disabled {
		n = 1
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.disabled += n
}

func (t *tally) statistics() iothub.DeviceStatistics {
	t.mu.Lock()
	defer t.mu.Unlock()
	return iothub.DeviceStatistics{Total: t.total, Enabled: t.total - t.disabled, Disabled: t.disabled}
}

// remove takes a device out, which its caller has marked as gone; it reports false if it was out already.
func (r *registry) remove(d *device) bool {
	s := r.shard(d.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.devices[d.id] != d {
		return false
	}
	delete(s.devices, d.id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.isModule() {
		r.ever.modules = true
	} else {
		r.ever.devices = true
	}
	r.gone++
	if r.gone > len(r.order)/2 {
		// A new slice: others may be walking the old one.
		r.order = slices.DeleteFunc(slices.Clone(r.order), func(d *device) bool { return d.isGone() })
		r.gone = 0
	}
	return true
}

// removals say whether any device, and any module, was ever removed.
type removals struct{ devices, modules bool }

func (r *registry) everRemoved() removals {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.ever
}

// len returns how many devices and modules there are.
func (r *registry) len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.order) - r.gone
}

// after returns the devices that were registered after the one with this seq, in order. Deleted ones may be among them.
func (r *registry) after(seq uint64) []*device {
	r.mu.RLock()
	defer r.mu.RUnlock()
	i, found := slices.BinarySearchFunc(r.order, seq, compareSeq)
	if found {
		i++
	}
	return r.order[i:len(r.order):len(r.order)]
}

func compareSeq(d *device, seq uint64) int { return cmp.Compare(d.seq, seq) }

package hub

import (
	"hash/maphash"
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"muster/internal/query"
)

const (
	// indexFrom is from how many devices and modules on tags are indexed: below that, reading them all takes a few
	// milliseconds.
	indexFrom = 1 << 14

	// maxIndexes bounds the tags that are indexed. One more takes the place of the one that was not asked for the longest,
	// if that is indexIdle.
	maxIndexes = 8
	indexIdle  = time.Minute

	// noSlot is the slot of a device without the tag.
	noSlot = -1

	// slots bounds the postings of a tag, whatever values it has: those of one hash share a posting.
	slots = 1 << 16
)

// index finds devices and modules by the values of their tags. A tag is indexed when most twins have it (foresee), or from the
// first query on that says what it equals; until that is done, and for everything else, queries read all twins.
//
// What an index finds are candidates: the condition is asked about each of them, as the twin is then. Who changes a device's
// tags moves it in the index under the device's lock. So a device whose tag has the value all the time is found.
type index struct {
	from        int // indexFrom, but for tests
	foreseeFrom int // the same
	seed        maphash.Seed

	mu   sync.Mutex                    // guards the list; the lists are replaced and never changed
	list atomic.Pointer[[]*indexedTag] // nil until a query asks
}

// indexedTag is the index of one tag.
type indexedTag struct {
	path []string // within the tags
	seed maphash.Seed

	ready atomic.Bool  // all devices are in it
	asked atomic.Int64 // when the last query asked for it, Unix time in ns

	mu       sync.RWMutex // guards postings and what is in them; taken under devices' locks, and takes no other
	postings map[int32]*posting
}

func newIndex() index {
	return index{from: indexFrom, foreseeFrom: indexFrom, seed: maphash.MakeSeed()}
}

func (x *index) newTag(path []string) *indexedTag {
	return &indexedTag{path: slices.Clone(path), seed: x.seed, postings: make(map[int32]*posting)}
}

func (x *index) tags() []*indexedTag {
	if list := x.list.Load(); list != nil {
		return *list
	}
	return nil
}

// changed is told that a device's tags are others than before; its caller has the device's lock, or nobody knows the device
// yet. nil is none.
func (x *index) changed(d *device, before, after []byte) {
	for _, t := range x.tags() {
		t.move(d.seq, t.slot(before), t.slot(after))
	}
}

// slot returns where a device with these tags stands.
func (t *indexedTag) slot(tags []byte) int32 {
	v := query.Lookup(tags, t.path)
	if k := v.Kind(); k == query.KindUndefined || k == query.KindObject {
		return noSlot
	}
	return int32(v.Hash(t.seed) % slots)
}

func (t *indexedTag) move(seq uint64, from, to int32) {
	if from == to || seq > math.MaxUint32 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.postings[from]; p != nil {
		if p.remove(uint32(seq)); p.len() == 0 {
			delete(t.postings, from)
		}
	}
	if to != noSlot {
		t.addLocked(uint32(seq), to)
	}
}

func (t *indexedTag) addLocked(seq uint32, slot int32) {
	p := t.postings[slot]
	if p == nil {
		p = new(posting)
		t.postings[slot] = p
	}
	p.add(seq)
}

// enter takes in a device that was there before the index.
func (t *indexedTag) enter(d *device) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.gone.Load() {
		t.move(d.seq, noSlot, t.slot(d.tags))
	}
}

// want returns the index of a tag, and whether it is a new one that has to be filled; nil if there is no place for one more.
func (x *index) want(path []string, now time.Time) (t *indexedTag, fresh bool) {
	same := func(t *indexedTag) bool { return slices.Equal(t.path, path) }
	x.mu.Lock()
	defer x.mu.Unlock()
	list := slices.Clone(x.tags())
	if i := slices.IndexFunc(list, same); i >= 0 {
		list[i].asked.Store(now.UnixNano())
		return list[i], false
	}
	t = x.newTag(path)
	t.asked.Store(now.UnixNano())
	if len(list) < maxIndexes {
		list = append(list, t)
	} else {
		oldest := slices.MinFunc(list, func(a, b *indexedTag) int { return int(a.asked.Load() - b.asked.Load()) })
		if now.UnixNano()-oldest.asked.Load() < int64(indexIdle) {
			return nil, false
		}
		list[slices.Index(list, oldest)] = t
	}
	x.list.Store(&list)
	return t, true
}

// drop gives an index up that was not filled.
func (x *index) drop(t *indexedTag) {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(x.tags()), func(other *indexedTag) bool { return other == t })
	x.list.Store(&list)
}

// fill takes in the devices that are there. A later one enters by itself, as the index is in the list.
func (h *Hub) fill(t *indexedTag) {
	for _, d := range h.registry.after(0) {
		if h.ctx.Err() != nil {
			h.registry.index.drop(t)
			return
		}
		t.enter(d)
	}
	t.ready.Store(true)
}

// indexed returns where the devices stand that a condition could select, if an index can tell: by the tag with the fewest of
// them. Tags without an index get one.
func (h *Hub) indexed(where *query.Condition) (best places) {
	least := math.MaxInt
	for _, e := range where.Equalities() {
		if len(e.Path) < 2 || e.Path[0] != "tags" {
			continue
		}
		t, fresh := h.registry.index.want(e.Path[1:], time.Now())
		if fresh {
			h.spawn(func() { h.fill(t) })
		}
		if t == nil || !t.ready.Load() {
			continue
		}
		if p, n := t.of(e.Values); n < least {
			best, least = p, n
		}
	}
	return best
}

// of returns where the devices with one of the values stand, and how many they are.
func (t *indexedTag) of(values []query.Value) (places, int) {
	p := places{tag: t, slots: make([]int32, 0, len(values))}
	for _, v := range values {
		p.slots = append(p.slots, int32(v.Hash(t.seed)%slots))
	}
	slices.Sort(p.slots)
	p.slots = slices.Compact(p.slots)
	n := 0
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, slot := range p.slots {
		if list := t.postings[slot]; list != nil {
			n += list.len()
		}
	}
	return p, n
}

// places are those of some slots of an index, as they are when they are read.
type places struct {
	tag   *indexedTag // nil: there is none
	slots []int32     // each once
}

// batch is about how many places are read at once: the index's lock is not held longer.
const batch = 256

// appendAfter appends the next places after one, in order; none are left if it appends none.
func (p places) appendAfter(dst []uint32, seq uint32) []uint32 {
	most := max(batch/max(len(p.slots), 1), 16)
	end := uint32(math.MaxUint32) // up to where all slots were read
	p.tag.mu.RLock()
	defer p.tag.mu.RUnlock()
	for _, slot := range p.slots {
		list := p.tag.postings[slot]
		if list == nil {
			continue
		}
		before := len(dst)
		if dst = list.appendAfter(dst, seq, most); len(dst) == before+most {
			end = min(end, dst[len(dst)-1])
		}
	}
	slices.Sort(dst)
	return slices.DeleteFunc(dst, func(seq uint32) bool { return seq > end })
}

// devices walks those of the devices of an order that stand in the places, from the first one on.
func (p places) devices(order []*device) iter.Seq[*device] {
	return func(yield func(*device) bool) {
		if len(order) == 0 {
			return
		}
		var space [batch]uint32
		at := 0 // of the last device that was found
		seq := uint32(order[0].seq - 1)
		for next := p.appendAfter(space[:0], seq); len(next) > 0; next = p.appendAfter(next[:0], seq) {
			for _, seq = range next {
				var found bool
				if at, found = findSeq(order, at, uint64(seq)); at == len(order) || found && !yield(order[at]) {
					return
				}
			}
		}
	}
}

// findSeq returns where the device of a seq is in an order, not before at; or, if it is not there, where it would be. As few
// are deleted, it is nearly as far away as seq says, and never farther.
func findSeq(order []*device, at int, seq uint64) (int, bool) {
	from := order[at:]
	if seq < from[0].seq {
		return at, false
	}
	far := min(seq-from[0].seq, uint64(len(from)-1))
	if from[far].seq == seq {
		return at + int(far), true
	}
	i, found := slices.BinarySearchFunc(from[:far+1], seq, compareSeq)
	return at + i, found
}

package hub

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
)

// sample is how many devices are asked for their tags to tell which ones a fleet has.
const sample = 64

// foresee lets the hub index the tags that most devices have, as far as there is room, so that already the first query that
// says what one equals need not read all twins. It looks at the devices registered last when there are enough for indexes, and
// again each time that they have doubled, so that making indexes is a small part of registering.
func (h *Hub) foresee(d *device) {
	if d.seq < uint64(h.registry.index.foreseeFrom) || d.seq&(d.seq-1) != 0 {
		return
	}
	h.foreseeNow()
}

func (h *Hub) foreseeNow() {
	for _, name := range commonTags(h.registry.newest(sample)) {
		if t := h.registry.index.expect(name); t != nil {
			h.spawn(func() { h.fill(t) })
		}
	}
}

// commonTags returns the tags that at least half of some devices have with a value that an index can find: first those that
// the most have.
func commonTags(devices []*device) []string {
	have := make(map[string]int)
	for _, d := range devices {
		d.mu.Lock()
		tags := d.tags
		d.mu.Unlock()
		var members map[string]json.RawMessage
		_ = json.Unmarshal(tags, &members) // it is an object
		for name, value := range members {
			if value[0] != '{' && value[0] != '[' && value[0] != 'n' {
				have[name]++
			}
		}
	}
	maps.DeleteFunc(have, func(_ string, n int) bool { return 2*n < len(devices) })
	return slices.SortedFunc(maps.Keys(have), func(a, b string) int {
		return cmp.Or(cmp.Compare(have[b], have[a]), cmp.Compare(a, b))
	})
}

// newest returns the devices that were registered last, at most n.
func (r *registry) newest(n int) []*device {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.order[max(0, len(r.order)-n):])
}

// expect returns a new index of a tag, to be filled, as if no query had asked for it for long; nil if there is one, or no
// place for one more.
func (x *index) expect(name string) *indexedTag {
	x.mu.Lock()
	defer x.mu.Unlock()
	path := []string{name}
	list := slices.Clone(x.tags())
	if len(list) >= maxIndexes || slices.ContainsFunc(list, func(t *indexedTag) bool { return slices.Equal(t.path, path) }) {
		return nil
	}
	t := x.newTag(path)
	list = append(list, t)
	x.list.Store(&list)
	return t
}

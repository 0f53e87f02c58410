package hub

import (
	"cmp"
	"slices"

	"muster/internal/query"
)

// matches says whether a device exists and a condition selects it; nil selects all.
func (d *device) matches(where *query.Condition) bool {
	if d.gone.Load() {
		return false
	}
	if where == nil {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return where.Match((*twinRow)(d))
}

// candidates returns the devices registered after seq that a condition could select, in order of registration.
func (h *Hub) candidates(where *query.Condition, seq uint64) []*device {
	if where != nil {
		if ids, ok := where.DeviceIDs(); ok {
			return h.named(ids, seq)
		}
	}
	return h.registry.after(seq)
}

func (h *Hub) named(ids []string, seq uint64) []*device {
	var found []*device
	for _, id := range ids {
		if d := h.registry.find(id); d != nil && d.seq > seq {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b *device) int { return cmp.Compare(a.seq, b.seq) })
	return slices.Compact(found)
}

// match returns the devices that a condition selects, in order of registration.
func (h *Hub) match(where *query.Condition) []*device {
	var found []*device
	for _, d := range h.candidates(where, 0) {
		if d.matches(where) {
			found = append(found, d)
		}
	}
	return found
}

package hub

import (
	"cmp"
	"context"
	"iter"
	"math"
	"slices"

	"muster/internal/query"
)

// matcher tries devices, or modules, on a condition, outside of their locks.
type matcher struct {
	where   *query.Condition // nil selects all
	modules bool             // instead of devices
	reads   parts            // of each candidate, for the condition
	wants   parts            // of the row of a device that is selected
	row     snapshot         // of the last one that was tried
}

// newMatcher returns a matcher whose rows have what these paths read, beside what the condition reads.
func newMatcher(source query.Source, where *query.Condition, paths [][]string) matcher {
	m := matcher{where: where, modules: source == query.Modules, reads: partsOf(where.Paths())}
	m.wants = m.reads | partsOf(paths)
	return m
}

// whole lets the matcher's rows have everything.
func (m *matcher) whole() { m.wants = allParts }

// exists says whether a candidate is of the matcher's kind, and not deleted.
func (m *matcher) exists(d *device) bool { return d.isModule() == m.modules && !d.isGone() }

// matches says whether a device exists and the condition selects it.
func (m *matcher) matches(d *device) bool {
	if m.where == nil {
		return m.exists(d)
	}
	return m.selects(d)
}

// selects is matches, and the device is the matcher's row afterwards: as it was when it was selected. What the row needs and
// the condition does not is only taken then, and the condition asked again about it.
func (m *matcher) selects(d *device) bool {
	if !m.exists(d) {
		return false
	}
	d.snapshot(&m.row, m.reads)
	if !m.where.Match(&m.row) {
		return false
	}
	if m.wants == m.reads {
		return true
	}
	d.snapshot(&m.row, m.wants)
	return m.where.Match(&m.row)
}

// candidates yields what was registered after seq and a condition could select, in order of registration. What is not of
// the source is among them.
func (h *Hub) candidates(source query.Source, where *query.Condition, seq uint64) iter.Seq[*device] {
	if where == nil {
		return slices.Values(h.registry.after(seq))
	}
	if ids, ok := where.DeviceIDs(); ok {
		return slices.Values(h.named(ids, source == query.Modules, seq))
	}
	order := h.registry.after(seq)
	if n := h.registry.len(); n < h.registry.index.from || len(order) == 0 || order[len(order)-1].seq > math.MaxUint32 {
		return slices.Values(order)
	}
	if p := h.indexed(where); p.tag != nil {
		return p.devices(order)
	}
	return slices.Values(order)
}

// named returns the devices of these ids, or all their modules.
func (h *Hub) named(ids []string, modules bool, seq uint64) []*device {
	var found []*device
	for _, id := range ids {
		d := h.registry.device(id)
		switch {
		case d == nil:
		case modules:
			found = append(found, d.moduleList()...)
		default:
			found = append(found, d)
		}
	}
	found = slices.DeleteFunc(found, func(d *device) bool { return d.seq <= seq })
	slices.SortFunc(found, func(a, b *device) int { return cmp.Compare(a.seq, b.seq) })
	return slices.Compact(found)
}

// match returns the devices that a condition selects, in order of registration. It ends early with the context.
func (h *Hub) match(ctx context.Context, where *query.Condition) ([]*device, error) {
	var found []*device
	m := newMatcher(where.Source(), where, nil)
	for d := range h.candidates(where.Source(), where, 0) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if m.matches(d) {
			found = append(found, d)
		}
	}
	return found, nil
}

// stopped says whether nobody waits for a request's answer any more.
func (h *Hub) stopped(ctx context.Context) bool { return ctx.Err() != nil || h.ctx.Err() != nil }

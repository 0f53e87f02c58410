package hub

import (
	"cmp"
	"context"
	"slices"

	"muster/internal/query"
)

// matcher tries devices on a condition, outside of their locks.
type matcher struct {
	where *query.Condition // nil selects all
	row   snapshot         // of the last device that was tried
}

// matches says whether a device exists and the condition selects it.
func (m *matcher) matches(d *device) bool {
	if m.where == nil {
		return !d.isGone()
	}
	return m.selects(d)
}

// selects is matches, and the device is the matcher's row afterwards: as it was when it was selected.
func (m *matcher) selects(d *device) bool {
	if d.isGone() {
		return false
	}
	d.snapshot(&m.row)
	return m.where.Match(&m.row)
}

// candidates returns the devices registered after seq that a condition could select, in order of registration. There
// are no modules.
func (h *Hub) candidates(source query.Source, where *query.Condition, seq uint64) []*device {
	if source != query.Devices {
		return nil
	}
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

// match returns the devices that a condition selects, in order of registration. It ends early with the context.
func (h *Hub) match(ctx context.Context, where *query.Condition) ([]*device, error) {
	var found []*device
	m := matcher{where: where}
	for _, d := range h.candidates(where.Source(), where, 0) {
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

package hub

import (
	"cmp"
	"context"
	"slices"

	"muster/internal/query"
	"muster/iothub"
)

// deviceJobs fills the page with the job rows that a condition selects.
func (h *Hub) deviceJobs(ctx context.Context, p *page, where *query.Condition) *iothub.Error {
	ids, limited := where.JobIDs()
	about := h.rowsAbout(where)
	for _, j := range h.jobs.from(p.start.seq) {
		if limited && !slices.Contains(ids, j.spec.id) {
			continue
		}
		first := 0
		if j.seq == p.start.seq {
			first = int(p.start.row)
		}
		var more bool
		var err *iothub.Error
		if at, ok := about.in(j); ok {
			more, err = j.appendNamed(p, where, at, first)
		} else {
			more, err = j.appendRows(ctx, p, where, first)
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// appendRows fills the page with rows of one job; it reports false when the page is full.
func (j *job) appendRows(ctx context.Context, p *page, where *query.Condition, first int) (bool, *iothub.Error) {
	var space [64]row
	r := &jobRow{job: j}
	for rows := j.chunk(first, space[:]); len(rows) > 0; rows = j.chunk(first, space[:]) {
		if j.hub.stopped(ctx) {
			return false, errClosed()
		}
		r.created = j.rowsCreated()
		for i := range rows {
			if r.row = &rows[i]; !r.appendIf(p, where, first+i) {
				return false, nil
			}
		}
		first += len(rows)
	}
	return true, nil
}

// appendNamed is appendRows for rows at these places, as far as they are not before the first.
func (j *job) appendNamed(p *page, where *query.Condition, at []int, first int) (bool, *iothub.Error) {
	var space [1]row
	r := &jobRow{job: j, row: &space[0]}
	for _, i := range at {
		if i < first {
			continue
		}
		j.chunk(i, space[:])
		if r.created = j.rowsCreated(); !r.appendIf(p, where, i) {
			return false, nil
		}
	}
	return true, nil
}

// appendIf appends the row at a place if the condition selects it; it reports false if the page has no room for it.
func (r *jobRow) appendIf(p *page, where *query.Condition, at int) bool {
	if !where.Match(r) {
		return true
	}
	if !p.room(cursor{seq: r.job.seq, row: uint64(at)}) {
		return false
	}
	p.begin()
	p.body = r.append(p.body)
	return true
}

// namedRows tells where the rows of devices stand that a condition names, with those of their modules. A nil one cannot tell.
type namedRows struct {
	devices []*device // in order of registration
	missing bool      // an id is nobody's
	removed removals
}

// rowsAbout returns the devices that a condition names, if it does.
func (h *Hub) rowsAbout(where *query.Condition) *namedRows {
	ids, ok := where.DeviceIDs()
	if !ok {
		return nil
	}
	devices := h.named(ids, false, 0)
	n := &namedRows{missing: len(devices) < len(ids), devices: append(devices, h.named(ids, true, 0)...)}
	slices.SortFunc(n.devices, func(a, b *device) int { return cmp.Compare(a.seq, b.seq) })
	n.removed = h.registry.everRemoved() // asked last: who is removed only now was found
	return n
}

// in returns the places of a job's rows that may be about the devices; it reports false if that takes a look at all of them.
//
// A row is about whoever had the id when the job began. Rows are in the order of registration, so a device that was registered
// before the last row's is the one that had its id then.
func (n *namedRows) in(j *job) (at []int, ok bool) {
	if n == nil || j.restored || n.removed.modules || n.missing && n.removed.devices {
		return nil, false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.rows) == 0 {
		return nil, true
	}
	last := j.rows[len(j.rows)-1].dev.seq
	for _, d := range n.devices {
		if d.seq > last && n.removed.devices {
			return nil, false
		}
		i, found := slices.BinarySearchFunc(j.rows, d.seq, func(r row, seq uint64) int { return cmp.Compare(r.dev.seq, seq) })
		if found {
			at = append(at, i)
		}
	}
	return at, true
}

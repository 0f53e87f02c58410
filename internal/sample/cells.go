package sample

// Columns of the kinds that are written in tables.
const (
	deviceColumns    = 4
	connectColumns   = 8
	executionColumns = 14
)

func (r *Device) text() int    { return len(r.ID) + len(r.Group) }
func (r *Connect) text() int   { return len(r.Error) }
func (r *Execution) text() int { return len(r.Code) }

func (r *Device) cells(t *table, before *Device) {
	t.device(&r.Index, before.Index)
	t.id(&r.ID, before.ID)
	t.string(&r.Group)
}

func (r *Connect) cells(t *table, before *Connect) {
	t.device(&r.Device, before.Device)
	t.uint32(&r.Attempt)
	t.flag(&r.Reconnect)
	t.moment(before.Due, &r.Due)
	t.moment(r.Due, &r.Dialed)
	last := r.Dialed.or(r.Due)
	t.moment(last, &r.Accepted)
	t.moment(r.Accepted.or(last), &r.Ready)
	t.string(&r.Error)
}

// Devices are recorded as they receive, or in the order of the hub's rows,
// which is that in which it asked them: each receives soon after the one
// before. What else is seen of an execution is near to that.
func (r *Execution) cells(t *table, before *Execution) {
	t.uint32(&r.Job)
	t.uint32(&r.Repetition)
	t.device(&r.Device, before.Device)
	t.ending(r)
	t.moment(before.Due, &r.Due)
	t.moment(before.Received.or(r.Due), &r.Received)
	t.moment(r.Received.or(r.Due), &r.Dispatched)
	last := r.Received.or(r.Dispatched.or(r.Due))
	t.moment(last, &r.Answered)
	last = r.Answered.or(last)
	t.moment(last, &r.Finished)
	t.moment(r.Finished.or(last), &r.Booked)
	t.int32(&r.Status)
	t.string(&r.Code)
	t.uint32(&r.Attempts)
	t.uint32(&r.Duplicates)
}

// or returns m, or the other if m was not seen.
func (m Moment) or(other Moment) Moment {
	if m.Seen() {
		return m
	}
	return other
}

func (t *table) flag(v *bool) {
	var n int64
	if *v {
		n = 1
	}
	t.number(&n)
	if t.reading {
		*v = n == 1
		t.failed = t.failed || n&^1 != 0
	}
}

// ending codes how an execution ended, and whose clock told it.
func (t *table) ending(r *Execution) {
	n := int64(r.Outcome) << 2
	if r.Final {
		n |= 1
	}
	if r.HubClock {
		n |= 2
	}
	t.number(&n)
	if t.reading {
		r.Outcome, r.Final, r.HubClock = Outcome(n>>2), n&1 != 0, n&2 != 0
		t.failed = t.failed || n>>2 < 0 || n>>2 >= int64(outcomes)
	}
}

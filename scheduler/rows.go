package scheduler

import (
	"context"
	"fmt"
	"time"

	"muster/internal/sample"
)

const (
	rereadMin = 250 * time.Millisecond // between two readings of rows that lag
	rereadMax = 5 * time.Second
)

// settle reads the rows of a job that has ended until they are complete and
// final, or Job.Settle is over. It returns an error if they cannot be read.
func (h *hubJob) settle(life *lifetime) error {
	h.r.enter(stageSettling)
	limit := h.s.opts.Clock.Now().Add(h.job.Settle)
	for wait := rereadMin; ; wait = min(2*wait, rereadMax) {
		err := h.readOnce(life)
		if err == nil && h.complete() {
			return nil
		}
		left := time.Duration(limit - h.s.opts.Clock.Now())
		switch {
		case life.follow.Err() != nil:
			return errStopped
		case left <= 0 && err != nil:
			return fmt.Errorf("read rows of job %s: %w", h.id, err)
		case left <= 0:
			return nil
		}
		if !sleep(life.follow, min(wait, left)) {
			return errStopped
		}
		if h.status.Stats == nil {
			if err := h.poll(life); err != nil {
				return err
			}
		}
	}
}

func (h *hubJob) readOnce(life *lifetime) error {
	ctx, cancel := context.WithTimeout(life.follow, max(h.job.Settle, h.s.opts.Patience))
	defer cancel()
	return h.readRows(ctx)
}

// readRows takes over what the rows say by now.
func (h *hubJob) readRows(ctx context.Context) error {
	err := h.s.opts.Service.Rows(ctx, h.id, func(row Row) error {
		h.take(&row)
		return nil
	})
	h.read = h.read || err == nil
	return err
}

// take books a row. One that has ended stays so: a later reading may come from
// a replica that lags.
func (h *hubJob) take(row *Row) {
	b := h.bookingOf(row.Device)
	state := stateOf(row.Status)
	if b.state.ended() && !state.ended() {
		return
	}
	b.state, b.status, b.code = state, row.MethodStatus, row.Code
	b.begun = !row.Start.IsZero()
	if h.s.opts.HubClock {
		b.dispatched, b.booked = h.s.opts.Clock.At(row.Start), h.s.opts.Clock.At(row.End)
	}
}

func (h *hubJob) bookingOf(id string) *booking {
	if device, ok := h.s.opts.Fleet.Index(id); ok {
		if sl := h.w.slot(device); sl != nil {
			return &sl.booking
		}
	}
	b := h.foreign[id]
	if b == nil {
		b = new(booking)
		h.foreign[id] = b
	}
	return b
}

// counts returns how many rows there are by state.
func (h *hubJob) counts() (s sample.Statistics) {
	h.w.each(func(_ uint32, sl *slot) { count(&s, sl.booking.state) })
	for _, b := range h.foreign {
		count(&s, b.state)
	}
	return s
}

// complete reports whether there is a row for each device that the job
// targeted, and all of them have ended.
func (h *hubJob) complete() bool {
	rows := h.counts()
	return rows.Pending+rows.Running == 0 && rows.Devices >= h.owed()
}

// owed returns how many rows the hub owes. A job that never ran owes none.
func (h *hubJob) owed() int64 {
	switch {
	case h.status.Stats != nil:
		return h.status.Stats.Devices
	case h.status.Status == statusCompleted:
		return h.expected
	}
	return 0
}

// neverRan reports whether the job ended before it targeted anyone.
func (h *hubJob) neverRan(rows int64) bool {
	return h.status.ended() && h.status.Status != statusCompleted && rows+h.owed() == 0
}

// conclude puts what the hub booked into the repetition's record, and the
// outcomes of devices that are not of the fleet. err is why that is not all.
func (h *hubJob) conclude(err error) {
	rec := &h.record
	rec.Status, rec.Reason = h.status.Status, h.status.Reason
	if err != nil {
		rec.Reason = err.Error()
	}
	if rec.Status == "" {
		rec.Status = "unknown"
	}
	if h.s.opts.HubClock && !h.status.Start.IsZero() {
		// A hub repeats the start that was asked for, also if it was asked late.
		rec.Started = max(h.s.opts.Clock.At(h.status.Start), h.created)
	}
	rec.Ended = h.s.opts.Clock.Now()
	rec.Rows = h.counts()
	if h.status.Stats != nil {
		rec.Stats = *h.status.Stats
		rec.HubBooks = h.status.ended() && h.read
	}
	for _, b := range h.foreign {
		b.outcome = h.rowOutcome(b, false)
	}
}

// outcome tells how an execution ended, or that the hub did not target the
// device.
func (h *hubJob) outcome(sl *slot) (outcome sample.Outcome, targeted bool) {
	received := sl.received.Load() != 0
	if sl.booking.state != noRow {
		return h.rowOutcome(&sl.booking, received), true
	}
	if !sl.expected && !received {
		return sample.Open, false
	}
	rows := h.record.Rows.Devices
	switch {
	case received || !h.status.ended() || !h.read:
		return sample.Unknown, true
	case h.neverRan(rows) && h.status.cancelled():
		return sample.Cancelled, true
	case h.neverRan(rows):
		return sample.NotDispatched, true
	case rows < h.owed():
		return sample.Unknown, true // its row may be one of those that did not come
	}
	return sample.Open, false // every target has its row: the hub did not target it
}

// rowOutcome is how an execution with a row ended. The row of a job whose end
// was not seen may still change.
func (h *hubJob) rowOutcome(b *booking, received bool) sample.Outcome {
	if !b.state.ended() && !h.status.ended() {
		return sample.Unknown
	}
	return rowOutcome(h.job.Kind, b, received)
}

// unnamed returns how many devices the hub counts that have neither a row nor
// a place among those that are known.
func (h *hubJob) unnamed(targeted int64) int64 {
	if h.status.Stats == nil {
		return 0
	}
	return max(0, h.status.Stats.Devices-targeted)
}

package scheduler

import (
	"maps"
	"slices"

	"muster/internal/sample"
)

// book is the windows that are open. A book never changes: opening and closing
// a window makes a new one, so that receipts need no lock to find theirs.
type book struct {
	open     []*window
	byTicket map[uint32]*window
}

// find returns the open window with exactly the receipt's bytes.
func (b *book) find(r *sample.Receipt) *window {
	for _, w := range b.open {
		if w.sig.is(r) {
			return w
		}
	}
	return nil
}

// findForm returns the open window whose content means the same as the receipt's.
func (b *book) findForm(r *sample.Receipt, form []byte) *window {
	for _, w := range b.open {
		if w.sig.means(r, form) {
			return w
		}
	}
	return nil
}

// open makes w known to receipts. A window without a signature gets none.
func (s *Scheduler) open(w *window) {
	if w.sig == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets++
	w.ticket = s.tickets
	old := s.book.Load()
	next := &book{open: append(slices.Clone(old.open), w), byTicket: maps.Clone(old.byTicket)}
	next.byTicket[w.ticket] = w
	s.book.Store(next)
}

// shut takes w from the book and closes it.
func (s *Scheduler) shut(w *window) {
	s.mu.Lock()
	old := s.book.Load()
	next := &book{open: slices.Clone(old.open), byTicket: maps.Clone(old.byTicket)}
	next.open = slices.DeleteFunc(next.open, func(o *window) bool { return o == w })
	delete(next.byTicket, w.ticket)
	s.book.Store(next)
	s.mu.Unlock()
	w.close()
}

// Received takes a device's receipt and returns the ticket of its execution,
// or 0 if the receipt is a duplicate or belongs to none.
func (s *Scheduler) Received(r sample.Receipt) (ticket uint64) {
	b := s.book.Load()
	w := b.find(&r)
	var form []byte
	if w == nil {
		form = canonical(r.Payload)
		w = b.findForm(&r, form)
	}
	if w != nil {
		if ticket, ok := w.receive(&r); ok {
			return ticket
		}
	}
	s.unexpected(&r, w, form)
	return 0
}

// unexpected records a receipt that belongs to no execution. w is the open
// window that has its signature, but not its device.
func (s *Scheduler) unexpected(r *sample.Receipt, w *window, form []byte) {
	u := &sample.Unexpected{Device: r.Device, At: r.At, Kind: r.Kind.String(), Name: r.Name, Job: sample.NoJob}
	if w != nil {
		w.mu.RLock()
		u.TooEarly = w.closed
		w.mu.RUnlock()
		u.Job = w.job
	} else if job, ok := s.jobOf(r, form); ok {
		u.Job, u.TooEarly = job, true
	}
	s.opts.Samples.Write(u)
}

// jobOf returns the job whose signature a receipt has, its mark aside.
func (s *Scheduler) jobOf(r *sample.Receipt, form []byte) (uint32, bool) {
	for i, job := range s.runners {
		switch {
		case job.sig == nil:
		case job.sig.is(r), job.sig.means(r, form):
			return uint32(i), true
		case job.job.Mark && job.sig.means(r, canonical(unmarked(r.Payload))):
			return uint32(i), true
		}
	}
	return 0, false
}

// Answered notes that the reply to a method, or the reported PATCH, was written.
func (s *Scheduler) Answered(ticket uint64, status int32, at sample.Moment) {
	w := s.book.Load().byTicket[uint32(ticket>>32)]
	if w == nil {
		return
	}
	device := uint32(ticket)
	w.tell(device, func(sl *slot) {
		sl.status.Store(status)
		if sl.answered.CompareAndSwap(0, int64(at)) && w.kind == Method {
			s.sideEnded(w, device, sl)
		}
	})
}

// Finished notes that the device has nothing more to do for a desired change.
func (s *Scheduler) Finished(ticket uint64, at sample.Moment) {
	w := s.book.Load().byTicket[uint32(ticket>>32)]
	if w == nil {
		return
	}
	device := uint32(ticket)
	w.tell(device, func(sl *slot) {
		if sl.finished.CompareAndSwap(0, int64(at)) && w.kind == Desired {
			s.sideEnded(w, device, sl)
		}
	})
}

// sideEnded records an execution that the device side has ended and the hub
// has not booked yet; a fan-out does so when its call returns. It runs with the
// window's lock held for reading, lest the record follow the final one: the
// recorder only encodes in memory.
func (s *Scheduler) sideEnded(w *window, device uint32, sl *slot) {
	if w.via == Direct {
		return
	}
	w.done.Add(1)
	e := s.spare.Get().(*sample.Execution)
	w.fill(e, device, sl)
	e.Outcome = sample.Failed
	if w.kind == Desired || success(e.Status) {
		e.Outcome = sample.Succeeded
	}
	s.opts.Samples.Execution(e)
	s.spare.Put(e)
}

// success reports whether a status is a 2xx one.
func success(status int32) bool { return status/100 == 2 }

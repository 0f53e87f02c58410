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
		if ticket, ok := w.receive(s, &r); ok {
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
// has not booked yet. Of a fan-out's the call's return is recorded, and what
// comes after it.
func (s *Scheduler) sideEnded(w *window, device uint32, sl *slot) {
	if w.via == Direct {
		if sl.told.Add(1); sl.called.Load() {
			s.record(w, device, sl, sl.booking.outcome)
		}
		return
	}
	if w.done.Add(1) == w.targeted.Load() {
		select {
		case w.answered <- struct{}{}:
		default: // it does already: not all were counted in
		}
	}
	outcome := sample.Failed
	if w.kind == Desired || success(sl.status.Load()) {
		outcome = sample.Succeeded
	}
	s.note(w, device, sl, outcome)
}

// note records what is known of an execution, which is not final. It runs with
// the window's lock held for reading, or before the fan-out is joined, lest the
// record follow the final one: the recorder only encodes in memory.
func (s *Scheduler) note(w *window, device uint32, sl *slot, outcome sample.Outcome) {
	sl.told.Add(1)
	s.record(w, device, sl, outcome)
}

// record writes a record that is not final. The device and the call of a
// fan-out may do so at the same time, and the last record counts: one that
// knows less than there is by now is followed by another.
func (s *Scheduler) record(w *window, device uint32, sl *slot, outcome sample.Outcome) {
	e := s.spare.Get().(*sample.Execution)
	for told := uint32(0); told != sl.told.Load(); {
		told = sl.told.Load()
		called := sl.called.Load()
		w.fill(e, device, sl)
		if e.Outcome = outcome; called {
			sl.booking.book(e)
			e.Outcome = sl.booking.outcome
		}
		s.opts.Samples.Execution(e)
	}
	s.spare.Put(e)
}

// success reports whether a status is a 2xx one.
func success(status int32) bool { return status/100 == 2 }

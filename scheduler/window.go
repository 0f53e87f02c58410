package scheduler

import (
	"sync"
	"sync/atomic"

	"muster/internal/sample"
)

const pageSize = 64

// page is a run of slots. Pages are made when a device of theirs is targeted
// or heard of, so that a job on a few devices costs little.
type page [pageSize]slot

// pages is a cache of memory without content: what a repetition of a large
// fleet holds is nearly all that would be garbage when it is over.
var pages = sync.Pool{New: func() any { return new(page) }}

// slot is one execution while its repetition is open. What devices tell is in
// the first of its two lines of the processor's cache: slots take 128 bytes, and
// their page begins where a line does.
type slot struct {
	// What the device side told.
	received, answered, finished atomic.Int64
	duplicates                   atomic.Uint32
	status                       atomic.Int32

	told   atomic.Uint32 // how often something was added that a record shows
	called atomic.Bool   // via direct: the call has returned, and booking stays

	// The rest belongs to the repetition's goroutine; in a fan-out booking
	// belongs to the worker that makes the call until it is joined.
	expected bool // the query matches over the fleet's own twins
	targeted bool // via direct: it is called. Set before the window opens
	due      sample.Moment
	booking  booking
	_        [16]byte // to whole lines; a page takes no more memory for it
}

// booking is what the hub's row, or the reply to a call, said of an execution.
type booking struct {
	state      rowState
	begun      bool           // the row says when the hub began with it
	cut        bool           // the call was given up
	outcome    sample.Outcome // of a call
	status     int32
	attempts   uint32
	dispatched sample.Moment
	finished   sample.Moment // of a call whose response was read
	booked     sample.Moment
	code       string
}

// window is a repetition as devices see it: while it is open, receipts of its
// signature are its own.
type window struct {
	ticket      uint32
	job, number uint32
	kind        Kind
	via         Via
	due         sample.Moment
	sig         *signature // nil if devices receive nothing
	pages       []atomic.Pointer[page]
	fleet       int

	targeted, received, done atomic.Int64  // for Progress
	answered                 chan struct{} // holds one token when all who are expected have ended a hub's job
	news                     atomic.Int64  // how often devices told anything

	mu     sync.RWMutex // held for reading while a slot is written; guards closed
	closed bool
}

// slot returns the slot of a device, nil if it is not of the fleet.
func (w *window) slot(device uint32) *slot {
	if int(device) >= w.fleet {
		return nil
	}
	at := &w.pages[device/pageSize]
	p := at.Load()
	if p == nil {
		p = pages.Get().(*page)
		if !at.CompareAndSwap(nil, p) {
			pages.Put(p)
			p = at.Load()
		}
	}
	return &p[device%pageSize]
}

// each calls do for every slot that there is.
func (w *window) each(do func(device uint32, sl *slot)) {
	for i := range w.pages {
		p := w.pages[i].Load()
		if p == nil {
			continue
		}
		for k := range p {
			do(uint32(i*pageSize+k), &p[k])
		}
	}
}

// forget gives the slots back, once the window is closed and nobody looks at
// them any more.
func (w *window) forget() {
	for i := range w.pages {
		if p := w.pages[i].Load(); p != nil {
			clear(p[:])
			pages.Put(p)
		}
	}
	w.pages = nil
}

// receive takes a receipt and records it, lest a crash lose it. It reports
// false if the receipt is not the window's after all: it has closed, or a
// fan-out does not call the device.
func (w *window) receive(s *Scheduler, r *sample.Receipt) (ticket uint64, ok bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return 0, false
	}
	sl := w.slot(r.Device)
	if sl == nil || w.via == Direct && !sl.targeted {
		return 0, false
	}
	if !sl.received.CompareAndSwap(0, int64(r.At)) {
		sl.duplicates.Add(1)
		return 0, true
	}
	w.received.Add(1)
	w.news.Add(1)
	s.note(w, r.Device, sl, sample.Open)
	return uint64(w.ticket)<<32 | uint64(r.Device), true
}

// tell runs do on the slot of a device while the window is open. The lock is
// for reading: others tell at the same time, and closing waits for all.
func (w *window) tell(device uint32, do func(*slot)) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return
	}
	if sl := w.slot(device); sl != nil {
		w.news.Add(1)
		do(sl)
	}
}

// close ends the window. After it no slot changes any more.
func (w *window) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
}

// fill makes e what the device side told of an execution.
func (w *window) fill(e *sample.Execution, device uint32, sl *slot) {
	*e = sample.Execution{
		Job: w.job, Repetition: w.number, Device: device, Due: sl.due,
		Received:   sample.Moment(sl.received.Load()),
		Answered:   sample.Moment(sl.answered.Load()),
		Finished:   sample.Moment(sl.finished.Load()),
		Duplicates: sl.duplicates.Load(),
		Status:     sl.status.Load(),
	}
	if !e.Due.Seen() {
		e.Due = w.due
	}
	if w.kind == Method && w.via == Hub {
		e.Finished = e.Answered
	}
	order(e)
}

// book adds what was booked of the execution to e.
func (b *booking) book(e *sample.Execution) {
	e.Dispatched, e.Booked, e.Code, e.Attempts = b.dispatched, b.booked, b.code, b.attempts
	if b.finished.Seen() {
		e.Finished = b.finished
	}
	if b.status != 0 {
		e.Status = b.status
	}
	order(e)
}

// order puts the answer no later than the end that it brought about: it is
// noted when the write has returned, and on a busy machine the response may be
// read before that.
func order(e *sample.Execution) {
	if e.Finished.Seen() && e.Answered > e.Finished {
		e.Answered = e.Finished
	}
}

// sideEnded reports whether the device has done all that it does.
func (w *window) sideEnded(sl *slot) bool {
	switch w.kind {
	case Method:
		return sl.answered.Load() != 0
	case Desired:
		return sl.finished.Load() != 0
	}
	return true
}

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"muster/internal/sample"
)

// codeNotOfFleet is why a device that a query returned was not called.
const codeNotOfFleet = "NotOfFleet"

// target is a device that a fan-out calls.
type target struct {
	id     string
	device uint32
	slot   *slot
}

// fanout makes the calls of one repetition: dispatch hands each to a worker
// when it is due, workers end when work is closed, and run joins them.
type fanout struct {
	*repetition
	calls   context.Context // ends with the repetition's maximum execution time, or the drain
	bound   sample.Moment   // from when on nothing is dispatched; zero if there is none
	gaveUp  atomic.Bool     // a call was cut by the bound or the drain
	targets []target
	work    chan int       // unbuffered: it reaches only a worker that is idle; closed by run
	workers int            // how many there are: never more than Job.InFlight
	group   sync.WaitGroup // of workers
}

var errMaxExecution = errors.New("the maximum execution time is over")

// runDirect asks whom the query matches and calls them.
func (p *repetition) runDirect(life *lifetime) error {
	p.r.enter(stageRunning)
	p.expect()
	ids, err := p.query(life)
	if err == nil && p.s.opts.OnlyFleet {
		err = p.r.foreigners(ids, false)
	}
	if err != nil {
		return p.skipped(err)
	}
	p.doubt()
	f := &fanout{repetition: p, work: make(chan int)}
	f.target(ids)
	p.s.open(p.w)
	p.record.Status = statusCompleted
	if err := f.run(life); err != nil {
		p.record.Status, p.record.Reason = statusCancelled, err.Error()
	}
	p.w.each(func(_ uint32, sl *slot) {
		if at := sl.booking.dispatched; at.Seen() && (!p.record.Started.Seen() || at < p.record.Started) {
			p.record.Started = at
		}
	})
	p.record.Ended = p.s.opts.Clock.Now()
	p.r.enter(stageSettling)
	// A call that was cut may reach its device all the same.
	p.await(life.calls, func(sl *slot) bool { return sl.booking.cut || sl.booking.outcome == sample.Succeeded })
	p.close(callOutcome, func(int64) int64 { return 0 })
	return nil
}

// query returns the ids of the devices to call.
func (p *repetition) query(life *lifetime) ([]string, error) {
	if p.job.Device != "" {
		return []string{p.job.Device}, nil
	}
	ctx, cancel := context.WithTimeout(life.follow, p.s.opts.QueryTime)
	defer cancel()
	ids, err := p.s.opts.Direct.Query(ctx, p.job.ConditionText)
	switch {
	case err != nil && life.draining():
		return nil, errStopped
	case err != nil:
		return nil, fmt.Errorf("query targets: %w", err)
	}
	return ids, nil
}

// target makes the schedule: each device of the fleet once, in the order of
// the query, with its place in the rate.
func (f *fanout) target(ids []string) {
	f.targets = make([]target, 0, len(ids))
	var pace pacer = constant{perSecond: f.job.Rate, count: uint64(len(ids))}
	for _, id := range ids {
		device, ok := f.s.opts.Fleet.Index(id)
		sl := f.w.slot(device)
		if !ok || sl == nil {
			f.foreign[id] = &booking{outcome: sample.NotDispatched, code: codeNotOfFleet}
			continue
		}
		if sl.targeted {
			continue
		}
		offset, _ := pace.At(uint64(len(f.targets)))
		sl.targeted, sl.due = true, f.w.due.Add(offset)
		f.targets = append(f.targets, target{id: id, device: device, slot: sl})
	}
	f.w.targeted.Store(int64(len(f.targets) + len(f.foreign)))
}

// run makes the calls and returns when all of them have ended. An error says
// what kept some from being made.
func (f *fanout) run(life *lifetime) error {
	stop := life.stop
	f.calls = life.calls
	if f.job.MaxExecution > 0 {
		// A repetition that begins late has all its time: so has a hub's job.
		now := f.s.opts.Clock.Now()
		f.bound = max(f.w.due, now).Add(f.job.MaxExecution)
		at := time.Now().Add(time.Duration(f.bound - now))
		var cancelStop, cancelCalls context.CancelFunc
		stop, cancelStop = context.WithDeadlineCause(stop, at, errMaxExecution)
		defer cancelStop()
		f.calls, cancelCalls = context.WithDeadlineCause(f.calls, at, errMaxExecution)
		defer cancelCalls()
	}
	f.dispatch(stop)
	close(f.work)
	f.group.Wait()
	uncalled := func(t target) bool { return t.slot.booking.outcome == sample.Open }
	switch {
	case !f.gaveUp.Load() && !slices.ContainsFunc(f.targets, uncalled):
		return nil
	// Of what has one deadline any may be the first to show it.
	case f.boundIsOver(), errors.Is(context.Cause(stop), errMaxExecution), errors.Is(context.Cause(f.calls), errMaxExecution):
		return errMaxExecution
	}
	return errStopped
}

// boundIsOver reports whether the maximum execution time is.
func (f *fanout) boundIsOver() bool { return f.bound.Seen() && f.s.opts.Clock.Now() >= f.bound }

// dispatch hands out each target when it is due, with one timer for all.
func (f *fanout) dispatch(stop context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := range f.targets {
		if wait := time.Duration(f.targets[n].slot.due - f.s.opts.Clock.Now()); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-stop.Done():
			}
		}
		if stop.Err() != nil || f.boundIsOver() || !f.hand(n, stop) {
			return
		}
	}
}

// hand gives target n to an idle worker, to a new one if there may be more, or
// waits for one.
func (f *fanout) hand(n int, stop context.Context) bool {
	select {
	case f.work <- n:
		return true
	default:
	}
	if f.job.InFlight == 0 || f.workers < f.job.InFlight {
		f.workers++
		f.group.Go(func() { f.serve(n) })
		return true
	}
	select {
	case f.work <- n:
		return true
	case <-stop.Done():
		return false
	}
}

// serve calls target first, then whatever is handed out.
func (f *fanout) serve(first int) {
	var bound callBound
	defer bound.release()
	f.call(&f.targets[first], &bound)
	for n := range f.work {
		f.call(&f.targets[n], &bound)
	}
}

// callBound is the context of a worker's calls, which it makes one after the
// other. One is good for several: for each call to have its own, with a timer,
// costs more than all else that is done for it here.
type callBound struct {
	ctx    context.Context
	cancel context.CancelFunc // nil: there is none yet
	until  time.Time
}

// from returns a context for a call that begins now. It ends with parent, and
// when the call has had its time and up to an eighth more.
func (b *callBound) from(parent context.Context, now time.Time, calling time.Duration) context.Context {
	if b.cancel == nil || b.until.Sub(now) < calling {
		b.release()
		b.until = now.Add(calling + calling/8)
		b.ctx, b.cancel = context.WithDeadline(parent, b.until)
	}
	return b.ctx
}

func (b *callBound) release() {
	if b.cancel != nil {
		b.cancel()
	}
}

// call makes one call and records it, not yet final: the device may have news.
// A target that reached its worker when time was up already is not called.
func (f *fanout) call(t *target, bound *callBound) {
	if f.calls.Err() != nil || f.boundIsOver() {
		return
	}
	ctx := bound.from(f.calls, time.Now(), f.job.ConnectTimeout+f.job.responseTimeout()+hang)
	reply, err := f.send(ctx, t.id)
	r := result{reply: reply, err: err, at: f.s.opts.Clock.Now(), cut: context.Cause(ctx)}
	b := &t.slot.booking
	*b = r.book(f.job.Kind, t.slot.received.Load() != 0)
	if b.cut && !errors.Is(r.cut, context.DeadlineExceeded) { // that is the call's own
		f.gaveUp.Store(true)
	}
	if b.outcome == sample.Succeeded {
		f.apply(t.device)
	} else {
		f.s.opts.Logger.Debug("call did not succeed", "device", t.id, "status", b.status, "error", err)
	}
	f.w.done.Add(1)
	t.slot.called.Store(true)
	f.s.note(f.w, t.device, t.slot, b.outcome)
}

func (f *fanout) send(ctx context.Context, id string) (Reply, error) {
	if f.job.Kind != Method {
		return f.s.opts.Direct.Patch(ctx, id, f.job.Tags, f.job.Desired)
	}
	return f.s.opts.Direct.Invoke(ctx, id, Call{
		Method: f.job.MethodName, Payload: f.job.Payload,
		ResponseTimeout: f.job.ResponseTimeout, ConnectTimeout: f.job.ConnectTimeout,
	})
}

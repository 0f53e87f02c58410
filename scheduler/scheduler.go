package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"muster/internal/sample"
)

const (
	// Lead is how long before it is due a repetition is given to the hub.
	Lead = 5 * time.Second
	// Patience is the default of Options.Patience.
	Patience = 30 * time.Second
	// ahead is how long before it is due the fleet's twins are asked whom it
	// targets: near enough for what other jobs changed, and not while the
	// first receipts come in.
	ahead = 50 * time.Millisecond
	// linger is for how long without any news from devices a repetition waits
	// for what its books say has happened there.
	linger = time.Second
	// hang bounds what has no bound of its own: a query, and a call beyond the
	// device's own time, throttling included. A call may get more: see callBound.
	hang = 2 * time.Minute
)

// Options are the settings of a Scheduler.
type Options struct {
	Clock   *sample.Clock // default: a new one
	Samples Recorder      // default: nothing is recorded
	Fleet   Fleet         // required; told of twin updates if it is an Applier, waited for if it is a Settler
	Service Service       // required by jobs via Hub; asked to cancel jobs if it is a Canceller
	Direct  Caller        // required by jobs via Direct; asked for single devices if it is an Exister
	Logger  *slog.Logger  // default: discards

	// HubClock says that the hub runs on this host, so that the times of its
	// rows can be placed on Clock, and that it can be asked at once how a job
	// stands that all devices have answered. Default: they are left out, and it is
	// asked as seldom as ever.
	HubClock bool
	// Drain is how long executions on their way are awaited once Run's context
	// has ended. Default 10 s.
	Drain time.Duration
	// Life ends when nothing can answer any more, as when the hub has died: then
	// nothing is awaited. Default: never.
	Life context.Context
	// Patience is how long a Service may fail before its job is given up.
	// Default Patience.
	Patience time.Duration

	// OnlyFleet refuses jobs that match devices which are not of the fleet: Direct
	// is asked before the first job, and before each repetition whose last look is
	// not fresh; the rows of a hub's job are looked at too. See ForeignError.
	OnlyFleet bool
	// QueryTime is how long a query may take. Default 2 min.
	QueryTime time.Duration
	// PollTime is the longest time between two looks at a hub's job. Default 1 s.
	PollTime time.Duration
}

// resolved returns o with every default in its place.
func (o Options) resolved() Options {
	if o.Clock == nil {
		o.Clock = sample.NewClock()
	}
	if o.Samples == nil {
		o.Samples = unrecorded{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Life == nil {
		o.Life = context.Background()
	}
	if o.Drain <= 0 {
		o.Drain = 10 * time.Second
	}
	if o.Patience <= 0 {
		o.Patience = Patience
	}
	if o.QueryTime <= 0 {
		o.QueryTime = hang
	}
	if o.PollTime <= 0 {
		o.PollTime = pollMax
	}
	return o
}

type unrecorded struct{}

func (unrecorded) Execution(*sample.Execution) {}
func (unrecorded) Write(sample.Record)         {}

// Scheduler runs the jobs of one run.
type Scheduler struct {
	opts    Options
	runners []*runner // by job
	book    atomic.Pointer[book]
	spare   sync.Pool     // *sample.Execution
	fresh   time.Duration // for how long a look at whom a job matches is good; set before any job runs

	mu      sync.Mutex // guards the fields below and the change of book
	tickets uint32
	moved   chan struct{} // closed when a repetition is over; nil: nobody waits for it
}

// New returns a Scheduler of the jobs, whose places in the slice are their
// indices in the samples. It reports every fault of the jobs at once, those of
// Conflicts among them.
func New(jobs []Job, opts Options) (*Scheduler, error) {
	if opts.Fleet == nil {
		return nil, errors.New("scheduler: a fleet is required")
	}
	s := &Scheduler{opts: opts.resolved()}
	s.spare.New = func() any { return new(sample.Execution) }
	s.book.Store(&book{byTicket: map[uint32]*window{}})
	var errs []error
	if opts.OnlyFleet && opts.Direct == nil {
		errs = append(errs, errors.New("only the fleet: needs a caller to query with"))
	}
	for i := range jobs {
		errs = append(errs, jobs[i].validate(i, &opts))
		s.runners = append(s.runners, newRunner(s, uint32(i), jobs[i].resolved()))
	}
	if err := errors.Join(append(errs, Conflicts(jobs))...); err != nil {
		return nil, fmt.Errorf("scheduler: %w", err)
	}
	return s, nil
}

// Run runs the jobs, each on its own schedule counted from now, to their ends.
// It returns nil when all of them are over, also when ctx ended them: then
// nothing new begins, what is on its way is awaited for Options.Drain, and the
// ledgers are closed with what is known; the end of Options.Life does the same
// without awaiting anything. An error says which jobs were given up
// because their service failed; their ledgers are closed too.
func (s *Scheduler) Run(ctx context.Context) error {
	life, cancel := newLifetime(ctx)
	defer cancel()
	if err := s.vetAll(life); err != nil {
		return s.refuse(life, err)
	}
	over := make(chan struct{})
	var drain, jobs sync.WaitGroup // drain ends when over is closed; a job, when its ledger is
	drain.Go(func() { life.drain(over, s.opts.Life.Done(), s.opts.Drain) })
	start, wall := s.opts.Clock.Now(), time.Now()
	for _, r := range s.runners {
		r.begins(start, wall)
	}
	errs := make([]error, len(s.runners))
	for i, r := range s.runners {
		jobs.Go(func() { errs[i] = r.run(life) })
	}
	jobs.Wait()
	close(over)
	drain.Wait()
	return errors.Join(errs...)
}

// lifetime is how long things may go on once Run's context has ended.
type lifetime struct {
	stop   context.Context // ends first: nothing new begins
	follow context.Context // ends after three quarters of the drain: jobs of the hub are not followed any more
	calls  context.Context // ends with the drain: calls are given up, and the last reading of rows

	endStop, endFollow, endCalls context.CancelFunc
}

func newLifetime(ctx context.Context) (*lifetime, context.CancelFunc) {
	life := new(lifetime)
	life.stop, life.endStop = context.WithCancel(ctx)
	life.calls, life.endCalls = context.WithCancel(context.WithoutCancel(ctx))
	life.follow, life.endFollow = context.WithCancel(life.calls)
	return life, life.end
}

// end ends all parts of life at once.
func (l *lifetime) end() {
	l.endStop() // first: what ends then was stopped
	l.endCalls()
}

// drain ends the parts of life in turn once stop has ended, all of them when
// dead is closed, or returns when all is over.
func (l *lifetime) drain(over, dead <-chan struct{}, limit time.Duration) {
	select {
	case <-over:
		return
	case <-dead:
		l.end()
		return
	case <-l.stop.Done():
	}
	for _, step := range []struct {
		after time.Duration
		end   context.CancelFunc
	}{{limit * 3 / 4, l.endFollow}, {limit / 4, l.endCalls}} {
		select {
		case <-over:
			return
		case <-dead:
			l.end()
			return
		case <-time.After(step.after):
			step.end()
		}
	}
}

// draining reports whether nothing new may begin.
func (l *lifetime) draining() bool { return l.stop.Err() != nil }

// sleep waits for d and reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// settle waits for what devices have to tell, where that takes its time.
func (s *Scheduler) settle() {
	if fleet, ok := s.opts.Fleet.(Settler); ok {
		fleet.Settle()
	}
}

// sleepUntil waits for a moment and reports whether ctx let it.
func (s *Scheduler) sleepUntil(ctx context.Context, m sample.Moment) bool {
	return sleep(ctx, time.Duration(m-s.opts.Clock.Now()))
}

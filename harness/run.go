package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"muster/fleet"
	"muster/internal/sample"
	"muster/iothub"
	"muster/report"
	"muster/scenarios"
	"muster/scheduler"
)

// ErrHubDied is the cause of a run that ended because its hub did.
var ErrHubDied = errors.New("the hub ended in the middle of the run")

// How a run ended, as sample.End has it.
const (
	endCompleted   = "completed"
	endAborted     = "aborted"
	endInterrupted = "interrupted"
	endFailed      = "failed"
)

// Result is what a run leaves.
type Result struct {
	Dir    string         // the folder of results
	Report *report.Report // made from the folder
}

// Run runs s to its end and reports. If ctx ends before the run does, what has
// begun is awaited for Options.Drain and the verdict is interrupted; so it is
// when a threshold with abortOnFail fails, and the verdict is fail. After a
// fault in the middle of the run, such as a hub that died, it returns both the
// error and the report of what was measured until then.
func Run(ctx context.Context, s *scenarios.Scenario, opts *Options) (*Result, error) {
	calibration, err := calibrateIfAsked(ctx, s, opts)
	if err != nil {
		return nil, err
	}
	r, err := newRun(s, opts)
	if err != nil {
		return nil, err
	}
	r.header.Calibration = calibration
	end, fault := r.guarded(ctx)
	return r.finish(end, fault)
}

// calibrateIfAsked calibrates for a run that is worth it, if asked to.
func calibrateIfAsked(ctx context.Context, s *scenarios.Scenario, opts *Options) (*report.Calibration, error) {
	if opts == nil || !opts.Calibrate {
		return nil, nil
	}
	if err := Check(s); err != nil {
		return nil, err
	}
	return Calibrate(ctx)
}

// run is the state of one run.
type run struct {
	scenario *scenarios.Scenario
	opts     Options
	clock    *sample.Clock
	samples  *recorder
	watch    watch
	oomKills int64 // before the run began
	header   *report.Run
	hostUse  func() *report.HostUse // since the run began; nil where the host does not tell
	hub      *Hub
	hand     func(func()) // how the devices' messages wait, see health
	health   *health      // from when devices are registered
	client   *iothub.Client
	sources  sources
	bounds   []Bound
	remote   *remote // the hub of an iothub target; nil: it is ours

	generators int // child generators that have the devices; 0: this process has them

	reporter *reporter
	named    bool // the folder's name was asked for

	stage     atomic.Pointer[Stage]
	changed   chan struct{} // holds one token if the stage has changed and nobody was told
	devices   atomic.Pointer[devices]
	scheduler atomic.Pointer[scheduler.Scheduler]
}

func newRun(s *scenarios.Scenario, opts *Options) (*run, error) {
	if err := Check(s); err != nil {
		return nil, err
	}
	r := &run{scenario: s, clock: sample.NewClock(), hostUse: meterHost(), changed: make(chan struct{}, 1)}
	r.watch.run, r.oomKills = r, oomKills(os.DirFS("/"))
	r.named = opts != nil && opts.Out != ""
	r.opts = opts.resolved(s, r.clock.Epoch())
	r.enter(Starting)
	if isRemote(s) {
		if err := fleet.CheckSecret(r.opts.FleetSecret); err != nil {
			return nil, fmt.Errorf("target.iothub: %w", err)
		}
		var err error
		if r.remote, err = newRemote(s.Target.IoTHub, r.opts.below, r.opts.Logger); err != nil {
			return nil, err
		}
	}
	if err := r.preflight(opts == nil || opts.StartHub == nil); err != nil {
		return nil, err
	}
	if err := r.openFolder(); err != nil {
		return nil, err
	}
	var err error
	if r.samples.guard, err = r.newGuard(); err != nil {
		return nil, errors.Join(err, r.samples.Close(sample.End{Reason: endFailed, Error: err.Error()}))
	}
	return r, nil
}

func (r *run) enter(stage Stage) {
	r.stage.Store(&stage)
	select {
	case r.changed <- struct{}{}:
	default: // it is to be told already
	}
}

// measure brings everything up, runs the jobs and takes everything down. It
// returns what ended the run before its time, unless that was ctx.
//
// Two groups own the run's goroutines. The outer one holds what must outlive
// the devices (samples, health, the watch on the hub); the inner one is the
// fleet. An error in either ends both, and measure joins both before it
// returns.
func (r *run) measure(ctx context.Context) (err error) {
	// What is begun is not cut off by an interrupt: it is drained.
	base, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	defer fail(nil)
	outer, outerCtx := errgroup.WithContext(base)
	outer.Go(func() error { return r.samples.Run(outerCtx) })
	outer.Go(func() error { return r.observe(outerCtx) })
	outer.Go(func() error { return r.watchHost(outerCtx) })
	defer func() {
		fail(nil)
		if werr := outer.Wait(); werr != nil {
			err = werr // the first thing that went wrong; what followed is its echo
		}
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = nil // the interrupt itself
		}
	}()

	if err := r.startHub(ctx); err != nil {
		return err
	}
	watching, stopWatching := context.WithCancel(outerCtx)
	outer.Go(func() error { return r.watchHub(watching) })
	defer func() {
		stopWatching()
		r.stopHub()
	}()
	observer := new(relay)
	f, s, err := r.build(outerCtx, observer)
	if err != nil {
		return err
	}
	work, stopWork := mergeContexts(ctx, outerCtx)
	defer stopWork()
	devices, stopGenerators, err := r.simulate(work, outer, f, observer)
	defer stopGenerators()
	if err != nil {
		return err
	}
	if err := r.register(work, f); err != nil {
		return err
	}
	r.health = newHealth(r.clock, r.hand, r.recordHealth)
	outer.Go(func() error { return r.health.run(outerCtx) })
	outer.Go(func() error { return r.opts.wakes(outerCtx, r.clock, r.health.wake) })
	outer.Go(func() error { return r.accountHub(outerCtx) })
	return r.connectAndRun(work, outerCtx, devices, s)
}

// simulate returns what runs the devices of f: the fleet itself, or child
// generators, which the second result ends, also after an error. Until then a
// generator that fails ends outer.
func (r *run) simulate(work context.Context, outer *errgroup.Group, f *fleet.Fleet, observer fleet.Observer) (devices, func(), error) {
	if r.generators == 0 {
		r.devices.Store(&[]devices{f}[0])
		return f, func() {}, nil
	}
	sp, err := r.startGenerators(work, f, observer)
	watching, stopWatching := context.WithCancel(context.WithoutCancel(work))
	outer.Go(func() error { return sp.watch(watching) })
	r.devices.Store(&[]devices{sp}[0])
	return sp, func() {
		stopWatching()
		sp.close()
	}, err
}

// connectAndRun connects the fleet, runs the jobs when it is ready, and
// disconnects it. work ends with an interrupt or a fault, outer with a fault.
func (r *run) connectAndRun(work, outer context.Context, f devices, s *scheduler.Scheduler) error {
	faults := newFaults(r)
	if err := faults.start(work); err != nil {
		return err
	}
	online, stopDevices := context.WithCancel(outer)
	defer stopDevices()
	inner, online := errgroup.WithContext(online)
	inner.Go(func() error { return f.Run(online) })
	r.enter(Connecting)
	var err error
	select {
	case <-f.Ready():
		r.enter(Running)
		stop := context.AfterFunc(work, func() { r.enter(Draining) })
		inner.Go(func() error {
			return tend(online, s, collectWithin(r.scenario.Devices()), collectorOf(f), func() { r.account(online) })
		})
		err = r.runJobs(work, outer, s, faults)
		stop()
	case <-work.Done():
		err = work.Err()
	case <-online.Done():
	}
	if devices, short := f.Short(); err == nil && devices > 0 {
		err = r.shortOf(devices, short) // it would have been a smaller fleet
	}
	if outer.Err() == nil {
		faults.finish(outer)
		r.account(outer) // the last ones with the fleet connected
	}
	r.enter(Closing)
	stopDevices()
	if werr := inner.Wait(); werr != nil && err == nil {
		err = werr
	}
	return err
}

// runJobs runs the jobs, and sets the scenario's faults beside them. A fault
// that cannot be set ends the jobs as an interrupt does.
func (r *run) runJobs(work, life context.Context, s *scheduler.Scheduler, f *faults) error {
	work, fail := context.WithCancelCause(work)
	defer fail(nil)
	setting, stop := context.WithCancel(work)
	defer stop()
	var group errgroup.Group // the faults' one goroutine, which stop ends
	group.Go(func() error {
		err := f.run(setting, life)
		if err != nil {
			fail(err)
		}
		return err
	})
	err := s.Run(work)
	stop()
	return errors.Join(group.Wait(), err)
}

// mergeContexts returns a context that ends when either does.
func mergeContexts(a, b context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(a)
	stop := context.AfterFunc(b, func() { cancel(context.Cause(b)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// finish closes the samples and makes the report from the folder.
func (r *run) finish(end sample.End, runErr error) (*Result, error) {
	r.enter(Reporting)
	r.opts.Observe(r.progress())
	r.release()
	end.At = r.clock.Now()
	if err := r.closeSamples(end); err != nil {
		runErr = errors.Join(runErr, err)
	}
	result := &Result{Dir: r.opts.Out}
	var err error
	if result.Report, err = r.makeReport(); err != nil {
		return result, errors.Join(runErr, fmt.Errorf("make the report of %s: %w", r.opts.Out, err))
	}
	return result, runErr
}

// release lets go of the fleet and the hub, and gives back what they held: the
// report takes large pieces, which would not fit into what they leave.
func (r *run) release() {
	r.devices.Store(nil)
	r.scheduler.Store(nil)
	r.hub, r.client = nil, nil
	debug.FreeOSMemory()
}

// closeSamples writes what is left, how the recording of it went, and the end.
func (r *run) closeSamples(end sample.End) error {
	_ = r.samples.Flush() // Close returns the first error
	account := r.samples.Account(end.At)
	r.samples.Write(&account)
	return r.samples.Close(end)
}

func (r *run) makeReport() (*report.Report, error) {
	r.header.EndedAt = r.clock.Time(r.clock.Now())
	if r.remote != nil {
		r.header.Target.ClockAhead = r.remote.clocks.ahead()
	}
	r.header.HostUse = r.hostUse()
	full := report.WriteRun(r.opts.Out, r.header) // as by a full disk: what was written before the run is still there
	made, err := report.Build(r.opts.Out)
	if err != nil {
		return nil, errors.Join(full, err)
	}
	return made, errors.Join(full, made.Write())
}

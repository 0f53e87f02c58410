package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"muster/fleet"
	"muster/harness/wire"
	"muster/internal/sample"
	"muster/report"
)

// ErrGeneratorDied is the cause of a run that ended because a generator did.
var ErrGeneratorDied = errors.New("ended in the middle of the run")

// devices are the running side of a fleet: *fleet.Fleet where it is one process,
// *split where child generators have a part each.
type devices interface {
	// Run connects the devices and keeps them online until ctx ends.
	Run(ctx context.Context) error
	// Ready is closed when each device's first connect is decided.
	Ready() <-chan struct{}
	standing
}

// standing is how the devices of a fleet are, as fleet.Fleet has it.
type standing interface {
	Stats() fleet.Stats
	Short() (devices int, err error)
}

// StartGenerator starts a process that calls Generate.
type StartGenerator func(ctx context.Context) (*Generator, error)

// Generator is a child generator as a run uses it.
type Generator struct {
	In  io.WriteCloser // what Generate reads
	Out io.Reader      // what it writes; it ends with the process
	// Stop ends the process, by force if it must, waits for it and returns how it
	// ended. It may be called from many goroutines.
	Stop func() error
}

const (
	// generatorStart bounds how long a generator takes until it has made its
	// devices: a million on a busy machine.
	generatorStart = time.Minute
	// generatorSettle bounds how long it takes to tell what has happened.
	generatorSettle = 10 * time.Second
	// generatorStop bounds how long it takes to disconnect them.
	generatorStop = 30 * time.Second
)

// split is a fleet whose devices are in child generators. It feeds what they
// tell to whom a fleet of this process would tell it, and so the ledger and the
// samples are by construction those of one process. The goroutine that reads a
// generator ends with the generator, which close ends and joins.
type split struct {
	clock    *sample.Clock
	fleet    *fleet.Fleet // identities and twins of all
	observer fleet.Observer
	samples  *recorder
	oomKills int64 // before the run began
	parts    []*part
	own      collector // of this process, which has no devices

	readers sync.WaitGroup
	failed  chan struct{} // closed when a generator has failed; failure says how
	failing sync.Once
	failure error
	readies atomic.Int32
	settles atomic.Uint64 // Settle was called so often
	ready   chan struct{}
}

// startGenerators starts the children that have a part each and tells them what
// to simulate. close must be called, also after an error.
func (r *run) startGenerators(ctx context.Context, f *fleet.Fleet, observer fleet.Observer) (*split, error) {
	sp := &split{
		clock: r.clock, fleet: f, observer: observer, samples: r.samples, oomKills: r.oomKills,
		failed: make(chan struct{}), ready: make(chan struct{}),
	}
	for _, at := range fleet.Parts(f.Len(), r.generators) {
		p := &part{Part: at, split: sp, hello: make(chan struct{}), over: make(chan struct{}), tickets: map[uint64]ticket{}, settles: map[uint64]chan struct{}{}}
		order, err := r.assign(at)
		if err != nil {
			return sp, fmt.Errorf("start %v: %w", p, err)
		}
		if p.process, err = r.opts.StartGenerator(ctx); err != nil {
			return sp, fmt.Errorf("start %v: %w", p, err)
		}
		sp.parts = append(sp.parts, p)
		sp.readers.Go(p.read)
		if err := tell(p.process.In, wire.Start, order); err != nil {
			return sp, p.unheard(err)
		}
	}
	return sp, sp.greet(ctx)
}

// greet waits until every generator has made its devices.
func (sp *split) greet(ctx context.Context) error {
	timer := time.NewTimer(generatorStart)
	defer timer.Stop()
	for _, p := range sp.parts {
		select {
		case <-p.hello:
		case <-sp.failed:
			return sp.failure
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			return fmt.Errorf("%v was not ready within %v", p, generatorStart)
		}
	}
	return nil
}

// fail ends the run for what is wrong with a generator. The first failure counts.
func (sp *split) fail(err error) {
	sp.failing.Do(func() {
		sp.failure = err
		close(sp.failed)
	})
}

// watch returns how the first of the generators failed, or nil when ctx ends.
func (sp *split) watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-sp.failed:
		return sp.failure
	}
}

// Ready implements devices.
func (sp *split) Ready() <-chan struct{} { return sp.ready }

// Run implements devices.
func (sp *split) Run(ctx context.Context) error {
	begin := appendMoment(nil, sp.clock.Now())
	for _, p := range sp.parts {
		if err := tell(p.process.In, wire.Connect, begin); err != nil {
			return p.unheard(err)
		}
	}
	<-ctx.Done()
	return sp.stop()
}

// stop has all generators disconnect and waits until they have. What one has
// not told by its end the samples lack, and so that is an error.
func (sp *split) stop() error {
	for _, p := range sp.parts {
		p.stopping.Store(true)
		_ = tell(p.process.In, wire.Stop, nil) // fails only if it is gone
	}
	timer := time.NewTimer(generatorStop)
	defer timer.Stop()
	var errs []error
	for _, p := range sp.parts {
		select {
		case <-p.over:
			errs = append(errs, p.lost)
		case <-timer.C:
			return fmt.Errorf("%v did not disconnect its devices within %v", p, generatorStop)
		}
	}
	return errors.Join(errs...)
}

// close ends the generators and joins whoever reads them.
func (sp *split) close() {
	var ending sync.WaitGroup
	for _, p := range sp.parts {
		p.stopping.Store(true)
		ending.Go(func() { _ = p.process.Stop() }) // what there was to say of its end was said
	}
	ending.Wait()
	sp.readers.Wait()
}

// collect lets all processes collect: nothing is due.
func (sp *split) collect() {
	for _, p := range sp.parts {
		_ = tell(p.process.In, wire.Collect, nil) // fails only if it is gone, which its reader tells
	}
	sp.own.collect()
}

// Stats implements devices: the sum over all generators.
func (sp *split) Stats() fleet.Stats {
	var sum fleet.Stats
	for _, p := range sp.parts {
		if of := p.counts.Load(); of != nil {
			sum.Add(&of.Stats)
		} else {
			sum.Add(&fleet.Stats{Devices: p.To - p.From, Idle: int64(p.To - p.From)})
		}
	}
	return sum
}

// Short implements devices. The error is of the generator with the most devices
// that lack something.
func (sp *split) Short() (devices int, err error) {
	most := 0
	for _, p := range sp.parts {
		of := p.counts.Load()
		if of == nil || of.Short == 0 {
			continue
		}
		devices += of.Short
		if of.Short > most {
			most, err = of.Short, of.shortage()
		}
	}
	return devices, err
}

// Settle waits until all is passed on that has happened before the call, so
// that the end of a repetition does not overtake what its devices tell. A
// generator that does not answer ends the run: its receipts are in no ledger.
func (sp *split) Settle() {
	n := sp.settles.Add(1)
	answers := make([]<-chan struct{}, len(sp.parts))
	for i, p := range sp.parts {
		answers[i] = p.settle(n)
	}
	timer := time.NewTimer(generatorSettle)
	defer timer.Stop()
	for i, p := range sp.parts {
		select {
		case <-answers[i]:
		case <-p.over:
		case <-timer.C:
			sp.fail(fmt.Errorf("%v did not tell within %v what had happened", p, generatorSettle))
			return
		}
	}
}

// settling is a divided fleet as the scheduler sees it.
type settling struct {
	*fleet.Fleet
	run *run
}

// Settle implements scheduler.Settler.
func (s settling) Settle() {
	if running := s.run.devices.Load(); running != nil {
		if sp, ok := (*running).(*split); ok {
			sp.Settle()
		}
	}
}

// partsOf returns how a fleet is divided, as run.json has it; nil if it is not.
func partsOf(devices, generators int) []report.Part {
	if generators == 0 {
		return nil
	}
	parts := make([]report.Part, generators)
	for i, p := range fleet.Parts(devices, generators) {
		parts[i] = report.Part{From: p.From, To: p.To}
	}
	return parts
}

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/fleet"
	"muster/harness/wire"
	"muster/internal/goheap"
	"muster/internal/sample"
)

// GeneratorOptions are the settings of a child generator. The zero value is
// valid.
type GeneratorOptions struct {
	Logger *slog.Logger // default: nowhere

	clock  func(sample.Epoch) (*sample.Clock, error) // default sample.ClockAt
	dial   fleet.DialFunc                            // default: what the run says
	wakes  wakeSource                                // default runWakes
	limits *Limits                                   // default those of this process
}

func (o *GeneratorOptions) resolved() GeneratorOptions {
	var r GeneratorOptions
	if o != nil {
		r = *o
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	if r.clock == nil {
		r.clock = sample.ClockAt
	}
	if r.wakes == nil {
		r.wakes = runWakes(false)
	}
	if r.limits == nil {
		limits := HostLimits()
		r.limits = &limits
	}
	return r
}

// Generate simulates a part of a run's fleet: it reads from in what to do and
// writes to out what happens. It returns nil when the run has stopped it. It
// ends with an error when ctx does, when in ends, which is the run's death, and
// when it cannot go on, of which the run is told. The goroutine that reads in
// ends with in, or with the process.
func Generate(ctx context.Context, in io.Reader, out io.Writer, opts *GeneratorOptions) error {
	frames := wire.NewReader(in)
	kind, payload, err := frames.Next()
	if err == nil && kind != wire.Start {
		err = fmt.Errorf("the run began with frame %d", kind)
	}
	if err != nil {
		return fmt.Errorf("start the generator: no run says what to simulate (a run starts its generators itself, see muster run --generators): %w", err)
	}
	g, err := newGenerator(payload, opts.resolved())
	if err != nil {
		return errors.Join(err, tell(out, wire.Fault, []byte(err.Error())))
	}
	return g.run(ctx, frames, out)
}

// tell writes one frame.
func tell(out io.Writer, k wire.Kind, payload []byte) error {
	frame, err := wire.AppendFrame(nil, k, payload)
	if err == nil {
		_, err = out.Write(frame)
	}
	return err
}

// generator runs a part of a fleet. Its goroutines belong to two groups as a
// run's do: the inner one is the fleet, and the outer one what must outlive it.
type generator struct {
	opts  GeneratorOptions
	clock *sample.Clock
	hand  func(func()) // how the devices' messages wait, see health
	fleet *fleet.Fleet
	told  *teller

	begin   chan sample.Moment // one value: when the ramp begins
	stopped chan struct{}      // closed when the run says stop
}

// newGenerator makes what an assignment asks for.
func newGenerator(order []byte, opts GeneratorOptions) (*generator, error) {
	a := assignment{}
	if err := json.Unmarshal(order, &a); err != nil {
		return nil, fmt.Errorf("read what to simulate: %w", err)
	}
	if a.Version != wire.Version {
		return nil, fmt.Errorf("the run speaks version %d, this muster %d: both must be the same build", a.Version, wire.Version)
	}
	need, most := a.Part.To-a.Part.From+spareDescriptors, opts.limits.Descriptors
	if opts.dial == nil && most > 0 && need > most {
		return nil, fmt.Errorf("%d open files are needed in its process, and its limit is %d", need, most)
	}
	clock, err := opts.clock(a.Epoch)
	if err != nil {
		return nil, err
	}
	told := newTeller()
	cfg, err := a.config(opts)
	if err != nil {
		return nil, err
	}
	cfg.Observer, cfg.Samples, cfg.Mirror, cfg.Clock, cfg.Logger = told, told, told, clock, opts.Logger
	f, err := fleet.New(cfg)
	if err != nil {
		return nil, err
	}
	return &generator{opts: opts, clock: clock, hand: handOf(&cfg), fleet: f, told: told, begin: make(chan sample.Moment, 1), stopped: make(chan struct{})}, nil
}

// ErrRunGone is why a generator ends whose run has.
var ErrRunGone = errors.New("the run is gone")

var errStopped = errors.New("the run says stop")

// run simulates until the run says stop, and tells it all.
func (g *generator) run(ctx context.Context, frames *wire.Reader, out io.Writer) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var reading sync.WaitGroup // not joined: see Generate
	reading.Go(func() { end(g.obey(frames)) })

	writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWriting()
	var writer errgroup.Group // told's one goroutine, which stopWriting ends
	writer.Go(func() error {
		err := g.told.run(writing, out)
		if err != nil {
			end(err)
		}
		return err
	})
	g.told.frame(wire.Hello, []byte{wire.Version})
	err := g.simulate(ctx)
	switch cause := context.Cause(ctx); {
	case err != nil:
		g.told.frame(wire.Fault, []byte(err.Error()))
	case errors.Is(cause, errStopped):
		g.tellStats()
		g.told.frame(wire.Ended, nil)
	default:
		err = cause
	}
	stopWriting()
	return errors.Join(err, writer.Wait())
}

// obey does what the run says, and returns why there is no more to obey.
func (g *generator) obey(frames *wire.Reader) error {
	var own collector
	for {
		kind, payload, err := frames.Next()
		if err != nil {
			return errors.Join(ErrRunGone, err)
		}
		switch kind {
		case wire.Connect:
			begin, err := decodeMoment(payload)
			if err != nil {
				return err
			}
			select {
			case g.begin <- begin:
			default: // it has begun
			}
		case wire.Collect:
			own.collect()
		case wire.Settle:
			g.told.frame(wire.Settled, payload)
		case wire.Stop:
			return errStopped
		default:
			return fmt.Errorf("the run said frame %d", kind)
		}
	}
}

// simulate waits for the ramp's begin and runs the devices until ctx ends. An
// error is what went wrong here.
func (g *generator) simulate(ctx context.Context) error {
	var begin sample.Moment
	select {
	case <-ctx.Done():
		return nil
	case begin = <-g.begin:
	}
	outer, outerCtx := errgroup.WithContext(context.WithoutCancel(ctx))
	outerCtx, stop := context.WithCancel(outerCtx)
	defer stop()
	watch := newHealth(g.clock, g.hand, func(h *sample.Health) { g.told.frame(wire.Health, wire.AppendHealth(nil, h)) })
	outer.Go(func() error { return watch.run(outerCtx) })
	outer.Go(func() error { return g.opts.wakes(outerCtx, g.clock, watch.wake) })
	outer.Go(func() error { return g.account(outerCtx) })

	devices, stopDevices := mergeContexts(ctx, outerCtx)
	err := g.fleet.RunFrom(devices, begin)
	stopDevices()
	stop()
	return errors.Join(err, outer.Wait())
}

// account tells how the devices are, and once that they are ready, until ctx
// ends. An error says that this process cannot keep to its GOMEMLIMIT.
func (g *generator) account(ctx context.Context) error {
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	ready := g.fleet.Ready()
	var heaps heaps
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ready:
			ready = nil
			g.tellStats()
			g.told.frame(wire.Ready, nil)
		case <-tick.C:
			g.tellStats()
			if n%int(time.Second/observeEvery) != 0 {
				continue
			}
			if now := goheap.Read(); heaps.note(now) {
				return fmt.Errorf("starved of memory: %s; raise GOMEMLIMIT, use fewer devices, or more generators (--generators)", overLimit("it", now))
			}
		}
	}
}

func (g *generator) tellStats() {
	stats, err := json.Marshal(countsOf(g.fleet))
	if err != nil {
		panic("harness: counts that are no JSON: " + err.Error())
	}
	g.told.frame(wire.Stats, stats)
}

package harness

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
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
	logger   *slog.Logger
	parts    []*part

	readers sync.WaitGroup
	failed  chan struct{} // closed when a generator has failed; failure says how
	failing sync.Once
	failure error
	readies atomic.Int32
	settles atomic.Uint64 // Settle was called so often
	ready   chan struct{}
}

// part is one generator with what it has told.
type part struct {
	fleet.Part
	split    *split
	process  *Generator
	stopping atomic.Bool   // it is to end
	hello    chan struct{} // closed when it has made its devices
	over     chan struct{} // closed when it tells nothing any more
	counts   atomic.Pointer[counts]

	mu      sync.Mutex               // guards settles; never held across a write
	settles map[uint64]chan struct{} // those that the generator has not answered yet

	// The fields below belong to the goroutine that reads.
	events  wire.Decoder
	tickets map[uint64]ticket // of receipts, by number, for which there is more to come. One that is never answered stays
}

// ticket is the scheduler's name of an execution.
type ticket struct {
	id   uint64
	kind sample.ReceiptKind
}

// number counts generators from 1, as people do.
func (p *part) number() int { return p.Nth + 1 }

func (p *part) String() string {
	return fmt.Sprintf("generator %d of %d (devices %d to %d)", p.number(), p.Of, p.From, p.To-1)
}

// startGenerators starts the children that have a part each and tells them what
// to simulate. close must be called, also after an error.
func (r *run) startGenerators(ctx context.Context, f *fleet.Fleet, observer fleet.Observer) (*split, error) {
	sp := &split{
		clock: r.clock, fleet: f, observer: observer, samples: r.samples, logger: r.opts.Logger,
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

// stop has all generators disconnect and waits until they have.
func (sp *split) stop() error {
	for _, p := range sp.parts {
		p.stopping.Store(true)
		_ = tell(p.process.In, wire.Stop, nil) // fails only if it is gone
	}
	timer := time.NewTimer(generatorStop)
	defer timer.Stop()
	for _, p := range sp.parts {
		select {
		case <-p.over:
		case <-timer.C:
			return fmt.Errorf("%v did not disconnect its devices within %v", p, generatorStop)
		}
	}
	return nil
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

// collect lets the collectors run: nothing is due.
func (sp *split) collect() {
	for _, p := range sp.parts {
		_ = tell(p.process.In, wire.Collect, nil) // fails only if it is gone, which its reader tells
	}
	runtime.GC()
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

// counts are what a generator tells of its devices, some times a second.
type counts struct {
	fleet.Stats
	Short   int           `json:",omitempty"` // see fleet.Fleet.Short
	Number  syscall.Errno `json:",omitempty"` // of the newest such error
	Because string        `json:",omitempty"` // its words
}

func countsOf(f *fleet.Fleet) counts {
	c := counts{Stats: f.Stats()}
	var err error
	if c.Short, err = f.Short(); err != nil {
		errors.As(err, &c.Number)
		c.Because = unwrapped(err).Error()
	}
	return c
}

// shortage is an error of another process.
type shortage struct {
	text   string
	number syscall.Errno
}

func (e *shortage) Error() string { return e.text }
func (e *shortage) Unwrap() error { return e.number }

func (c *counts) shortage() error { return &shortage{c.Because, c.Number} }

// unheard words why the generator could not be told something: most likely it
// is gone, and its reader is about to know why.
func (p *part) unheard(err error) error {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-p.split.failed:
		return p.split.failure
	case <-timer.C:
		return p.fault(err)
	}
}

// fault words an error of the generator's.
func (p *part) fault(err error) error { return fmt.Errorf("%v: %w", p, err) }

// read takes what the generator tells until it ends, and says so if it should not have.
func (p *part) read() {
	defer close(p.over)
	err := p.follow(wire.NewReader(p.process.Out))
	if err == nil || p.stopping.Load() {
		return
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%v %w", p, ErrGeneratorDied)
		if ended := p.process.Stop(); ended != nil {
			err = fmt.Errorf("%w: %w", err, ended)
		}
	} else {
		err = p.fault(err)
	}
	p.split.failing.Do(func() {
		p.split.failure = err
		close(p.split.failed)
	})
}

// follow takes frames until the last one.
func (p *part) follow(frames *wire.Reader) error {
	greeted, ready := false, false
	for {
		kind, payload, err := frames.Next()
		if err != nil {
			return err
		}
		if !greeted && kind != wire.Hello && kind != wire.Fault {
			return fmt.Errorf("it began with frame %d", kind)
		}
		switch kind {
		case wire.Hello:
			if len(payload) != 1 || payload[0] != wire.Version || greeted {
				return fmt.Errorf("it does not speak version %d", wire.Version)
			}
			greeted = true
			close(p.hello)
		case wire.Events:
			err = p.events.Decode(payload, p.happened)
		case wire.Stats:
			now := new(counts)
			err = json.Unmarshal(payload, now)
			p.counts.Store(now)
		case wire.Health:
			err = p.fares(payload)
		case wire.Ready:
			if !ready && int(p.split.readies.Add(1)) == len(p.split.parts) {
				close(p.split.ready)
			}
			ready = true
		case wire.Settled:
			err = p.settled(payload)
		case wire.Fault:
			return errors.New(string(payload))
		case wire.Ended:
			return nil
		default:
			err = fmt.Errorf("it said frame %d", kind)
		}
		if err != nil {
			return err
		}
	}
}

// Settle waits until all is passed on that has happened before the call, so
// that the end of a repetition does not overtake what its devices tell.
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
			sp.logger.Warn("a generator does not tell what has happened", "generator", p.number())
			return
		}
	}
}

// settle asks for an answer when all is told. Its channel is closed then.
func (p *part) settle(n uint64) <-chan struct{} {
	answer := make(chan struct{})
	p.mu.Lock()
	p.settles[n] = answer
	p.mu.Unlock()
	_ = tell(p.process.In, wire.Settle, binary.AppendUvarint(nil, n)) // fails only if it is gone, which its reader tells
	return answer
}

func (p *part) settled(payload []byte) error {
	n, _ := binary.Uvarint(payload)
	p.mu.Lock()
	defer p.mu.Unlock()
	answer, ok := p.settles[n]
	if !ok {
		return errors.New("it answers what nobody asked")
	}
	delete(p.settles, n)
	close(answer)
	return nil
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

// fares records the generator's account of itself.
func (p *part) fares(payload []byte) error {
	h, err := wire.DecodeHealth(payload)
	if err != nil {
		return err
	}
	h.Generator = uint32(p.number())
	p.split.samples.Write(h)
	return nil
}

// happened passes an event on to whom a fleet of this process would tell it.
func (p *part) happened(e *wire.Event) error {
	sp := p.split
	switch e.What {
	case wire.Answered, wire.Finished:
		p.ended(e)
		return nil
	}
	if !p.has(e.Device) {
		return fmt.Errorf("it tells of device %d, which is not its own", e.Device)
	}
	switch e.What {
	case wire.Received:
		if id := sp.observer.Received(e.Receipt); id != 0 {
			p.tickets[e.Number] = ticket{id, e.Receipt.Kind}
		}
	case wire.Attempted:
		sp.samples.Connect(&e.Attempt)
	case wire.Lost:
		sp.samples.Lost(&e.Loss)
	case wire.Online, wire.Offline:
		sp.fleet.Moved(e.Device, e.What == wire.Online)
	case wire.Reported:
		sp.fleet.Reported(e.Device, e.Patch)
	}
	return nil
}

// ended passes on what became of a receipt that belongs to an execution.
func (p *part) ended(e *wire.Event) {
	t, ok := p.tickets[e.Number]
	if !ok {
		return
	}
	if e.What == wire.Finished || t.kind == sample.MethodReceipt {
		delete(p.tickets, e.Number)
	}
	if e.What == wire.Finished {
		p.split.observer.Finished(t.id, e.At)
	} else {
		p.split.observer.Answered(t.id, e.Status, e.At)
	}
}

// has reports whether a device is one of the generator's.
func (p *part) has(device uint32) bool { return p.From <= int(device) && int(device) < p.To }

// assign returns what a generator is to simulate.
func (r *run) assign(at fleet.Part) ([]byte, error) {
	epoch, err := r.clock.Share()
	if err != nil {
		return nil, err
	}
	s := r.scenario
	a := assignment{
		Version: wire.Version, Part: at, Epoch: epoch, Seed: s.Seed, HostName: r.hub.ConnectionString.HostName,
		Connect: s.Connect, Sources: r.sources.addrs, Reach: reach{Addr: r.hub.addr, Authority: r.hub.authority},
	}
	for _, g := range s.Fleet {
		group := assignedGroup{
			Name: g.Name, Devices: g.Devices, ID: g.ID.Template.String(), Echo: g.EchoDesired, Driver: g.Driver,
			Methods: make(map[string]assignedMethod, len(g.Methods)),
		}
		for name, m := range g.Methods {
			group.Methods[name] = assignedMethod{methodOf(m), string(m.Response)}
		}
		a.Groups = append(a.Groups, group)
	}
	if r.remote != nil {
		target := *s.Target.IoTHub
		target.ConnectionString = "" // devices have no use for it
		a.Reach = reach{Transport: r.hub.carrier, IoTHub: &target}
		a.Secret = r.opts.FleetSecret.Reveal()
	}
	return json.Marshal(&a)
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

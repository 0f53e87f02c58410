package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/internal/sample"
	"muster/internal/template"
)

// drainGrace is how long handlers that are sending at the end of a run may take
// before their connections are closed under them.
const drainGrace = time.Second

// Fleet is the devices of one run.
type Fleet struct {
	cfg     Config // resolved
	part    Part   // what of it is run here
	groups  []group
	devices []device
	calls   []atomic.Uint32 // by group, device and method: calls so far, which key the draws
	ids     idTable
	pool    *pool
	short   shortages

	attempts attempts        // to open a session; Run closes it
	running  atomic.Bool     // Run was called
	run      context.Context // Run's; devices that come back do so while it lasts
	tasks    tasks           // attempts to connect and backoffs; Run closes and joins it
	handlers sync.WaitGroup  // message handlers; sessions admit them until they end, Run joins them

	ready   chan struct{} // closed by the device that settles last
	settled atomic.Int64  // devices whose first connect is decided
	reached atomic.Int64  // devices that were online at least once
	states  [stateCount]atomic.Int64
	counts  counts
}

// counts are events since the start.
type counts struct {
	methods, unhandled, silenced, notifications, stale, echoFailed, unsent, unexpected, left, renewed atomic.Int64
}

// group is a Group in its place in the fleet.
type group struct {
	Group
	first   uint32 // the index of its first device in the fleet
	methods map[string]*method
	calls   int // where its devices' counters begin in Fleet.calls
}

// method is a Method with what its draws need.
type method struct {
	Method
	name   string
	stream uint64
	place  int // among its group's methods
}

// Stats is a snapshot of a fleet. Its state counts are read one by one, so
// while devices change state their sum may be off by a few.
type Stats struct {
	Devices int

	// Devices by state.
	Idle, Connecting, Online, Offline, Closed int64
	// Failed counts devices that were not online within Connect.Timeout of
	// their first attempt, nor since.
	Failed int64

	Connections     int   // open now
	Attempts        int64 // to open a connection
	Refused         int64 // attempts that a CONNACK refused
	ConnectFailures int64 // attempts that ended without a connection, the refused among them
	Lost            int64 // connections that ended by themselves
	Left            int64 // connections that devices ended after a method, to come back
	Renewed         int64 // connections that devices ended to come back with a new token

	MethodCalls   int64 // received
	Unhandled     int64 // calls of a method that the group does not have
	Silenced      int64 // calls that the silence rate left without an answer
	Notifications int64 // desired notifications received
	Stale         int64 // notifications dropped: older than what the device had read or seen
	EchoFailures  int64 // reported PATCHes that were not confirmed
	Unsent        int64 // answers that could not be written
	Unexpected    int64 // messages on topics that no device expects
}

// Add adds the counts of another part of the fleet.
func (s *Stats) Add(o *Stats) {
	s.Devices += o.Devices
	s.Connections += o.Connections
	for _, c := range [...]struct{ to, of *int64 }{
		{&s.Idle, &o.Idle},
		{&s.Connecting, &o.Connecting},
		{&s.Online, &o.Online},
		{&s.Offline, &o.Offline},
		{&s.Closed, &o.Closed},
		{&s.Failed, &o.Failed},
		{&s.Attempts, &o.Attempts},
		{&s.Refused, &o.Refused},
		{&s.ConnectFailures, &o.ConnectFailures},
		{&s.Lost, &o.Lost},
		{&s.Left, &o.Left},
		{&s.Renewed, &o.Renewed},
		{&s.MethodCalls, &o.MethodCalls},
		{&s.Unhandled, &o.Unhandled},
		{&s.Silenced, &o.Silenced},
		{&s.Notifications, &o.Notifications},
		{&s.Stale, &o.Stale},
		{&s.EchoFailures, &o.EchoFailures},
		{&s.Unsent, &o.Unsent},
		{&s.Unexpected, &o.Unexpected},
	} {
		*c.to += *c.of
	}
}

// New computes the fleet that cfg describes. It opens nothing. The error tells
// all faults, ids that two devices share among them.
func New(cfg Config) (*Fleet, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	f := &Fleet{cfg: cfg.resolved(), part: cfg.part(), ready: make(chan struct{})}
	f.devices = make([]device, cfg.devices())
	f.pool = newPool(&f.cfg)
	f.attempts.timeout = f.cfg.Connect.Timeout
	calls := 0
	first := uint32(0)
	for _, g := range f.cfg.Groups {
		f.groups = append(f.groups, newGroup(g, f.cfg.Driver, first, calls))
		first += uint32(g.Devices)
		calls += g.Devices * len(g.Methods)
	}
	f.calls = make([]atomic.Uint32, calls)
	f.states[idle].Store(int64(f.part.len()))
	if cfg.Part == nil { // else whoever runs the other parts has checked the whole
		if err := f.index(); err != nil {
			return nil, fmt.Errorf("fleet: %w", err)
		}
	}
	if f.part.len() == 0 {
		close(f.ready)
	}
	return f, nil
}

func newGroup(g Group, driver Driver, first uint32, calls int) group {
	if g.Driver == nil {
		g.Driver = driver
	}
	resolved := group{Group: g, first: first, calls: calls, methods: make(map[string]*method, len(g.Methods))}
	for name, m := range g.Methods {
		resolved.methods[name] = &method{Method: m.resolved(), name: name, stream: methodStream(name), place: len(resolved.methods)}
	}
	return resolved
}

// Len returns how many devices the fleet has. Their indices count from 0.
func (f *Fleet) Len() int { return len(f.devices) }

// Ready is closed once each device was online or Connect.Timeout has passed
// since its first attempt began.
func (f *Fleet) Ready() <-chan struct{} { return f.ready }

// group returns the group of a device and what its templates see.
func (f *Fleet) group(device uint32) (*group, template.Vars) {
	n := sort.Search(len(f.groups), func(n int) bool { return f.groups[n].first > device }) - 1
	for f.groups[n].Devices == 0 { // shares its first with the next
		n--
	}
	g := &f.groups[n]
	return g, template.Vars{Index: int(device - g.first), Group: g.Name, Seed: f.cfg.Seed}
}

// Run connects the devices and keeps them online until ctx ends. Then it closes
// every connection and returns nil when nothing of the fleet is left running.
// What happens to devices is data and no error.
func (f *Fleet) Run(ctx context.Context) error { return f.RunFrom(ctx, 0) }

// RunFrom is Run with a ramp that began at a moment, which is the same for all
// parts of a fleet. Zero is now.
func (f *Fleet) RunFrom(ctx context.Context, begin sample.Moment) error {
	if f.cfg.Dial == nil || slices.ContainsFunc(f.groups, func(g group) bool { return g.Driver == nil }) {
		return errors.New("run fleet: driver and dial are required")
	}
	if f.running.Swap(true) {
		return errors.New("run fleet: it ran before")
	}
	f.run = ctx
	if !begin.Seen() {
		begin = f.cfg.Clock.Now()
	}
	f.connectAll(ctx, begin)
	<-ctx.Done()
	f.shutDown()
	return nil
}

// firstAttempt is a device's, which has a place.
type firstAttempt struct {
	device uint32
	due    sample.Moment
}

// connectAll lets each device make its first attempt. A goroutine that is done
// with one makes another: its stack has grown already.
func (f *Fleet) connectAll(ctx context.Context, begin sample.Moment) {
	next := make(chan firstAttempt) // taken by who waits for one, or by nobody
	defer close(next)
	f.pool.ramp(ctx, begin, f.part, f.cfg.Connect.Rate, func(i int, due sample.Moment) {
		first := firstAttempt{uint32(i), due}
		select {
		case next <- first:
			return
		default:
		}
		started := f.tasks.start(func() {
			for more := true; more; first, more = <-next {
				f.connect(ctx, first.device, first.due)
			}
		})
		if !started {
			f.pool.release()
		}
	})
}

// shutDown ends what Run started: the attempts, then the sessions, so that no
// handler starts any more, then the connections, and joins each.
func (f *Fleet) shutDown() {
	f.attempts.endAll(errRunOver)
	f.tasks.close()
	f.attempts.close()
	for i := f.part.From; i < f.part.To; i++ {
		if s := f.devices[i].session.Load(); s != nil {
			s.end(errRunOver)
		}
	}
	f.drain()
	f.pool.Close()
	f.handlers.Wait()
	for i := f.part.From; i < f.part.To; i++ {
		f.move(uint32(i), closed)
	}
}

// drain gives handlers that are writing drainGrace to be done with it.
func (f *Fleet) drain() {
	drained := make(chan struct{})
	var waiting errgroup.Group // joined by the wait for handlers, which follows in shutDown
	waiting.Go(func() error {
		defer close(drained)
		f.handlers.Wait()
		return nil
	})
	grace := time.NewTimer(drainGrace)
	defer grace.Stop()
	select {
	case <-drained:
	case <-grace.C:
	}
}

// Stats returns a snapshot.
func (f *Fleet) Stats() Stats {
	c, p := &f.counts, f.pool
	return Stats{
		Devices:         f.part.len(),
		Idle:            f.states[idle].Load(),
		Connecting:      f.states[connecting].Load(),
		Online:          f.states[online].Load(),
		Offline:         f.states[offline].Load() + f.states[backoff].Load(),
		Closed:          f.states[closed].Load(),
		Failed:          max(0, f.settled.Load()-f.reached.Load()),
		Connections:     p.open(),
		Attempts:        p.attempts.Load(),
		Refused:         p.refused.Load(),
		ConnectFailures: p.failed.Load(),
		Lost:            p.lost.Load(),
		Left:            c.left.Load(),
		Renewed:         c.renewed.Load(),
		MethodCalls:     c.methods.Load(),
		Unhandled:       c.unhandled.Load(),
		Silenced:        c.silenced.Load(),
		Notifications:   c.notifications.Load(),
		Stale:           c.stale.Load(),
		EchoFailures:    c.echoFailed.Load(),
		Unsent:          c.unsent.Load(),
		Unexpected:      c.unexpected.Load(),
	}
}

// tasks is a set of goroutines that can be closed against new ones while they
// run: a plain WaitGroup must not grow from zero while it is waited for.
type tasks struct {
	mu     sync.Mutex // guards closed; held across the start of a goroutine, never its work
	closed bool
	group  sync.WaitGroup
}

// start runs task in a goroutine and reports whether it did: not after close.
func (t *tasks) start(task func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.group.Go(task)
	}
	return !t.closed
}

// close waits for the tasks that run and lets no other start.
func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.group.Wait()
}

package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	faultmodel "muster/internal/fault"
)

// Fault is something that a hub does wrong on purpose: see Hub.Inject and docs/hub.md. Its JSON is strict.
type Fault = faultmodel.Fault

// The kinds of faults.
const (
	FaultLatency = faultmodel.Latency // what is sent comes later, in order
	FaultDrop    = faultmodel.Drop    // connections are cut, at the fault's begin and while it lasts
	FaultErrors  = faultmodel.Errors  // REST requests are answered with an error and not carried out
	FaultRefuse  = faultmodel.Refuse  // devices that connect are refused
	FaultSilent  = faultmodel.Silent  // what comes is accepted, not carried out and never answered
	FaultRestart = faultmodel.Restart // everything is cut, and nothing is accepted until the fault is over
)

// The parts of a hub that a fault may strike. What each kind strikes without one is the first that it can.
const (
	FaultREST    = faultmodel.REST    // requests of services, but for muster's own below /muster/
	FaultConnect = faultmodel.Connect // connections of devices
	FaultMethods = faultmodel.Methods // method requests on their way to devices
	FaultTwins   = faultmodel.Twins   // answers to twin requests of devices, and notifications
)

// FaultStatus is how a fault stands.
type FaultStatus struct {
	ID     string
	Fault  Fault // with its defaults
	Begun  time.Time
	Lasted time.Duration // so far, or until it was over
	Over   bool
	Struck int64 // how often
}

// MarshalJSON implements json.Marshaler.
func (s FaultStatus) MarshalJSON() ([]byte, error) {
	return json.Marshal(faultDocument{s.ID, s.Over, s.Struck, s.Begun.UTC(), s.Lasted.Round(time.Microsecond).String(), s.Fault})
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *FaultStatus) UnmarshalJSON(src []byte) error {
	var doc faultDocument
	if err := json.Unmarshal(src, &doc); err != nil {
		return err
	}
	lasted, err := time.ParseDuration(doc.Lasted)
	if err != nil {
		return fmt.Errorf("lasted: %w", err)
	}
	*s = FaultStatus{ID: doc.ID, Fault: doc.Fault, Begun: doc.Begun, Lasted: lasted, Over: doc.Over, Struck: doc.Struck}
	return nil
}

type faultDocument struct {
	ID     string    `json:"id"`
	Over   bool      `json:"over"`
	Struck int64     `json:"struck"`
	Begun  time.Time `json:"begun"`
	Lasted string    `json:"lasted"`
	Fault  Fault     `json:"fault"`
}

const (
	maxFaults     = 100 // that are not over
	maxPastFaults = 100 // that are remembered
)

// faults are those of one hub. A hub without one pays for them with one load of on wherever one could strike.
//
// mu may be taken under a device's lock, and a connection's or the timers' may be taken under it: never a device's.
type faults struct {
	hub *Hub
	on  atomic.Bool // there is a fault, or something that one has held back

	mu       sync.Mutex // guards the fields below
	ids      int
	active   []*injected // in the order in which they began
	past     []*injected // the last ones that are over
	lines    map[*conn]*line
	services map[net.Conn]uint64 // open connections of REST servers, in order
	opened   uint64
}

// injected is a fault of a hub. faults.mu guards all but what never changes.
type injected struct {
	deadline // of its end, as far as that is known

	Fault // never changes, nor do the next three
	hub   *Hub
	id    string
	over  chan struct{} // closed when it is

	begun, ended time.Time
	struck       int64
	met          map[string]uint64 // by device: how often, where that decides anything
	silenced     map[*conn]struct{}
}

// Inject makes the hub do something wrong from now on, for as long as the fault says or until it is cleared, and returns
// the fault's id. An error says, by member, what is wrong with the fault; nothing has happened then.
//
// Which things a share or a range of delays strikes follows from the fault's seed, the device and how often that has met the
// fault. Requests to /muster/ are never struck. Connections of services are cut if one of the hub's own servers has them.
func (h *Hub) Inject(f Fault) (id string, err error) {
	s, err := h.inject(f, nil)
	return s.ID, err
}

// inject is Inject by a request on a connection of the hub's own, which is spared.
func (h *Hub) inject(f Fault, spared net.Conn) (FaultStatus, error) {
	if err := f.Valid(); err != nil {
		return FaultStatus{}, fmt.Errorf("inject fault: %w", err)
	}
	fs := &h.faults
	in := &injected{Fault: f.Resolved(), hub: h, over: make(chan struct{}), begun: time.Now()}
	if !fs.begin(in) {
		return FaultStatus{}, fmt.Errorf("inject fault: %d are active already", maxFaults)
	}
	switch f.Kind {
	case FaultDrop:
		fs.drop(in, spared)
	case FaultRestart:
		fs.restart(in, spared)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.Once() {
		fs.endLocked(in)
	}
	return in.statusLocked(), nil
}

// begin makes a fault active, unless too many are.
func (fs *faults) begin(in *injected) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if len(fs.active) >= maxFaults {
		return false
	}
	fs.ids++
	in.id = strconv.Itoa(fs.ids)
	fs.active = append(fs.active, in)
	fs.on.Store(true)
	if in.For > 0 {
		fs.hub.timers.arm(&in.deadline, in.begun.Add(in.For), in)
	}
	return true
}

// expired is told by the timers that the fault's time is over.
func (in *injected) expired(time.Time) {
	fs := &in.hub.faults
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.endLocked(in)
}

// endLocked ends a fault, unless it is over. Connections that it has kept waiting are closed: they never get an answer.
func (fs *faults) endLocked(in *injected) {
	i := slices.Index(fs.active, in)
	if i < 0 {
		return
	}
	fs.active = slices.Delete(fs.active, i, i+1)
	fs.past = append(fs.past, in)
	fs.past = fs.past[max(0, len(fs.past)-maxPastFaults):]
	in.ended = time.Now()
	close(in.over)
	for c := range in.silenced {
		c.end(endFault)
	}
	in.silenced, in.met = nil, nil
	fs.hub.timers.disarm(&in.deadline)
	fs.settleLocked()
}

// settleLocked looks whether anything can be struck or is held back.
func (fs *faults) settleLocked() { fs.on.Store(len(fs.active) > 0 || len(fs.lines) > 0) }

// ClearFault ends a fault; it reports false if there is none of that id, or it is over.
func (h *Hub) ClearFault(id string) bool {
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	i := slices.IndexFunc(h.faults.active, func(in *injected) bool { return in.id == id })
	if i >= 0 {
		h.faults.endLocked(h.faults.active[i])
	}
	return i >= 0
}

// ClearFaults ends all faults.
func (h *Hub) ClearFaults() {
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	for len(h.faults.active) > 0 {
		h.faults.endLocked(h.faults.active[0])
	}
}

// Faults returns the faults that are active and the last 100 that are over, in the order in which they began.
func (h *Hub) Faults() []FaultStatus {
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	all := make([]FaultStatus, 0, len(h.faults.active)+len(h.faults.past))
	for _, in := range slices.Concat(h.faults.past, h.faults.active) {
		all = append(all, in.statusLocked())
	}
	slices.SortFunc(all, func(a, b FaultStatus) int { return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID)) })
	return all
}

func (in *injected) statusLocked() FaultStatus {
	s := FaultStatus{ID: in.id, Fault: in.Fault, Begun: in.begun, Struck: in.struck, Over: !in.ended.IsZero()}
	if s.Lasted = time.Since(in.begun); s.Over {
		s.Lasted = in.ended.Sub(in.begun)
	}
	return s
}

// strikeLocked says whether a thing in a fault's scope is struck, and counts it. nth is how often its device has met the
// fault before. A fault that has struck as often as it may is over.
func (fs *faults) strikeLocked(in *injected, device string) (nth uint64, struck bool) {
	if in.Share < 1 || in.DelayTo > in.Delay {
		if in.met == nil {
			in.met = make(map[string]uint64)
		}
		nth = in.met[device]
		in.met[device]++
	}
	if !in.Strikes(device, nth) {
		return nth, false
	}
	in.struck++
	if in.struck == int64(in.Count) {
		fs.endLocked(in)
	}
	return nth, true
}

// meeting is something that a fault may strike.
type meeting struct {
	part      faultmodel.Part
	operation faultmodel.Operation // of REST; "" is none of those that have a name
	device    string               // of a module: its device; "" = of none
}

// meetLocked returns the first fault of these kinds that strikes, and how often the device had met it before.
func (fs *faults) meetLocked(m meeting, kinds ...faultmodel.Kind) (struck *injected, nth uint64) {
	for _, in := range slices.Clone(fs.active) { // one that strikes for the last time is taken out
		switch {
		case !slices.Contains(kinds, in.Kind):
			continue
		case in.Kind != FaultRestart && (in.Part != m.part || !in.Covers(m.device) || !in.CoversOperation(m.operation)):
			continue
		}
		if nth, ok := fs.strikeLocked(in, m.device); ok {
			return in, nth
		}
	}
	return nil, 0
}

// meet is meetLocked.
func (fs *faults) meet(m meeting, kinds ...faultmodel.Kind) (struck *injected, nth uint64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.meetLocked(m, kinds...)
}

// await waits for a fault's end. It returns early, with an error, when ctx ends or the hub is closed.
func (in *injected) await(ctx context.Context) error {
	select {
	case <-in.over:
		return nil
	case <-in.hub.ctx.Done():
		return in.hub.ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitUp waits while the hub is away for a restart.
func (fs *faults) awaitUp(ctx context.Context) error {
	for fs.on.Load() {
		in := fs.away()
		if in == nil {
			return nil
		}
		if err := in.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// away returns the restart that the hub is away for, or nil.
func (fs *faults) away() *injected {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if i := slices.IndexFunc(fs.active, func(in *injected) bool { return in.Kind == FaultRestart }); i >= 0 {
		return fs.active[i]
	}
	return nil
}

package report

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"muster/internal/sample"
)

// Live counts what a run records while it goes on, by the rules of the report
// that is made afterwards. In a Snapshot an execution is counted when its
// repetition's book is closed, with the outcome that it has there; Running and
// a Feed have it as soon as it has ended.
//
// # Concurrency
//
// Every method may be called from any goroutine. Executions of different
// devices are counted in different places, so that two writers seldom meet; a
// snapshot holds up the writers of one place at a time, for as long as it takes
// to copy what is there.
type Live struct {
	jobs    []RunJob
	stripes [liveStripes]liveStripe

	health atomic.Pointer[sample.Health]
	hub    atomic.Pointer[sample.HubStats]

	drawing atomic.Bool // a Feed takes what was when

	mu       sync.Mutex // guards the fields below; taken a few times a second
	wakes    LiveSeries
	together together
	series   detail                       // of generator and hub, while it is drawn
	faults   map[uint32]sample.Fault      // by index
	over     map[uint32][]repetitionCurve // the last repetitions of each job whose book is closed, while it is drawn
}

// liveStripes is a power of two: a few times the usual cores.
const liveStripes = 16

type liveStripe struct {
	mu       sync.Mutex // guards the fields below
	counts   map[liveKey]*liveCount
	connects LiveSeries
	due      map[uint32]sample.Moment // of the first attempt of devices that were never ready and tried more than once
	ends     liveEnds
	_        [64]byte // keeps two stripes' locks apart
}

type liveKey struct {
	job     uint32
	outcome sample.Outcome
}

// liveCount are the executions of one job and outcome.
type liveCount struct {
	executions int64
	phases     [phases]LiveSeries
}

// LiveSeries is a set of durations.
type LiveSeries struct {
	Values *hdrhistogram.PackedHistogram // in µs; nil if there is none
	Sum    time.Duration                 // of all values
	Max    time.Duration
}

func (s *LiveSeries) record(took time.Duration) {
	us, ok := micros(took)
	if !ok {
		return
	}
	if s.Values == nil {
		s.Values = hdrhistogram.NewPacked(lowest, highest, digits)
	}
	_ = s.Values.RecordValue(us) // micros has checked the range, which is all it refuses
	s.Sum += took
	s.Max = max(s.Max, took)
}

func (s *LiveSeries) merge(o *LiveSeries) {
	if o.Values == nil {
		return
	}
	if s.Values == nil {
		*s = *o
		return
	}
	s.Values.Merge(o.Values) // of one geometry: nothing can be dropped
	s.Sum += o.Sum
	s.Max = max(s.Max, o.Max)
}

func (s *LiveSeries) clone() LiveSeries {
	c := *s
	if s.Values != nil {
		c.Values = s.Values.Clone()
	}
	return c
}

// NewLive returns a Live for a run of jobs, in the order of the samples' job
// indexes.
func NewLive(jobs []RunJob) *Live {
	return &Live{jobs: jobs, faults: map[uint32]sample.Fault{}, over: map[uint32][]repetitionCurve{}}
}

// Execution counts e if it is final, or shows an end. It keeps nothing of it.
func (l *Live) Execution(e *sample.Execution) {
	if (e.Final || e.Finished.Seen()) && int(e.Job) < len(l.jobs) {
		l.stripes[e.Device%liveStripes].add(&l.jobs[e.Job], e, l.drawing.Load())
	}
}

// Connect counts c.
func (l *Live) Connect(c *sample.Connect) {
	l.stripes[c.Device%liveStripes].addConnect(c, l.drawing.Load())
}

// Write counts a record of another kind, if it is of one that Snapshot has.
func (l *Live) Write(rec sample.Record) {
	switch r := rec.(type) {
	case *sample.Health:
		l.addHealth(r)
	case *sample.HubStats:
		l.addHub(r)
	case *sample.Targets:
		l.begin(r)
	case *sample.Repetition:
		l.closed(r)
	case *sample.Fault:
		l.mu.Lock()
		l.faults[r.Index] = *r
		l.mu.Unlock()
	}
}

func (l *Live) addHub(r *sample.HubStats) {
	kept := *r
	l.hub.Store(&kept)
	if l.drawing.Load() {
		l.mu.Lock()
		l.series.addHub(r)
		l.mu.Unlock()
	}
}

func (l *Live) addHealth(r *sample.Health) {
	l.mu.Lock()
	for _, w := range r.Wakes {
		l.wakes.record(w.Delay)
	}
	all := l.together.add(r)
	if all != nil && l.drawing.Load() {
		l.series.addHealth(all)
	}
	l.mu.Unlock()
	if all != nil {
		kept := *all
		kept.Wakes = nil
		l.health.Store(&kept)
	}
}

func (s *liveStripe) add(job *RunJob, e *sample.Execution, drawn bool) {
	m, outcome := momentsOf(e), e.Outcome
	if outcome == sample.Open {
		outcome = sample.Unknown
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends.end(job, &m, e, drawn)
	if !e.Final {
		return
	}
	c := s.countLocked(liveKey{e.Job, outcome})
	c.executions++
	for p := range phases {
		if took, ok := job.took(&m, p); ok {
			c.phases[p].record(took)
		}
	}
}

// addConnect counts how long a device took to be ready for the first time,
// from when its first attempt was due.
func (s *liveStripe) addConnect(r *sample.Connect, drawn bool) {
	if r.Reconnect {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	due, again := s.due[r.Device]
	if !again {
		due = r.Due
	}
	if took, ok := r.Ready.Since(due); ok && r.Error == "" {
		s.connects.record(took)
		delete(s.due, r.Device)
		if drawn {
			s.ends.addReady(due, r.Ready)
		}
	} else if !again {
		if s.due == nil {
			s.due = map[uint32]sample.Moment{}
		}
		s.due[r.Device] = due
	}
}

func (s *liveStripe) countLocked(key liveKey) *liveCount {
	c := s.counts[key]
	if c == nil {
		if s.counts == nil {
			s.counts = map[liveKey]*liveCount{}
		}
		c = new(liveCount)
		s.counts[key] = c
	}
	return c
}

// copyTo merges what the stripe has into all and connects. It copies under the
// lock and merges outside.
func (s *liveStripe) copyTo(all map[liveKey]*liveCount, connects *LiveSeries) {
	copied := map[liveKey]*liveCount{}
	s.mu.Lock()
	connected := s.connects.clone()
	for key, c := range s.counts {
		own := &liveCount{executions: c.executions}
		for p := range phases {
			own.phases[p] = c.phases[p].clone()
		}
		copied[key] = own
	}
	s.mu.Unlock()
	connects.merge(&connected)
	for key, c := range copied {
		sum := all[key]
		if sum == nil {
			all[key] = c
			continue
		}
		sum.executions += c.executions
		for p := range phases {
			sum.phases[p].merge(&c.phases[p])
		}
	}
}

// LiveJob are the executions of one job that ended in one way.
type LiveJob struct {
	Job        string
	Outcome    string
	Executions int64
	Phases     map[string]LiveSeries // by name, those that were seen
}

// Snapshot is what a Live has counted up to a moment.
type Snapshot struct {
	Jobs     []LiveJob // by job and outcome, those that there are
	Connects LiveSeries
	Wakes    LiveSeries
	Health   *sample.Health   // the generator's last account of itself, all processes together, without its wakes; nil before the first
	Hub      *sample.HubStats // the hub's; nil before the first
}

// Snapshot returns what was counted so far. It is the caller's.
func (l *Live) Snapshot() *Snapshot {
	all, s := map[liveKey]*liveCount{}, &Snapshot{Health: l.health.Load(), Hub: l.hub.Load()}
	for i := range l.stripes {
		l.stripes[i].copyTo(all, &s.Connects)
	}
	l.mu.Lock()
	s.Wakes = l.wakes.clone()
	l.mu.Unlock()
	for i := range l.jobs {
		for _, o := range sample.Outcomes {
			if c := all[liveKey{uint32(i), o}]; c != nil {
				s.Jobs = append(s.Jobs, c.named(l.jobs[i].Name, o))
			}
		}
	}
	return s
}

func (c *liveCount) named(job string, o sample.Outcome) LiveJob {
	out := LiveJob{Job: job, Outcome: o.String(), Executions: c.executions, Phases: map[string]LiveSeries{}}
	for p := range phases {
		if c.phases[p].Values != nil {
			out.Phases[p.String()] = c.phases[p]
		}
	}
	return out
}

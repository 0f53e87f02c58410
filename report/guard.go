package report

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"muster/internal/expr"
	"muster/internal/sample"
)

// Rule is a threshold that ends a run once it does not hold.
type Rule struct {
	Expression string
	// Grace is how long it need not hold, from when the first of what it reads
	// was due.
	Grace time.Duration
}

// Guard holds rules against what a run records while it goes on, by the rules
// of the report that is made afterwards: an execution counts when its end, or
// the end of the phase that a rule reads, is recorded.
//
// Recording costs a few words of memory an execution until the next Check,
// and a bit of each device until the repetition is over. A Check costs what was
// recorded since the one before, and the histograms of the rules; the fleet's
// size has no part in it.
//
// # Concurrency
//
// Execution, Connect and Write may be called from any goroutine; those of
// different devices seldom meet. Check is for one goroutine.
type Guard struct {
	jobs    []RunJob
	groups  []groupEnd
	rules   []*guarded
	byJob   [][]uint16 // the rules that read a job
	connect []uint16   // the rules that read connects
	stripes [guardStripes]guardStripe
}

// guarded is a rule with what was measured for it.
type guarded struct {
	Rule
	*gauge
	phase    phase
	begun    sample.Moment // when the first of what it reads was due
	outcomes map[sample.Outcome]int64
	ended    int64 // executions, whatever their outcome
}

// groupEnd is a group with the first index behind it: devices are numbered by
// group.
type groupEnd struct {
	name string
	end  uint32
}

// guardStripes is a power of two: a few times the usual cores.
const guardStripes = 16

type guardStripe struct {
	mu     sync.Mutex // guards the fields below
	events []guardEvent
	seen   map[guardKey][]uint64    // a bit for each device of the stripe that was counted
	due    map[uint32]sample.Moment // of the first attempt of devices that needed more than one
	_      [64]byte                 // keeps two stripes' locks apart
}

type guardKey struct {
	rule       uint16
	repetition uint32
}

// guardEvent is a value of a rule.
type guardEvent struct {
	guardKey
	due, end sample.Moment
	took     time.Duration
	outcome  sample.Outcome
}

// NewGuard returns a Guard of a run, as run.json has it. A rule that cannot be
// read, or of which nothing is known before the run's end, is an error.
func NewGuard(run *Run, rules []Rule) (*Guard, error) {
	g := &Guard{jobs: run.Jobs, byJob: make([][]uint16, len(run.Jobs))}
	var names []string
	for i := range run.Jobs {
		names = append(names, run.Jobs[i].Name)
	}
	end := uint32(0)
	for _, group := range run.Groups {
		end += uint32(group.Devices)
		g.groups = append(g.groups, groupEnd{group.Name, end})
	}
	for _, rule := range rules {
		if err := g.addRule(rule, names); err != nil {
			return nil, fmt.Errorf("threshold %s: %w", rule.Expression, err)
		}
	}
	return g, nil
}

func (g *Guard) addRule(rule Rule, jobs []string) error {
	t, err := expr.Parse(rule.Expression)
	if err != nil {
		return err
	}
	if err := known(t, jobs); err != nil {
		return err
	}
	r, _ := t.Read(nil) // known has read it
	one := &guarded{Rule: rule, gauge: newGauge(t, r), outcomes: map[sample.Outcome]int64{}}
	n := uint16(len(g.rules))
	g.rules = append(g.rules, one)
	switch {
	case r.Of == "fleet" && r.Series != "":
		g.connect = append(g.connect, n)
		return nil
	case r.Of == "jobs":
		if r.Series != "" {
			one.phase = phase(slices.Index(phaseNames[:], r.Series))
		}
		at := slices.Index(jobs, r.Job)
		g.byJob[at] = append(g.byJob[at], n)
		return nil
	}
	return fmt.Errorf("%s is known at the run's end only", expr.FormatPath(t.Path))
}

// groupOf returns the group of a device, "" for one that is not of the fleet.
func (g *Guard) groupOf(device uint32) string {
	for _, group := range g.groups {
		if device < group.end {
			return group.name
		}
	}
	return ""
}

// Execution counts what e tells for the first time.
func (g *Guard) Execution(e *sample.Execution) {
	if int(e.Job) >= len(g.jobs) || len(g.byJob[e.Job]) == 0 || e.Device == sample.NoDevice {
		return
	}
	m := momentsOf(e)
	for _, n := range g.byJob[e.Job] {
		rule := g.rules[n]
		if rule.t.Group != "" && rule.t.Group != g.groupOf(e.Device) {
			continue
		}
		if event, ok := rule.read(&g.jobs[e.Job], &m, e.Outcome); ok {
			event.guardKey = guardKey{n, e.Repetition}
			g.stripes[e.Device%guardStripes].add(event, e.Device/guardStripes)
		}
	}
}

// read returns what an execution says of the rule, and false if it does not
// yet.
func (r *guarded) read(j *RunJob, m *moments, outcome sample.Outcome) (guardEvent, bool) {
	event := guardEvent{due: m.due, end: m.finished, outcome: outcome}
	switch {
	case r.r.Count != "":
		return event, outcome != sample.Open
	case r.r.IsRate():
		return event, outcome == sample.Succeeded && m.finished.Seen()
	}
	took, ok := j.took(m, r.phase)
	_, event.end = m.span(r.phase)
	event.took = took
	return event, ok
}

// add keeps an event of a device, by its place in the stripe, unless there was
// one already.
func (s *guardStripe) add(e guardEvent, place uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bits := s.seen[e.guardKey]
	word, bit := place/64, uint64(1)<<(place%64)
	if int(word) >= len(bits) {
		if s.seen == nil {
			s.seen = map[guardKey][]uint64{}
		}
		bits = append(bits, make([]uint64, int(word)+1-len(bits))...)
		s.seen[e.guardKey] = bits
	}
	if bits[word]&bit != 0 {
		return
	}
	bits[word] |= bit
	s.events = append(s.events, e)
}

// Connect counts c if a device is ready for the first time.
func (g *Guard) Connect(c *sample.Connect) {
	if len(g.connect) == 0 || c.Reconnect {
		return
	}
	s := &g.stripes[c.Device%guardStripes]
	due := s.firstDue(c)
	if c.Error != "" || !c.Ready.Seen() {
		return
	}
	for _, n := range g.connect {
		if group := g.rules[n].t.Group; group == "" || group == g.groupOf(c.Device) {
			s.add(guardEvent{guardKey: guardKey{rule: n}, due: due, end: c.Ready, took: time.Duration(c.Ready - due)}, c.Device/guardStripes)
		}
	}
}

// firstDue returns when the device's first attempt was due.
func (s *guardStripe) firstDue(c *sample.Connect) sample.Moment {
	s.mu.Lock()
	defer s.mu.Unlock()
	if due, ok := s.due[c.Device]; ok {
		return due
	}
	if c.Error != "" {
		if s.due == nil {
			s.due = map[uint32]sample.Moment{}
		}
		s.due[c.Device] = c.Due
	}
	return c.Due
}

// Write lets go of what is kept of a repetition that is over. Other records
// say nothing.
func (g *Guard) Write(rec sample.Record) {
	r, ok := rec.(*sample.Repetition)
	if !ok || int(r.Job) >= len(g.byJob) {
		return
	}
	for i := range g.stripes {
		s := &g.stripes[i]
		s.mu.Lock()
		for _, n := range g.byJob[r.Job] {
			delete(s.seen, guardKey{n, r.Repetition})
		}
		s.mu.Unlock()
	}
}

// Check returns why the run is to end, "" if all rules hold at now, as far as
// is known.
func (g *Guard) Check(now sample.Moment) string {
	for i := range g.stripes {
		s := &g.stripes[i]
		s.mu.Lock()
		events := s.events
		s.events = nil
		s.mu.Unlock()
		for j := range events {
			g.rules[events[j].rule].take(&events[j])
		}
	}
	for _, rule := range g.rules {
		if why := rule.check(now); why != "" {
			return why
		}
	}
	return ""
}

// take counts an event.
func (r *guarded) take(e *guardEvent) {
	if !r.begun.Seen() || e.due < r.begun {
		r.begun = e.due
	}
	if r.r.Count == "" {
		r.add(e.repetition, e.due, e.end, e.took)
		return
	}
	r.outcomes[e.outcome]++
	r.ended++
}

// settled is how long a second is over before it is judged: what ended in it
// has been recorded by then.
const settled = time.Second

// check returns why the rule does not hold, or "".
func (r *guarded) check(now sample.Moment) string {
	if !r.begun.Seen() || now < r.begun.Add(r.Grace) {
		return ""
	}
	if r.r.Count != "" {
		return r.failure(r.t.Eval(r.counted(), true))
	}
	from := secondOf(r.begun.Add(r.Grace) + sample.Moment(time.Second) - 1)
	w := worst{t: r.t}
	r.parts(secondOf(now.Add(-settled)), func(p part) {
		if !r.t.Over.Every || p.from >= from {
			w.judge(p)
		}
	})
	if w.n == 0 || w.fails == 0 {
		return ""
	}
	result, _ := w.result(r.gauge)
	return r.failure(result)
}

// counted returns the count that the rule reads: 100 % are the executions that
// have ended.
func (r *guarded) counted() expr.Measure {
	n := int64(0)
	for o, of := range r.outcomes {
		if o.String() == r.r.Count {
			n = of
		}
	}
	return counter{n, r.ended, r.ended}.measure()
}

func (r *guarded) failure(result expr.Result) string {
	if result.OK || result.NoData {
		return ""
	}
	failed := Threshold{Expression: r.Expression, Measured: result.Measured, Note: result.Note}
	return failed.reason()
}

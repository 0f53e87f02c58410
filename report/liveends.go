package report

import (
	"time"

	"muster/internal/sample"
)

// Executions end one by one, and the book of their repetition is closed when
// the last of them is known. Who watches a run wants to see them as they end,
// so that Live counts each once more then: as its device, or the call that a
// fan-out made, tells. What the book says in the end may be something else.

// endPhases are the phases that count from due or from dispatch to the end.
// Only the hub's rows have a dispatch and a booking: these are known when the
// book is closed.
var endPhases = [...]phase{total, booking, service}

type endKey struct {
	job   uint32
	phase phase
}

type windowKey struct {
	endKey
	second int64 // of the run, in which the phase ended
}

type repetitionKey struct{ job, repetition uint32 }

// liveWindow is what ended in one second, or in some.
type liveWindow struct {
	LiveSeries
	succeeded int64
	read      int64 // of how many values p50 and p99 are
	p50, p99  int64 // µs
}

func (w *liveWindow) merge(o *liveWindow) {
	w.LiveSeries.merge(&o.LiveSeries)
	w.succeeded += o.succeeded
}

// percentiles returns the median and the 99th percentile in µs, or none. They
// are read again only after something was added.
func (w *liveWindow) percentiles() (p50, p99 int64) {
	if w.Values == nil {
		return none, none
	}
	if n := w.Values.TotalCount(); n != w.read {
		p := w.LiveSeries.percentiles(50, 99)
		w.read, w.p50, w.p99 = n, microsOr(p[0]), microsOr(p[1])
	}
	return w.p50, w.p99
}

// openRepetition are the executions of a repetition whose book is open.
type openRepetition struct {
	ended            []uint64      // a bit for each device of the stripe whose execution is counted
	due              sample.Moment // of the repetition; not seen if nobody told
	finished, booked LiveSeries    // of those that succeeded, since due
}

// note reports whether the execution of the stripe's n-th device is counted
// now, and was not before.
func (o *openRepetition) note(n uint32) bool {
	word, bit := int(n/64), uint64(1)<<(n%64)
	if word >= len(o.ended) {
		o.ended = append(o.ended, make([]uint64, word+1-len(o.ended))...)
	}
	if o.ended[word]&bit != 0 {
		return false
	}
	o.ended[word] |= bit
	return true
}

// liveEnds are what a stripe has of executions as they end.
type liveEnds struct {
	all  map[endKey]*LiveSeries
	open map[repetitionKey]*openRepetition

	// Of a run that is drawn, since the last take.
	windows    map[windowKey]*liveWindow
	due, ready map[int64]int64 // devices by the rampStep in which they were due, and ready
}

// rampStep is how exact the connect ramp of a run that goes on is.
const rampStep = 100 * time.Millisecond

// end counts e, if that shows its end, at most once in each phase. drawn says
// whether somebody draws what was when.
func (l *liveEnds) end(job *RunJob, m *moments, e *sample.Execution, drawn bool) {
	o := l.repetition(repetitionKey{e.Job, e.Repetition})
	for _, p := range endPhases {
		took, ok := job.took(m, p)
		if !ok || p != total && !e.Final {
			continue
		}
		if p == total && e.Device != sample.NoDevice && !o.note(e.Device/liveStripes) {
			continue
		}
		l.count(endKey{e.Job, p}, took)
		if drawn {
			l.draw(endKey{e.Job, p}, m, e.Outcome, took)
			o.count(p, m, e)
		}
	}
}

func (l *liveEnds) repetition(key repetitionKey) *openRepetition {
	o := l.open[key]
	if o == nil {
		if l.open == nil {
			l.open = map[repetitionKey]*openRepetition{}
		}
		o = new(openRepetition)
		l.open[key] = o
	}
	return o
}

func (l *liveEnds) count(key endKey, took time.Duration) {
	s := l.all[key]
	if s == nil {
		if l.all == nil {
			l.all = map[endKey]*LiveSeries{}
		}
		s = new(LiveSeries)
		l.all[key] = s
	}
	s.record(took)
}

// draw counts an end in its second.
func (l *liveEnds) draw(key endKey, m *moments, outcome sample.Outcome, took time.Duration) {
	_, end := m.span(key.phase)
	at := windowKey{key, max(int64(end)/int64(time.Second), 0)}
	w := l.windows[at]
	if w == nil {
		if l.windows == nil {
			l.windows = map[windowKey]*liveWindow{}
		}
		w = new(liveWindow)
		l.windows[at] = w
	}
	w.record(took)
	if outcome == sample.Succeeded {
		w.succeeded++
	}
}

// count counts an execution that succeeded for the repetition's completion.
func (o *openRepetition) count(p phase, m *moments, e *sample.Execution) {
	if e.Outcome != sample.Succeeded || p == service {
		return
	}
	due := o.due
	if !due.Seen() {
		due = e.Due
	}
	_, end := m.span(p)
	if took, ok := end.Since(due); ok && p == total {
		o.finished.record(took)
	} else if ok {
		o.booked.record(took)
	}
}

// addReady counts a device that was due and is ready.
func (l *liveEnds) addReady(due, ready sample.Moment) {
	if l.due == nil {
		l.due, l.ready = map[int64]int64{}, map[int64]int64{}
	}
	l.due[int64(due)/int64(rampStep)]++
	l.ready[int64(ready)/int64(rampStep)]++
}

// begin tells each stripe when a repetition is due.
func (l *Live) begin(r *sample.Targets) {
	if int(r.Job) >= len(l.jobs) {
		return
	}
	for i := range l.stripes {
		s := &l.stripes[i]
		s.mu.Lock()
		s.ends.repetition(repetitionKey{r.Job, r.Repetition}).due = r.Due
		s.mu.Unlock()
	}
}

// closed forgets who has ended in a repetition whose book is closed, and keeps
// its completion for who draws it.
func (l *Live) closed(r *sample.Repetition) {
	key := repetitionKey{r.Job, r.Repetition}
	var whole openRepetition
	for i := range l.stripes {
		s := &l.stripes[i]
		s.mu.Lock()
		o := s.ends.open[key]
		delete(s.ends.open, key)
		s.mu.Unlock()
		whole.merge(o)
	}
	if l.drawing.Load() && !r.Skipped && int(r.Job) < len(l.jobs) {
		c := liveCurve(&whole, int(r.Repetition)+1, r.Targeted)
		l.mu.Lock()
		l.over[r.Job] = append(l.over[r.Job], c)
		l.over[r.Job] = l.over[r.Job][max(0, len(l.over[r.Job])-mostLiveCurves):]
		l.mu.Unlock()
	}
}

func (o *openRepetition) merge(other *openRepetition) {
	if other != nil {
		o.finished.merge(&other.finished)
		o.booked.merge(&other.booked)
	}
}

// mostLiveCurves is how many repetitions that are over a page shows beside
// those that go on: the last ones.
const mostLiveCurves = 7

// liveCurve makes a completion curve of a repetition's times. It is as exact as
// a histogram is.
func liveCurve(o *openRepetition, number int, targeted int64) repetitionCurve {
	s := o.finished
	if s.Values == nil {
		s = o.booked
	}
	c := repetitionCurve{Number: number, Targeted: targeted, curve: curve{At: []Millis{}, N: []int64{}}}
	if s.Values == nil {
		return c
	}
	all, n, kept := s.Values.TotalCount(), int64(0), int64(0)
	s.Values.ForEachBucket(func(us, count int64) bool {
		n += count
		if kept == 0 || n == all || n-kept >= max(all/curveSteps, 1) {
			c.At, c.N = append(c.At, min(Millis(us*1e3), Millis(s.Max))), append(c.N, n)
			kept = n
		}
		return true
	})
	return c
}

// Running is how long executions of a job took from due so far: those of
// repetitions that go on among them, as their devices and calls tell.
type Running struct {
	Count    int64
	P50, P99 time.Duration // 0 if there is none
}

// String says how long they took; "" if there is none.
func (r *Running) String() string {
	if r.Count == 0 {
		return ""
	}
	return "p50 " + Millis(r.P50).String() + ", p99 " + Millis(r.P99).String()
}

// Running returns how long the executions of each job took so far, in the
// order of the jobs. It costs far less than a Snapshot.
func (l *Live) Running() []Running {
	all := make([]Running, len(l.jobs))
	for i := range all {
		s := l.ended(uint32(i), total)
		if s.Values == nil {
			s = l.ended(uint32(i), booking)
		}
		if s.Values == nil {
			continue
		}
		p := s.percentiles(50, 99)
		all[i] = Running{Count: s.Values.TotalCount(), P50: p[0], P99: p[1]}
	}
	return all
}

// ended merges what the stripes have of a phase.
func (l *Live) ended(job uint32, p phase) LiveSeries {
	var sum LiveSeries
	for i := range l.stripes {
		s := &l.stripes[i]
		var own LiveSeries
		s.mu.Lock()
		if all := s.ends.all[endKey{job, p}]; all != nil {
			own = all.clone()
		}
		s.mu.Unlock()
		sum.merge(&own)
	}
	return sum
}

// percentiles returns the values that so many percent do not exceed, by the
// rule of Stats.
func (s *LiveSeries) percentiles(percentiles ...float64) []time.Duration {
	out := make([]time.Duration, len(percentiles))
	for i, us := range s.Values.ValueAtPercentilesSlice(ranks(s.Values.TotalCount(), percentiles...)) {
		out[i] = min(time.Duration(us)*time.Microsecond, max(s.Max, time.Microsecond))
	}
	return out
}

// taken is what was new since the last take, and the repetitions that go on.
type taken struct {
	windows    map[windowKey]*liveWindow
	due, ready map[int64]int64
	open       map[repetitionKey]*openRepetition
}

// take returns what the stripes have, and empties them of it. Each is held up
// for as long as it takes to copy the times of the repetitions that go on.
func (l *Live) take() *taken {
	t := &taken{map[windowKey]*liveWindow{}, map[int64]int64{}, map[int64]int64{}, map[repetitionKey]*openRepetition{}}
	for i := range l.stripes {
		s := &l.stripes[i]
		open := map[repetitionKey]*openRepetition{}
		s.mu.Lock()
		windows, due, ready := s.ends.windows, s.ends.due, s.ends.ready
		s.ends.windows, s.ends.due, s.ends.ready = nil, nil, nil
		for key, o := range s.ends.open {
			open[key] = &openRepetition{finished: o.finished.clone(), booked: o.booked.clone()}
		}
		s.mu.Unlock()
		t.add(windows, open)
		addCounts(t.due, due)
		addCounts(t.ready, ready)
	}
	return t
}

func (t *taken) add(windows map[windowKey]*liveWindow, open map[repetitionKey]*openRepetition) {
	for key, w := range windows {
		if t.windows[key] == nil {
			t.windows[key] = new(liveWindow)
		}
		t.windows[key].merge(w)
	}
	for key, o := range open {
		if t.open[key] == nil {
			t.open[key] = new(openRepetition)
		}
		t.open[key].merge(o)
	}
}

func addCounts(to, from map[int64]int64) {
	for at, n := range from {
		to[at] += n
	}
}

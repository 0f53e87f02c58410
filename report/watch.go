package report

import (
	"fmt"
	"slices"
	"time"

	"muster/internal/sample"
)

const (
	// wakeEvery is how often the generator wakes itself.
	wakeEvery = time.Millisecond
	// wakeFloor is what no wake limit goes below.
	wakeFloor = Millis(time.Millisecond)
	// wakePart is which part of a phase's p99 the generator may add to it
	// before the phase tells more of the generator than of the hub.
	wakePart = 10
	// unwatchable is how long a job must last for it to need a wake. A busy
	// machine may skip a few of the millisecond's ticks, but not ten of them
	// without being saturated.
	unwatchable = 10 * wakeEvery
	// stepLimit is how far the wall clock may move against the monotonic one
	// before the hub's times are in doubt.
	stepLimit = time.Millisecond
)

// window is when one repetition of a job went on.
type window struct {
	job      int
	from, to sample.Moment
}

// windows returns when each job went on. A repetition that was never closed
// lasts to the end of the samples; one that did not run has no window.
func (b *book) windows() []window {
	var all []window
	for i := range b.jobs {
		for _, n := range b.jobs[i].inOrder() {
			rep := b.jobs[i].reps[n]
			w := window{job: i, from: rep.due(), to: b.last}
			if rep.closed != nil && rep.closed.Ended.Seen() {
				w.to = rep.closed.Ended
			}
			if w.from.Seen() && !rep.skipped() {
				all = append(all, w)
			}
		}
	}
	return all
}

// flights are the executions of one job that were on their way: between when
// the generator could first have delayed them and the last that it saw of them.
type flights struct{ starts, ends []sample.Moment }

// add takes in one execution. A job of the hub's counts from the hub's
// dispatch, if that is known: before it the generator has no part in it. A
// direct one counts from due, when the generator should have begun. What
// leaves no mark in the generator, such as a tags job of the hub's, is not
// counted.
func (f *flights) add(e *row, direct bool) {
	to := max(e.received, e.answered, e.finished)
	from := e.due
	if !direct && e.dispatched.Seen() {
		from = e.dispatched
	}
	f.addSpan(from, to)
}

// addSpan takes in what went on between two moments, if both were seen. A wake
// beside it is near enough to tell of it.
func (f *flights) addSpan(from, to sample.Moment) {
	if !from.Seen() || !to.Seen() {
		return
	}
	f.starts = append(f.starts, min(from, to)-sample.Moment(wakeEvery))
	f.ends = append(f.ends, to+sample.Moment(wakeEvery))
}

// grow makes room for so many more.
func (f *flights) grow(n int) {
	f.starts, f.ends = slices.Grow(f.starts, n), slices.Grow(f.ends, n)
}

func (f *flights) sort() {
	slices.Sort(f.starts)
	slices.Sort(f.ends)
}

// at returns how many executions were on their way at m.
func (f *flights) at(m sample.Moment) int64 {
	begun, _ := slices.BinarySearch(f.starts, m+1)
	over, _ := slices.BinarySearch(f.ends, m)
	return int64(begun - over)
}

// lasted returns for how long any was. Sorted, the n-th to begin and the n-th
// to end bound each other: nothing goes on where as many are over as began.
func (f *flights) lasted() time.Duration {
	var all time.Duration
	for i := range f.starts {
		if i+1 == len(f.starts) || f.starts[i+1] > f.ends[i] {
			all += time.Duration(f.ends[i] - f.starts[i])
		} else {
			all += time.Duration(f.starts[i+1] - f.starts[i])
		}
	}
	return all
}

// watch reads how the generators did while each job went on.
type watch struct {
	connects   flights // attempts to connect
	connecting []series
	children   int // child generators; each has its wakes by itself, behind the run's own process
	windows    []window
	jobs       map[int]*watched
	before     sample.Moment // of the health record before
	step       time.Duration // its clock step
}

// watched is how the generators did during one job. Each wake weighs as much
// as there were executions on their way: the idle minutes in which one slow
// device is awaited do not make up for the second in which all were.
type watched struct {
	flights flights
	by      []waking      // by generator
	step    time.Duration // the largest step of the wall clock, either way
}

// waking are the wakes of one generator during a job.
type waking struct {
	count int64 // wakes that weigh anything
	wakes series
}

func newWatch(windows []window, connects flights, flown []flights, children int) *watch {
	connects.sort()
	w := &watch{windows: windows, connects: connects, connecting: make([]series, 1+children), children: children, jobs: map[int]*watched{}}
	for i := range flown {
		flown[i].sort()
	}
	for _, win := range windows {
		if w.jobs[win.job] == nil {
			w.jobs[win.job] = &watched{flights: flown[win.job], by: make([]waking, 1+children)}
		}
	}
	return w
}

func (w *watch) add(rec sample.Record) {
	h, ok := rec.(*sample.Health)
	if !ok || int(h.Generator) > w.children {
		return
	}
	for _, wake := range h.Wakes {
		if n := w.connects.at(wake.Sent); n > 0 {
			w.connecting[h.Generator].recordTimes(wake.Delay, n)
		}
	}
	for _, win := range w.windows {
		if win.from <= h.At && win.to >= w.before {
			j := w.jobs[win.job]
			j.step = larger(j.step, larger(h.ClockStep, w.step))
		}
	}
	if h.Generator == 0 { // one clock is all processes'
		w.before, w.step = h.At, h.ClockStep
	}
	for _, j := range w.jobs {
		of := &j.by[h.Generator]
		for _, wake := range h.Wakes {
			if n := j.flights.at(wake.Sent); n > 0 {
				of.count++
				of.wakes.recordTimes(wake.Delay, n)
			}
		}
	}
}

func larger(a, b time.Duration) time.Duration { return max(a.Abs(), b.Abs()) }

// judge says in s whether the generator kept up.
func (w *watch) judge(s *Summary) {
	g := &s.Generator
	for i := range s.Jobs {
		if seen := w.jobs[i]; seen != nil {
			if reason := seen.judge(&s.Jobs[i], s.Thresholds, w.children); reason != "" {
				g.Reasons = append(g.Reasons, reason)
			}
		}
	}
	w.judgeConnects(s)
	if len(w.windows) == 0 && g.Wake == nil {
		g.Reasons = append(g.Reasons, "the generator recorded no wake")
	}
	g.Valid = len(g.Reasons) == 0
}

// judgeConnects warns where connect latencies are the generator's as well. A
// ramp that saturates it spoils no job.
func (w *watch) judgeConnects(s *Summary) {
	var wakes *Stats
	who := ""
	for i := range w.connecting {
		if of := w.connecting[i].stats(); of != nil && (wakes == nil || of.P99 > wakes.P99) {
			wakes, who = of, whose(i, w.children)
		}
	}
	if wakes == nil || s.Fleet.Connect == nil {
		return
	}
	if limit := max(wakeFloor, s.Fleet.Connect.P99/wakePart); wakes.P99 > limit {
		s.Warnings = append(s.Warnings, fmt.Sprintf(
			"%s was saturated while devices connected: wake p99 %s is above %s (%d %% of connect p99 %s); connect latencies hold its own waiting",
			who, wakes.P99.String(), limit.String(), 100/wakePart, s.Fleet.Connect.P99.String()))
	}
}

// judge notes in j how the generator did, and returns why the latencies that a
// threshold reads of j cannot be trusted, or "". Where no threshold reads any,
// a saturated generator is a warning: nothing that is judged depends on it.
// Of several generators the worst decides.
func (w *watched) judge(j *Job, thresholds []Threshold, children int) string {
	if w.step > stepLimit && j.onHubClock() {
		j.warn("the wall clock stepped by %s: phases on the hub's clock are in doubt", Millis(w.step).String())
	}
	if len(w.flights.starts) == 0 {
		return "" // nothing of it went through the generator
	}
	limit, basis := wakeLimit(j, thresholds)
	var wakes *Stats
	for i := range w.by {
		of := w.by[i].wakes.stats()
		switch {
		case of == nil:
			if reason := w.judgeUnwatched(j, whose(i, children)); reason != "" {
				return reason
			}
		case wakes == nil || of.P99 > wakes.P99:
			wakes = of
			j.Wake = &Wake{Count: w.by[i].count, P99: of.P99, Max: of.Max, Limit: limit, Generator: i}
		}
	}
	if wakes == nil {
		return ""
	}
	who := whose(j.Wake.Generator, children)
	switch {
	case wakes.P99 <= limit:
		return ""
	case !readsPhase(thresholds, j.Name):
		j.warn("%s was saturated: wake p99 %s is above %s (%s); no threshold reads a latency of this job, so the verdict stands, but its latencies are not the hub's",
			who, wakes.P99.String(), limit.String(), basis)
		return ""
	}
	return fmt.Sprintf("job %s: %s was saturated: wake p99 %s is above %s (%s)", j.Name, who, wakes.P99.String(), limit.String(), basis)
}

// judgeUnwatched judges a job in which a generator had no wake at all.
func (w *watched) judgeUnwatched(j *Job, who string) string {
	lasted := w.flights.lasted()
	if lasted < unwatchable {
		j.warn("it lasted %s, too short to hold a wake of %s", Millis(lasted).String(), who)
		return ""
	}
	return fmt.Sprintf("job %s: no wake of %s in the %s that it lasted: nothing shows that it kept up", j.Name, who, Millis(lasted).String())
}

func (j *Job) onHubClock() bool {
	for _, st := range j.Phases {
		if st.Clock != "" {
			return true
		}
	}
	return false
}

// wakeLimit returns the wake p99 above which j's latencies cannot be trusted,
// and where it comes from: a tenth of the p99 of the shortest phase that a threshold
// reads, of the group that it reads; of total, or else of the shortest phase
// there is, if none reads any; and no less than a millisecond.
func wakeLimit(j *Job, thresholds []Threshold) (Millis, string) {
	var s shortest
	for i := range thresholds {
		if t := &thresholds[i]; len(t.Path) == 4 && t.Path[0] == "jobs" && t.Path[1] == j.Name {
			s.addRead(j, t)
		}
	}
	if s.of == "" {
		s.add(total.String(), j.Phases[total.String()], "")
	}
	if s.of == "" {
		for p := range phases {
			s.add(p.String(), j.Phases[p.String()], "")
		}
	}
	if limit := s.p99 / wakePart; limit > wakeFloor {
		return limit, fmt.Sprintf("%d %% of %s %s", 100/wakePart, s.of, s.p99.String())
	}
	return wakeFloor, "the least limit"
}

// readsPhase reports whether a threshold reads a latency of a job, or its rate:
// a generator that waits slows down both.
func readsPhase(thresholds []Threshold, job string) bool {
	if readsRate(thresholds, job) {
		return true
	}
	for p := range phases {
		if reads(thresholds, job, p.String()) {
			return true
		}
	}
	return false
}

// shortest is the smallest p99 of some phases, and which that is; "" if none
// has samples.
type shortest struct {
	p99 Millis
	of  string
}

// addRead adds the phase that t reads. In a fleet of one group the job is all
// that group's.
func (s *shortest) addRead(j *Job, t *Threshold) {
	defer s.addMeasured(t)
	if t.Group == "" || len(j.Groups) == 0 {
		s.add(t.Path[2], j.Phases[t.Path[2]], "")
		return
	}
	for i := range j.Groups {
		if g := &j.Groups[i]; g.Name == t.Group {
			s.add(t.Path[2], g.Phases[t.Path[2]], " of group "+g.Name)
		}
	}
}

// addMeasured holds the limit to what t measured, if that is no smaller a
// quantile than the p99: of a part of the run it may be far below the p99 of the
// whole, to which a slow beginning belongs.
func (s *shortest) addMeasured(t *Threshold) {
	switch t.Path[3] {
	case "p99", "p999", "max":
	default:
		return
	}
	if t.Value == nil || t.Unit != "ms" {
		return
	}
	if measured := Millis(*t.Value * float64(time.Millisecond)); s.of != "" && measured+Millis(time.Microsecond) < s.p99 { // beyond what rounding does
		s.p99, s.of = measured, "what "+t.Expression+" measured,"
	}
}

func (s *shortest) add(phase string, st *Stats, whose string) {
	if st != nil && (s.of == "" || st.P99 < s.p99) {
		s.p99, s.of = st.P99, phase+" p99"+whose
	}
}

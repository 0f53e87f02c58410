package report

import (
	"fmt"
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

// watch reads how the generator did while each job went on.
type watch struct {
	windows []window
	jobs    map[int]*watched
	before  sample.Moment // of the health record before
	step    time.Duration // its clock step
}

// watched is how the generator did during one job.
type watched struct {
	lasted time.Duration // all windows together
	wakes  series
	step   time.Duration // the largest step of the wall clock, either way
}

func newWatch(windows []window) *watch {
	w := &watch{windows: windows, jobs: map[int]*watched{}}
	for _, win := range windows {
		if w.jobs[win.job] == nil {
			w.jobs[win.job] = &watched{}
		}
		w.jobs[win.job].lasted += max(0, time.Duration(win.to-win.from))
	}
	return w
}

func (w *watch) add(rec sample.Record) {
	h, ok := rec.(*sample.Health)
	if !ok {
		return
	}
	for _, win := range w.windows {
		if win.from <= h.At && win.to >= w.before {
			j := w.jobs[win.job]
			j.step = larger(j.step, larger(h.ClockStep, w.step))
		}
	}
	w.before, w.step = h.At, h.ClockStep
	near := w.near(h.Wakes)
	if len(near) == 0 {
		return
	}
	for _, wake := range h.Wakes {
		w.wake(near, wake)
	}
}

// near returns the windows that any of the wakes can be in.
func (w *watch) near(wakes []sample.Wake) []window {
	if len(wakes) == 0 {
		return nil
	}
	first, last := wakes[0].Sent, wakes[0].Sent
	for _, wake := range wakes {
		first, last = min(first, wake.Sent), max(last, wake.Sent)
	}
	var near []window
	for _, win := range w.windows {
		if win.from <= last && win.to >= first {
			near = append(near, win)
		}
	}
	return near
}

// wake counts one wake for each job that went on when it was sent, once even
// if two repetitions of the job did.
func (w *watch) wake(near []window, wake sample.Wake) {
	counted := -1 // windows are in the order of the jobs
	for _, win := range near {
		if win.job != counted && win.from <= wake.Sent && wake.Sent <= win.to {
			w.jobs[win.job].wakes.record(wake.Delay)
			counted = win.job
		}
	}
}

func larger(a, b time.Duration) time.Duration { return max(a.Abs(), b.Abs()) }

// judge says in s whether the generator kept up.
func (w *watch) judge(s *Summary) {
	g := &s.Generator
	for i := range s.Jobs {
		if seen := w.jobs[i]; seen != nil {
			if reason := seen.judge(&s.Jobs[i], s.Thresholds); reason != "" {
				g.Reasons = append(g.Reasons, reason)
			}
		}
	}
	if len(w.windows) == 0 && g.Wake == nil {
		g.Reasons = append(g.Reasons, "the generator recorded no wake")
	}
	g.Valid = len(g.Reasons) == 0
}

// judge notes in j how the generator did, and returns why the latencies that a
// threshold reads of j cannot be trusted, or "". Where no threshold reads any,
// a saturated generator is a warning: nothing that is judged depends on it.
func (w *watched) judge(j *Job, thresholds []Threshold) string {
	if w.step > stepLimit && j.onHubClock() {
		j.warn("the wall clock stepped by %s: phases on the hub's clock are in doubt", short(Millis(w.step)))
	}
	limit, basis := wakeLimit(j, thresholds)
	wakes := w.wakes.stats()
	if wakes == nil {
		return w.judgeUnwatched(j)
	}
	j.Wake = &Wake{Count: wakes.Count, P99: wakes.P99, Max: wakes.Max, Limit: limit}
	if due := int64(w.lasted / wakeEvery); wakes.Count < due/2 {
		j.warn("the generator woke %s times of about %s: its timer did not keep up", thousands(wakes.Count), thousands(due))
	}
	switch {
	case wakes.P99 <= limit:
		return ""
	case !readsPhase(thresholds, j.Name):
		j.warn("the generator was saturated: wake p99 %s is above %s (%s); no threshold reads a latency of this job, so the verdict stands, but its latencies are not the hub's",
			short(wakes.P99), short(limit), basis)
		return ""
	}
	return fmt.Sprintf("job %s: the generator was saturated: wake p99 %s is above %s (%s)", j.Name, short(wakes.P99), short(limit), basis)
}

// judgeUnwatched judges a job in which there was no wake at all.
func (w *watched) judgeUnwatched(j *Job) string {
	if w.lasted < unwatchable {
		j.warn("it lasted %s, too short to hold a wake of the generator", short(Millis(w.lasted)))
		return ""
	}
	return fmt.Sprintf("job %s: no wake of the generator in the %s that it lasted: nothing shows that it kept up", j.Name, short(Millis(w.lasted)))
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
// reads; of total, or else of the shortest phase there is, if none reads any;
// and no less than a millisecond.
func wakeLimit(j *Job, thresholds []Threshold) (Millis, string) {
	p99, name := j.shortest(func(p phase) bool { return reads(thresholds, j.Name, p.String()) })
	if name == "" {
		p99, name = j.shortest(func(p phase) bool { return p == total })
	}
	if name == "" {
		p99, name = j.shortest(func(phase) bool { return true })
	}
	if limit := p99 / wakePart; limit > wakeFloor {
		return limit, fmt.Sprintf("%d %% of %s p99 %s", 100/wakePart, name, short(p99))
	}
	return wakeFloor, "the least limit"
}

// readsPhase reports whether a threshold reads a latency of a job.
func readsPhase(thresholds []Threshold, job string) bool {
	for p := range phases {
		if reads(thresholds, job, p.String()) {
			return true
		}
	}
	return false
}

// shortest returns the smallest p99 of the phases that of accepts, and which
// phase it is of; "" if none has samples.
func (j *Job) shortest(of func(phase) bool) (p99 Millis, name string) {
	for p := range phases {
		if st := j.Phases[p.String()]; st != nil && of(p) && (name == "" || st.P99 < p99) {
			p99, name = st.P99, p.String()
		}
	}
	return p99, name
}

package report

import (
	"maps"
	"slices"
	"time"
)

// mostLivePoints is how many points of a quantity a page is sent each second,
// at most. When there would be more, each becomes as long as two.
const mostLivePoints = 300

// timeline is what ended over time in the phases of endPhases.
type timeline struct {
	each    int64 // seconds
	windows map[int64]*endWindow
}

type endWindow [len(endPhases)]liveWindow

func (t *timeline) add(second int64, p phase, w *liveWindow) {
	if t.windows == nil {
		t.each, t.windows = 1, map[int64]*endWindow{}
	}
	t.at(second / t.each)[slices.Index(endPhases[:], p)].merge(w)
	for len(t.windows) > mostLivePoints {
		old := t.windows
		t.each, t.windows = 2*t.each, map[int64]*endWindow{}
		for at, w := range old {
			for i := range w {
				t.at(at / 2)[i].merge(&w[i])
			}
		}
	}
}

func (t *timeline) at(n int64) *endWindow {
	if t.windows[n] == nil {
		t.windows[n] = new(endWindow)
	}
	return t.windows[n]
}

// page returns the columns of a job's charts over time; nil if nothing ended.
// response is the phase that tells how long an execution took from due.
func (t *timeline) page(response phase) *secondsPage {
	p := &secondsPage{Phase: response.String(), Each: t.each}
	for _, n := range slices.Sorted(maps.Keys(t.windows)) {
		w := t.windows[n]
		ended, served := &w[slices.Index(endPhases[:], response)], &w[slices.Index(endPhases[:], service)]
		if ended.Values == nil {
			continue
		}
		p.At = append(p.At, n*t.each)
		p.Succeeded, p.Others = append(p.Succeeded, ended.succeeded), append(p.Others, ended.Values.TotalCount()-ended.succeeded)
		p.Response.addLive(ended)
		p.Service.addLive(served)
	}
	if len(p.At) == 0 {
		return nil
	}
	return p
}

func (l *latencies) addLive(w *liveWindow) {
	p50, p99 := w.percentiles()
	longest := int64(none)
	if w.Values != nil {
		longest = microsOr(w.Max)
	}
	l.P50, l.P99, l.Max = append(l.P50, p50), append(l.P99, p99), append(l.Max, longest)
}

// pace is how many there were over time.
type pace struct {
	each int64 // rampSteps
	n    map[int64]int64
}

func (c *pace) add(more map[int64]int64) {
	if c.n == nil {
		c.each, c.n = 1, map[int64]int64{}
	}
	for at, n := range more {
		c.n[at/c.each] += n
	}
	for len(c.n) > mostLivePoints {
		old := c.n
		c.each, c.n = 2*c.each, map[int64]int64{}
		for at, n := range old {
			c.n[at/2] += n
		}
	}
}

// curve returns how many there were up to the end of each step.
func (c *pace) curve() curve {
	out := curve{At: []Millis{}, N: []int64{}}
	n := int64(0)
	for _, at := range slices.Sorted(maps.Keys(c.n)) {
		n += c.n[at]
		out.At, out.N = append(out.At, Millis(time.Duration((at+1)*c.each)*rampStep)), append(out.N, n)
	}
	return out
}

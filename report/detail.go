package report

import (
	"slices"
	"time"

	"muster/internal/sample"
)

// detail is what the samples say beyond the summary, and only the page shows.
type detail struct {
	ramp   ramp
	health []healthPoint
	hub    []hubPoint
	jobs   []*jobDetail
}

// ramp is when devices were to connect the first time, and when those that did
// were ready.
type ramp struct{ due, ready []sample.Moment }

func (r *ramp) add(due, ready sample.Moment) {
	r.due = append(r.due, due)
	r.ready = append(r.ready, ready)
}

// healthPoint is what the generator said of itself at one time. Latencies are
// the worst since the point before.
type healthPoint struct {
	stretch
	wakeP99, wakeMax, late  time.Duration
	cpu, gc                 time.Duration // since the process began
	rss                     int64
	goroutines, descriptors int64
}

type hubPoint struct {
	stretch
	cpu              time.Duration
	rss, connections int64
}

func (d *detail) addHealth(r *sample.Health) {
	p := healthPoint{
		stretch: stretch{at: r.At}, late: r.TimerLate, cpu: r.CPU, gc: r.GCPauseP99, rss: r.RSS, goroutines: r.Goroutines, descriptors: r.Descriptors,
		wakeP99: -1, wakeMax: -1,
	}
	if n := len(r.Wakes); n > 0 {
		delays := make([]time.Duration, n)
		for i, w := range r.Wakes {
			delays[i] = w.Delay
		}
		slices.Sort(delays)
		p.wakeP99, p.wakeMax = delays[(n*99+99)/100-1], delays[n-1]
	}
	if n := len(d.health); n > 0 && p.joins(d.health[n-1].stretch) {
		before := &d.health[n-1]
		p.wakeP99, p.wakeMax, p.late = max(p.wakeP99, before.wakeP99), max(p.wakeMax, before.wakeMax), max(p.late, before.late)
		*before = p
		return
	}
	d.health = append(d.health, p)
}

func (d *detail) addHub(r *sample.HubStats) {
	p := hubPoint{stretch: stretch{at: r.At}, cpu: r.CPU, rss: r.RSS, connections: r.Connections}
	if n := len(d.hub); n > 0 && p.joins(d.hub[n-1].stretch) {
		d.hub[n-1] = p
		return
	}
	d.hub = append(d.hub, p)
}

// stretch is the time that a point of accounts is of.
type stretch struct{ from, at sample.Moment }

// joins reports whether an account comes so soon after another that both are one
// point, and says from when s is: accounts are made about once a second, and some
// between. Where all come soon a point still ends.
func (s *stretch) joins(before stretch) bool {
	if time.Duration(s.at-before.at) < shortestAccount && time.Duration(s.at-before.from) < longestPoint {
		s.from = before.from
		return true
	}
	s.from = before.at
	return false
}

// longestPoint is how long a point may be of that has several accounts in it.
const longestPoint = 2 * time.Second

// jobDetail is the same of one job.
type jobDetail struct{ curves []repetitionCurve }

func (b *book) newDetail() *jobDetail {
	j := &jobDetail{curves: []repetitionCurve{}}
	b.detail.jobs = append(b.detail.jobs, j)
	return j
}

// repetitionCurve is how many of a repetition's targets had succeeded when.
type repetitionCurve struct {
	Number   int   `json:"number"`
	Targeted int64 `json:"targeted"`
	curve
}

func (j *jobDetail) addCurve(number int, ends []time.Duration, targeted int64) {
	if targeted > 0 {
		j.curves = append(j.curves, repetitionCurve{Number: number, Targeted: targeted, curve: newCurve(ends, curveSteps)})
	}
}

// curveSteps is into how many parts of its height and of its width a curve is
// divided: no step is shown further from its place than one of them.
const curveSteps = 200

// curve is a count that grows: N[i] from At[i] on.
type curve struct {
	At []Millis `json:"at"`
	N  []int64  `json:"n"`
}

// newCurve counts up sorted times. Of many it keeps those at which the count
// has grown by a part of all since the last that was kept, and both sides of
// each pause that is longer than a part of the whole: what it keeps is exact,
// and what it leaves out is closer than a part to what it keeps.
func newCurve(sorted []time.Duration, parts int) curve {
	n := len(sorted)
	c := curve{At: []Millis{}, N: []int64{}}
	if n == 0 {
		return c
	}
	rise, pause := max(n/parts, 1), (sorted[n-1]-sorted[0])/time.Duration(parts)
	kept, before := 0, sorted[0]
	for i, at := range sorted {
		if i+1 < n && sorted[i+1] == at { // a step at a time, to its full height
			continue
		}
		if kept == 0 || i+1 == n || i+1-kept >= rise || sorted[i+1]-at > pause || at-before > pause {
			c.At, c.N = append(c.At, Millis(at)), append(c.N, int64(i+1))
			kept = i + 1
		}
		before = at
	}
	return c
}

package report

import (
	"math"
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
	at                      sample.Moment
	wakeP99, wakeMax, late  time.Duration
	cpu, gc                 time.Duration // since the process began
	rss                     int64
	goroutines, descriptors int64
}

type hubPoint struct {
	at               sample.Moment
	cpu              time.Duration
	rss, connections int64
}

func (d *detail) addHealth(r *sample.Health) {
	p := healthPoint{
		at: r.At, late: r.TimerLate, cpu: r.CPU, gc: r.GCPauseP99, rss: r.RSS, goroutines: r.Goroutines, descriptors: r.Descriptors,
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
	d.health = append(d.health, p)
}

func (d *detail) addHub(r *sample.HubStats) {
	d.hub = append(d.hub, hubPoint{at: r.At, cpu: r.CPU, rss: r.RSS, connections: r.Connections})
}

// jobDetail is the same of one job.
type jobDetail struct {
	Curves  []repetitionCurve    `json:"curves"`
	Spectra map[string]*spectrum `json:"spectra"` // by phase
}

func (b *book) newDetail() *jobDetail {
	j := &jobDetail{Curves: []repetitionCurve{}, Spectra: map[string]*spectrum{}}
	b.detail.jobs = append(b.detail.jobs, j)
	return j
}

func (j *jobDetail) take(p phase, s *series) {
	if s.count() > 0 {
		j.Spectra[p.String()] = newSpectrum(s)
	}
}

// repetitionCurve is how many of a repetition's targets had succeeded when.
type repetitionCurve struct {
	Number   int   `json:"number"`
	Targeted int64 `json:"targeted"`
	curve
}

func (j *jobDetail) addCurve(number int, ends []time.Duration, targeted int64) {
	if targeted > 0 {
		j.Curves = append(j.Curves, repetitionCurve{Number: number, Targeted: targeted, curve: newCurve(ends, curveSteps)})
	}
}

const (
	// curveSteps is into how many parts of its height and of its width a curve
	// is divided: no step is shown further from its place than one of them.
	curveSteps = 200
	// perDoubling is how many points of a spectrum there are while the part of
	// values above it halves.
	perDoubling = 8
)

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
	kept := 0
	for i, at := range sorted {
		switch {
		case i+1 < n && sorted[i+1] == at: // a step at a time, to its full height
			continue
		case i == 0, i+1 == n, i+1-kept >= rise, sorted[i+1]-at > pause, at-sorted[i-1] > pause:
			c.At, c.N = append(c.At, Millis(at)), append(c.N, int64(i+1))
			kept = i + 1
		}
	}
	return c
}

// spectrum is the percentiles of a set of durations: V[i] is the smallest
// value that a part Q of them do not exceed, for X[i] = -log10(1-Q), the axis
// of HdrHistogram.
type spectrum struct {
	Count int64     `json:"count"`
	X     []float64 `json:"x"`
	V     []Millis  `json:"v"`
	Clock string    `json:"clock,omitempty"`
}

// newSpectrum reads the spectrum of a series that is not empty. It goes to
// where half a value is left above, which is the largest one: beyond it no
// percentile has a value of its own.
func newSpectrum(s *series) *spectrum {
	n := s.count()
	out := &spectrum{Count: n}
	if s.hubClock {
		out.Clock = "hub"
	}
	var percentiles []float64
	last := math.Log2(2 * float64(n))
	for i := range int(last*perDoubling) + 1 {
		halvings := float64(i) / perDoubling
		if last-halvings < 1.0/perDoubling {
			halvings = last
		}
		out.X = append(out.X, math.Round(halvings*math.Log10(2)*1e4)/1e4)
		percentiles = append(percentiles, 100*(1-math.Exp2(-halvings)))
	}
	for _, us := range s.hist.ValueAtPercentilesSlice(ranks(n, percentiles...)) {
		out.V = append(out.V, s.within(us))
	}
	return out
}

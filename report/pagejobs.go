package report

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"muster/internal/sample"
)

// jobPage is a job's curves.
type jobPage struct {
	Curves  []repetitionCurve        `json:"curves"`
	Left    int                      `json:"left,omitempty"` // how many repetitions have no curve here: more would hide each other
	Spectra map[string]*spectrumPage `json:"spectra"`        // by phase
	Seconds *secondsPage             `json:"seconds,omitempty"`
}

// mostCurves is of how many repetitions a page has curves.
const mostCurves = 24

func (r *Report) jobPages() []*jobPage {
	pages := []*jobPage{}
	for i, d := range r.book.detail.jobs {
		p := &jobPage{Spectra: map[string]*spectrumPage{}}
		p.Curves, p.Left = chosen(d.curves)
		name := r.Summary.Jobs[i].Name
		for ph := range phases {
			if s := r.series(name, ph.String()); s != nil {
				p.Spectra[ph.String()] = s.spectrumPage()
			}
		}
		p.Seconds = r.secondsOf(name)
		pages = append(pages, p)
	}
	return pages
}

// chosen returns at most mostCurves curves, in their order: the first, the
// last, and of the others those that took longest.
func chosen(all []repetitionCurve) (some []repetitionCurve, left int) {
	if len(all) <= mostCurves {
		return all, 0
	}
	between := slices.Clone(all[1 : len(all)-1])
	slices.SortStableFunc(between, func(a, b repetitionCurve) int { return cmp.Compare(b.lasted(), a.lasted()) })
	some = append(between[:mostCurves-2], all[0], all[len(all)-1])
	slices.SortFunc(some, func(a, b repetitionCurve) int { return cmp.Compare(a.Number, b.Number) })
	return some, len(all) - mostCurves
}

// lasted returns when the last target had succeeded; never, if not all did.
func (c *repetitionCurve) lasted() Millis {
	if n := len(c.N); n > 0 && c.N[n-1] == c.Targeted {
		return c.At[n-1]
	}
	return math.MaxInt64
}

// spectrumPage is a percentile curve: V[i] is the smallest value that a part Q
// of the values do not exceed, for X[i] = -log10(1-Q), the axis of HdrHistogram.
type spectrumPage struct {
	Count int64     `json:"count"`
	X     []float64 `json:"x"`
	V     []Millis  `json:"v"`
}

func (s *windowSeries) spectrumPage() *spectrumPage {
	points, _ := s.spectrum(anyOutcome, s.stats)
	p := &spectrumPage{Count: s.stats.Count}
	last := 1 - 0.5/float64(p.Count)
	for _, point := range points {
		// Above it all percentiles are the largest value, up to infinity. It
		// begins to be theirs at the last of n and is drawn in the middle of that.
		p.X, p.V = append(p.X, math.Round(-1e4*math.Log10(1-min(point.quantile, last)))/1e4), append(p.V, point.value)
		if point.quantile >= last {
			break
		}
	}
	return p
}

// secondsPage is how a job's executions ended over time: those that ended in
// the Each seconds from At on.
type secondsPage struct {
	Phase     string    `json:"phase"` // whose ends they are: "total"; "booking" where only the hub's rows have one
	Each      int64     `json:"each"`
	At        []int64   `json:"at"` // seconds since the run began
	Succeeded []int64   `json:"succeeded"`
	Others    []int64   `json:"others"`
	Response  latencies `json:"response"` // from due
	Service   latencies `json:"service"`  // from dispatch; of those that ended in the same seconds
}

// latencies are the percentiles of each window, in µs; -1 if it has no value.
type latencies struct {
	P50 []int64 `json:"p50"`
	P99 []int64 `json:"p99"`
	Max []int64 `json:"max"`
}

func (r *Report) secondsOf(job string) *secondsPage {
	p := &secondsPage{Phase: total.String()}
	response := r.series(job, p.Phase)
	if response == nil {
		p.Phase = booking.String()
		if response = r.series(job, p.Phase); response == nil {
			return nil
		}
	}
	p.Each = max(int64(r.Summary.DurationSeconds)/mostPoints, 1)
	all, succeeded := response.chunks(anyOutcome, p.Each), response.chunks(sample.Succeeded, p.Each)
	served := map[int64]*chunk{}
	if s := r.series(job, service.String()); s != nil {
		served = s.chunks(anyOutcome, p.Each)
	}
	for _, at := range slices.Sorted(maps.Keys(all)) {
		n := int64(0)
		if ok := succeeded[at]; ok != nil {
			n = ok.values.TotalCount()
		}
		p.At = append(p.At, at*p.Each)
		p.Succeeded, p.Others = append(p.Succeeded, n), append(p.Others, all[at].values.TotalCount()-n)
		p.Response.add(all[at])
		p.Service.add(served[at])
	}
	return p
}

// chunk is some windows together.
type chunk struct {
	values *hdrhistogram.PackedHistogram
	max    Millis
}

// chunks merges the windows of each so many seconds.
func (s *windowSeries) chunks(outcome sample.Outcome, each int64) map[int64]*chunk {
	all := map[int64]*chunk{}
	for w := range s.each(outcome) {
		c := all[w.Second/each]
		if c == nil {
			c = &chunk{values: hdrhistogram.NewPacked(lowest, highest, digits)}
			all[w.Second/each] = c
		}
		c.values.Merge(w.Values) // of one geometry: nothing can be dropped
		c.max = max(c.max, w.Max)
	}
	return all
}

func (l *latencies) add(c *chunk) {
	if c == nil {
		l.P50, l.P99, l.Max = append(l.P50, none), append(l.P99, none), append(l.Max, none)
		return
	}
	longest := microsOr(time.Duration(c.max))
	v := c.values.ValueAtPercentilesSlice(ranks(c.values.TotalCount(), 50, 99))
	l.P50, l.P99, l.Max = append(l.P50, min(v[0], longest)), append(l.P99, min(v[1], longest)), append(l.Max, longest)
}

package report

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"muster/internal/sample"
)

// mostPoints is how many points of a quantity over time a page shows. Of a
// longer run some seconds each make one, which is the worst of them.
const mostPoints = 600

// runPage is what report.html knows of a run. web/model.js reads it.
type runPage struct {
	Label    string       `json:"label"` // the folder's name
	Summary  *Summary     `json:"summary"`
	Run      *Run         `json:"run"`
	Scenario string       `json:"scenarioFile"` // scenario.yaml; "" if the folder has none
	Jobs     []*jobPage   `json:"jobs"`         // by their place in Summary.Jobs
	Devices  *devicePage  `json:"devices,omitempty"`
	Ramp     rampPage     `json:"ramp"`
	Health   healthPage   `json:"health"`
	Hub      hubPage      `json:"hub"`
}

// page gathers what the page shows; with devices or, to compare runs, without.
func (r *Report) page(devices bool) (*runPage, error) {
	scenario, err := os.ReadFile(filepath.Join(r.dir, "scenario.yaml"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	dir, err := filepath.Abs(r.dir)
	if err != nil {
		return nil, fmt.Errorf("name of the results folder: %w", err)
	}
	d := &r.book.detail
	p := &runPage{
		Label: filepath.Base(dir), Summary: &r.Summary, Run: r.book.run, Scenario: string(scenario), Jobs: r.jobPages(),
		Ramp: d.ramp.page(), Health: healthColumns(d.health), Hub: hubColumns(d.hub),
	}
	if devices {
		p.Devices = r.devicePage()
	}
	return p, nil
}

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
	for _, point := range points {
		// All of them are at infinity. The largest value begins to be the
		// percentile's at the last of n; it is drawn in the middle of that.
		q := min(point.quantile, 1-0.5/float64(p.Count))
		p.X, p.V = append(p.X, math.Round(-1e4*math.Log10(1-q))/1e4), append(p.V, point.value)
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

// rampPage is the connect ramp: of the devices that became ready, when they
// were due to connect and when they were ready, in ms since the run began.
type rampPage struct {
	Due   curve `json:"due"`
	Ready curve `json:"ready"`
}

func (r *ramp) page() rampPage {
	return rampPage{Due: curveOf(r.due), Ready: curveOf(r.ready)}
}

func curveOf(moments []sample.Moment) curve {
	all := make([]time.Duration, len(moments))
	for i, m := range moments {
		all[i] = time.Duration(m)
	}
	slices.Sort(all)
	return newCurve(all, curveSteps)
}

// none stands in a column of whole numbers for what was not seen.
const none = -1

// healthPage is the generator's account of itself, a column a quantity. Times
// are whole µs.
type healthPage struct {
	Each        int       `json:"each"`    // how many records one point is of
	At          []float64 `json:"at"`      // seconds since the run began
	WakeP99     []int64   `json:"wakeP99"` // -1 without a wake
	WakeMax     []int64   `json:"wakeMax"`
	Late        []int64   `json:"late"`
	GC          []int64   `json:"gc"`
	CPU         []float64 `json:"cpu"` // processors in use since the point before
	RSS         []int64   `json:"rss"`
	Goroutines  []int64   `json:"goroutines"`
	Descriptors []int64   `json:"descriptors"`
}

func healthColumns(points []healthPoint) healthPage {
	p := healthPage{Each: max((len(points)+mostPoints-1)/mostPoints, 1)}
	var before healthPoint
	for some := range slices.Chunk(points, p.Each) {
		last, worst := some[len(some)-1], some[0]
		for _, h := range some[1:] {
			worst.wakeP99, worst.wakeMax = max(worst.wakeP99, h.wakeP99), max(worst.wakeMax, h.wakeMax)
			worst.late, worst.rss = max(worst.late, h.late), max(worst.rss, h.rss)
			worst.goroutines, worst.descriptors = max(worst.goroutines, h.goroutines), max(worst.descriptors, h.descriptors)
		}
		p.At = append(p.At, seconds(time.Duration(last.at)))
		p.WakeP99, p.WakeMax = append(p.WakeP99, microsOr(worst.wakeP99)), append(p.WakeMax, microsOr(worst.wakeMax))
		p.Late, p.GC = append(p.Late, microsOr(worst.late)), append(p.GC, microsOr(last.gc))
		p.CPU = append(p.CPU, share(last.cpu-before.cpu, last.at-before.at))
		p.RSS, p.Goroutines, p.Descriptors = append(p.RSS, worst.rss), append(p.Goroutines, worst.goroutines), append(p.Descriptors, worst.descriptors)
		before = last
	}
	return p
}

// hubPage is the hub's account of itself.
type hubPage struct {
	At          []float64 `json:"at"`
	CPU         []float64 `json:"cpu"`
	RSS         []int64   `json:"rss"`
	Connections []int64   `json:"connections"`
}

func hubColumns(points []hubPoint) hubPage {
	var p hubPage
	var before hubPoint
	for some := range slices.Chunk(points, max((len(points)+mostPoints-1)/mostPoints, 1)) {
		last := some[len(some)-1]
		p.At = append(p.At, seconds(time.Duration(last.at)))
		p.CPU = append(p.CPU, share(last.cpu-before.cpu, last.at-before.at))
		p.RSS, p.Connections = append(p.RSS, last.rss), append(p.Connections, last.connections)
		before = last
	}
	return p
}

// share returns how much of a processor was in use.
func share(cpu time.Duration, during sample.Moment) float64 {
	if during <= 0 {
		return 0
	}
	return float64(int64(1000*float64(cpu)/float64(during))) / 1000
}

// microsOr returns d in whole microseconds, or none if it is below zero.
func microsOr(d time.Duration) int64 {
	if us, ok := micros(d); ok {
		return us
	}
	return none
}

// devicePage has a column a quantity and a place a device, in the order of the
// fleet. Latencies are whole µs; -1 stands for none.
type devicePage struct {
	IDs     []string      `json:"ids"`
	Group   []int         `json:"group"`   // place in Run.Groups; -1 if it is none of them
	Connect []int64       `json:"connect"` // how long the device took to connect
	Returns []uint32      `json:"returns"` // how often it came back
	Jobs    []*deviceJobs `json:"jobs"`    // by their place in Summary.Jobs
}

// deviceJobs is what devices had of one job.
type deviceJobs struct {
	Devices  []uint32            `json:"devices,omitempty"` // which the places are of; absent if they are all
	Outcomes map[string][]uint32 `json:"outcomes"`          // how many executions ended so, of those outcomes that occurred
	Median   []int64             `json:"median"`            // of total
	Max      []int64             `json:"max"`
	MaxIn    []uint32            `json:"maxIn"`   // the repetition of max, from 1
	Service  []int64             `json:"service"` // the longest
}

func (r *Report) devicePage() *devicePage {
	b := r.book
	p := &devicePage{}
	place := map[string]int{}
	for i, g := range b.run.Groups {
		place[g.Name] = i
	}
	for i := range b.devices {
		d := &b.devices[i]
		group, ok := place[d.group]
		if !ok {
			group = none
		}
		took := time.Duration(none)
		if d.ready {
			took = d.took
		}
		p.IDs, p.Group = append(p.IDs, (&deviceRow{deviceBook: d, device: uint32(i)}).name()), append(p.Group, group)
		p.Connect, p.Returns = append(p.Connect, microsOr(took)), append(p.Returns, d.returns)
	}
	rows := r.devices
	for i := range b.run.Jobs {
		n := 0
		for n < len(rows) && rows[n].job == b.run.Jobs[i].Name {
			n++
		}
		p.Jobs = append(p.Jobs, newDeviceJobs(rows[:n], len(b.devices)))
		rows = rows[n:]
	}
	return p
}

func newDeviceJobs(rows []deviceRow, devices int) *deviceJobs {
	p := &deviceJobs{Outcomes: map[string][]uint32{}, Median: []int64{}}
	for i := range rows {
		d := &rows[i]
		if len(rows) != devices {
			p.Devices = append(p.Devices, d.device)
		}
		for o, n := range d.outcomes {
			if name := sample.Outcome(o).String(); n > 0 {
				if p.Outcomes[name] == nil {
					p.Outcomes[name] = make([]uint32, len(rows))
				}
				p.Outcomes[name][i] = n
			}
		}
		median, longest, in := int64(none), int64(none), uint32(0)
		if d.total != nil {
			median = d.total.ValueAtPercentilesSlice(ranks(d.total.TotalCount(), 50))[0]
			longest, in = microsOr(d.max), d.maxIn+1
		}
		p.Median, p.Max = append(p.Median, min(median, longest)), append(p.Max, longest)
		p.MaxIn, p.Service = append(p.MaxIn, in), append(p.Service, microsOr(d.service))
	}
	return p
}

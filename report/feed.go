package report

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"

	"muster/internal/sample"
)

// Feed is what a page shows of a run that goes on: the curves of report.html,
// of what Live has counted. It is used from one goroutine at a time, and costs
// what a second's windows do, however many devices there are.
type Feed struct {
	about FeedOf
	live  *Live

	lines      []timeline // by job
	due, ready pace
}

// FeedOf is what a feed is of.
type FeedOf struct {
	Scenario    string
	Thresholds  []string
	CPUs        int
	Descriptors int64 // how many may be open; 0 if nobody knows
}

// Standing is how a run stands, as its harness tells.
type Standing struct {
	Stage   string        `json:"stage"`
	Elapsed time.Duration `json:"-"`

	Devices    int64 `json:"devices"`
	Online     int64 `json:"online"`
	Connecting int64 `json:"connecting"`
	Offline    int64 `json:"offline"` // lost or away, and coming back
	Failed     int64 `json:"failed"`  // not online within the connect timeout, nor since
	Lost       int64 `json:"lost"`    // connections that ended by themselves

	Jobs []JobStanding `json:"jobs"`
}

// JobStanding is how a job stands. Targeted, Received and Done are of the
// repetition that began last, Outcomes of all that are over.
type JobStanding struct {
	Repetition int                      `json:"repetition"` // from 1; 0 before the first
	Status     string                   `json:"status"`
	Targeted   int64                    `json:"targeted"`
	Received   int64                    `json:"received"`
	Done       int64                    `json:"done"`
	Outcomes   map[sample.Outcome]int64 `json:"-"`
}

// feedPage is what the page is sent. Its members are those of runPage, as far
// as they are known; web/live.js reads it.
type feedPage struct {
	Standing *Standing  `json:"standing"`
	Summary  *Summary   `json:"summary"`
	Run      feedRun    `json:"run"`
	Jobs     []*jobPage `json:"jobs"`
	Ramp     rampPage   `json:"ramp"`
	Health   healthPage `json:"health"`
	Hub      hubPage    `json:"hub"`
	Watching Watching   `json:"watching"`
}

type feedRun struct {
	Host struct {
		CPUs int `json:"cpus"`
	} `json:"host"`
	Limits struct {
		Descriptors int64 `json:"descriptors"`
	} `json:"limits"`
}

// Watching counts who watches a run.
type Watching struct {
	Pages   int   `json:"pages"`   // that are sent how it goes
	Dropped int64 `json:"dropped"` // that were too slow to read it
}

// NewFeed returns a feed of the run that live counts, which keeps from now on
// what was when.
func NewFeed(about FeedOf, live *Live) *Feed {
	live.drawing.Store(true)
	return &Feed{about: about, live: live, lines: make([]timeline, len(live.jobs))}
}

// Take takes in what was counted since the last call.
func (f *Feed) Take() { f.take() }

func (f *Feed) take() *taken {
	t := f.live.take()
	for key, w := range t.windows {
		f.lines[key.job].add(key.second, key.phase, w)
	}
	f.due.add(t.due)
	f.ready.add(t.ready)
	return t
}

// JSON takes in what was counted since the last call and returns all that the
// page shows.
func (f *Feed) JSON(st *Standing, watching Watching) ([]byte, error) {
	t := f.take()
	connects, wakes := f.live.connects(), f.live.waking()
	p := feedPage{
		Standing: st, Summary: f.summary(st, connects), Jobs: []*jobPage{}, Watching: watching,
		Ramp: rampPage{Due: f.due.curve(), Ready: f.ready.curve()},
	}
	p.Run.Host.CPUs, p.Run.Limits.Descriptors = f.about.CPUs, f.about.Descriptors
	for i := range f.live.jobs {
		job, response := f.job(i, st)
		p.Summary.Jobs = append(p.Summary.Jobs, job)
		page := &jobPage{Curves: f.curves(i, st, t), Spectra: map[string]*spectrumPage{}, Seconds: f.lines[i].page(response)}
		if i < len(st.Jobs) {
			page.Left = max(st.Jobs[i].Repetition-len(page.Curves), 0)
		}
		p.Jobs = append(p.Jobs, page)
	}
	f.live.mu.Lock()
	p.Health, p.Hub = healthColumns(f.live.series.health), hubColumns(f.live.series.hub)
	f.live.mu.Unlock()
	f.generator(p.Summary, wakes)
	return json.Marshal(&p)
}

// summary is the part of summary.json that is known while a run goes on.
func (f *Feed) summary(st *Standing, connects *LiveSeries) *Summary {
	s := &Summary{
		Scenario: f.about.Scenario, DurationSeconds: seconds(st.Elapsed), Jobs: []Job{}, Thresholds: []Threshold{},
		Fleet: Fleet{Devices: st.Devices, Failed: st.Failed, Lost: st.Lost, Connect: connects.stats()},
	}
	if s.Fleet.Connect != nil {
		s.Fleet.Connected = s.Fleet.Connect.Count
	}
	for _, text := range f.about.Thresholds {
		s.Thresholds = append(s.Thresholds, Threshold{Expression: text, NoData: true})
	}
	f.live.mu.Lock()
	defer f.live.mu.Unlock()
	for _, i := range slices.Sorted(maps.Keys(f.live.faults)) {
		if fault := f.live.faults[i]; fault.What != "" {
			s.Faults = append(s.Faults, newFault(&fault))
		}
	}
	return s
}

// job returns what is known of a job, and the phase that tells how long its
// executions took.
func (f *Feed) job(i int, st *Standing) (Job, phase) {
	of := &f.live.jobs[i]
	j := Job{
		Name: of.Name, IDs: []string{}, Type: of.Type, Via: of.Via, QueryCondition: of.QueryCondition, Repetitions: of.Repetitions,
		Phases: map[string]*Stats{}, ByRepetition: []Repetition{},
	}
	if i < len(st.Jobs) {
		for o, n := range st.Jobs[i].Outcomes {
			j.Targeted += n
			*j.outcome(o) += n
		}
	}
	for _, p := range endPhases {
		if all := f.live.ended(uint32(i), p); all.Values != nil {
			j.Phases[p.String()] = all.stats()
		}
	}
	if j.Phases[total.String()] == nil && j.Phases[booking.String()] != nil {
		return j, booking
	}
	return j, total
}

// curves are the completions of a job's last repetitions, of those that go on
// as far as they have come.
func (f *Feed) curves(job int, st *Standing, t *taken) []repetitionCurve {
	f.live.mu.Lock()
	all := append([]repetitionCurve{}, f.live.over[uint32(job)]...) // not nil, which a page would read as null
	f.live.mu.Unlock()
	for key, o := range t.open {
		if key.job != uint32(job) || slices.ContainsFunc(all, func(c repetitionCurve) bool { return c.Number == int(key.repetition)+1 }) {
			continue
		}
		c := liveCurve(o, int(key.repetition)+1, 0)
		if n := len(c.N); n > 0 {
			c.Targeted = c.N[n-1]
		}
		if job < len(st.Jobs) {
			c.Targeted = max(c.Targeted, st.Jobs[job].Targeted)
		}
		all = append(all, c)
	}
	all = slices.DeleteFunc(all, func(c repetitionCurve) bool { return c.Targeted == 0 })
	slices.SortFunc(all, func(a, b repetitionCurve) int { return a.Number - b.Number })
	return all[max(0, len(all)-mostLiveCurves-1):]
}

// generator fills in the last account that generator and hub gave.
func (f *Feed) generator(s *Summary, wakes *LiveSeries) {
	g := &s.Generator
	g.Reasons = []string{}
	g.Wake = wakes.stats()
	if h := f.live.health.Load(); h != nil {
		g.CPUSeconds, g.MaxRSS, g.GCPauseP99 = seconds(h.CPU), h.MaxRSS, Millis(h.GCPauseP99)
	}
	if h := f.live.hub.Load(); h != nil {
		s.Hub = &Hub{CPUSeconds: seconds(h.CPU), MaxRSS: h.MaxRSS, Connections: h.Connections, SlowClosed: h.SlowClosed}
	}
}

// connects merges what the stripes have of connects.
func (l *Live) connects() *LiveSeries {
	var sum LiveSeries
	for i := range l.stripes {
		s := &l.stripes[i]
		s.mu.Lock()
		own := s.connects.clone()
		s.mu.Unlock()
		sum.merge(&own)
	}
	return &sum
}

func (l *Live) waking() *LiveSeries {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.wakes.clone()
	return &w
}

// stats returns what people read of the durations; nil if there are none.
func (s *LiveSeries) stats() *Stats {
	if s.Values == nil {
		return nil
	}
	n := s.Values.TotalCount()
	p := s.percentiles(50, 90, 99, 99.9)
	return &Stats{
		Count: n, Min: Millis(s.Values.Min() * 1e3), Mean: Millis(int64(math.Round(float64(s.Sum) / float64(n)))),
		P50: Millis(p[0]), P90: Millis(p[1]), P99: Millis(p[2]), P999: Millis(p[3]), Max: Millis(s.Max),
	}
}

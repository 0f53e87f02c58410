package report

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"muster/internal/sample"
)

// slowest is how many of a job's slowest devices are named.
const slowest = 10

// outcomeCount is the number of outcomes and Open, which is not one.
const outcomeCount = len(sample.Outcomes) + 1

// deviceRow is one device's part in one job, over all repetitions: a line of
// devices.csv. It has the percentiles and not their histogram: of all that a
// fleet of a million is counted in, a million histograms would be the most.
type deviceRow struct {
	outcomes   [outcomeCount]uint32
	max        time.Duration
	service    time.Duration // the longest; below zero if none was seen
	p50, p99   int64         // of total, in µs, as a histogram of the values gives them
	device     uint32
	duplicates uint32
	maxIn      uint32 // the repetition of max
	samples    uint32 // of total
}

// deviceRows are a job's rows, in the order of the fleet.
type deviceRows struct {
	job  string
	rows []deviceRow
}

// record takes in one total. What no histogram can hold is counted with the
// job's phase.
func (d *deviceRow) record(took time.Duration, repetition uint32) {
	if _, ok := micros(took); !ok {
		return
	}
	if d.samples++; took > d.max {
		d.max, d.maxIn = took, repetition
	}
}

// folder turns the rows of one job after the other into numbers. Its
// histograms, a quarter of a megabyte each, are used again for each job.
type folder struct {
	book   *book
	series [phases][outcomeCount]series
	merged series
	flown  []flights // by job
	all    []deviceRows
	at     places      // of devices, in rows
	rows   []deviceRow // of the present job, as are those that follow
	groups groups
	detail *jobDetail

	windows []windowSeries // of all jobs
	values  []uint64       // of one phase, or of one device; its memory is used again
}

// foldJobs fills in s.Jobs and returns a row for each device and job, in the
// order of the jobs and of the fleet, when executions were on their way, and
// the windows. It lets go of the rows as it goes.
func (b *book) foldJobs(s *Summary) ([]deviceRows, []flights, []windowSeries) {
	f := folder{book: b, flown: make([]flights, len(b.jobs)), windows: []windowSeries{b.connectWindows(&s.Fleet)}}
	for i := range b.jobs {
		j := &b.jobs[i]
		s.Jobs = append(s.Jobs, f.fold(j, &f.flown[i]))
		b.gaugeJob(j)
		for _, rep := range j.reps {
			rep.rows, rep.at, rep.targets.Devices = nil, places{}, nil
		}
	}
	return f.all, f.flown, f.windows
}

func (f *folder) fold(b *jobBook, flown *flights) Job {
	j := Job{
		Name: b.spec.Name, Type: b.spec.Type, Via: b.spec.Via, QueryCondition: b.spec.QueryCondition, Repetitions: b.spec.Repetitions,
		IDs: []string{}, Unexpected: b.unexpected, Phases: map[string]*Stats{},
	}
	f.at, f.rows = places{}, make([]deviceRow, 0, b.mostDevices(len(f.book.devices)))
	f.groups = newGroups(f.book.run)
	f.detail = f.book.newDetail()
	foreign := int64(0)
	for _, n := range b.inOrder() {
		rep := b.reps[n]
		if id := rep.id(); id != "" {
			j.IDs = append(j.IDs, id)
		}
		rep.addUnseen(len(f.book.devices))
		flown.grow(len(rep.rows))
		for i := range rep.rows {
			flown.add(&rep.rows[i], b.spec.Via == "direct")
			if !f.count(b, &j, &rep.rows[i], n) {
				foreign++
			}
		}
	}
	f.balance(b, &j)
	f.take(&j)
	f.addWindows(b, &j)
	f.complete(b, &j)
	j.Groups = f.groups.take()
	if foreign > 0 {
		j.warn("%s of devices that the hub did not name or that are not of the fleet: in the ledger, not in devices.csv", count(foreign, "execution"))
	}
	f.percentiles(b)
	slices.SortFunc(f.rows, func(a, b deviceRow) int { return cmp.Compare(a.device, b.device) })
	j.Slowest = f.slowest()
	f.all = append(f.all, deviceRows{job: j.Name, rows: f.rows})
	return j
}

// mostDevices returns how many devices of a fleet a job can have rows of: those
// that a repetition had, if all had the same.
func (j *jobBook) mostDevices(fleet int) int {
	n := 0
	for _, rep := range j.reps {
		n = max(n, len(rep.rows), len(rep.targets.Devices))
	}
	return min(n, fleet)
}

// percentiles reads each device's percentiles off its values in all
// repetitions, by the rule of the histograms.
func (f *folder) percentiles(b *jobBook) {
	reps := slices.Collect(maps.Values(b.reps))
	for i := range f.rows {
		d := &f.rows[i]
		values := f.values[:0]
		for _, rep := range reps {
			if at, ok := rep.at.find(d.device); ok {
				values = appendTotal(values, &rep.rows[at])
			}
		}
		f.values = values
		slices.Sort(values)
		d.p50, d.p99 = ranked(values, 50), ranked(values, 99)
	}
}

func appendTotal(values []uint64, e *row) []uint64 {
	if took, ok := e.finished.Since(e.due); ok {
		if us, ok := micros(took); ok {
			values = append(values, uint64(us))
		}
	}
	return values
}

// ranked returns the upper end of the bucket that holds the value of rank
// ceil(p·n), as in ranks; 0 if there is none.
func ranked(sorted []uint64, p float64) int64 {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	rank := max(int(math.Ceil(p*float64(n)/100-1e-9)), 1)
	return bucketValue(bucketOf(sorted[rank-1])+1) - 1
}

// addUnseen adds, to a repetition that was never closed, the devices that it
// was meant for and of which nothing was recorded: how they ended is unknown.
func (r *repetition) addUnseen(fleet int) {
	if r.closed != nil {
		return
	}
	for _, d := range r.targets.Devices {
		if _, ok := r.at.find(d); !ok {
			r.put(row{moments: moments{due: r.targets.Due}, device: d, outcome: sample.Unknown}, true, fleet)
		}
	}
}

// count adds one execution to the job and to its device, and reports whether
// that device is of the fleet.
func (f *folder) count(b *jobBook, j *Job, e *row, repetition uint32) bool {
	*j.outcome(e.outcome)++
	j.Targeted++
	j.Duplicates += int64(e.duplicates)
	j.Attempts += int64(e.attempts)
	if e.cause != 0 {
		if j.Causes == nil {
			j.Causes = map[string]int64{}
		}
		j.Causes[b.causes[e.cause]]++
		j.addCause(e.outcome, b.causes[e.cause])
	}
	group := f.groups.of(f.book, e)
	f.measure(b, e, group)
	if int(e.device) >= len(f.book.devices) {
		return false
	}
	d := f.row(e.device)
	d.outcomes[e.outcome]++
	d.duplicates += e.duplicates
	if took, ok := e.finished.Since(e.due); ok {
		d.record(took, repetition)
	}
	if took, ok := e.finished.Since(e.dispatched); ok {
		d.service = max(d.service, took)
	}
	return true
}

// addCause counts a cause of an outcome.
func (j *Job) addCause(o sample.Outcome, cause string) {
	if j.CausesByOutcome == nil {
		j.CausesByOutcome = map[string]map[string]int64{}
	}
	by := j.CausesByOutcome[o.String()]
	if by == nil {
		by = map[string]int64{}
		j.CausesByOutcome[o.String()] = by
	}
	by[cause]++
}

// measure records the phases of one execution.
func (f *folder) measure(b *jobBook, e *row, g *group) {
	for p := range phases {
		took, ok := b.spec.took(&e.moments, p)
		if !ok {
			continue
		}
		s := &f.series[p][e.outcome]
		s.record(took)
		s.hubClock = s.hubClock || e.hubClock && p.hubClock()
		g.record(p, took, e)
	}
}

func (f *folder) row(device uint32) *deviceRow {
	i, ok := f.at.find(device)
	if !ok {
		i = len(f.rows)
		f.at.put(device, i, len(f.book.devices))
		f.rows = append(f.rows, deviceRow{device: device, service: -1})
	}
	return &f.rows[i]
}

// take moves the series of the present job into j.
func (f *folder) take(j *Job) {
	byOutcome := map[string]map[string]*Stats{}
	for p := range phases {
		f.merged.reset()
		for o := range f.series[p] {
			s := &f.series[p][o]
			if st := s.stats(); st != nil {
				name := sample.Outcome(o).String()
				if byOutcome[name] == nil {
					byOutcome[name] = map[string]*Stats{}
				}
				byOutcome[name][p.String()] = st
			}
			f.merged.merge(s)
			s.reset()
		}
		j.take(p, &f.merged)
	}
	if len(byOutcome) > 1 {
		j.PhasesByOutcome = byOutcome
	}
}

func (j *Job) take(p phase, s *series) {
	if st := s.stats(); st != nil {
		j.Phases[p.String()] = st
	}
	if s.negative+s.outOfRange == 0 {
		return
	}
	if j.Excluded == nil {
		j.Excluded = map[string]Excluded{}
	}
	j.Excluded[p.String()] = Excluded{Negative: s.negative, OutOfRange: s.outOfRange}
	if s.negative > 0 {
		j.warn("%s: %s below zero, where the clocks of hub and generator disagree: in no percentile", p, count(s.negative, "value"))
	}
	if s.outOfRange > 0 {
		j.warn("%s: %s above 24 h: in no percentile", p, count(s.outOfRange, "value"))
	}
}

// slowest names the devices with the longest total, the longest first.
func (f *folder) slowest() []SlowDevice {
	var top []*deviceRow
	for i := range f.rows {
		d := &f.rows[i]
		if d.samples == 0 || len(top) == slowest && d.max <= top[slowest-1].max {
			continue
		}
		at, _ := slices.BinarySearchFunc(top, d, func(a, b *deviceRow) int {
			return cmp.Or(cmp.Compare(b.max, a.max), cmp.Compare(a.device, b.device))
		})
		top = slices.Insert(top, at, d)
		top = top[:min(len(top), slowest)]
	}
	var named []SlowDevice
	for _, d := range top {
		slow := SlowDevice{ID: f.book.name(d.device), Group: f.book.group(d.device), Max: Millis(d.max), Repetition: int(d.maxIn) + 1}
		if d.service >= 0 {
			service := Millis(d.service)
			slow.Service = &service
		}
		named = append(named, slow)
	}
	return named
}

// byCount returns the keys of m with the largest count first.
func byCount(m map[string]int64) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
}

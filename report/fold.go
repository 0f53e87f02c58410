package report

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"muster/internal/sample"
)

// slowest is how many of a job's slowest devices are named.
const slowest = 10

// outcomeCount is the number of outcomes and Open, which is not one.
const outcomeCount = len(sample.Outcomes) + 1

// deviceRow is one device's part in one job, over all repetitions: a line of
// devices.csv.
type deviceRow struct {
	*deviceBook
	job        string
	device     uint32
	duplicates uint32
	outcomes   [outcomeCount]uint32
	max        time.Duration
	maxIn      uint32                        // the repetition of max
	service    time.Duration                 // the longest; below zero if none was seen
	total      *hdrhistogram.PackedHistogram // made at the first sample
}

// record takes in one total. What the histogram cannot hold is counted with
// the job's phase.
func (d *deviceRow) record(took time.Duration, repetition uint32) {
	us, ok := micros(took)
	if !ok {
		return
	}
	if d.total == nil {
		d.total = hdrhistogram.NewPacked(lowest, highest, digits)
	}
	if took > d.max {
		d.max, d.maxIn = took, repetition
	}
	_ = d.total.RecordValue(us) // micros has checked the range, which is all it refuses
}

// folder turns the rows of one job after the other into numbers. Its
// histograms, a quarter of a megabyte each, are used again for each job.
type folder struct {
	book   *book
	series [phases][outcomeCount]series
	merged series
	at     map[uint32]int32 // device → its index in rows, of the present job
	flown  []flights        // by job
	rows   []deviceRow
	groups groups     // of the present job
	detail *jobDetail // of the present job

	windows []windowSeries // of all jobs
	values  []uint64       // of one phase; its memory is used again
}

// foldJobs fills in s.Jobs and returns a row for each device and job, in the
// order of the jobs and of the fleet, when executions were on their way, and
// the windows. It lets go of the rows as it goes.
func (b *book) foldJobs(s *Summary) ([]deviceRow, []flights, []windowSeries) {
	f := folder{book: b, flown: make([]flights, len(b.jobs)), windows: []windowSeries{b.connectWindows(&s.Fleet)}}
	for i := range b.jobs {
		j := &b.jobs[i]
		s.Jobs = append(s.Jobs, f.fold(j, &f.flown[i]))
		b.gaugeJob(j)
		for _, rep := range j.reps {
			rep.rows, rep.at, rep.targets.Devices = nil, nil, nil
		}
	}
	return f.rows, f.flown, f.windows
}

func (f *folder) fold(b *jobBook, flown *flights) Job {
	j := Job{
		Name: b.spec.Name, Type: b.spec.Type, Via: b.spec.Via, QueryCondition: b.spec.QueryCondition, Repetitions: b.spec.Repetitions,
		IDs: []string{}, Unexpected: b.unexpected, Phases: map[string]*Stats{},
	}
	first := len(f.rows)
	f.at = map[uint32]int32{}
	f.groups = newGroups(f.book.run)
	f.detail = f.book.newDetail()
	foreign := int64(0)
	for _, n := range b.inOrder() {
		rep := b.reps[n]
		if id := rep.id(); id != "" {
			j.IDs = append(j.IDs, id)
		}
		rep.addUnseen()
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
	rows := f.rows[first:]
	slices.SortFunc(rows, func(a, b deviceRow) int { return cmp.Compare(a.device, b.device) })
	j.Slowest = slowestOf(rows)
	return j
}

// addUnseen adds, to a repetition that was never closed, the devices that it
// was meant for and of which nothing was recorded: how they ended is unknown.
func (r *repetition) addUnseen() {
	if r.closed != nil {
		return
	}
	for _, d := range r.targets.Devices {
		if _, ok := r.at[d]; !ok {
			r.put(row{moments: moments{due: r.targets.Due}, device: d, outcome: sample.Unknown}, true)
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
	d := f.row(j.Name, e.device)
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

func (f *folder) row(job string, device uint32) *deviceRow {
	i, ok := f.at[device]
	if !ok {
		i = int32(len(f.rows))
		f.at[device] = i
		f.rows = append(f.rows, deviceRow{deviceBook: &f.book.devices[device], job: job, device: device, service: -1})
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

// slowestOf names the devices with the longest total, the longest first.
func slowestOf(rows []deviceRow) []SlowDevice {
	var top []*deviceRow
	for i := range rows {
		d := &rows[i]
		if d.total == nil || len(top) == slowest && d.max <= top[slowest-1].max {
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
		slow := SlowDevice{ID: d.name(), Group: d.group, Max: Millis(d.max), Repetition: int(d.maxIn) + 1}
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

package report

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"muster/internal/sample"
)

// maxCauses bounds how many causes of one kind are told apart: an error's text
// may name a port, and ten thousand devices have ten thousand ports.
const maxCauses = 32

const otherCauses = "other"

// book is what one reading of the samples leaves behind. Samples of different
// devices come in no order, so nothing is counted before the last is read.
type book struct {
	run     *Run
	jobs    []jobBook
	devices []deviceBook
	groups  []string // that devices name; the first is ""
	groupAt map[string]uint32

	connect    series   // from due to ready, the first time
	connectAt  []uint64 // connect by window
	connects   flights
	connected  int64
	reconnects int64
	errors     map[string]int64 // why attempts to connect failed, and of those the ones after the first time
	reerrors   map[string]int64
	lost       map[string]int64
	faults     []sample.Fault // by index

	gauges     []*gauge        // by threshold; nil where the summary has what it reads
	generators []generatorBook // the run's own process, then its children
	together   together
	clockStep  time.Duration // the largest, either way
	upkeep     upkeep
	hub        *Hub
	end        *sample.End
	last       sample.Moment // the latest moment in the samples
	torn       bool
	unexpected int64 // receipts that fit no job
	strays     int64 // records of a job or device that run.json does not have

	detail detail // what only the page shows
}

// deviceBook is one device of the fleet.
type deviceBook struct {
	id      string
	due     sample.Moment // of its first attempt to connect
	took    time.Duration // to connect the first time, if ready
	group   uint32        // in book.groups
	returns uint32        // how often it came back
	ready   bool
}

// jobBook is one job.
type jobBook struct {
	spec       RunJob
	reps       map[uint32]*repetition
	unexpected int64
	causes     []string // row.cause is an index; the first is ""
	causeOf    map[string]uint16
}

// repetition is one firing of a job.
type repetition struct {
	targets sample.Targets
	closed  *sample.Repetition // nil while it is open
	rows    []row
	at      places // of devices, in rows
}

// row is the last that was recorded of an execution.
type row struct {
	moments

	device, duplicates, attempts uint32
	cause                        uint16
	outcome                      sample.Outcome
	hubClock                     bool
}

func newBook(run *Run) *book {
	b := &book{
		generators: make([]generatorBook, 1+len(run.Generators)),
		run:        run, jobs: make([]jobBook, len(run.Jobs)), devices: make([]deviceBook, run.devices()),
		gauges: newGauges(run.Thresholds), groups: []string{""}, groupAt: map[string]uint32{"": 0}, errors: map[string]int64{}, reerrors: map[string]int64{}, lost: map[string]int64{},
	}
	for i := range b.jobs {
		b.jobs[i] = jobBook{spec: run.Jobs[i], reps: map[uint32]*repetition{}, causes: []string{""}, causeOf: map[string]uint16{"": 0}}
	}
	return b
}

func (b *book) add(rec sample.Record) {
	switch r := rec.(type) {
	case *sample.Device:
		b.addDevice(r)
	case *sample.Connect:
		b.addConnect(r)
	case *sample.Lost:
		countCause(b.lost, r.Error)
		b.saw(r.At)
	case *sample.Fault:
		b.addFault(r)
	case *sample.Targets:
		if rep := b.repetition(r.Job, r.Repetition); rep != nil {
			rep.targets = *r
			rep.rows = slices.Grow(rep.rows, max(len(r.Devices)-len(rep.rows), 0))
		}
	case *sample.Execution:
		b.addExecution(r)
	case *sample.Unexpected:
		b.addUnexpected(r)
	case *sample.Repetition:
		if rep := b.repetition(r.Job, r.Repetition); rep != nil {
			rep.closed = r
		}
		b.saw(r.Ended)
	case *sample.JobState:
		b.saw(r.At)
	case *sample.HubStats:
		b.addHub(r)
	case *sample.Health:
		b.addHealth(r)
	case *sample.Recording:
		b.upkeep.addRecording(r)
	case *sample.End:
		b.end = r
		b.saw(r.At)
	}
}

func (b *book) saw(m sample.Moment) { b.last = max(b.last, m) }

func (b *book) addDevice(r *sample.Device) {
	if int(r.Index) >= len(b.devices) {
		b.strays++
		return
	}
	group, ok := b.groupAt[r.Group]
	if !ok {
		group = uint32(len(b.groups))
		b.groups = append(b.groups, r.Group)
		b.groupAt[r.Group] = group
	}
	d := &b.devices[r.Index]
	d.id, d.group = r.ID, group
}

// name returns a device's id, or its number if the samples do not have it.
func (b *book) name(device uint32) string {
	if id := b.devices[device].id; id != "" {
		return id
	}
	return fmt.Sprintf("#%d", device)
}

// group returns the name of a device's group.
func (b *book) group(device uint32) string { return b.groups[b.devices[device].group] }

// addConnect counts a device's latency from when its first attempt was due, so
// that attempts which failed before are in it.
func (b *book) addConnect(r *sample.Connect) {
	if int(r.Device) >= len(b.devices) {
		b.strays++
		return
	}
	b.saw(r.Ready)
	b.saw(r.Dialed)
	d := &b.devices[r.Device]
	if !d.due.Seen() {
		d.due = r.Due
	}
	switch {
	case r.Error != "" || !r.Ready.Seen():
		countCause(b.errors, r.Error)
		if r.Reconnect {
			countCause(b.reerrors, r.Error)
		}
	case d.ready:
		b.reconnects++
		d.returns++
	default:
		d.ready = true
		b.detail.ramp.add(d.due, r.Ready)
		b.connected++
		b.connects.addSpan(r.Dialed, r.Ready)
		if took, ok := r.Ready.Since(d.due); ok {
			b.connect.record(took)
			b.connectAt = appendWindowValue(b.connectAt, r.Ready, sample.Succeeded, took)
			d.took = took
		}
	}
}

func countCause(causes map[string]int64, cause string) {
	if cause == "" {
		cause = "no cause given"
	}
	if _, ok := causes[cause]; !ok && len(causes) >= maxCauses {
		cause = otherCauses
	}
	causes[cause]++
}

func (b *book) repetition(job, n uint32) *repetition {
	if int(job) >= len(b.jobs) {
		b.strays++
		return nil
	}
	rep := b.jobs[job].reps[n]
	if rep == nil {
		rep = &repetition{}
		b.jobs[job].reps[n] = rep
	}
	return rep
}

func (b *book) addExecution(r *sample.Execution) {
	rep := b.repetition(r.Job, r.Repetition)
	if rep == nil {
		return
	}
	e := row{
		moments: momentsOf(r), device: r.Device, duplicates: r.Duplicates, attempts: r.Attempts, outcome: r.Outcome, hubClock: r.HubClock,
	}
	if !r.Final || r.Outcome == sample.Open {
		e.outcome = sample.Unknown // unless a later record says how it ended
	} else if r.Outcome != sample.Succeeded {
		e.cause = b.jobs[r.Job].cause(r)
	}
	b.saw(max(r.Finished, r.Answered, r.Received, r.Booked))
	rep.put(e, r.Final, len(b.devices))
}

// put replaces what rep had of the row's device, which may be of a fleet of so
// many. Devices that are not of the fleet have one index for all, so that
// theirs are kept apart, final ones only.
func (r *repetition) put(e row, final bool, fleet int) {
	if e.device == sample.NoDevice {
		if final {
			r.rows = append(r.rows, e)
		}
		return
	}
	if i, ok := r.at.find(e.device); ok {
		r.rows[i] = e
		return
	}
	r.at.put(e.device, len(r.rows), fleet)
	r.rows = append(r.rows, e)
}

// cause returns the index of why e did not succeed.
func (j *jobBook) cause(e *sample.Execution) uint16 {
	text := e.Code
	if text == "" && e.Outcome == sample.Failed && e.Status != 0 {
		text = fmt.Sprintf("status %d", e.Status)
	}
	if _, ok := j.causeOf[text]; !ok && len(j.causes) >= maxCauses {
		text = otherCauses
	}
	i, ok := j.causeOf[text]
	if !ok {
		i = uint16(len(j.causes))
		j.causes = append(j.causes, text)
		j.causeOf[text] = i
	}
	return i
}

func (b *book) addUnexpected(r *sample.Unexpected) {
	b.saw(r.At)
	if int(r.Job) < len(b.jobs) {
		b.jobs[r.Job].unexpected++
		return
	}
	b.unexpected++
}

func (b *book) addHub(r *sample.HubStats) {
	b.saw(r.At)
	b.detail.addHub(r)
	if b.hub == nil {
		b.hub = new(Hub)
	}
	b.hub.CPUSeconds = max(b.hub.CPUSeconds, seconds(r.CPU))
	b.hub.MaxRSS = max(b.hub.MaxRSS, r.MaxRSS)
	b.hub.Connections = max(b.hub.Connections, r.Connections)
	b.hub.SlowClosed = max(b.hub.SlowClosed, r.SlowClosed)
}

// inOrder returns the job's repetitions by number.
func (j *jobBook) inOrder() []uint32 { return slices.Sorted(maps.Keys(j.reps)) }

// due returns when the repetition was to start.
func (r *repetition) due() sample.Moment {
	switch {
	case r.targets.Due.Seen():
		return r.targets.Due
	case r.closed != nil && r.closed.Due.Seen():
		return r.closed.Due
	case len(r.rows) > 0:
		return r.rows[0].due
	}
	return 0
}

func (r *repetition) id() string {
	if r.targets.ID == "" && r.closed != nil {
		return r.closed.ID
	}
	return r.targets.ID
}

func (r *repetition) skipped() bool { return r.closed != nil && r.closed.Skipped }

// summary returns the parts of the summary that are of no job.
func (b *book) summary() Summary {
	devices := int64(len(b.devices))
	return Summary{
		SchemaVersion: SchemaVersion, Scenario: b.run.Scenario, StartedAt: b.run.StartedAt.UTC(), DurationSeconds: seconds(time.Duration(b.last)),
		Ended: b.ended(), Error: b.endError(), MusterVersion: b.run.MusterVersion, Seed: b.run.Seed, Driver: b.run.Driver, Target: b.target(),
		Reasons: []string{}, Jobs: []Job{}, Faults: b.faultList(), Thresholds: []Threshold{}, Unexpected: b.unexpected,
		Fleet: Fleet{
			Devices: devices, Connected: b.connected, Failed: devices - b.connected,
			Connect: b.connect.stats(), Reconnects: b.reconnects, Errors: b.errors,
			ReconnectErrors: b.reerrors, Lost: sum(b.lost), LostBy: b.lost,
		},
		Generator: b.generator(),
		Hub:       b.hub, Warnings: b.warnings(),
	}
}

// target returns the run's target with what must be known of it.
func (b *book) target() Target {
	t := b.run.Target
	t.Note = TransportNote(t.Transport)
	return t
}

func (b *book) ended() string {
	if b.end == nil {
		return ""
	}
	return b.end.Reason
}

func (b *book) endError() string {
	if b.end == nil {
		return ""
	}
	return b.end.Error
}

// warnings returns the doubts that belong to no number in particular.
func (b *book) warnings() []string {
	warnings := append([]string{}, b.run.Warnings...)
	add := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	if b.torn {
		add("the samples stop in the middle of a record: up to the last second is missing")
	}
	if b.strays > 0 {
		add("%s of jobs or devices that the run does not have: left out", count(b.strays, "record"))
	}
	if b.unexpected > 0 {
		add("%s that no job explains", count(b.unexpected, "receipt"))
	}
	if n := b.connect.negative + b.connect.outOfRange; n > 0 {
		add("%s below zero or above 24 h: in no percentile", count(n, "connect latency"))
	}
	for i := range b.faults {
		f := &b.faults[i]
		switch {
		case f.Error != "":
			add("the fault %s at %s did not begin: %s", f.What, f.At, f.Error)
		case f.Ended.Seen() && f.Struck == 0: // before its end nobody knows
			add("the fault %s at %s struck nothing", f.What, f.At)
		}
	}
	if b.hub != nil && b.hub.SlowClosed > 0 {
		add("the hub closed %s that did not read", count(b.hub.SlowClosed, "connection"))
	}
	return warnings
}

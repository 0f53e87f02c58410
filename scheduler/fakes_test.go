package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"muster/internal/query"
	"muster/internal/sample"
	"muster/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ms = time.Millisecond

// records keeps all that is recorded.
type records struct {
	mu  sync.Mutex
	all []sample.Record
}

func (r *records) Execution(e *sample.Execution) {
	kept := *e
	r.Write(&kept)
}

func (r *records) Write(rec sample.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rep, ok := rec.(*sample.Repetition); ok {
		kept := *rep
		rec = &kept
	}
	r.all = append(r.all, rec)
}

// of returns the records of one type in the order in which they came.
func of[R sample.Record](r *records) []R {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []R
	for _, rec := range r.all {
		if rec, ok := rec.(R); ok {
			out = append(out, rec)
		}
	}
	return out
}

// finals returns the final executions of a repetition by device. It fails the
// test if one is not the last of its device.
func (r *records) finals(t *testing.T, job, repetition uint32) map[uint32]*sample.Execution {
	t.Helper()
	out := map[uint32]*sample.Execution{}
	for _, e := range of[*sample.Execution](r) {
		if e.Job != job || e.Repetition != repetition {
			continue
		}
		if out[e.Device] != nil && e.Device != sample.NoDevice {
			t.Errorf("device %d has a record after its final one: %+v", e.Device, e)
		}
		if e.Final {
			out[e.Device] = e
		}
	}
	return out
}

// outcomes returns the final outcomes of a repetition by device.
func (r *records) outcomes(t *testing.T, job, repetition uint32) map[uint32]string {
	t.Helper()
	out := map[uint32]string{}
	for device, e := range r.finals(t, job, repetition) {
		out[device] = e.Outcome.String()
	}
	return out
}

// fleet has devices d0, d1, …; match is what every condition matches.
type fleet struct {
	size int

	mu      sync.Mutex
	match   []uint32 // nil is all
	blind   bool     // it cannot answer conditions
	applied []uint32
}

func (f *fleet) Len() int { return f.size }

func (f *fleet) Index(id string) (uint32, bool) {
	n, err := strconv.Atoi(strings.TrimPrefix(id, "d"))
	if err != nil || n < 0 || n >= f.size {
		return 0, false
	}
	return uint32(n), true
}

func (f *fleet) Match(*query.Condition) ([]uint32, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.blind {
		return nil, false
	}
	if f.match != nil {
		return f.match, true
	}
	all := make([]uint32, f.size)
	for i := range all {
		all[i] = uint32(i)
	}
	return all, true
}

func (f *fleet) Apply(device uint32, _, _ []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied = append(f.applied, device)
}

func names(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("d%d", i)
	}
	return ids
}

// device is how a fake hub's device behaves.
type device struct {
	offline, silent bool
	status          int32         // of its answer; 0 is 200
	latency         time.Duration // of its answer; 0 is 10 ms
	receipts        int           // 0 is 1
	stuck           bool          // its row stays pending, or fails at the job's end if it has a code
	noRow           bool          // its row never comes
	code            string        // its row fails with it
}

var errDead = errors.New("connection refused")

// hub is a fake of the hub's job side.
type hub struct {
	clock    *sample.Clock
	s        *scheduler.Scheduler
	fleet    *fleet
	targets  []string
	devices  map[string]device
	rowLag   time.Duration // how long after a job's end its rows are there
	endAfter time.Duration // the job ends then, whatever its devices do; 0 is with the last row
	payload  func([]byte) []byte
	refuse   error
	failed   string // jobs fail at their start with this reason
	noStats  bool
	stale    string // from its second reading on, this device's row is an older one

	mu      sync.Mutex
	dead    bool
	polls   []sample.Moment
	cancels int
	reads   int
	jobs    []*hubJob
}

type hubJob struct {
	scheduler.JobRequest
	put    sample.Moment
	status string
	reason string
	ended  time.Time
	rows   []scheduler.Row
	timer  *time.Timer
}

func (h *hub) lock() (unlock func(), err error) {
	h.mu.Lock()
	if h.dead {
		h.mu.Unlock()
		return nil, errDead
	}
	return h.mu.Unlock, nil
}

func (h *hub) die() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dead = true
}

func (h *hub) job(id string) *hubJob {
	return h.jobs[slices.IndexFunc(h.jobs, func(j *hubJob) bool { return j.ID == id })]
}

func (h *hub) CreateJob(_ context.Context, r scheduler.JobRequest) error {
	unlock, err := h.lock()
	if err != nil || h.refuse != nil {
		if err == nil {
			unlock()
			err = h.refuse
		}
		return err
	}
	defer unlock()
	j := &hubJob{JobRequest: r, status: "scheduled", put: h.clock.Now()}
	h.jobs = append(h.jobs, j)
	j.timer = time.AfterFunc(time.Until(r.Start), func() { h.run(j) })
	return nil
}

func (h *hub) CancelJob(_ context.Context, id string) error {
	unlock, err := h.lock()
	if err != nil {
		return err
	}
	defer unlock()
	h.cancels++
	j := h.job(id)
	if j.status != "scheduled" {
		return errors.New("too late")
	}
	j.timer.Stop()
	j.status, j.ended = "cancelled", time.Now()
	return nil
}

func (h *hub) run(j *hubJob) {
	h.mu.Lock()
	defer h.mu.Unlock()
	j.status = "running"
	if h.failed != "" {
		j.status, j.reason, j.ended = "failed", h.failed, time.Now()
		return
	}
	for n, id := range h.targets {
		j.rows = append(j.rows, scheduler.Row{Device: id, Status: "pending"})
		if d := h.devices[id]; !d.stuck {
			j.rows[n].Start, j.rows[n].Status = time.Now(), "running"
			time.AfterFunc(ms, func() { h.reach(j, n, id, d) })
		}
	}
	if h.endAfter > 0 {
		time.AfterFunc(h.endAfter, func() { h.end(j) })
	}
	h.endIfDoneLocked(j)
}

func (h *hub) reach(j *hubJob, n int, id string, d device) {
	index, _ := h.fleet.Index(id)
	r := sample.Receipt{Device: index, Kind: sample.MethodReceipt, Name: j.MethodName, Payload: j.Payload, At: h.clock.Now()}
	if j.Kind == scheduler.Desired {
		r.Kind, r.Payload = sample.DesiredReceipt, j.Desired
	}
	if h.payload != nil {
		r.Payload = h.payload(r.Payload)
	}
	if d.offline && j.Kind == scheduler.Method {
		h.book(j, n, scheduler.Row{Status: "failed", Code: "DeviceNotOnline"})
		return
	}
	if j.Kind != scheduler.Method {
		h.book(j, n, scheduler.Row{Status: "completed"})
	}
	if d.offline || j.Kind == scheduler.Tags {
		return
	}
	ticket := h.s.Received(r)
	for range d.receipts - 1 {
		h.s.Received(r)
	}
	if d.silent {
		return
	}
	if d.latency == 0 {
		d.latency = 10 * ms
	}
	if d.status == 0 {
		d.status = 200
	}
	time.AfterFunc(d.latency, func() {
		h.s.Answered(ticket, d.status, h.clock.Now())
		if j.Kind == scheduler.Method {
			row := scheduler.Row{Status: "completed", MethodStatus: d.status}
			if d.code != "" {
				row = scheduler.Row{Status: "failed", Code: d.code}
			}
			h.book(j, n, row)
			return
		}
		time.AfterFunc(ms, func() { h.s.Finished(ticket, h.clock.Now()) })
	})
}

func (h *hub) book(j *hubJob, n int, row scheduler.Row) {
	h.mu.Lock()
	defer h.mu.Unlock()
	row.Device, row.Start, row.End = j.rows[n].Device, j.rows[n].Start, time.Now()
	j.rows[n] = row
	h.endIfDoneLocked(j)
}

func (h *hub) endIfDoneLocked(j *hubJob) {
	for _, row := range j.rows {
		if row.End.IsZero() {
			return
		}
	}
	if j.status == "running" {
		j.status, j.ended = "completed", time.Now()
	}
}

func (h *hub) end(j *hubJob) {
	h.mu.Lock()
	defer h.mu.Unlock()
	j.status, j.ended = "completed", time.Now()
	for n := range j.rows {
		if d := h.devices[j.rows[n].Device]; d.stuck && d.code != "" {
			j.rows[n].Status, j.rows[n].Code, j.rows[n].End = "failed", d.code, time.Now()
		}
	}
}

func (h *hub) JobStatus(_ context.Context, id string) (scheduler.JobStatus, error) {
	unlock, err := h.lock()
	if err != nil {
		return scheduler.JobStatus{}, err
	}
	defer unlock()
	h.polls = append(h.polls, h.clock.Now())
	j := h.job(id)
	status := scheduler.JobStatus{Status: j.status, Reason: j.reason, Start: j.Start}
	if h.noStats || j.status == "scheduled" || j.status == "cancelled" || j.status == "failed" {
		return status, nil
	}
	stats := sample.Statistics{Devices: int64(len(j.rows))}
	for _, row := range j.rows {
		switch row.Status {
		case "completed":
			stats.Succeeded++
		case "failed":
			stats.Failed++
		case "running":
			stats.Running++
		default:
			stats.Pending++
		}
	}
	status.Stats = &stats
	return status, nil
}

func (h *hub) Rows(_ context.Context, id string, yield func(scheduler.Row) error) error {
	unlock, err := h.lock()
	if err != nil {
		return err
	}
	j := h.job(id)
	lagging := !j.ended.IsZero() && time.Since(j.ended) < h.rowLag
	rows := slices.Clone(j.rows)
	h.reads++
	stale := h.reads > 1
	unlock()
	for n, row := range rows {
		if h.devices[row.Device].noRow || lagging && n%2 == 1 {
			continue
		}
		if stale && row.Device == h.stale {
			row = scheduler.Row{Device: row.Device, Status: "running"}
		}
		if err := yield(row); err != nil {
			return err
		}
	}
	return nil
}

// lab is a scheduler with everything around it faked.
type lab struct {
	*records
	hub   *hub
	fleet *fleet
	s     *scheduler.Scheduler
	clock *sample.Clock
}

// method returns a method job.
func method(change func(*scheduler.Job)) scheduler.Job {
	j := scheduler.Job{
		Name: "lock", Kind: scheduler.Method, MethodName: "lockDoor", Payload: json.RawMessage(`{"lockTime":"10m"}`),
		ConditionText: "*",
	}
	if change != nil {
		change(&j)
	}
	return j
}

// newLab makes a lab with size devices, all of which the hub targets. It must
// be called in a bubble.
func newLab(t *testing.T, size int, opts scheduler.Options, jobs ...scheduler.Job) *lab {
	t.Helper()
	l := &lab{records: &records{}, clock: sample.NewClock(), fleet: &fleet{size: size}}
	l.hub = &hub{clock: l.clock, fleet: l.fleet, targets: names(size), devices: map[string]device{}}
	opts.Clock, opts.Samples, opts.Fleet, opts.Service = l.clock, l.records, l.fleet, l.hub
	s, err := scheduler.New(jobs, opts)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	l.s, l.hub.s = s, s
	return l
}

// run runs the jobs to their end.
func (l *lab) run(t *testing.T) {
	t.Helper()
	if err := l.s.Run(t.Context()); err != nil {
		t.Errorf("Run: %v", err)
	}
	synctest.Wait()
}

// repetition returns the closing record of a repetition.
func (l *lab) repetition(t *testing.T, job, n uint32) *sample.Repetition {
	t.Helper()
	var found *sample.Repetition
	for _, rep := range of[*sample.Repetition](l.records) {
		if rep.Job == job && rep.Repetition == n {
			if found != nil {
				t.Errorf("repetition %d of job %d closed twice", n, job)
			}
			found = rep
		}
	}
	if found == nil {
		t.Fatalf("repetition %d of job %d never closed", n, job)
	}
	return found
}

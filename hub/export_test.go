package hub

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"muster/internal/query"
	"muster/iothub"
)

// Records are what a store holds, for tests: the record's name, and a function that decodes one and encodes it again.
var Records = map[string]func([]byte) ([]byte, error){
	"device": func(content []byte) ([]byte, error) {
		d, parent, err := decodeDevice(2, content)
		if err != nil {
			return nil, err
		}
		if parent != 0 {
			d.parent = &device{seq: parent, id: d.id[:strings.Index(d.id, "/")]}
		}
		return d.keptLocked().Encode()
	},
	"job": func(content []byte) ([]byte, error) {
		j, err := decodeJob(1, content)
		if err != nil {
			return nil, err
		}
		var request jobRecord
		_ = json.Unmarshal(content, &request) // decodeJob did so
		return jobRecord{j.spec.id, j.created.UnixNano(), request.Request}.Encode()
	},
	"state": func(content []byte) ([]byte, error) {
		j := &job{}
		if err := j.decodeState(content); err != nil {
			return nil, err
		}
		if j.due >= 0 {
			j.rows = make([]row, min(j.due, 1024))
		}
		return j.stateLocked().Value.Encode()
	},
	"row": func(content []byte) ([]byte, error) {
		j := &job{spec: jobSpec{kind: iothub.JobTwin}}
		r, err := j.decodeRow(content, func(seq uint64, id string) *device { return &device{id: id, seq: seq} })
		if err != nil {
			return nil, err
		}
		j.rows = []row{r}
		return j.rowLocked(0).Value.Encode()
	},
}

// TwinOf returns the twin in a device's record, as the service shows it.
func TwinOf(content []byte) ([]byte, error) {
	d, _, err := decodeDevice(2, content)
	if err != nil {
		return nil, err
	}
	return d.twinReply().body, nil
}

// ApplyNext changes the twin of the first pending row of a twin job, and does not get to end the row: what a crash may leave.
func ApplyNext(h *Hub, jobID string) *iothub.Error {
	j := h.jobs.find(jobID)
	j.mu.Lock()
	i := slices.IndexFunc(j.rows, func(r row) bool { return r.status == rowPending })
	j.rows[i].status, j.rows[i].start = rowRunning, time.Now().UnixNano()
	by := j.executionLocked(i)
	j.mu.Unlock()
	return h.patchTwin(by.row.dev, j.spec.twin, "*", by)
}

// DropDevice forgets a device in the store alone: what a crash may leave of a removal.
func DropDevice(h *Hub, id string) {
	d := h.registry.find(id)
	d.mu.Lock()
	defer d.mu.Unlock()
	h.store.dropDevice(d)
}

// Indexed says whether all indexes that queries have asked for are made.
func (h *Hub) Indexed() bool {
	return !slices.ContainsFunc(h.registry.index.tags(), func(t *indexedTag) bool { return !t.ready.Load() })
}

// IndexFrom lets the hub index tags from that many devices and modules on.
func IndexFrom(h *Hub, n int) { h.registry.index.from = n }

// ForeseeFrom lets the hub index the tags that most devices have from that many on.
func ForeseeFrom(h *Hub, n int) { h.registry.index.foreseeFrom = n }

// Candidates returns how many devices and modules a condition is asked about.
func Candidates(h *Hub, target string) (n int) {
	where, err := query.ParseTarget(target)
	if err != nil {
		panic(err)
	}
	for range h.candidates(where.Source(), where, 0) {
		n++
	}
	return n
}

// IndexSize returns how many tags are indexed, and how many postings there are.
func IndexSize(h *Hub) (tags, postings int) {
	for _, t := range h.registry.index.tags() {
		t.mu.RLock()
		postings += len(t.postings)
		t.mu.RUnlock()
		tags++
	}
	return tags, postings
}

// DeviceSize returns the size of a device, and where what a query over tags reads of it ends.
func DeviceSize() (size, line uintptr) {
	var d device
	return unsafe.Sizeof(d), unsafe.Offsetof(d.id) + unsafe.Sizeof(d.id)
}

// JobStarted returns when a job began.
func JobStarted(h *Hub, id string) time.Time {
	j := h.jobs.find(id)
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.started
}

// RowToken returns the continuation token that a query of a job's rows has before a row.
func RowToken(h *Hub, id, sql string, row int) string {
	return cursor{seq: h.jobs.find(id).seq, row: uint64(row)}.token(sql)
}

// RowTimes returns how the rows of one page show these times, which are in ns since 1970.
func RowTimes(all ...int64) (shown []string) {
	var times timeText
	for _, ns := range all {
		shown = append(shown, string(times.append(nil, ns)))
	}
	return shown
}

// Timers are a hub's timers, for tests.
type Timers struct{ t *timers }

// Alarm is something that timers tell.
type Alarm struct {
	deadline
	Told func()
}

func (a *Alarm) expired(time.Time) { a.Told() }

func NewTimers() Timers                      { return Timers{newTimers()} }
func (t Timers) Run(stop <-chan struct{})    { t.t.run(stop) }
func (t Timers) Arm(a *Alarm, at time.Time)  { t.t.arm(&a.deadline, at, a) }
func (t Timers) Disarm(a *Alarm)             { t.t.disarm(&a.deadline) }
func (t Timers) Fire() (time.Duration, bool) { return t.t.fire() }

// Flushed is a connection of nobody's, for tests: what is written to it goes to a function.
type Flushed struct{ c *conn }

// NewFlushed returns a connection whose packets a hub's flushers hand to write.
func NewFlushed(h *Hub, write func(b []byte)) Flushed {
	return Flushed{&conn{hub: h, trying: fakeTelling{write: write}}}
}

// Send has bytes written.
func (f Flushed) Send(b ...byte) { f.c.send(func(dst []byte) []byte { return append(dst, b...) }) }

// FlushHere lets the goroutine of its caller do what the hub's flushers do: what is sent before is written only by flush.
func FlushHere(h *Hub) (flush func()) {
	f := h.flushers
	f.most = 0
	return func() {
		f.mu.Lock()
		f.running = 1
		f.mu.Unlock()
		f.run()
	}
}

// FlushQueue returns how many connections flushers keep room for that have so many in their queue, while n pass through it.
func FlushQueue(waiting, n int) int {
	f := newFlushers()
	f.most, f.running = 1, 1 // that one is this
	var c conn
	for range waiting {
		f.push(&c)
	}
	var taken [1]*conn
	for range n {
		f.push(&c)
		f.take(taken[:])
	}
	return cap(f.queue)
}

// fakeTelling is a connection that tells, as far as flushers and readers use it.
type fakeTelling struct {
	write func(b []byte)
	read  func(p []byte) (int, error)
}

func (t fakeTelling) TryWrite(p []byte) (int, error) { t.write(p); return len(p), nil }
func (t fakeTelling) TryRead(p []byte) (int, error)  { return t.read(p) }
func (t fakeTelling) TellRead(func())                {}

// ReadTurn has a hub's reader read a connection that is told at each of so many reads that there is something. It returns how
// often it was read when its turn was over, and whether it waits for the next one.
func ReadTurn(h *Hub, times int) (reads int, waits bool) {
	r := &h.readers
	r.mu.Lock()
	r.most = 0 // no worker takes it
	r.mu.Unlock()
	c := &conn{hub: h, dev: &device{}}
	c.in = patient{c}
	c.nt = fakeTelling{read: func([]byte) (int, error) {
		if reads++; reads < times {
			c.wake()
		}
		return 0, syscall.EAGAIN
	}}
	c.told.Store(1)
	c.resume()
	r.mu.Lock()
	defer r.mu.Unlock()
	waits = r.first == c && c.told.Load() > 0
	r.first = nil
	return reads, waits
}

// HoldReaders lets no connection in memory be read, as if all readers were busy, until release is called.
func HoldReaders(h *Hub) (release func()) {
	r := &h.readers
	r.mu.Lock()
	defer r.mu.Unlock()
	most := r.most
	r.most = 0
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.most = most
		r.callLocked()
	}
}

// DispatchStopped has a job dispatch what is pending for some devices, though it was stopped. It returns how many executions that was.
func DispatchStopped(h *Hub, ids ...string) int {
	j := &job{hub: h, status: iothub.JobRunning, rows: make([]row, len(ids))}
	j.spec.method = &methodRequest{}
	j.count.pending = len(ids)
	for i, id := range ids {
		j.rows[i].dev = h.registry.find(id)
	}
	ctx, stop := context.WithCancel(h.ctx)
	stop()
	j.dispatchAll(ctx)
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(ids) - j.count.pending
}

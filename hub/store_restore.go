package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"muster/hub/internal/store"
	"muster/iothub"
)

// found is what a store held when it was opened.
type found struct {
	used     bool // by a hub
	policies policyKeys
	devices  []*device // in the order of registration
	bySeq    map[uint64]*device
	orphans  []*device // modules whose device was deleted: the hub ended before they were
	jobs     []*job    // in the order of creation
	jobBySeq map[uint64]*job
}

// load reads everything, and checks that it fits together.
func (s *Store) load() error {
	s.found = found{bySeq: make(map[uint64]*device), jobBySeq: make(map[uint64]*job)}
	if err := s.db.Load(s.loadRecord); err != nil {
		return err
	}
	ids := make(map[string]bool, len(s.found.devices))
	for _, d := range s.found.devices {
		if ids[d.id] {
			return fmt.Errorf("device %s is there twice", d.id)
		}
		ids[d.id] = true
	}
	clear(ids)
	for _, j := range s.found.jobs {
		if ids[j.spec.id] {
			return fmt.Errorf("job %s is there twice", j.spec.id)
		}
		ids[j.spec.id] = true
		if err := j.recount(); err != nil {
			return fmt.Errorf("job %s: %w", j.spec.id, err)
		}
	}
	return nil
}

// loadRecord takes one record in: those of a kind before all of the next one.
func (s *Store) loadRecord(k store.Key, content []byte) error {
	f := &s.found
	switch k.Kind {
	case store.Meta:
		return s.loadMeta(k.Seq, content)
	case store.Device:
		return f.loadDevice(k.Seq, content)
	case store.Job:
		j, err := decodeJob(k.Seq, content)
		if err != nil {
			return err
		}
		f.jobs, f.jobBySeq[j.seq] = append(f.jobs, j), j
		return nil
	}
	j := f.jobBySeq[k.Seq]
	switch {
	case j == nil:
		return errors.New("its job is not there")
	case k.Kind == store.State:
		return j.decodeState(content)
	case int64(k.Row) >= int64(j.due): // made, but not all of them
		return nil
	case int(k.Row) != len(j.rows):
		return fmt.Errorf("row %d is not there", len(j.rows))
	}
	r, err := j.decodeRow(content, f.deviceOf)
	if err == nil {
		j.rows = append(j.rows, r)
	}
	return err
}

func (s *Store) loadMeta(what uint64, content []byte) error {
	switch what {
	case metaFloor:
		return json.Unmarshal(content, &s.floor)
	case metaPolicies:
		return json.Unmarshal(content, &s.found.policies)
	}
	return nil
}

// loadDevice takes a device in, or a module, which comes after its device. The modules of a device that was deleted go too.
func (f *found) loadDevice(seq uint64, content []byte) error {
	d, parent, err := decodeDevice(seq, content)
	switch {
	case err != nil:
		return err
	case parent == 0:
	case f.bySeq[parent] == nil:
		f.orphans = append(f.orphans, d)
		return nil
	default:
		d.parent = f.bySeq[parent]
		if !strings.HasPrefix(d.id, d.parent.id+"/") {
			return fmt.Errorf("module %s is not one of device %s", d.id, d.parent.id)
		}
		d.parent.keepModulesLocked(append(d.parent.modulesLocked(), d)) // nobody else knows it
	}
	f.devices, f.bySeq[seq] = append(f.devices, d), d
	return nil
}

// deviceOf returns the device of a place in the order, or one that was deleted.
func (f *found) deviceOf(seq uint64, id string) *device {
	if d := f.bySeq[seq]; d != nil {
		return d
	}
	d := &device{id: id, seq: seq}
	if parent, _, isModule := strings.Cut(id, "/"); isModule {
		d.parent = &device{id: parent}
		d.parent.gone.Store(true)
	}
	d.gone.Store(true)
	f.bySeq[seq] = d
	return d
}

// recount counts the rows of a job that was read back.
func (j *job) recount() error {
	if j.due >= 0 && len(j.rows) != j.due {
		return fmt.Errorf("%d of %d rows are there", len(j.rows), j.due)
	}
	if j.due == 0 {
		j.rows = []row{}
	}
	for i := range j.rows {
		switch j.rows[i].status {
		case rowPending:
			j.count.pending++
		case rowRunning:
			j.count.running++
		case rowCompleted:
			j.count.succeeded++
		case rowFailed:
			j.count.failed++
		}
	}
	return nil
}

// adopt makes a new hub what the store's last one was, and keeps what it begins with.
func (s *Store) adopt(h *Hub, ownerKey iothub.Key) {
	f := &s.found
	if f.used {
		panic("hub: a store serves one hub")
	}
	f.used = true
	s.adoptPolicies(h, ownerKey)
	etag := s.floor.ETags
	rid := rand.Uint32() // answers to what an earlier hub asked find nothing
	for _, d := range f.devices {
		d.rid = rid
		etag = max(etag, d.identity.etag)
		h.blobs.shareTwin(d)
		h.registry.restore(d)
	}
	for _, m := range f.orphans {
		etag = max(etag, m.identity.etag)
		s.dropDevice(m)
	}
	h.etags.Store(etag)
	h.registry.seq = max(h.registry.seq, s.floor.Devices)
	if h.registry.len() >= h.registry.index.foreseeFrom {
		h.foreseeNow()
	}
	for _, j := range f.jobs {
		j.hub = h
		h.jobs.restore(j)
	}
	h.jobs.seq = max(h.jobs.seq, s.floor.Jobs)
	for _, j := range f.jobs {
		j.restart(time.Now())
	}
	s.found = found{used: true}
}

// adoptPolicies gives the hub the keys that it had. A key that its options name wins.
func (s *Store) adoptPolicies(h *Hub, ownerKey iothub.Key) {
	keys := policyKeys{}
	for name, p := range h.policies {
		old := iothub.Key(s.found.policies[name])
		if len(old) > 0 && (name != ownerPolicy || len(ownerKey) == 0) {
			p.key = old
			h.policies[name] = p
		}
		keys[name] = p.key
	}
	s.db.Put(store.Record{Key: store.Key{Kind: store.Meta, Seq: metaPolicies}, Value: keys})
}

// restore takes a device in whose place in the order is behind those of all that are there.
func (r *registry) restore(d *device) {
	r.shard(d.id).devices[d.id] = d
	r.order = append(r.order, d)
	r.tally.count(d, 1)
	r.seq = d.seq
}

// restore takes a job in that was created after all that are there.
func (js *jobs) restore(j *job) {
	js.byID[j.spec.id] = j
	js.order = append(js.order, j)
	js.seq = j.seq
}

// restart lets a job go on that was read back.
func (j *job) restart(now time.Time) {
	switch j.status {
	case iothub.JobQueued:
		j.schedule()
	case iothub.JobScheduled:
		j.hub.timers.arm(&j.deadline, j.spec.start, j)
	case iothub.JobRunning:
		if !j.interrupt(now) {
			j.hub.spawn(j.resume)
		}
	}
}

// interrupt ends the executions that may have been under way when the hub ended, as far as they must not be tried again, and
// reports whether the job has ended with it. A change of a twin that was not kept was not made.
func (j *job) interrupt(now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	lost := callResult{err: errRestarted()}
	for i := range j.rows {
		switch r := &j.rows[i]; {
		case r.status == rowRunning && j.spec.twin != nil:
			r.status, r.start = rowPending, 0
			j.count.running--
			j.count.pending++
		case r.status == rowRunning, r.status == rowPending && i < j.mark && j.spec.method != nil:
			j.endLocked(i, lost, now)
		}
	}
	if j.rows == nil || j.count.pending > 0 {
		return false
	}
	if j.status == iothub.JobRunning { // all rows had ended
		j.status, j.ended = iothub.JobCompleted, now
		j.hub.store.keepState(j)
	}
	return true
}

func errRestarted() *iothub.Error {
	return fault(iothub.CodeServerError, "The hub was restarted meanwhile. Whether the device got the request is not known.")
}

// The blocks in which a job's mark advances: as many rows as are dispatched in about markSpan, within these bounds. All rows
// of a block may be lost to a crash; each block waits for the disk once.
const (
	firstBlock = 8
	maxBlock   = 1024
	markSpan   = 50 * time.Millisecond
)

// marker keeps a job's mark ahead of its dispatching.
type marker struct {
	block int
	next  int       // the mark
	at    time.Time // when it was set
}

// pass returns when row i may be dispatched: when the mark is kept to be behind it.
func (m *marker) pass(j *job, i int) error {
	if i < m.next {
		return nil
	}
	now := time.Now()
	switch took := now.Sub(m.at); {
	case m.block == 0:
		m.block = firstBlock
	case took < markSpan/2:
		m.block = min(2*m.block, maxBlock)
	case took > markSpan:
		m.block = max(m.block/2, 1)
	}
	m.next, m.at = i+m.block, now
	j.mu.Lock()
	m.next = min(m.next, len(j.rows))
	j.mark = m.next
	j.hub.store.keepState(j)
	j.mu.Unlock()
	return j.hub.store.db.Wait(j.hub.ctx)
}

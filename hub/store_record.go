package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"muster/hub/internal/store"
	"muster/iothub"
)

// The records of a store, as JSON: documents stand in them as they are. What the hub puts is encoded later, so it is made of
// copies and of what never changes.

// Numbers of the records about the hub itself.
const (
	metaFloor uint64 = iota
	metaPolicies
)

// floor is the largest of the numbers that were given to what exists no more.
type floor struct {
	ETags   uint64 `json:"etags"`
	Devices uint64 `json:"devices"`
	Jobs    uint64 `json:"jobs"`
}

func (f floor) Encode() ([]byte, error) { return json.Marshal(f) }

// policyKeys are the keys of the policies, in the clear: the file is for its owner.
type policyKeys map[string][]byte

func (p policyKeys) Encode() ([]byte, error) { return json.Marshal(p) }

// deviceRecord is a device or module with its twin and its persistent session.
type deviceRecord struct {
	ID          string          `json:"id"`               // of a module, its client id
	Parent      uint64          `json:"parent,omitempty"` // of a module, its device's place in the order of registration
	Created     int64           `json:"created"`
	Active      int64           `json:"active,omitempty"`
	ETag        uint64          `json:"etag"`
	Disabled    bool            `json:"disabled,omitempty"`
	Reason      string          `json:"reason,omitempty"`
	Auth        string          `json:"auth"`
	Primary     []byte          `json:"primary,omitempty"`
	Secondary   []byte          `json:"secondary,omitempty"`
	Thumbprints [2]string       `json:"thumbprints"`
	StatusAt    int64           `json:"statusAt,omitempty"`
	ConnAt      int64           `json:"connAt,omitempty"`
	Version     int64           `json:"version"`
	Tags        json.RawMessage `json:"tags"`
	Desired     sectionRecord   `json:"desired"`
	Reported    sectionRecord   `json:"reported"`
	Session     bool            `json:"session,omitempty"`
	Subs        uint8           `json:"subs,omitempty"`
}

type sectionRecord struct {
	Doc     json.RawMessage `json:"doc"`
	Version int64           `json:"version"`
	Stamps  stampsRecord    `json:"stamps"`
}

// stampsRecord is a stamps; a stamp is its time and its version.
type stampsRecord struct {
	Own  [2]int64                `json:"own"`
	Rest [2]int64                `json:"rest"`
	Kids map[string]stampsRecord `json:"kids,omitempty"`
}

// keptDevice is a device as it is to be kept.
type keptDevice struct {
	snapshot
	clientID string
	parent   uint64
	created  int64
	session  bool
	subs     uint8
}

func (d *device) keptLocked() keptDevice {
	k := keptDevice{clientID: d.id, created: d.created, session: d.session}
	d.snapshotLocked(&k.snapshot, allParts)
	if d.parent != nil {
		k.parent = d.parent.seq
	}
	if d.session {
		k.subs = d.subs
	}
	return k
}

func (k keptDevice) Encode() ([]byte, error) {
	i := &k.identity
	return encode(deviceRecord{
		ID: k.clientID, Parent: k.parent, Created: k.created, Active: k.active,
		ETag: i.etag, Disabled: i.disabled, Reason: i.reason, Auth: i.auth, Primary: i.primary, Secondary: i.secondary,
		Thumbprints: i.thumbprints(), StatusAt: i.statusAt, ConnAt: i.connAt,
		Version: k.version, Tags: k.tags, Desired: k.desired.record(), Reported: k.reported.record(),
		Session: k.session, Subs: k.subs,
	})
}

// encode is json.Marshal that leaves documents as they are.
func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return out.Bytes(), err
}

func (s *section) record() sectionRecord {
	return sectionRecord{Doc: s.doc, Version: s.version, Stamps: s.stamps.record()}
}

func (s *stamps) record() stampsRecord {
	r := stampsRecord{Own: [2]int64{s.own.at, s.own.version}, Rest: [2]int64{s.rest.at, s.rest.version}}
	if len(s.kids) > 0 {
		r.Kids = make(map[string]stampsRecord, len(s.kids))
		for name, kid := range s.kids {
			r.Kids[name] = kid.record()
		}
	}
	return r
}

// decodeDevice reads a device back, offline; a module with the place of its device.
func decodeDevice(seq uint64, content []byte) (d *device, parent uint64, err error) {
	var r deviceRecord
	if err := json.Unmarshal(content, &r); err != nil {
		return nil, 0, err
	}
	switch {
	case !validEntry(r.ID) || (r.Parent != 0) != strings.Contains(r.ID, "/"):
		return nil, 0, errors.New("the device's id is not valid")
	case r.Auth != iothub.AuthenticationSAS && r.Auth != iothub.AuthenticationSelfSigned && r.Auth != iothub.AuthenticationCA:
		return nil, 0, fmt.Errorf("device %s: authentication %q is not known", r.ID, r.Auth)
	case r.Version < 1 || r.Desired.Version < 1 || r.Reported.Version < 1:
		return nil, 0, fmt.Errorf("device %s: a version is not positive", r.ID)
	case !compactObject(r.Tags) || !compactObject(r.Desired.Doc) || !compactObject(r.Reported.Doc):
		return nil, 0, fmt.Errorf("device %s: a section of the twin is not an object", r.ID)
	}
	d = &device{
		id: r.ID, seq: seq, created: r.Created,
		identity: identity{
			etag: r.ETag, disabled: r.Disabled, reason: r.Reason, auth: r.Auth, primary: r.Primary, secondary: r.Secondary,
			statusAt: r.StatusAt, connAt: r.ConnAt,
		},
		tags: r.Tags, desired: r.Desired.section(), reported: r.Reported.section(), version: r.Version,
		session: r.Session,
	}
	d.identity.setThumbprints(r.Thumbprints)
	if r.Session {
		d.subs = r.Subs
	}
	d.active.Store(r.Active)
	return d, r.Parent, nil
}

// validEntry says whether an id can name an entry of the registry: a device, or a module by its client id.
func validEntry(id string) bool {
	device, module, isModule := strings.Cut(id, "/")
	return iothub.ValidDeviceID(device) && (!isModule || iothub.ValidDeviceID(module))
}

// compactObject says whether a document is an object without white space, as sections are.
func compactObject(doc []byte) bool {
	var out bytes.Buffer
	return isObject(doc) && json.Compact(&out, doc) == nil && bytes.Equal(out.Bytes(), doc)
}

func (r *sectionRecord) section() section {
	return section{doc: r.Doc, version: r.Version, stamps: r.Stamps.stamps()}
}

func (r *stampsRecord) stamps() stamps {
	s := stamps{own: stamp{r.Own[0], r.Own[1]}, rest: stamp{r.Rest[0], r.Rest[1]}}
	if len(r.Kids) > 0 {
		s.kids = make(map[string]*stamps, len(r.Kids))
		for name, kid := range r.Kids {
			s.kids[name] = new(kid.stamps())
		}
	}
	return s
}

// jobRecord is what was asked for, in the client's own words.
type jobRecord struct {
	ID      string `json:"id"`
	Created int64  `json:"created"`
	Request []byte `json:"request"`
}

func (r jobRecord) Encode() ([]byte, error) { return json.Marshal(r) }

// decodeJob reads a job back, as it was when it was created.
func decodeJob(seq uint64, content []byte) (*job, error) {
	var r jobRecord
	if err := json.Unmarshal(content, &r); err != nil {
		return nil, err
	}
	var doc iothub.JobRequest
	if err := json.Unmarshal(r.Request, &doc); err != nil {
		return nil, fmt.Errorf("job %s: %w", r.ID, err)
	}
	created := time.Unix(0, r.Created)
	spec, err := newJobSpec(&doc, r.ID, created)
	if err != nil {
		return nil, fmt.Errorf("job %s: %s", r.ID, err.Message)
	}
	return &job{spec: spec, created: created, seq: seq, status: iothub.JobQueued, restored: true, due: -1}, nil
}

// stateRecord is how far a job is. Times are in ns since 1970, 0 is not yet.
type stateRecord struct {
	Status  iothub.JobStatus `json:"status"`
	Failure string           `json:"failure,omitempty"`
	Started int64            `json:"started,omitempty"`
	Ended   int64            `json:"ended,omitempty"`
	Rows    int              `json:"rows"` // -1 = they were not made yet
	Mark    int              `json:"mark"`
}

func (r stateRecord) Encode() ([]byte, error) { return json.Marshal(r) }

func (j *job) stateLocked() store.Record {
	r := stateRecord{
		Status: j.status, Failure: j.failure, Started: nanos(j.started), Ended: nanos(j.ended), Rows: len(j.rows), Mark: j.mark,
	}
	if j.rows == nil {
		r.Rows = -1
	}
	return store.Record{Key: store.Key{Kind: store.State, Seq: j.seq}, Value: r}
}

// decodeState sets a job that was read back to how far it was; its rows are to be read.
func (j *job) decodeState(content []byte) error {
	var r stateRecord
	if err := json.Unmarshal(content, &r); err != nil {
		return err
	}
	switch r.Status {
	case iothub.JobQueued, iothub.JobScheduled, iothub.JobRunning, iothub.JobCompleted, iothub.JobFailed, iothub.JobCancelled:
	default:
		return fmt.Errorf("status %q is not known", r.Status)
	}
	if r.Rows < -1 || r.Rows > maxRows || r.Mark < 0 {
		return errors.New("the number of rows is out of range")
	}
	j.status, j.failure, j.mark = r.Status, r.Failure, r.Mark
	j.started, j.ended = momentOf(r.Started), momentOf(r.Ended)
	j.due = r.Rows
	return nil
}

// maxRows bounds what a job's record may ask for: more than there can be of devices in memory.
const maxRows = 1 << 28

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func momentOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// rowRecord is an execution. It names its device: that may have been deleted since.
type rowRecord struct {
	Seq     uint64       `json:"seq"`
	Device  string       `json:"device"`
	Status  rowStatus    `json:"status"`
	Start   int64        `json:"start,omitempty"`
	End     int64        `json:"end,omitempty"`
	Error   *errorRecord `json:"error,omitempty"`
	Answer  int          `json:"answer,omitempty"`
	Payload *string      `json:"payload,omitempty"`
}

// errorRecord is what a row shows of an error.
type errorRecord struct {
	Code    iothub.ErrorCode `json:"code"`
	Status  int              `json:"status"`
	Name    string           `json:"name"`
	Message string           `json:"message"`
}

// keptRow is a row as it is to be kept.
type keptRow row

func (k keptRow) Encode() ([]byte, error) {
	r := rowRecord{Seq: k.dev.seq, Device: k.dev.id, Status: k.status, Start: k.start, End: k.end}
	if err := k.err; err != nil {
		r.Error = &errorRecord{err.Code, err.StatusCode, err.Name, err.Message}
	}
	if k.answer != nil {
		r.Answer, r.Payload = k.answer.status, new(string(k.answer.payload))
	}
	return json.Marshal(r)
}

func (j *job) rowLocked(i int) store.Record { return j.recordOf(i, j.rows[i]) }

// recordOf returns the record of a row at a place of the job's.
func (j *job) recordOf(i int, row row) store.Record {
	row.call = nil
	return store.Record{Key: store.Key{Kind: store.Row, Seq: j.seq, Row: uint32(i)}, Value: keptRow(row)}
}

// execution is a job's row whose change of a twin is on its way.
type execution struct {
	job *job
	i   int
	row row // as it was dispatched
}

// applied returns the row's record with the twin changed. The row's own end comes later.
func (e *execution) applied() store.Record {
	r := keptRow(e.row)
	r.status, r.end = rowCompleted, time.Now().UnixNano()
	return store.Record{Key: store.Key{Kind: store.Row, Seq: e.job.seq, Row: uint32(e.i)}, Value: r}
}

// decodeRow reads a row back. deviceOf returns the device of a place in the order, or one that was deleted.
func (j *job) decodeRow(content []byte, deviceOf func(seq uint64, id string) *device) (row, error) {
	var r rowRecord
	if err := json.Unmarshal(content, &r); err != nil {
		return row{}, err
	}
	failed := r.Status == rowFailed
	switch {
	case !validEntry(r.Device):
		return row{}, errors.New("the device's id is not valid")
	case r.Status > rowFailed || failed != (r.Error != nil):
		return row{}, fmt.Errorf("device %s: status and error do not fit", r.Device)
	case r.Payload != nil && !json.Valid([]byte(*r.Payload)), r.Status == rowCompleted && j.spec.method != nil && r.Payload == nil:
		return row{}, fmt.Errorf("device %s: the answer is not JSON", r.Device)
	}
	read := row{dev: deviceOf(r.Seq, r.Device), status: r.Status, start: r.Start, end: r.End}
	if failed {
		read.err = &iothub.Error{StatusCode: r.Error.Status, Code: r.Error.Code, Name: r.Error.Name, Message: r.Error.Message}
	}
	if r.Payload != nil {
		read.answer = &answer{r.Answer, []byte(*r.Payload)}
	}
	return read, nil
}

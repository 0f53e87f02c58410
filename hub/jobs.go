package hub

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"muster/internal/query"
	"muster/iothub"
)

// jobHistory is how long an ended job is remembered.
const jobHistory = 30 * 24 * time.Hour

// jobs holds the hub's jobs by id and in order of creation.
type jobs struct {
	most  int    // that may be active at a time; 0 = any number
	store *Store // nil = nothing is kept

	mu    sync.RWMutex // guards the fields below
	byID  map[string]*job
	order []*job // by seq; replaced when jobs are forgotten, never changed in place
	seq   uint64
}

func newJobs() *jobs { return &jobs{byID: make(map[string]*job)} }

// find returns the job of that id, or nil.
func (js *jobs) find(id string) *job {
	js.mu.RLock()
	defer js.mu.RUnlock()
	return js.byID[id]
}

// add takes a job in, which was asked for by this request, unless its id is taken or as many jobs are active as may be.
func (js *jobs) add(j *job, request []byte) *iothub.Error {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.forgetLocked(j.created.Add(-jobHistory))
	if _, taken := js.byID[j.spec.id]; taken {
		return errJobExists(j.spec.id)
	}
	if js.most > 0 && js.activeLocked() >= js.most {
		return errTooManyJobs(js.most)
	}
	js.seq++
	j.seq = js.seq
	js.byID[j.spec.id] = j
	js.order = append(js.order, j)
	js.store.keepJob(j, request)
	return nil
}

// activeLocked counts the jobs that have not ended, those that wait for their start included.
func (js *jobs) activeLocked() int {
	n := 0
	for _, j := range js.order {
		j.mu.Lock()
		if j.ended.IsZero() {
			n++
		}
		j.mu.Unlock()
	}
	return n
}

// forgetLocked drops the oldest jobs, as far as they ended before a time.
func (js *jobs) forgetLocked(before time.Time) {
	keep := 0
	for keep < len(js.order) && js.order[keep].endedBefore(before) {
		delete(js.byID, js.order[keep].spec.id)
		js.store.dropJob(js.order[keep])
		keep++
	}
	if keep > 0 {
		js.order = slices.Clone(js.order[keep:])
	}
}

func (j *job) endedBefore(t time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.ended.IsZero() && j.ended.Before(t)
}

// from returns the jobs from that seq on, in order.
func (js *jobs) from(seq uint64) []*job {
	js.mu.RLock()
	defer js.mu.RUnlock()
	i := 0
	for i < len(js.order) && js.order[i].seq < seq {
		i++
	}
	return js.order[i:len(js.order):len(js.order)]
}

// chunk returns a copy of up to len(into) rows from the given one on.
func (j *job) chunk(from int, into []row) []row {
	j.mu.Lock()
	defer j.mu.Unlock()
	if from >= len(j.rows) {
		return nil
	}
	return into[:copy(into, j.rows[from:])]
}

// jobRow is a row of "devices.jobs".
type jobRow struct {
	job     *job
	row     *row  // a copy
	created int64 // when the job made its rows
	times   timeText
}

// Value returns the attribute of that path, the same as append shows.
func (r *jobRow) Value(path []string) query.Value {
	if len(path) != 1 {
		return query.Lookup(r.append(nil), path)
	}
	switch path[0] {
	case "deviceId":
		return query.String(r.row.dev.deviceID())
	case "jobId":
		return query.String(r.job.spec.id)
	case "jobType":
		return query.String(string(r.job.spec.kind))
	case "status":
		return query.String(rowStatusNames[r.row.status])
	case "startTimeUtc":
		return timeValue(r.row.start)
	case "endTimeUtc":
		return timeValue(r.row.end)
	case "createdDateTimeUtc", "createdTimeUtc":
		return timeValue(r.created)
	case "lastUpdatedDateTimeUtc":
		return timeValue(r.updated())
	}
	return query.Lookup(r.append(nil), path)
}

var rowStatusNames = [...]string{
	rowPending:   string(iothub.DeviceJobPending),
	rowRunning:   string(iothub.DeviceJobRunning),
	rowCompleted: string(iothub.DeviceJobCompleted),
	rowFailed:    string(iothub.DeviceJobFailed),
}

// rowsCreated returns when the job started and made its rows. It does not change once there are rows.
func (j *job) rowsCreated() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.started.UnixNano()
}

func (r *jobRow) updated() int64 { return max(r.created, r.row.start, r.row.end) }

// append appends the row as JSON.
func (r *jobRow) append(dst []byte) []byte {
	dst = append(append(dst, `{"deviceId":"`...), r.row.dev.deviceID()...) // ids have nothing to escape
	if r.row.dev.isModule() {
		dst = append(append(dst, `","moduleId":"`...), r.row.dev.moduleID()...)
	}
	dst = append(append(dst, `","jobId":"`...), r.job.spec.id...)
	dst = append(append(dst, `","jobType":"`...), r.job.spec.kind...)
	dst = append(append(dst, `","status":"`...), rowStatusNames[r.row.status]...)
	dst = r.times.append(append(dst, `","startTimeUtc":`...), r.row.start)
	dst = r.times.append(append(dst, `,"endTimeUtc":`...), r.row.end)
	dst = r.times.append(append(dst, `,"createdDateTimeUtc":`...), r.created)
	dst = r.times.append(append(dst, `,"lastUpdatedDateTimeUtc":`...), r.updated())
	switch {
	case r.row.status == rowFailed:
		dst = append(append(dst, `,"error":{"code":"`...), r.row.err.Name...)
		dst = appendString(append(dst, `","description":`...), r.row.err.Message)
		dst = append(dst, '}')
	case r.row.status == rowCompleted && r.job.spec.method != nil:
		dst = append(dst, `,"outcome":{"deviceMethodResponse":`...)
		dst = append(appendMethodResult(dst, r.row.result()), '}')
	}
	return append(dst, '}')
}

// appendMethodResult appends what a device answered to a method, as the service shows it.
func appendMethodResult(dst []byte, r callResult) []byte {
	dst = strconv.AppendInt(append(dst, `{"status":`...), int64(r.status), 10)
	dst = append(append(dst, `,"payload":`...), r.payload...)
	return append(dst, '}')
}

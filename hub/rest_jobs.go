package hub

import (
	"encoding/json"
	"time"

	"muster/internal/query"
	"muster/iothub"
)

// defaultWindow is a job's maxExecutionTimeInSeconds if it has none.
const defaultWindow = time.Hour

// maxWindow bounds it, in seconds: jobs are remembered no longer.
const maxWindow = int(jobHistory / time.Second)

// jobStub is the answer to the creation of a job, and to a question for an unknown one.
type jobStub struct {
	JobID  string           `json:"jobId"`
	Type   iothub.JobType   `json:"type"`
	Status iothub.JobStatus `json:"status"`
}

// createJob accepts a job; whether its condition parses is told later.
func (h *Hub) createJob(r *request) (reply, *iothub.Error) {
	var doc iothub.JobRequest
	if err := r.decode(&doc); err != nil {
		return reply{}, err
	}
	now := time.Now()
	spec, err := newJobSpec(&doc, r.PathValue("id"), now)
	if err != nil {
		return reply{}, err
	}
	j := &job{hub: h, spec: spec, created: now, status: iothub.JobQueued}
	if err := h.jobs.add(j, r.body); err != nil {
		return reply{}, err
	}
	h.counters.jobs.Add(1)
	j.schedule()
	return jsonReply(jobStub{spec.id, spec.kind, iothub.JobQueued})
}

// newJobSpec returns the checked form of a job.
func newJobSpec(doc *iothub.JobRequest, id string, now time.Time) (jobSpec, *iothub.Error) {
	spec := jobSpec{
		id: id, kind: doc.Type, condition: doc.QueryCondition, start: now, asked: iothub.Time{Time: now}, window: defaultWindow,
	}
	switch {
	case !iothub.ValidJobID(id):
		return spec, errJobID()
	case doc.JobID != "" && doc.JobID != id:
		return spec, errArgument("jobId is not the one in the request's path.")
	case doc.QueryCondition == "":
		return spec, errArgument("queryCondition is required.")
	case doc.MaxExecutionTimeInSeconds < 0 || doc.MaxExecutionTimeInSeconds > maxWindow:
		return spec, errArgument("maxExecutionTimeInSeconds is out of range.")
	}
	if doc.MaxExecutionTimeInSeconds > 0 {
		spec.window = time.Duration(doc.MaxExecutionTimeInSeconds) * time.Second
	}
	if ahead := doc.StartTime.Sub(now); ahead > 0 {
		spec.start = now.Add(ahead) // has now's monotonic reading, and ends after 292 years
		spec.asked = doc.StartTime
	}
	spec.where, spec.whereErr = query.ParseTarget(doc.QueryCondition)
	var err *iothub.Error
	switch doc.Type {
	case iothub.JobMethod:
		if doc.CloudToDeviceMethod == nil {
			return spec, errArgument("cloudToDeviceMethod is required.")
		}
		spec.method, err = newMethodRequest(doc.CloudToDeviceMethod)
		spec.methodDoc = doc.CloudToDeviceMethod
	case iothub.JobTwin:
		spec.twin, err = twinOf(doc.UpdateTwin)
		spec.twinDoc = doc.UpdateTwin
	default:
		err = errBadRequest("BadRequest")
	}
	return spec, err
}

// twinOf reads the updateTwin of a job.
func twinOf(document []byte) (*twinPatch, *iothub.Error) {
	var doc twinDocument
	switch {
	case !isObject(document):
		return nil, errArgument("updateTwin is required.")
	case json.Unmarshal(document, &doc) != nil:
		return nil, errArgument("updateTwin is malformed.")
	case doc.ETag == nil:
		return nil, errArgument(`updateTwin.etag is required and must be "*".`)
	case *doc.ETag != "*":
		return nil, fault(iothub.CodePreconditionFailed, `updateTwin.etag must be "*".`)
	case doc.Desired != nil:
		return nil, errArgument("desired belongs under updateTwin.properties.")
	}
	patch, err := doc.patch(false)
	return &patch, err
}

// getJob answers with the job's state. Of an unknown one the service says so in a job of its own.
func (h *Hub) getJob(r *request) (reply, *iothub.Error) {
	id := r.PathValue("id")
	j := h.jobs.find(id)
	switch {
	case j != nil:
		return jsonReply(j.document())
	case !iothub.ValidJobID(id):
		return reply{}, errJobID()
	}
	return jsonReply(jobStub{id, iothub.JobTypeUnknown, iothub.JobUnknown})
}

func (h *Hub) cancelJob(r *request) (reply, *iothub.Error) {
	j := h.jobs.find(r.PathValue("id"))
	if j == nil {
		return reply{}, errJobNotFound(r.PathValue("id"))
	}
	if err := j.cancel(); err != nil {
		return reply{}, err
	}
	return jsonReply(j.document())
}

// listJobs answers with a page of the jobs of a type and a status.
func (h *Hub) listJobs(r *request) (reply, *iothub.Error) {
	filter := r.URL.Query()
	kind, status := filter.Get("jobType"), filter.Get("jobStatus")
	p, err := newPage(r.Header, "jobs "+kind+" "+status)
	if err != nil {
		return reply{}, err
	}
	for _, j := range h.jobs.from(p.start.seq) {
		if !j.is(kind, status) {
			continue
		}
		if !p.room(cursor{seq: j.seq}) {
			break
		}
		item, err := json.Marshal(j.document())
		if err != nil {
			return reply{}, errServer("The job could not be encoded.")
		}
		p.begin()
		p.body = append(p.body, item...)
	}
	return p.reply("JobResponse"), nil
}

// is says whether a job has this type and status; empty is any.
func (j *job) is(kind, status string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return (kind == "" || kind == string(j.spec.kind)) && (status == "" || status == string(j.status))
}

// document returns the job as the service shows it.
func (j *job) document() iothub.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := &j.spec
	doc := iothub.Job{
		JobID:                     s.id,
		Type:                      s.kind,
		Status:                    j.status,
		CreatedTime:               iothub.Time{Time: j.created},
		StartTime:                 s.asked,
		EndTime:                   iothub.Time{Time: j.ended},
		MaxExecutionTimeInSeconds: int(s.window / time.Second),
		QueryCondition:            s.condition,
		CloudToDeviceMethod:       s.methodDoc,
		UpdateTwin:                s.twinDoc,
		FailureReason:             j.failure,
	}
	if !j.started.IsZero() {
		n := j.count
		doc.DeviceJobStatistics = &iothub.DeviceJobStatistics{
			DeviceCount:    len(j.rows),
			FailedCount:    n.failed,
			SucceededCount: n.succeeded,
			RunningCount:   n.running,
			PendingCount:   n.pending,
		}
	}
	return doc
}

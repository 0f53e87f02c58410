package conformance_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"muster/iothub"
)

var jobCases = []testCase{
	{"a method job", "4.8", methodJob},
	{"a twin job", "4.8", twinJob},
	{"a device that is offline fails", "4.8", offlineJob},
	{"a job for later, listed and cancelled", "4.8", laterJob},
	{"a condition that does not parse fails the job", "4.8, 5.7", badConditionJob},
	{"what is no job", "4.8", refusedJobs},
}

// schedule makes a job and returns its id. Members are those of its document but for the id.
func (h *subject) schedule(t testing.TB, members string) string {
	t.Helper()
	id := h.id()
	t.Cleanup(func() { // one that waits for its start would count against the tier's jobs
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, _ = h.send(ctx, h.token(time.Now().Add(time.Hour)), "POST /jobs/v2/"+id+"/cancel", "")
	})
	a := h.ask(t, "PUT /jobs/v2/"+id, `{"jobId":"`+id+`",`+members+`}`)
	a.is(t, http.StatusOK)
	job := decoded[iothub.Job](t, a)
	if job.JobID != id || job.Status != iothub.JobQueued || job.Type == "" {
		t.Errorf("created: %s, want it queued", a.text())
	}
	return id
}

// ended waits for a job's end and returns it with its rows.
func (h *subject) ended(t testing.TB, id string) (iothub.Job, []iothub.DeviceJob) {
	t.Helper()
	var job iothub.Job
	h.eventually(t, "job "+id+" ends", func() bool {
		job = ok[iothub.Job](t, h, "GET /jobs/v2/"+id, "")
		return job.Status.Done()
	})
	if job.Status != iothub.JobCompleted {
		return job, nil
	}
	var rows []iothub.DeviceJob
	h.eventually(t, "the rows of job "+id, func() bool {
		a := h.ask(t, "POST /devices/query", jsonOf(t, map[string]string{"query": "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '" + id + "'"}))
		a.is(t, http.StatusOK)
		if got := a.header.Get("x-ms-item-type"); got != "DeviceJob" {
			t.Fatalf("item type %q, want DeviceJob", got)
		}
		rows = decoded[[]iothub.DeviceJob](t, a)
		for _, row := range rows {
			if !row.Status.Done() {
				return false
			}
		}
		return len(rows) == job.DeviceJobStatistics.DeviceCount
	})
	return job, rows
}

const now = `"startTime":null,"maxExecutionTimeInSeconds":60`

func methodJob(t testing.TB, h *subject) {
	ids, condition := h.tagged(t, `{"a":1}`)
	doc := ok[iothub.Device](t, h, "GET /devices/"+ids[0], "")
	dev := h.online(t, identity{ids[0], doc.Authentication.SymmetricKey.Primary}, connect{}, iothub.FilterMethods)
	id := h.schedule(t, `"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"lockDoor","payload":{"a":1},"responseTimeoutInSeconds":30},"queryCondition":"`+condition+`",`+now)
	_, payload := dev.answerMethod("lockDoor", 200, `{"ok":true}`)
	same(t, "payload", document(t, payload), `{"a":1}`)
	job, rows := h.ended(t, id)
	if s := job.DeviceJobStatistics; s == nil || *s != (iothub.DeviceJobStatistics{DeviceCount: 1, SucceededCount: 1}) {
		t.Errorf("statistics %+v, want one device that succeeded", s)
	}
	if job.Type != iothub.JobMethod || job.QueryCondition != condition || job.MaxExecutionTimeInSeconds != 60 || job.CreatedTime.IsZero() || job.EndTime.IsZero() ||
		job.CloudToDeviceMethod == nil || job.CloudToDeviceMethod.MethodName != "lockDoor" {
		t.Errorf("job %+v", job)
	}
	if len(rows) != 1 {
		t.Fatalf("%d rows, want 1", len(rows))
	}
	r := rows[0]
	if r.DeviceID != ids[0] || r.JobID != id || r.JobType != iothub.JobMethod || r.Status != iothub.DeviceJobCompleted || r.Error != nil ||
		r.StartTimeUTC.IsZero() || r.EndTimeUTC.Before(r.StartTimeUTC.Time) || r.CreatedDateTimeUTC.IsZero() || r.LastUpdatedDateTimeUTC.IsZero() {
		t.Errorf("row %+v", r)
	}
	if r.Outcome == nil || r.Outcome.DeviceMethodResponse == nil || r.Outcome.DeviceMethodResponse.Status != 200 {
		t.Fatalf("outcome %+v", r.Outcome)
	}
	same(t, "payload of the row", document(t, string(r.Outcome.DeviceMethodResponse.Payload)), `{"ok":true}`)
}

func twinJob(t testing.TB, h *subject) {
	ids, condition := h.tagged(t, `{"a":1}`, `{"a":2}`)
	doc := ok[iothub.Device](t, h, "GET /devices/"+ids[1], "")
	dev := h.online(t, identity{ids[1], doc.Authentication.SymmetricKey.Primary}, connect{}, iothub.FilterDesired)
	id := h.schedule(t, `"type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{"a":null,"b":"43"},"properties":{"desired":{"interval":60}}},"queryCondition":"`+condition+`",`+now)
	topic, body := dev.message()
	if topic.Kind != iothub.TopicDesired {
		t.Errorf("got %+v", topic)
	}
	same(t, "notification", document(t, body), `{"interval":60,"$version":2}`)
	job, rows := h.ended(t, id)
	if s := job.DeviceJobStatistics; s == nil || *s != (iothub.DeviceJobStatistics{DeviceCount: 2, SucceededCount: 2}) {
		t.Errorf("statistics %+v, want two devices that succeeded", s)
	}
	for _, r := range rows {
		if r.JobType != iothub.JobTwin || r.Status != iothub.DeviceJobCompleted || r.Outcome != nil && r.Outcome.DeviceMethodResponse != nil {
			t.Errorf("row %+v", r)
		}
	}
	for _, device := range ids {
		twin := ok[map[string]any](t, h, "GET /twins/"+device, "")
		same(t, "tags", twin["tags"], `{"b":"43"}`)
		same(t, "desired", bare(at(twin, "properties", "desired")), `{"interval":60}`)
	}
}

func offlineJob(t testing.TB, h *subject) {
	ids, condition := h.tagged(t, `{"a":1}`)
	id := h.schedule(t, `"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"lockDoor","responseTimeoutInSeconds":5},"queryCondition":"`+condition+`",`+now)
	job, rows := h.ended(t, id)
	if s := job.DeviceJobStatistics; job.Status != iothub.JobCompleted || s == nil || s.DeviceCount != 1 || s.FailedCount != 1 {
		t.Errorf("job %s with %+v, want it completed and one device failed", job.Status, s)
	}
	if len(rows) != 1 || rows[0].DeviceID != ids[0] || rows[0].Status != iothub.DeviceJobFailed || rows[0].Error == nil || rows[0].Error.Code != "DeviceNotOnline" {
		t.Errorf("rows %+v", rows)
	}
}

func laterJob(t testing.TB, h *subject) {
	ids, condition := h.tagged(t, `{"a":1}`)
	start := time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000Z")
	id := h.schedule(t, `"type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{"a":2}},"queryCondition":"`+condition+`","startTime":"`+start+`","maxExecutionTimeInSeconds":60`)
	h.eventually(t, "the job is scheduled", func() bool {
		return ok[iothub.Job](t, h, "GET /jobs/v2/"+id, "").Status == iothub.JobScheduled
	})
	h.eventually(t, "the job is listed", func() bool { return h.listed(t, id) })
	a := h.ask(t, "POST /jobs/v2/"+id+"/cancel", "")
	a.is(t, http.StatusOK)
	if got := decoded[iothub.Job](t, a); got.JobID != id || got.Status != iothub.JobCancelled {
		t.Errorf("cancelled: %s", a.text())
	}
	if got := ok[iothub.Job](t, h, "GET /jobs/v2/"+id, ""); got.Status != iothub.JobCancelled {
		t.Errorf("the job is %s", got.Status)
	}
	same(t, "tags", ok[map[string]any](t, h, "GET /twins/"+ids[0], "")["tags"], `{"a":1}`)
}

// listed looks for a job on the pages of scheduled twin jobs.
func (h *subject) listed(t testing.TB, id string) bool {
	t.Helper()
	var headers []string
	for {
		a := h.ask(t, "GET /jobs/v2/query?jobType=scheduleUpdateTwin&jobStatus=scheduled", "", headers...)
		a.is(t, http.StatusOK)
		for _, job := range decoded[[]iothub.Job](t, a) {
			if job.Type != iothub.JobTwin || job.Status != iothub.JobScheduled {
				t.Errorf("listed: %s %s", job.Type, job.Status)
			}
			if job.JobID == id {
				return true
			}
		}
		next, more := a.header["X-Ms-Continuation"]
		if !more {
			return false
		}
		headers = []string{"x-ms-continuation", next[0]}
	}
}

func badConditionJob(t testing.TB, h *subject) {
	id := h.schedule(t, `"type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{"a":2}},"queryCondition":"SELECT * FROM devices WHERE deviceId = '`+h.id()+`'",`+now)
	job, _ := h.ended(t, id)
	if job.Status != iothub.JobFailed || job.FailureReason == "" {
		t.Errorf("job %s: %q, want it failed with a reason", job.Status, job.FailureReason)
	}
}

func refusedJobs(t testing.TB, h *subject) {
	condition := `"queryCondition":"deviceId = '` + h.id() + `'",` + now
	for _, kind := range []string{"scheduleTwinUpdate", "scheduleDirectRequest", "unheardOf"} {
		id := h.id()
		h.ask(t, "PUT /jobs/v2/"+id, `{"jobId":"`+id+`","type":"`+kind+`","updateTwin":{"etag":"*","tags":{"a":1}},`+condition+`}`).refused(t, iothub.CodeGenericBadRequest)
	}
	id := h.id()
	h.ask(t, "PUT /jobs/v2/"+id, `{"jobId":"`+id+`","type":"scheduleUpdateTwin","updateTwin":{"etag":"*","desired":{"a":1}},`+condition+`}`).refused(t, iothub.CodeArgumentInvalid)
	h.ask(t, "PUT /jobs/v2/"+id, `{"jobId":"`+id+`","type":"scheduleUpdateTwin","updateTwin":{"tags":{"a":1}},`+condition+`}`).refusedAs(t, 400)
	h.ask(t, "PUT /jobs/v2/"+id, `{"jobId":"`+id+`","type":"scheduleUpdateTwin","updateTwin":{"etag":"AAAAAAAAAAE=","tags":{"a":1}},`+condition+`}`).refusedAs(t, 400)
}

package hub_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/iothub"
)

// methodJob returns the body of a method job that starts after a delay.
func methodJob(condition string, delay time.Duration, seconds int) string {
	return fmt.Sprintf(`{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m","payload":{"a":1},"responseTimeoutInSeconds":10},`+
		`"queryCondition":%q,"startTime":%q,"maxExecutionTimeInSeconds":%d}`,
		condition, time.Now().Add(delay).UTC().Format(time.RFC3339Nano), seconds)
}

// twinJob returns the body of a twin job that starts at once.
func twinJob(condition, members string) string {
	return fmt.Sprintf(`{"type":"scheduleUpdateTwin","updateTwin":{"etag":"*",%s},"queryCondition":%q,"startTime":null}`, members, condition)
}

func schedule(t testing.TB, s *hubtest.Server, id, body string) {
	t.Helper()
	a := rest(t, s, "PUT /jobs/v2/"+id, body)
	kind := iothub.JobMethod
	if strings.Contains(body, string(iothub.JobTwin)) {
		kind = iothub.JobTwin
	}
	if want := fmt.Sprintf(`{"jobId":%q,"type":%q,"status":"queued"}`, id, kind); a.status != http.StatusOK || a.body != want {
		t.Fatalf("PUT job %s: %d %s, want 200 %s", id, a.status, a.body, want)
	}
	synctest.Wait()
}

func job(t testing.TB, s *hubtest.Server, id string) iothub.Job {
	t.Helper()
	return ok[iothub.Job](t, s, "GET /jobs/v2/"+id, "")
}

// wantsJob checks a job's status and statistics: devices, pending, running, succeeded, failed.
func wantsJob(t testing.TB, s *hubtest.Server, id string, status iothub.JobStatus, statistics ...int) {
	t.Helper()
	synctest.Wait()
	j := job(t, s, id)
	var got []int
	if n := j.DeviceJobStatistics; n != nil {
		got = []int{n.DeviceCount, n.PendingCount, n.RunningCount, n.SucceededCount, n.FailedCount}
	}
	if j.Status != status || !slices.Equal(got, statistics) {
		t.Errorf("job %s: %s %v (%s), want %s %v", id, j.Status, got, j.FailureReason, status, statistics)
	}
}

// rows returns the rows of a job.
func rows(t testing.TB, s *hubtest.Server, id string) []iothub.DeviceJob {
	t.Helper()
	return query[iothub.DeviceJob](t, s, "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '"+id+"'", 100)
}

// query returns all pages of a query.
func query[T any](t testing.TB, s *hubtest.Server, sql string, pageSize int) []T {
	t.Helper()
	var all []T
	headers := []string{"x-ms-max-item-count", itoa(pageSize)}
	for {
		a := rest(t, s, "POST /devices/query", fmt.Sprintf(`{"query":%q}`, sql), headers...)
		if a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", sql, a.status, a.body)
		}
		page := decoded[[]T](t, a.body)
		all = append(all, page...)
		next, more := a.header["X-Ms-Continuation"]
		if !more {
			return all
		}
		if len(page) != pageSize {
			t.Errorf("%s: a page of %d, want %d", sql, len(page), pageSize)
		}
		headers = []string{"x-ms-max-item-count", itoa(pageSize), "x-ms-continuation", next[0]}
	}
}

// brief describes a row: its state, when it began and ended, counted from a moment, and what came of it.
func brief(start time.Time, rows []iothub.DeviceJob) []string {
	var all []string
	for _, r := range rows {
		at := func(u iothub.Time) string {
			if u.IsZero() {
				return "-"
			}
			return u.Sub(start).String()
		}
		line := fmt.Sprintf("%s %s %s %s", r.DeviceID, r.Status, at(r.StartTimeUTC), at(r.EndTimeUTC))
		if r.Error != nil {
			line += " " + r.Error.Code
		}
		if r.Outcome != nil {
			line += fmt.Sprintf(" %d %s", r.Outcome.DeviceMethodResponse.Status, r.Outcome.DeviceMethodResponse.Payload)
		}
		all = append(all, line)
	}
	return all
}

func TestMethodJob(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		good := online(t, s, "good", iothub.FilterMethods)
		bad := online(t, s, "bad", iothub.FilterMethods)
		register(t, s, "offline")
		silent := online(t, s, "silent", iothub.FilterMethods)
		start := time.Now()
		schedule(t, s, "job-1", methodJob("*", 0, 60))
		wantsJob(t, s, "job-1", iothub.JobRunning, 4, 0, 3, 0, 1)
		time.Sleep(time.Second)
		good.answerMethod("m", `{"a":1}`, 200, `{"ok":true}`)
		wantsJob(t, s, "job-1", iothub.JobRunning, 4, 0, 2, 1, 1)
		time.Sleep(time.Second)
		bad.answerMethod("m", `{"a":1}`, 500, ``)
		time.Sleep(10 * time.Second)
		wantsJob(t, s, "job-1", iothub.JobCompleted, 4, 0, 0, 2, 2)
		silent.answerMethod("m", `{"a":1}`, 200, `"late"`)
		want := []string{
			`good completed 0s 1s 200 {"ok":true}`,
			`bad completed 0s 2s 500 null`,
			`offline failed 0s 0s DeviceNotOnline`,
			`silent failed 0s 10s GatewayTimeout`,
		}
		if diff := cmp.Diff(want, brief(start, rows(t, s, "job-1"))); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
	})
}

func TestJobDocument(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		online(t, s, "dev1", iothub.FilterMethods).publish(iothub.EventsTopic("dev1"), "")
		schedule(t, s, "job-1", methodJob("deviceId = 'dev1'", 0, 60))
		time.Sleep(10*time.Second + 123456700*time.Nanosecond)
		a := rest(t, s, "GET /jobs/v2/job-1", "")
		want := `{"jobId":"job-1","type":"scheduleDeviceMethod","status":"completed","createdTime":"` + bubbleStart + `",` +
			`"startTime":"` + bubbleStart + `","endTime":"2000-01-01T00:00:10.0000000Z","maxExecutionTimeInSeconds":60,` +
			`"queryCondition":"deviceId = 'dev1'","cloudToDeviceMethod":{"methodName":"m","payload":{"a":1},"responseTimeoutInSeconds":10},` +
			`"deviceJobStatistics":{"deviceCount":1,"failedCount":1,"succeededCount":0,"runningCount":0,"pendingCount":0}}`
		if diff := cmp.Diff(want, a.body); diff != "" {
			t.Errorf("job (-want +got):\n%s", diff)
		}
		a = rest(t, s, "POST /devices/query", `{"query":"SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'job-1'"}`)
		want = `[{"deviceId":"dev1","jobId":"job-1","jobType":"scheduleDeviceMethod","status":"failed",` +
			`"startTimeUtc":"` + bubbleStart + `","endTimeUtc":"2000-01-01T00:00:10.0000000Z",` +
			`"createdDateTimeUtc":"` + bubbleStart + `","lastUpdatedDateTimeUtc":"2000-01-01T00:00:10.0000000Z",` +
			`"error":{"code":"GatewayTimeout","description":"Timed out waiting for the response from device."}}]`
		if diff := cmp.Diff(want, a.body); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if got := a.header.Get("x-ms-item-type"); got != "DeviceJob" {
			t.Errorf("item type %s", got)
		}
	})
}

// A job waits for its start to the nanosecond, and asks who matches only then.
func TestJobStartTime(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		start := time.Now()
		delay := time.Hour + 123456700*time.Nanosecond
		c := valid(s, "dev1")
		c.password = token(s, "dev1", start.Add(9*time.Hour))
		b := dial(t, s)
		b.connect(c, true, 0)
		b.subscribe(iothub.FilterMethods)
		schedule(t, s, "job-1", methodJob("tags.door = true", delay, 60))
		wantsJob(t, s, "job-1", iothub.JobScheduled)
		rest(t, s, "PATCH /twins/dev1", `{"tags":{"door":true}}`)
		time.Sleep(delay - time.Nanosecond)
		wantsJob(t, s, "job-1", iothub.JobScheduled)
		b.answerMethod("m", `{"a":1}`, 200, `1`)
		if got := time.Since(start); got != delay {
			t.Errorf("request after %s, want %s", got, delay)
		}
		wantsJob(t, s, "job-1", iothub.JobCompleted, 1, 0, 0, 1, 0)
		want := []string{`dev1 completed 1h0m0.1234567s 1h0m0.1234567s 200 1`}
		if diff := cmp.Diff(want, brief(start, rows(t, s, "job-1"))); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
	})
}

// A start beyond what the clock counts is kept as it was asked for.
func TestJobFarAhead(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		for i, year := range []string{"2001", "2400", "9999"} {
			id, start := fmt.Sprintf("job-%d", i), year+"-12-31T23:59:59.0000000Z"
			schedule(t, s, id, strings.Replace(twinJob("*", `"tags":{"a":1}`), `"startTime":null`, `"startTime":"`+start+`"`, 1))
			if a := rest(t, s, "GET /jobs/v2/"+id, ""); !strings.Contains(a.body, `"status":"scheduled"`) ||
				!strings.Contains(a.body, `"startTime":"`+start+`"`) {
				t.Errorf("a job for %s: %s", start, a.body)
			}
		}
	})
}

func TestTwinJob(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterDesired)
		register(t, s, "offline", "other")
		start := time.Now()
		rest(t, s, "PATCH /twins/dev1", `{"tags":{"site":"A","old":1}}`)
		rest(t, s, "PATCH /twins/offline", `{"tags":{"site":"A"}}`)
		schedule(t, s, "job-1", twinJob("tags.site = 'A'", `"tags":{"old":null},"properties":{"desired":{"building":43}}`))
		b.wants(iothub.DesiredTopic(2), `{"building":43,"$version":2}`)
		wantsJob(t, s, "job-1", iothub.JobCompleted, 2, 0, 0, 2, 0)
		want := []string{`dev1 completed 0s 0s`, `offline completed 0s 0s`}
		if diff := cmp.Diff(want, brief(start, rows(t, s, "job-1"))); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		for id, want := range map[string]string{
			"dev1": `{"site":"A"} {"$version":2,"building":43}`, "offline": `{"site":"A"} {"$version":2,"building":43}`,
			"other": `{} {"$version":1}`,
		} {
			twin := ok[iothub.Twin](t, s, "GET /twins/"+id, "")
			if got := string(twin.Tags) + " " + plain(t, twin.Properties.Desired); got != want {
				t.Errorf("twin of %s: %s, want %s", id, got, want)
			}
		}
	})
}

// What does not fit into one device's twin fails its execution, and the others' not.
func TestTwinJobOverLimit(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "full", "empty")
		x := strings.Repeat("x", 4000)
		rest(t, s, "PATCH /twins/full", `{"tags":{"a":"`+x+`","b":"`+x+`"}}`)
		schedule(t, s, "job-1", twinJob("*", `"tags":{"c":"`+x+`"}`))
		wantsJob(t, s, "job-1", iothub.JobCompleted, 2, 0, 0, 1, 1)
		want := []string{`full failed 0s 0s ArgumentInvalid`, `empty completed 0s 0s`}
		if diff := cmp.Diff(want, brief(time.Now(), rows(t, s, "job-1"))); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
	})
}

// A condition that does not parse is no reason to refuse the job: the job fails.
func TestJobBadCondition(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		for i, condition := range []string{"tags.site =", "SELECT * FROM devices", "FROM devices WHERE deviceId = 'a'"} {
			id := fmt.Sprintf("job-%d", i)
			schedule(t, s, id, methodJob(condition, time.Hour, 60))
			wantsJob(t, s, id, iothub.JobFailed)
			if got := job(t, s, id).FailureReason; !strings.HasPrefix(got, "SQL query parse failed due to following errors: ") {
				t.Errorf("%s: failure reason %q", condition, got)
			}
		}
	})
}

func TestJobOfNobody(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		for i, condition := range []string{"deviceId = 'nobody'", "FROM devices.modules WHERE deviceId = 'dev1'"} {
			id := fmt.Sprintf("job-%d", i)
			schedule(t, s, id, methodJob(condition, 0, 60))
			wantsJob(t, s, id, iothub.JobCompleted, 0, 0, 0, 0, 0)
		}
	})
}

func TestRefusedJobs(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		tests := func(name, id, body string, want iothub.ErrorCode) {
			t.Helper()
			refused(t, name, rest(t, s, "PUT /jobs/v2/"+id, body), want)
		}
		const argument = iothub.CodeArgumentInvalid
		schedule(t, s, "taken", methodJob("*", 0, 60))
		tests("taken id", "taken", methodJob("*", 0, 60), iothub.CodeJobAlreadyExists)
		tests("type of older docs", "a", `{"type":"scheduleTwinUpdate","queryCondition":"*"}`, iothub.CodeGenericBadRequest)
		tests("bad id", "a_b", methodJob("*", 0, 60), argument)
		tests("long id", strings.Repeat("a", 65), methodJob("*", 0, 60), argument)
		tests("another id in the body", "a", `{"jobId":"b"}`, argument)
		tests("no condition", "a", methodJob("", 0, 60), argument)
		tests("negative window", "a", methodJob("*", 0, -1), argument)
		tests("no method", "a", `{"type":"scheduleDeviceMethod","queryCondition":"*"}`, argument)
		tests("no method name", "a", `{"type":"scheduleDeviceMethod","queryCondition":"*","cloudToDeviceMethod":{}}`, argument)
		tests("bad start", "a", `{"type":"scheduleDeviceMethod","queryCondition":"*","startTime":"soon"}`, argument)
		tests("no twin", "a", `{"type":"scheduleUpdateTwin","queryCondition":"*"}`, argument)
		tests("no etag", "a", `{"type":"scheduleUpdateTwin","queryCondition":"*","updateTwin":{"tags":{}}}`, argument)
		tests("another etag", "a", `{"type":"scheduleUpdateTwin","queryCondition":"*","updateTwin":{"etag":"x","tags":{}}}`, iothub.CodePreconditionFailed)
		tests("desired at the top", "a", twinJob("*", `"desired":{"a":1}`), argument)
		tests("bad desired", "a", twinJob("*", `"properties":{"desired":{"$a":1}}`), argument)
		refused(t, "cancel of nothing", rest(t, s, "POST /jobs/v2/a/cancel", ""), iothub.CodeJobNotFound)
		if a := rest(t, s, "GET /jobs/v2/a", ""); a.status != http.StatusOK || a.body != `{"jobId":"a","type":"unknown","status":"unknown"}` {
			t.Errorf("unknown job: %d %s", a.status, a.body)
		}
	})
}

func TestCancelJob(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		schedule(t, s, "later", methodJob("*", time.Minute, 60))
		if got := ok[iothub.Job](t, s, "POST /jobs/v2/later/cancel", ""); got.Status != iothub.JobCancelled {
			t.Errorf("cancelled job: %s", got.Status)
		}
		schedule(t, s, "running", methodJob("*", 0, 60))
		refused(t, "cancel while running", rest(t, s, "POST /jobs/v2/running/cancel", ""), iothub.CodeOperationNotAllowedInCurrentState)
		b.answerMethod("m", `{"a":1}`, 200, "")
		wantsJob(t, s, "running", iothub.JobCompleted, 1, 0, 0, 1, 0)
		refused(t, "cancel when done", rest(t, s, "POST /jobs/v2/running/cancel", ""), iothub.CodeOperationNotAllowedInCurrentState)
		refused(t, "cancel twice", rest(t, s, "POST /jobs/v2/later/cancel", ""), iothub.CodeOperationNotAllowedInCurrentState)
		time.Sleep(80 * time.Second)
		wantsJob(t, s, "later", iothub.JobCancelled)
		if got := s.Stats().Executions; got != 1 {
			t.Errorf("%d executions, want 1", got)
		}
	})
}

// When the window is over, what was not dispatched and what was not answered fails, and late answers find nothing.
func TestMaxExecutionTime(t *testing.T) {
	bubble(t, &hub.Options{JobRate: 0.5}, func(t *testing.T, s *hubtest.Server) {
		var fleet []*bare
		for _, id := range ids(5) {
			fleet = append(fleet, online(t, s, id, iothub.FilterMethods))
		}
		start := time.Now()
		schedule(t, s, "job-1", methodJob("*", time.Second, 5))
		time.Sleep(time.Second)
		fleet[0].answerMethod("m", `{"a":1}`, 200, "")
		time.Sleep(5*time.Second - time.Nanosecond)
		wantsJob(t, s, "job-1", iothub.JobRunning, 5, 2, 2, 1, 0)
		time.Sleep(time.Nanosecond)
		wantsJob(t, s, "job-1", iothub.JobCompleted, 5, 0, 0, 1, 4)
		fleet[1].answerMethod("m", `{"a":1}`, 200, "")
		time.Sleep(time.Minute)
		want := []string{
			"dev-00000 completed 1s 1s 200 null",
			"dev-00001 failed 3s 6s GatewayTimeout",
			"dev-00002 failed 5s 6s GatewayTimeout",
			"dev-00003 failed - 6s GenericTimeout",
			"dev-00004 failed - 6s GenericTimeout",
		}
		if diff := cmp.Diff(want, brief(start, rows(t, s, "job-1"))); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if got := s.Stats(); got.Executions != 3 || got.StrayResponses != 1 || got.MethodTimeouts != 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

// Dispatch keeps its schedule: execution n is due n/rate after the start, two jobs share the rate, and what a pause held
// up is made up for at once.
func TestJobRate(t *testing.T) {
	bubble(t, &hub.Options{JobRate: 10}, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(20)...)
		start := time.Now()
		schedule(t, s, "job-1", twinJob("*", `"tags":{"a":1}`))
		time.Sleep(450 * time.Millisecond)
		s.Pause(time.Second)
		time.Sleep(time.Minute)
		for i, r := range rows(t, s, "job-1") {
			want := time.Duration(i) * 100 * time.Millisecond
			if i >= 5 && i < 15 {
				want = 1450 * time.Millisecond
			}
			if got := r.StartTimeUTC.Sub(start); got != want {
				t.Errorf("execution %d after %s, want %s", i, got, want)
			}
		}
		start = time.Now()
		schedule(t, s, "job-2", twinJob("deviceId IN ['dev-00001','dev-00002']", `"tags":{"a":2}`))
		schedule(t, s, "job-3", twinJob("deviceId IN ['dev-00003','dev-00004']", `"tags":{"a":2}`))
		time.Sleep(time.Minute)
		var got []time.Duration
		for _, id := range []string{"job-2", "job-3"} {
			for _, r := range rows(t, s, id) {
				got = append(got, r.StartTimeUTC.Sub(start)/time.Millisecond)
			}
		}
		slices.Sort(got)
		if want := []time.Duration{0, 100, 200, 300}; !slices.Equal(got, want) {
			t.Errorf("two jobs at once: executions after %d ms, want %d", got, want)
		}
	})
}

// The rate holds for jobs that follow one another too, at once or after a while.
func TestJobRateOverConsecutiveJobs(t *testing.T) {
	bubble(t, &hub.Options{JobRate: 10}, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(2)...)
		start := time.Now()
		began := func(job string) []time.Duration {
			var all []time.Duration
			for _, r := range rows(t, s, job) {
				all = append(all, r.StartTimeUTC.Sub(start)/time.Millisecond)
			}
			return all
		}
		for i := range 5 {
			id := fmt.Sprintf("job-%d", i)
			schedule(t, s, id, twinJob("*", `"tags":{"a":1}`))
			time.Sleep(200 * time.Millisecond)
			first := time.Duration(200 * i)
			if got, want := began(id), []time.Duration{first, first + 100}; !slices.Equal(got, want) {
				t.Errorf("job %d: executions after %d ms, want %d", i, got, want)
			}
		}
		for i := range 5 {
			schedule(t, s, fmt.Sprintf("one-%d", i), twinJob("deviceId = 'dev-00000'", `"tags":{"a":1}`))
		}
		time.Sleep(10*time.Second + 50*time.Millisecond)
		var got []time.Duration
		for i := range 5 {
			got = append(got, began(fmt.Sprintf("one-%d", i))...)
		}
		if slices.Sort(got); !slices.Equal(got, []time.Duration{1000, 1100, 1200, 1300, 1400}) {
			t.Errorf("five jobs at once: executions after %d ms", got)
		}
		schedule(t, s, "idle", twinJob("*", `"tags":{"a":1}`)) // nothing is due from the time before
		time.Sleep(time.Second)
		if got, want := began("idle"), []time.Duration{11050, 11150}; !slices.Equal(got, want) {
			t.Errorf("after a while: executions after %d ms, want %d", got, want)
		}
	})
}

// A request that comes while the hub is paused is answered afterwards, as is one that was begun before.
func TestPauseHoldsRequests(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		begun := invoke(t, s, "dev1", `{"methodName":"m"}`)
		s.Pause(3 * time.Second)
		s.Pause(time.Second) // does not shorten it
		b.answerMethod("m", "null", 200, "")
		start := time.Now()
		rest(t, s, "GET /twins/dev1", "")
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("request took %s, want 3s", got)
		}
		begun.wants(t, http.StatusOK, `{"status":200,"payload":null}`, 3*time.Second)
	})
}

// Rows and jobs come in pages that neither repeat nor skip, and can be asked for by any attribute.
func TestJobQueries(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(150)...)
		for i := range 3 {
			schedule(t, s, fmt.Sprintf("job-%d", i), twinJob("*", `"tags":{"a":1}`))
		}
		schedule(t, s, "methods", methodJob("deviceId = 'dev-00007'", 0, 60))
		schedule(t, s, "later", methodJob("*", time.Hour, 60))
		count := func(condition string, pageSize, want int) {
			t.Helper()
			seen := make(map[string]bool)
			for _, r := range query[iothub.DeviceJob](t, s, "SELECT * FROM devices.jobs"+condition, pageSize) {
				seen[r.JobID+" "+r.DeviceID] = true
			}
			if len(seen) != want {
				t.Errorf("%s: %d rows, want %d", condition, len(seen), want)
			}
		}
		count("", 100, 451)
		count(" WHERE devices.jobs.jobId = 'job-1'", 7, 150)
		count(" WHERE devices.jobs.deviceId = 'dev-00007'", 2, 4)
		count(" WHERE devices.jobs.status = 'failed'", 100, 1)
		count(" WHERE devices.jobs.jobType = 'scheduleUpdateTwin' AND devices.jobs.createdTimeUtc > '1999-09-01'", 100, 450)
		count(" WHERE devices.jobs.createdDateTimeUtc > '2000-09-01'", 100, 0)
		count(" WHERE devices.jobs.error.code = 'DeviceNotOnline' AND NOT IS_DEFINED(devices.jobs.outcome)", 100, 1)
		count(" WHERE IS_DEFINED(devices.jobs.error.none) OR IS_DEFINED(devices.jobs.none)", 100, 0)
		count(" WHERE devices.jobs.jobId IN ['job-0','job-2'] AND devices.jobs.deviceId = 'dev-00149'", 1, 2)

		list := func(filter string, headers ...string) (jobs []string, next string) {
			t.Helper()
			a := rest(t, s, "GET /jobs/v2/query"+filter, "", headers...)
			for _, j := range decoded[[]iothub.Job](t, a.body) {
				jobs = append(jobs, j.JobID)
			}
			if got := a.header.Get("x-ms-item-type"); got != "JobResponse" {
				t.Errorf("item type %s", got)
			}
			return jobs, a.header.Get("x-ms-continuation")
		}
		wants := func(filter string, want ...string) {
			t.Helper()
			if got, next := list(filter); !slices.Equal(got, want) || next != "" {
				t.Errorf("jobs %s: %v, want %v", filter, got, want)
			}
		}
		wants("", "job-0", "job-1", "job-2", "methods", "later")
		wants("?jobType=scheduleDeviceMethod", "methods", "later")
		wants("?jobStatus=scheduled", "later")
		wants("?jobStatus=completed&jobType=scheduleDeviceMethod", "methods")
		first, next := list("", "x-ms-max-item-count", "3")
		second, last := list("", "x-ms-max-item-count", "3", "x-ms-continuation", next)
		if got := append(first, second...); len(got) != 5 || last != "" {
			t.Errorf("two pages: %v, then %q", got, last)
		}
	})
}

// A broadcast costs memory, not goroutines: the calls wait in tables.
func TestBroadcastWithoutGoroutines(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		const n = 2000
		register(t, s, ids(n)...)
		var fleet []*bare
		for _, id := range ids(n) {
			fleet = append(fleet, reconnect(t, s, id, iothub.FilterMethods))
		}
		synctest.Wait()
		before := runtime.NumGoroutine()
		schedule(t, s, "job-1", methodJob("*", 0, 60))
		wantsJob(t, s, "job-1", iothub.JobRunning, n, 0, n, 0, 0)
		if got := runtime.NumGoroutine() - before; got > n/20 { // the count is off by some dozens when goroutines have just ended
			t.Errorf("%d goroutines more while %d methods are pending", got, n)
		}
		for _, b := range fleet {
			b.answerMethod("m", `{"a":1}`, 200, `{"ok":true}`)
		}
		wantsJob(t, s, "job-1", iothub.JobCompleted, n, 0, 0, n, 0)
	})
}

// Jobs are forgotten a month after their end.
func TestJobHistory(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		schedule(t, s, "old", methodJob("*", 0, 60))
		time.Sleep(31 * 24 * time.Hour)
		schedule(t, s, "new", methodJob("*", 0, 60))
		schedule(t, s, "old", methodJob("*", 0, 60))
	})
}

// TestRowTimes wants the times of rows as encoding/json writes an iothub.Time.
func TestRowTimes(t *testing.T) {
	at := time.Date(2026, 3, 1, 23, 59, 59, 0, time.UTC).UnixNano()
	all := []int64{0, 1, 99, 100, at, at, at + 123_456_700, at + 999_999_999, at + 1e9, at + 1e9 + 50, at - 1, 1e9 - 1, 1e9, 0, at}
	for i, got := range hub.RowTimes(all...) {
		want := iothub.Time{}
		if all[i] != 0 {
			want.Time = time.Unix(0, all[i])
		}
		if text, err := json.Marshal(want); err != nil || got != string(text) {
			t.Errorf("a row shows %d ns as %s, want %s, %v", all[i], got, text, err)
		}
	}
}

// TestStoppedJobDispatchesNothing wants a job whose window is over to call nobody any more, while its rows are being ended.
func TestStoppedJobDispatchesNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1", "dev2")
		if n := hub.DispatchStopped(s.Hub, "dev1", "dev2"); n > 0 {
			t.Errorf("%d executions are dispatched after the job was stopped", n)
		}
	})
}

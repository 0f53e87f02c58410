package iothub_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/iothub"
)

// roundTrip reads a document of the service and writes it again.
func roundTrip[T any](t *testing.T, in, want string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(in), &v); err != nil {
		t.Errorf("read %T: %v", v, err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Errorf("write %T: %v", v, err)
	}
	var a, b any
	_ = json.Unmarshal([]byte(want), &a)
	_ = json.Unmarshal(out, &b)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("%T written again:\n%s", v, diff)
	}
	return v
}

func same[T any](t *testing.T, doc string) T {
	t.Helper()
	return roundTrip[T](t, doc, doc)
}

func TestDocumentsOfTheServiceAreKept(t *testing.T) {
	twin := same[iothub.Twin](t, `{"deviceId":"dev1","etag":"AAAAAAAAAAE=","deviceEtag":"NTgwMDg5MDAz","status":"enabled","statusReason":"",
		"statusUpdateTime":"0001-01-01T00:00:00Z","connectionState":"Disconnected","lastActivityTime":"0001-01-01T00:00:00Z",
		"cloudToDeviceMessageCount":0,"authenticationType":"sas","x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},
		"modelId":"","version":2,"tags":{"building":"43"},"properties":{"desired":{"telemetryInterval":30,
		"$metadata":{"$lastUpdated":"2024-01-02T03:04:05.1234567Z"},"$version":2},"reported":{"$metadata":{},"$version":1}},"capabilities":{"iotEdge":false}}`)
	if twin.Version != 2 || string(twin.Tags) != `{"building":"43"}` {
		t.Errorf("twin is %+v", twin)
	}
	device := same[iothub.Device](t, `{"deviceId":"dev1","generationId":"638400000000000000","etag":"NTgwMDg5MDAz","connectionState":"Disconnected",
		"status":"enabled","statusReason":null,"connectionStateUpdatedTime":"0001-01-01T00:00:00Z","statusUpdatedTime":"2024-01-02T03:04:05.1234567Z",
		"lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,"authentication":{"symmetricKey":{"primaryKey":"b25l","secondaryKey":"dHdv"},
		"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"sas"},"capabilities":{"iotEdge":false},"deviceScope":null}`)
	if string(device.Authentication.SymmetricKey.Primary) != "one" {
		t.Error("the primary key was not read")
	}
	same[iothub.Job](t, `{"jobId":"job-2","type":"scheduleUpdateTwin","status":"completed","createdTime":"2024-01-02T03:04:05.1234567Z",
		"startTime":"2024-01-02T03:04:05.0000000Z","endTime":"2024-01-02T03:04:07.7654321Z","maxExecutionTimeInSeconds":300,"queryCondition":"tags.site = 'A'",
		"updateTwin":{"deviceId":null,"etag":"*","tags":{"building":"43"}},
		"deviceJobStatistics":{"deviceCount":2,"failedCount":0,"succeededCount":2,"runningCount":0,"pendingCount":0}}`)
	same[iothub.Job](t, `{"jobId":"job-1","type":"scheduleDeviceMethod","status":"queued"}`)
	row := roundTrip[iothub.DeviceJob](t, `{"deviceId":"dev1","jobId":"job-1","jobType":"scheduleDeviceMethod","status":"completed",
		"startTimeUtc":"2024-01-02T03:04:05.1Z","endTimeUtc":"2024-01-02T03:04:06.2Z","outcome":{"deviceMethodResponse":{"status":200,"payload":"text"}}}`,
		`{"deviceId":"dev1","jobId":"job-1","jobType":"scheduleDeviceMethod","status":"completed",
		"startTimeUtc":"2024-01-02T03:04:05.1000000Z","endTimeUtc":"2024-01-02T03:04:06.2000000Z","outcome":{"deviceMethodResponse":{"status":200,"payload":"text"}}}`)
	if took := row.EndTimeUTC.Sub(row.StartTimeUTC.Time); took != 1100*time.Millisecond || !row.Status.Done() {
		t.Errorf("row took %v, status %v", took, row.Status)
	}
	same[iothub.DeviceJob](t, `{"deviceId":"dev2","jobId":"job-1","jobType":"scheduleDeviceMethod","status":"failed","error":{"code":"DeviceNotOnline","description":"Timed out waiting for device to connect."}}`)
	request := roundTrip[iothub.JobRequest](t, `{"jobId":"job-2","type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{"a":1}},"queryCondition":"*","startTime":null,"maxExecutionTimeInSeconds":300}`,
		`{"jobId":"job-2","type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{"a":1}},"queryCondition":"*","maxExecutionTimeInSeconds":300}`)
	if !request.StartTime.IsZero() {
		t.Errorf("startTime null is %v", request.StartTime)
	}
	same[iothub.BulkResult](t, `{"isSuccessful":false,"errors":[{"deviceId":"dev1","moduleId":null,"errorCode":"DeviceAlreadyExists","errorStatus":"x","operation":"create"}],"warnings":[{"deviceId":"dev1","warningCode":"c","warningStatus":"s"}]}`)
}

func TestKeysThatAreAbsentAreForTheHubToMake(t *testing.T) {
	for _, doc := range []string{`{}`, `{"primaryKey":"","secondaryKey":""}`, `{"primaryKey":null}`} {
		keys := roundTrip[iothub.SymmetricKey](t, doc, `{"primaryKey":null,"secondaryKey":null}`)
		if keys.Primary != nil || keys.Secondary != nil {
			t.Errorf("keys of %s are %v", doc, keys)
		}
	}
	var keys iothub.SymmetricKey
	for _, doc := range []string{`{"primaryKey":"*"}`, `{"secondaryKey":1}`} {
		if err := json.Unmarshal([]byte(doc), &keys); err == nil {
			t.Errorf("keys of %s: no error", doc)
		}
	}
}

func TestEverySpellingOfCancelledIsRead(t *testing.T) {
	for _, text := range []string{`"cancelled"`, `"canceled"`} {
		var job iothub.JobStatus
		var device iothub.DeviceJobStatus
		if json.Unmarshal([]byte(text), &job) != nil || json.Unmarshal([]byte(text), &device) != nil || job != iothub.JobCancelled || device != iothub.DeviceJobCanceled {
			t.Errorf("%s is %q and %q", text, job, device)
		}
	}
	for status, done := range map[iothub.JobStatus]bool{iothub.JobQueued: false, iothub.JobRunning: false, iothub.JobUnknown: false, iothub.JobCompleted: true, iothub.JobFailed: true, iothub.JobCancelled: true} {
		if status.Done() != done {
			t.Errorf("%s.Done() = %v", status, !done)
		}
	}
}

func TestTimesAreTheServices(t *testing.T) {
	try := func(in, want string) {
		t.Helper()
		var got iothub.Time
		if err := json.Unmarshal([]byte(in), &got); err != nil {
			t.Errorf("read %s: %v", in, err)
			return
		}
		if out, err := json.Marshal(got); err != nil || string(out) != want {
			t.Errorf("%s is written as %s, %v, want %s", in, out, err, want)
		}
		if text, err := got.MarshalText(); err != nil || string(text) != got.String() {
			t.Errorf("%s marshals as %s, %v, want %s", in, text, err, got)
		}
		if got.String() != want[1:len(want)-1] {
			t.Errorf("%s prints as %s, want %s", in, got, want)
		}
	}
	try(`"2024-01-02T03:04:05.1234567Z"`, `"2024-01-02T03:04:05.1234567Z"`)
	try(`"2024-01-02T03:04:05Z"`, `"2024-01-02T03:04:05.0000000Z"`)
	try(`"2024-01-02T05:04:05.1+02:00"`, `"2024-01-02T03:04:05.1000000Z"`)
	try(`"2024-01-02T03:04:05.12"`, `"2024-01-02T03:04:05.1200000Z"`)
	try(`"0001-01-01T00:00:00Z"`, `"0001-01-01T00:00:00Z"`)
	try(`"0001-01-01T00:00:00"`, `"0001-01-01T00:00:00Z"`)
	try(`null`, `"0001-01-01T00:00:00Z"`)
	try(`""`, `"0001-01-01T00:00:00Z"`)
	var got iothub.Time
	for _, bad := range []string{`"x"`, `1`, `"2024-13-01T00:00:00Z"`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("read %s as %v", bad, got)
		}
	}
}

func TestMethodCallsAreValidatedByTheServicesLimits(t *testing.T) {
	try := func(m iothub.Method, valid bool) {
		t.Helper()
		if err := m.Validate(); (err == nil) != valid {
			t.Errorf("Validate(%+v): %v", m, err)
		}
	}
	try(iothub.Method{MethodName: "m"}, true)
	try(iothub.Method{MethodName: "m", ResponseTimeoutInSeconds: new(5), ConnectTimeoutInSeconds: new(0)}, true)
	try(iothub.Method{MethodName: "m", ResponseTimeoutInSeconds: new(300), ConnectTimeoutInSeconds: new(300)}, true)
	try(iothub.Method{}, false)
	try(iothub.Method{MethodName: "m", ResponseTimeoutInSeconds: new(4)}, false)
	try(iothub.Method{MethodName: "m", ResponseTimeoutInSeconds: new(0)}, false)
	try(iothub.Method{MethodName: "m", ResponseTimeoutInSeconds: new(301)}, false)
	try(iothub.Method{MethodName: "m", ConnectTimeoutInSeconds: new(-1)}, false)
	try(iothub.Method{MethodName: "m", ConnectTimeoutInSeconds: new(301)}, false)
	try(iothub.Method{MethodName: "m", Payload: make([]byte, 128<<10+1)}, false)
}

func TestDesiredVersion(t *testing.T) {
	check := func(twin string, want int64, wantErr bool) {
		t.Helper()
		got, err := iothub.DesiredVersion([]byte(twin))
		if got != want || (err != nil) != wantErr {
			t.Errorf("DesiredVersion(%s) = %d, %v; want %d, error %t", twin, got, err, want, wantErr)
		}
	}
	check(`{"desired":{"$version":7},"reported":{"$version":8}}`, 7, false)
	check(` { "reported" : {"desired":{"$version":1}} , "desired" : { "a" : {"$version":2,"\"":"}"} , "$version" : 3 } } `, 3, false)
	check(`{"desired":{"\u0024version":9}}`, 9, false)
	check(`{"desired":{"$version":1.5}}`, 0, true)
	check(`{"desired":{"$version":"1"}}`, 0, true)
	check(`{"desired":[1]}`, 0, true)
	check(`{"desired":{}}`, 0, true)
	check(`{"desired":{"$version":7}`, 0, true)
	check(`[]`, 0, true)
	check(``, 0, true)
}

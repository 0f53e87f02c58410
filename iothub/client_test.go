package iothub_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/iothub"
)

func debugLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestRequestsAreThoseOfTheProtocol(t *testing.T) {
	patch := iothub.NewTwinPatch(json.RawMessage(`{"a":null}`), json.RawMessage(`{"b":1}`))
	try := func(method, target, body, ifMatch, answered string, call func(ctx context.Context, c *iothub.Client) error) {
		t.Helper()
		hub := &fakeHub{steps: []step{answer(200, answered)}}
		if err := call(t.Context(), newClient(t, hub, nil)); err != nil {
			t.Errorf("%s %s: %v", method, target, err)
		}
		got := hub.seen[0]
		path, query, _ := strings.Cut(target, "?")
		if target = path + "?api-version=2021-04-12"; query != "" {
			target += "&" + query
		}
		if got.method != method || got.path != target || got.body != body || got.header.Get("If-Match") != ifMatch {
			t.Errorf("sent %s %s %s, If-Match %s\nwant %s %s %s, If-Match %s", got.method, got.path, got.body, got.header.Get("If-Match"), method, target, body, ifMatch)
		}
		token, err := iothub.ParseToken(got.header.Get("Authorization"))
		if err != nil || !token.SignedBy(mustKey(t, vectorKey)) || token.Resource != "hub.example" || token.Policy != "service" || time.Until(token.Expiry) < 50*time.Minute {
			t.Errorf("%s %s: token %v, %v", method, target, token, err)
		}
		if want := map[bool]string{true: "application/json; charset=utf-8"}[body != ""]; got.header.Get("Content-Type") != want {
			t.Errorf("%s %s: content type %q, want %q", method, target, got.header.Get("Content-Type"), want)
		}
	}
	try("GET", "/twins/dev%201%2F%3F%23%25", "", "", ok, func(ctx context.Context, c *iothub.Client) error { return second(c.Twin(ctx, "dev 1/?#%")) })
	try("PATCH", "/twins/d", `{"tags":{"a":null},"properties":{"desired":{"b":1}}}`, `"*"`, ok, func(ctx context.Context, c *iothub.Client) error { return second(c.PatchTwin(ctx, "d", patch, "*")) })
	try("PATCH", "/twins/d", `{"properties":{"desired":{}}}`, `"AA="`, ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.PatchTwin(ctx, "d", iothub.NewTwinPatch(nil, json.RawMessage(ok)), "AA="))
	})
	try("PUT", "/twins/d", `{}`, `"*"`, ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.ReplaceTwin(ctx, "d", iothub.NewTwinPatch(nil, nil), ""))
	})
	try("POST", "/twins/d%2B/methods", `{"methodName":"lock\"Doorü","payload":{"a":1},"responseTimeoutInSeconds":5,"connectTimeoutInSeconds":3}`, "", method, func(ctx context.Context, c *iothub.Client) error {
		return second(c.InvokeMethod(ctx, "d+", iothub.Method{MethodName: `lock"Doorü`, Payload: json.RawMessage(`{"a":1}`), ResponseTimeoutInSeconds: new(5), ConnectTimeoutInSeconds: new(3)}))
	})
	try("POST", "/twins/d/methods", `{"methodName":"m","payload":null,"responseTimeoutInSeconds":30,"connectTimeoutInSeconds":0}`, "", method, func(ctx context.Context, c *iothub.Client) error {
		return second(c.InvokeMethod(ctx, "d", iothub.Method{MethodName: "m"}))
	})
	try("PUT", "/jobs/v2/j-1", `{"jobId":"j-1","type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{"a":1}},"queryCondition":"*","startTime":"2030-01-01T00:00:00.0000000Z","maxExecutionTimeInSeconds":300}`, "", ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.CreateJob(ctx, iothub.JobRequest{
			JobID: "j-1", Type: iothub.JobTwin, UpdateTwin: iothub.NewJobTwinUpdate(json.RawMessage(`{"a":1}`), nil), QueryCondition: "*",
			StartTime: iothub.Time{Time: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}, MaxExecutionTimeInSeconds: 300,
		}))
	})
	try("PUT", "/jobs/v2/j", `{"jobId":"j","type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m","payload":"x"},"queryCondition":"deviceId = 'd'"}`, "", ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.CreateJob(ctx, iothub.JobRequest{JobID: "j", Type: iothub.JobMethod, CloudToDeviceMethod: &iothub.Method{MethodName: "m", Payload: json.RawMessage(`"x"`)}, QueryCondition: "deviceId = 'd'"}))
	})
	try("GET", "/jobs/v2/j", "", "", ok, func(ctx context.Context, c *iothub.Client) error { return second(c.Job(ctx, "j")) })
	try("POST", "/jobs/v2/j/cancel", "", "", ok, func(ctx context.Context, c *iothub.Client) error { return second(c.CancelJob(ctx, "j")) })
	try("GET", "/jobs/v2/query?jobType=scheduleUpdateTwin&jobStatus=running", "", "", `[]`, func(ctx context.Context, c *iothub.Client) error {
		return last(c.Jobs(ctx, iothub.JobTwin, iothub.JobRunning))
	})
	try("POST", "/devices/query", `{"query":"SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j'"}`, "", `[]`, func(ctx context.Context, c *iothub.Client) error { return last(c.DeviceJobs(ctx, "j")) })
	try("POST", "/devices/query", `{"query":"SELECT deviceId FROM devices"}`, "", `[]`, func(ctx context.Context, c *iothub.Client) error { return last(c.DeviceIDs(ctx, "", 0)) })
	try("POST", "/devices/query", `{"query":"SELECT deviceId FROM devices WHERE tags.a = 1"}`, "", `[]`, func(ctx context.Context, c *iothub.Client) error {
		return last(c.DeviceIDs(ctx, "tags.a = 1", 0))
	})
	try("PUT", "/devices/d", `{"deviceId":"d","statusReason":null,"connectionStateUpdatedTime":"0001-01-01T00:00:00Z","statusUpdatedTime":"0001-01-01T00:00:00Z","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,"authentication":{"symmetricKey":{"primaryKey":"b25l","secondaryKey":"dHdv"},"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"sas"},"capabilities":{"iotEdge":false},"deviceScope":null}`, "", ok, func(ctx context.Context, c *iothub.Client) error { return second(c.CreateDevice(ctx, keyed("d"))) })
	try("GET", "/devices/d", "", "", ok, func(ctx context.Context, c *iothub.Client) error { return second(c.Device(ctx, "d")) })
	try("DELETE", "/devices/d", "", `"*"`, "", func(ctx context.Context, c *iothub.Client) error { return c.DeleteDevice(ctx, "d", "*") })
	try("GET", "/devices?top=7", "", "", `[]`, func(ctx context.Context, c *iothub.Client) error { return second(c.Devices(ctx, 7)) })
	try("POST", "/devices", `[{"id":"d","importMode":"delete"}]`, "", `{"isSuccessful":true}`, func(ctx context.Context, c *iothub.Client) error {
		return second(c.Bulk(ctx, []iothub.BulkEntry{entry("d", "delete", false)}))
	})
	try("PUT", "/devices/d/modules/m%20", `{"moduleId":"m ","managedBy":null,"deviceId":"d","connectionStateUpdatedTime":"0001-01-01T00:00:00Z","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0}`, "", ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.CreateModule(ctx, iothub.Module{DeviceID: "d", ModuleID: "m "}))
	})
	try("PUT", "/devices/%20/modules/m", `{"moduleId":"m","managedBy":null,"deviceId":" ","connectionStateUpdatedTime":"0001-01-01T00:00:00Z","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0}`, `"*"`, ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.UpdateModule(ctx, iothub.Module{DeviceID: " ", ModuleID: "m"}, ""))
	})
	try("GET", "/devices/d/modules/m", "", "", ok, func(ctx context.Context, c *iothub.Client) error { return second(c.Module(ctx, "d", "m")) })
	try("GET", "/devices/d/modules", "", "", `[]`, func(ctx context.Context, c *iothub.Client) error { return second(c.Modules(ctx, "d")) })
	try("DELETE", "/devices/d/modules/m", "", `"x"`, "", func(ctx context.Context, c *iothub.Client) error { return c.DeleteModule(ctx, "d", "m", "x") })
	try("GET", "/twins/d%20/modules/m%2F", "", "", ok, func(ctx context.Context, c *iothub.Client) error { return second(c.ModuleTwin(ctx, "d ", "m/")) })
	try("PATCH", "/twins/d/modules/m", `{}`, `"*"`, ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.PatchModuleTwin(ctx, "d", "m", json.RawMessage(ok), ""))
	})
	try("PUT", "/twins/d/modules/m", `{}`, `"e"`, ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.ReplaceModuleTwin(ctx, "d", "m", json.RawMessage(ok), "e"))
	})
	try("POST", "/twins/d/modules/m/methods", `{"methodName":"m","payload":null,"responseTimeoutInSeconds":30,"connectTimeoutInSeconds":0}`, "", method, func(ctx context.Context, c *iothub.Client) error {
		return second(c.InvokeModuleMethod(ctx, "d", "m", iothub.Method{MethodName: "m"}))
	})
	try("DELETE", "/devices/d/commands", "", "", `{"totalMessagesPurged":3,"deviceId":"d","moduleId":null}`, func(ctx context.Context, c *iothub.Client) error {
		if n, err := c.PurgeMessages(ctx, "d"); n != 3 {
			t.Errorf("PurgeMessages() = %d, %v, want 3", n, err)
		}
		return nil
	})
	try("GET", "/statistics/devices", "", "", ok, func(ctx context.Context, c *iothub.Client) error { return second(c.DeviceStatistics(ctx)) })
	try("GET", "/statistics/service", "", "", ok, func(ctx context.Context, c *iothub.Client) error { return second(c.ServiceStatistics(ctx)) })
}

func TestRowsComePageByPage(t *testing.T) {
	hub := &fakeHub{steps: []step{
		answer(200, `[{"deviceId":"a"}, {"deviceId":"b"}]`, "x-ms-continuation", "t 1"),
		answer(200, `[]`, "x-ms-continuation", "t 2"),
		answer(200, `[{"deviceId":"c"}]`, "x-ms-continuation", ""),
	}}
	var rows []string
	for row, err := range newClient(t, hub, nil).Query(t.Context(), "SELECT * FROM devices", 2) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, string(append(row, '!')))
	}
	if diff := cmp.Diff([]string{`{"deviceId":"a"}!`, `{"deviceId":"b"}!`, `{"deviceId":"c"}!`}, rows); diff != "" {
		t.Errorf("Query():\n%s", diff)
	}
	var tokens []string
	for _, e := range hub.seen {
		tokens = append(tokens, e.header.Get("x-ms-continuation")+"/"+e.header.Get("x-ms-max-item-count"))
	}
	if diff := cmp.Diff([]string{"/2", "t 1/2", "t 2/2"}, tokens); diff != "" {
		t.Errorf("continuations and sizes:\n%s", diff)
	}
}

func TestDeviceIDsAreReadFromRows(t *testing.T) {
	try := func(page, want string, failed bool) {
		t.Helper()
		hub := &fakeHub{steps: []step{answer(200, page, "x-ms-continuation", "t"), answer(200, `[{"deviceId":"z"}]`)}}
		var got []string
		bad := false
		for id, err := range newClient(t, hub, nil).DeviceIDs(t.Context(), "", 0) {
			if bad = err != nil; !bad {
				got = append(got, id)
			}
		}
		if strings.Join(got, " ") != want || bad != failed {
			t.Errorf("DeviceIDs() of the page %s = %q, failed %v, want %q, %v", page, got, bad, want, failed)
		}
	}
	try(`[{"deviceId":"a"}, { "deviceId" : "b" }]`, "a b z", false)
	try(`[{"deviceId":"a\u002db"},{"deviceId":"ü"}]`, "a-b ü z", false)
	try(`[{"deviceId":"a"},{"deviceId":""},{"deviceId":"c"}]`, "a", true)
	try(`[{"deviceId":"a"},{"DeviceID":"b"}]`, "a", true)
	try(`[{"deviceId":7}]`, "", true)
	try(`[{"deviceId":null}]`, "", true)
	try(`["a"]`, "", true)
}

func TestRowsEndEarly(t *testing.T) {
	try := func(name string, stop, take, requests int, failed bool, steps ...step) {
		t.Helper()
		hub := &fakeHub{steps: steps}
		n, bad := 0, false
		for _, err := range newClient(t, hub, nil).Jobs(t.Context(), "", "") {
			if err != nil {
				bad = true
				continue
			}
			if n++; n == stop {
				break
			}
		}
		if n != take || bad != failed || len(hub.seen) != requests {
			t.Errorf("%s: %d rows, failed %v, %d requests, want %d, %v, %d", name, n, bad, len(hub.seen), take, failed, requests)
		}
	}
	try("by the caller", 1, 1, 1, false, answer(200, `[{"jobId":"a"},{"jobId":"b"}]`, "x-ms-continuation", "t"))
	try("by a refusal", 0, 1, 2, true, answer(200, `[{"jobId":"a"}]`, "x-ms-continuation", "t"), refuse(iothub.CodeArgumentInvalid))
	try("by a bad row", 0, 1, 1, true, answer(200, `[{"jobId":"a"},7,{"jobId":"c"}]`))
	try("by a bad page", 0, 0, 1, true, answer(200, `{}`))
	try("by half a page", 0, 0, 1, true, answer(200, `[{}`))
}

func TestAnswersAreRead(t *testing.T) {
	hub := &fakeHub{steps: []step{
		answer(200, `{"payload":{"a":[1, "x"]},"status":404}`),
		answer(200, `{"status":200,"payload":null}`),
		answer(200, `{"status":"x"}`),
		answer(200, `[]`),
	}}
	c := newClient(t, hub, nil)
	try := func(want iothub.MethodResult, fails bool) {
		t.Helper()
		got, err := c.InvokeMethod(t.Context(), "d", iothub.Method{MethodName: "m"})
		if diff := cmp.Diff(want, got); diff != "" || (err != nil) != fails {
			t.Errorf("InvokeMethod(): %v\n%s", err, diff)
		}
	}
	try(iothub.MethodResult{Status: 404, Payload: json.RawMessage(`{"a":[1, "x"]}`)}, false)
	try(iothub.MethodResult{Status: 200, Payload: json.RawMessage(`null`)}, false)
	try(iothub.MethodResult{}, true)
	try(iothub.MethodResult{}, true)

	hub.steps = []step{answer(200, `{"jobId":"j","type":"unknown","status":"unknown"}`)}
	if _, err := c.Job(t.Context(), "j"); !iothub.HasCode(err, iothub.CodeJobNotFound) {
		t.Errorf("Job() of an unknown one: %v, want JobNotFound", err)
	}
	if _, err := c.Twin(t.Context(), "d"); err != nil {
		t.Errorf("Twin(): %v", err)
	}
}

func TestImpossibleCallsAreNotSent(t *testing.T) {
	hub := &fakeHub{steps: []step{answer(200, ok)}}
	c := newClient(t, hub, nil)
	for name, err := range map[string]error{
		"CreateJob":    second(c.CreateJob(t.Context(), iothub.JobRequest{JobID: "a/b"})),
		"Job":          second(c.Job(t.Context(), "")),
		"CancelJob":    second(c.CancelJob(t.Context(), "a b")),
		"DeviceJobs":   last(c.DeviceJobs(t.Context(), "' OR 1 = 1")),
		"Bulk none":    second(c.Bulk(t.Context(), nil)),
		"Bulk many":    second(c.Bulk(t.Context(), make([]iothub.BulkEntry, 101))),
		"InvokeMethod": second(c.InvokeMethod(t.Context(), "d", iothub.Method{Payload: json.RawMessage(`{`)})),
		"patch JSON":   second(c.CreateJob(t.Context(), iothub.JobRequest{JobID: "j", UpdateTwin: json.RawMessage(`{`)})),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if len(hub.seen) != 0 {
		t.Errorf("%d requests, want none", len(hub.seen))
	}
}

func TestClientsNeedAServiceAndAnURL(t *testing.T) {
	key := mustKey(t, vectorKey)
	service := iothub.ConnectionString{HostName: "h", SharedAccessKeyName: "p", SharedAccessKey: key}
	for _, cs := range []iothub.ConnectionString{{}, {HostName: "h", DeviceID: "d", SharedAccessKey: key}, {HostName: "h", SharedAccessKeyName: "p"}} {
		if _, err := iothub.NewClient(cs, nil); err == nil {
			t.Errorf("NewClient(%v): no error", cs)
		}
	}
	for _, base := range []string{"hub", "ftp://h", "http://", "http://u:p@h", "http://h:x"} {
		if _, err := iothub.NewClient(service, &iothub.ClientOptions{BaseURL: base}); err == nil {
			t.Errorf("NewClient(BaseURL %q): no error", base)
		}
	}
	hub := &fakeHub{steps: []step{answer(200, ok)}}
	c := newClient(t, hub, func(o *iothub.ClientOptions) { o.BaseURL = "http://127.0.0.1:1/a%2Fb/" })
	if _, err := c.Twin(t.Context(), "d"); err != nil || hub.seen[0].path != "/a%2Fb/twins/d?api-version=2021-04-12" {
		t.Errorf("Twin() under a path: %v, %s", err, hub.seen[0].path)
	}
}

func TestTokensAreCachedAndRenewedBeforeTheyExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := &fakeHub{steps: []step{answer(200, ok)}}
		c := newClient(t, hub, nil)
		for range 60 {
			if _, err := c.Twin(t.Context(), "d"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Minute)
		}
		distinct := map[string]int{}
		for _, e := range hub.seen {
			text := e.header.Get("Authorization")
			distinct[text]++
			token, err := iothub.ParseToken(text)
			if err != nil {
				t.Fatal(err)
			}
			if left := token.Expiry.Sub(e.at); left < 12*time.Minute-time.Second || left > time.Hour {
				t.Errorf("a token with %v to live was sent", left)
			}
		}
		if len(distinct) != 6 { // five hours, one for each 48 minutes (asked every five)
			t.Errorf("%d tokens in five hours, want 6", len(distinct))
		}
	})
}

// loopback is a client of a hub on a real socket. Its retries wait for next to
// nothing.
func loopback(t testing.TB, handle http.HandlerFunc) *iothub.Client {
	t.Helper()
	server := httptest.NewServer(handle)
	c := newClient(t, nil, func(o *iothub.ClientOptions) {
		o.BaseURL = server.URL
		o.Retry = iothub.RetryOptions{Base: time.Microsecond, ThrottledBase: time.Microsecond}
	})
	t.Cleanup(func() {
		c.Close()
		server.Close()
	})
	return c
}

func TestTraceTellsWhenEachAttemptWasWritten(t *testing.T) {
	var calls atomic.Int32
	c := loopback(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) < 3 {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = io.WriteString(w, method)
	})
	var wrote []int
	var served []int32
	trace := &iothub.Trace{Wrote: func(attempt int) {
		wrote, served = append(wrote, attempt), append(served, calls.Load())
	}}
	if _, err := c.InvokeMethod(iothub.WithTrace(t.Context(), trace), "d", iothub.Method{MethodName: "m"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1, 2, 3}, wrote); diff != "" || trace.Attempts != 3 {
		t.Errorf("%d attempts, written:\n%s", trace.Attempts, diff)
	}
	if diff := cmp.Diff([]int32{0, 1, 2}, served); diff != "" {
		t.Errorf("requests that the hub had seen when one was written:\n%s", diff)
	}
}

func TestTraceOfACallThatWasNeverWritten(t *testing.T) {
	c := newClient(t, nil, func(o *iothub.ClientOptions) { o.BaseURL = "http://127.0.0.1:1"; o.Retry.MaxAttempts = 1 })
	defer c.Close()
	trace := &iothub.Trace{Wrote: func(int) { t.Error("written to nobody") }}
	if _, err := c.InvokeMethod(iothub.WithTrace(t.Context(), trace), "d", iothub.Method{MethodName: "m"}); err == nil || trace.Attempts != 1 {
		t.Errorf("%d attempts, %v", trace.Attempts, err)
	}
}

func TestTraceDoesNotSeeTheCallsWithinACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := &fakeHub{steps: []step{lost, refuse(iothub.CodeJobAlreadyExists), answer(200, `{"jobId":"j"}`)}}
		trace := &iothub.Trace{}
		_, err := newClient(t, hub, nil).CreateJob(iothub.WithTrace(t.Context(), trace), iothub.JobRequest{JobID: "j"})
		if err != nil || trace.Attempts != 2 || len(hub.seen) != 3 {
			t.Errorf("%d attempts of %d requests, %v, want 2 of 3", trace.Attempts, len(hub.seen), err)
		}
	})
}

// A hub may close a connection that has been idle just when it is used again.
// Whether the call fails then or goes over another connection is a matter of
// luck; that the device is never called twice is not.
func TestConnectionsClosedWhenIdleRepeatNoMethod(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		_, _ = io.WriteString(w, method)
	}))
	defer server.Close()
	c := newClient(t, nil, func(o *iothub.ClientOptions) { o.BaseURL = server.URL })
	defer c.Close()
	var answered int32
	for range 50 {
		before := calls.Load()
		if _, err := c.InvokeMethod(t.Context(), "d", iothub.Method{MethodName: "m"}); err == nil {
			answered++
		}
		if n := calls.Load() - before; n > 1 {
			t.Fatalf("the device was called %d times in one call", n)
		}
		server.CloseClientConnections()
	}
	if answered == 0 {
		t.Error("no call was answered")
	}
}

func TestALostMethodCallIsNotMadeAgain(t *testing.T) {
	var calls atomic.Int32
	c := loopback(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		panic(http.ErrAbortHandler) // closes the connection without an answer
	})
	for range 2 { // on a new connection, and on whatever there is
		if _, err := c.InvokeMethod(t.Context(), "d", iothub.Method{MethodName: "m"}); err == nil {
			t.Error("no error")
		}
	}
	if calls.Load() != 2 {
		t.Errorf("the device was called %d times in 2 calls", calls.Load())
	}
}

func TestManyCallsShareTheClient(t *testing.T) {
	c := loopback(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, `{"status":200,"payload":`+string(body)+`}`)
	})
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 50 {
				want := strconv.Itoa(i*1000 + n)
				got, err := c.InvokeMethod(t.Context(), "d", iothub.Method{MethodName: "m", Payload: json.RawMessage(want)})
				if err != nil || !strings.Contains(string(got.Payload), `"payload":`+want+",") {
					t.Errorf("InvokeMethod(payload %s) = %s, %v", want, got.Payload, err)
				}
			}
		})
	}
	group.Wait()
}

package iothub_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/iothub"
)

// exchange is a request that a fakeHub saw.
type exchange struct {
	at     time.Time
	method string
	path   string // encoded, with the query
	header http.Header
	body   string
}

// fakeHub answers requests in memory with its steps in order; the last one
// answers all the rest.
type fakeHub struct {
	steps []step
	seen  []exchange
}

// step answers one request; nil hangs until the request is given up.
type step func(r *http.Request) (*http.Response, error)

func (f *fakeHub) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	f.seen = append(f.seen, exchange{time.Now(), r.Method, r.URL.RequestURI(), r.Header.Clone(), string(body)})
	s := f.steps[min(len(f.seen), len(f.steps))-1]
	if s == nil {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return s(r)
}

// waits returns the times between the requests.
func (f *fakeHub) waits() []time.Duration {
	var waits []time.Duration
	for i := 1; i < len(f.seen); i++ {
		waits = append(waits, f.seen[i].at.Sub(f.seen[i-1].at))
	}
	return waits
}

func answer(status int, body string, header ...string) step {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func refuse(code iothub.ErrorCode) step {
	e := iothub.Error{StatusCode: code.StatusCode(), Code: code, Name: code.Name(), Message: "refused"}
	return answer(e.StatusCode, string(e.Body()), iothub.ErrorCodeHeader, e.Name)
}

func lost(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

// halfway loses the connection in the middle of an answer.
func halfway(*http.Request) (*http.Response, error) {
	body := io.MultiReader(strings.NewReader(`{"deviceId":`), iotest{io.ErrUnexpectedEOF})
	return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(body)}, nil
}

type iotest struct{ err error }

func (r iotest) Read([]byte) (int, error) { return 0, r.err }

func newClient(t testing.TB, transport http.RoundTripper, change func(*iothub.ClientOptions)) *iothub.Client {
	t.Helper()
	o := &iothub.ClientOptions{Transport: transport, Seed: 1}
	if change != nil {
		change(o)
	}
	c, err := iothub.NewClient(iothub.ConnectionString{HostName: "hub.example", SharedAccessKeyName: "service", SharedAccessKey: mustKey(t, vectorKey)}, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	ok     = `{}`
	method = `{"status":200,"payload":null}`
)

// operations are the calls that can be retried, by whether they are after more
// than a 429.
var operations = []struct {
	name   string
	always bool
	answer string
	call   func(ctx context.Context, c *iothub.Client) error
}{
	{"read twin", true, ok, func(ctx context.Context, c *iothub.Client) error { return second(c.Twin(ctx, "d")) }},
	{"read device", true, ok, func(ctx context.Context, c *iothub.Client) error { return second(c.Device(ctx, "d")) }},
	{"list devices", true, `[]`, func(ctx context.Context, c *iothub.Client) error { return second(c.Devices(ctx, 0)) }},
	{"device statistics", true, ok, func(ctx context.Context, c *iothub.Client) error { return second(c.DeviceStatistics(ctx)) }},
	{"service statistics", true, ok, func(ctx context.Context, c *iothub.Client) error { return second(c.ServiceStatistics(ctx)) }},
	{"query", true, `[]`, func(ctx context.Context, c *iothub.Client) error {
		return last(c.Query(ctx, "SELECT * FROM devices", 0))
	}},
	{"query ids", true, `[]`, func(ctx context.Context, c *iothub.Client) error { return last(c.DeviceIDs(ctx, "", 0)) }},
	{"patch twin *", true, ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.PatchTwin(ctx, "d", json.RawMessage(ok), "*"))
	}},
	{"patch twin etag", false, ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.PatchTwin(ctx, "d", json.RawMessage(ok), "AA="))
	}},
	{"replace twin *", true, ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.ReplaceTwin(ctx, "d", json.RawMessage(ok), ""))
	}},
	{"replace twin etag", false, ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.ReplaceTwin(ctx, "d", json.RawMessage(ok), "AA="))
	}},
	{"create job", true, ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.CreateJob(ctx, iothub.JobRequest{JobID: "j"}))
	}},
	{"read job", true, ok, func(ctx context.Context, c *iothub.Client) error { return second(c.Job(ctx, "j")) }},
	{"cancel job", true, ok, func(ctx context.Context, c *iothub.Client) error { return second(c.CancelJob(ctx, "j")) }},
	{"list jobs", true, `[]`, func(ctx context.Context, c *iothub.Client) error { return last(c.Jobs(ctx, "", "")) }},
	{"device jobs", true, `[]`, func(ctx context.Context, c *iothub.Client) error { return last(c.DeviceJobs(ctx, "j")) }},
	{"invoke method", false, method, func(ctx context.Context, c *iothub.Client) error {
		return second(c.InvokeMethod(ctx, "d", iothub.Method{MethodName: "m"}))
	}},
	{"create device", false, ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.CreateDevice(ctx, iothub.Device{DeviceID: "d"}))
	}},
	{"create device keys", true, ok, func(ctx context.Context, c *iothub.Client) error { return second(c.CreateDevice(ctx, keyed("d"))) }},
	{"update device *", true, ok, func(ctx context.Context, c *iothub.Client) error { return second(c.UpdateDevice(ctx, keyed("d"), "*")) }},
	{"update device etag", false, ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.UpdateDevice(ctx, keyed("d"), "AA="))
	}},
	{"delete device *", true, ok, func(ctx context.Context, c *iothub.Client) error { return c.DeleteDevice(ctx, "d", "") }},
	{"delete device etag", false, ok, func(ctx context.Context, c *iothub.Client) error { return c.DeleteDevice(ctx, "d", "AA=") }},
	{"create module", false, ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.CreateModule(ctx, iothub.Module{DeviceID: "d", ModuleID: "m", Authentication: credentials()}))
	}},
	{"update module *", true, ok, func(ctx context.Context, c *iothub.Client) error {
		return second(c.UpdateModule(ctx, iothub.Module{DeviceID: "d", ModuleID: "m"}, "*"))
	}},
	{"delete module *", true, ok, func(ctx context.Context, c *iothub.Client) error { return c.DeleteModule(ctx, "d", "m", "*") }},
	{"delete module etag", false, ok, func(ctx context.Context, c *iothub.Client) error { return c.DeleteModule(ctx, "d", "m", "AA=") }},
	{"read module twin", true, ok, func(ctx context.Context, c *iothub.Client) error { return second(c.ModuleTwin(ctx, "d", "m")) }},
	{"invoke module method", false, method, func(ctx context.Context, c *iothub.Client) error {
		return second(c.InvokeModuleMethod(ctx, "d", "m", iothub.Method{MethodName: "m"}))
	}},
	{"purge messages", false, ok, func(ctx context.Context, c *iothub.Client) error { return second(c.PurgeMessages(ctx, "d")) }},
	{"bulk module", false, `{"isSuccessful":true}`, func(ctx context.Context, c *iothub.Client) error {
		e := entry("d", iothub.ImportCreate, true)
		e.ModuleID = "m"
		return second(c.Bulk(ctx, []iothub.BulkEntry{e}))
	}},
	{"bulk keys", true, `{"isSuccessful":true}`, func(ctx context.Context, c *iothub.Client) error {
		return second(c.Bulk(ctx, []iothub.BulkEntry{entry("d", iothub.ImportCreate, true)}))
	}},
	{"bulk no keys", false, `{"isSuccessful":true}`, func(ctx context.Context, c *iothub.Client) error {
		return second(c.Bulk(ctx, []iothub.BulkEntry{entry("c", iothub.ImportCreate, true), entry("d", iothub.ImportCreate, false)}))
	}},
	{"bulk delete", true, `{"isSuccessful":true}`, func(ctx context.Context, c *iothub.Client) error {
		return second(c.Bulk(ctx, []iothub.BulkEntry{entry("d", "Delete", false)}))
	}},
	{"bulk etag", false, `{"isSuccessful":true}`, func(ctx context.Context, c *iothub.Client) error {
		return second(c.Bulk(ctx, []iothub.BulkEntry{entry("d", iothub.ImportUpdateIfMatch, true)}))
	}},
}

func second[T any](_ T, err error) error { return err }

func last[T any](rows func(func(T, error) bool)) (err error) {
	rows(func(_ T, e error) bool { err = e; return true })
	return err
}

func credentials() *iothub.Authentication {
	return &iothub.Authentication{Type: iothub.AuthenticationSAS, SymmetricKey: iothub.SymmetricKey{Primary: iothub.Key("one"), Secondary: iothub.Key("two")}}
}

func keyed(id string) iothub.Device {
	return iothub.Device{DeviceID: id, Authentication: credentials()}
}

func entry(id, mode string, keys bool) iothub.BulkEntry {
	e := iothub.BulkEntry{ID: id, ImportMode: mode}
	if keys {
		e.Authentication = credentials()
	}
	return e
}

func TestCallsAreRepeatedOnlyWhereTwiceIsOnce(t *testing.T) {
	failures := []struct {
		name      string
		step      step
		always    bool // repeated if the call is repeatable
		throttled bool // repeated in any case
	}{
		{"429", refuse(iothub.CodeThrottlingException), true, true},
		{"429 jobs", refuse(iothub.CodeThrottlingMaxActiveJobCountExceeded), true, true},
		{"500", refuse(iothub.CodeServerError), true, false},
		{"503", refuse(iothub.CodeServiceUnavailable), true, false},
		{"503 html", answer(503, "<html>"), true, false},
		{"lost", lost, true, false},
		{"lost in the answer", halfway, true, false},
		{"no answer", nil, true, false},
		{"400", refuse(iothub.CodeArgumentInvalid), false, false},
		{"401", refuse(iothub.CodeIotHubUnauthorizedAccess), false, false},
		{"404 not online", refuse(iothub.CodeDeviceNotOnline), false, false},
		{"412", refuse(iothub.CodePreconditionFailed), false, false},
		{"502", answer(502, ""), false, false},
		{"504", refuse(iothub.CodeGatewayTimeout), false, false},
		{"certificate", func(*http.Request) (*http.Response, error) {
			return nil, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
		}, false, false},
		{"no such host", func(*http.Request) (*http.Response, error) { return nil, &net.DNSError{IsNotFound: true} }, false, false},
	}
	for _, op := range operations {
		for _, f := range failures {
			synctest.Test(t, func(t *testing.T) {
				hub := &fakeHub{steps: []step{f.step, answer(200, op.answer)}}
				err := op.call(t.Context(), newClient(t, hub, nil))
				want := 1
				if f.throttled || f.always && op.always {
					want = 2
				}
				if len(hub.seen) != want || (err == nil) != (want == 2) {
					t.Errorf("%s after %s: %d requests and %v, want %d", op.name, f.name, len(hub.seen), err, want)
				}
				if want == 2 && hub.seen[0].body != hub.seen[1].body {
					t.Errorf("%s after %s sent %q again as %q", op.name, f.name, hub.seen[0].body, hub.seen[1].body)
				}
			})
		}
	}
}

func TestWaitsAreFullJitterUnderAnExponentialCeiling(t *testing.T) {
	try := func(name string, s step, call func(context.Context, *iothub.Client) error, ceilings ...time.Duration) {
		t.Helper()
		longest := make([]time.Duration, len(ceilings))
		for seed := range uint64(60) {
			synctest.Test(t, func(t *testing.T) {
				hub := &fakeHub{steps: []step{s}}
				c := newClient(t, hub, func(o *iothub.ClientOptions) {
					o.Seed, o.Retry.MaxAttempts, o.Retry.For = seed+1, len(ceilings)+1, -1
				})
				if err := call(t.Context(), c); err == nil {
					t.Fatal("no error")
				}
				waits := hub.waits()
				if len(waits) != len(ceilings) {
					t.Fatalf("%s: %d waits, want %d", name, len(waits), len(ceilings))
				}
				for i, w := range waits {
					if w > ceilings[i] {
						t.Errorf("%s: wait %d is %v, more than %v", name, i, w, ceilings[i])
					}
					longest[i] = max(longest[i], w)
				}
			})
		}
		for i := range longest {
			if longest[i] < ceilings[i]*8/10 {
				t.Errorf("%s: the longest wait %d of 60 is %v, not spread up to %v", name, i, longest[i], ceilings[i])
			}
		}
	}
	s := time.Second
	read := func(ctx context.Context, c *iothub.Client) error { return second(c.Twin(ctx, "d")) }
	invoke := func(ctx context.Context, c *iothub.Client) error {
		return second(c.InvokeMethod(ctx, "d", iothub.Method{MethodName: "m"}))
	}
	try("500", refuse(iothub.CodeServerError), read, 1*s, 2*s, 4*s, 8*s, 16*s, 32*s, 60*s, 60*s)
	try("lost", lost, read, 1*s, 2*s, 4*s)
	try("429", refuse(iothub.CodeThrottlingException), invoke, 10*s, 20*s, 40*s, 60*s, 60*s)
}

func TestRetriesAreBounded(t *testing.T) {
	try := func(name string, atMost time.Duration, deadline time.Duration, change func(*iothub.ClientOptions)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			if deadline > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, deadline)
				defer cancel()
			}
			hub := &fakeHub{steps: []step{refuse(iothub.CodeServiceUnavailable)}}
			began := time.Now()
			_, err := newClient(t, hub, change).Twin(ctx, "d")
			if !iothub.HasCode(err, iothub.CodeServiceUnavailable) {
				t.Errorf("%s: %v, want the hub's last refusal", name, err)
			}
			if took := time.Since(began); took > atMost {
				t.Errorf("%s: took %v, want at most %v", name, took, atMost)
			}
			if len(hub.seen) < 2 && atMost > 2*time.Second {
				t.Errorf("%s: never tried again", name)
			}
		})
	}
	try("by default", 4*time.Minute, 0, nil)
	try("by the deadline", time.Minute, time.Minute, func(o *iothub.ClientOptions) { o.Retry.For = -1 })
	try("by time", 10*time.Second, 0, func(o *iothub.ClientOptions) { o.Retry.For = 10 * time.Second })
	try("by attempts", 0, 0, func(o *iothub.ClientOptions) { o.Retry.MaxAttempts = 1 })
}

func TestCancellationEndsAWaitAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		hub := &fakeHub{steps: []step{refuse(iothub.CodeThrottlingException)}}
		c := newClient(t, hub, func(o *iothub.ClientOptions) {
			o.Retry = iothub.RetryOptions{ThrottledBase: time.Hour, Cap: time.Hour, For: -1}
		})
		done := make(chan error, 1)
		go func() { done <- second(c.Twin(ctx, "d")) }()
		synctest.Wait()
		began := time.Now()
		cancel()
		err := <-done
		if time.Since(began) != 0 || !errors.Is(err, context.Canceled) || !iothub.HasCode(err, iothub.CodeThrottlingException) {
			t.Errorf("after %v: %v, want both the cancellation and the hub's refusal at once", time.Since(began), err)
		}
	})
}

func TestCancellationEndsARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		hub := &fakeHub{steps: []step{nil}}
		began := time.Now()
		_, err := newClient(t, hub, nil).Twin(ctx, "d")
		if time.Since(began) != 5*time.Second || !errors.Is(err, context.DeadlineExceeded) || len(hub.seen) != 1 {
			t.Errorf("after %v and %d requests: %v", time.Since(began), len(hub.seen), err)
		}
	})
}

func TestCancellationEndsARequestOfAnyLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		hub := &fakeHub{steps: []step{nil}}
		began := time.Now()
		_, err := newClient(t, hub, nil).Twin(ctx, "d")
		if time.Since(began) != time.Second || !errors.Is(err, context.Canceled) || len(hub.seen) != 1 {
			t.Errorf("after %v and %d requests: %v", time.Since(began), len(hub.seen), err)
		}
	})
}

func TestAttemptsOutlastAMethodsTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		try := func(m iothub.Method, want time.Duration) {
			t.Helper()
			hub := &fakeHub{steps: []step{nil}}
			began := time.Now()
			_, err := newClient(t, hub, nil).InvokeMethod(t.Context(), "d", m)
			if took := time.Since(began); took != want || !errors.Is(err, context.DeadlineExceeded) || len(hub.seen) != 1 {
				t.Errorf("InvokeMethod(%+v) gave up after %v and %d requests with %v, want %v", m, took, len(hub.seen), err, want)
			}
		}
		try(iothub.Method{MethodName: "m"}, 60*time.Second)
		try(iothub.Method{MethodName: "m", ResponseTimeoutInSeconds: new(300), ConnectTimeoutInSeconds: new(200)}, 530*time.Second)
	})
}

func TestOwnEarlierAttemptIsNoConflict(t *testing.T) {
	request := iothub.JobRequest{JobID: "j", Type: iothub.JobTwin, QueryCondition: "*"}
	const own = `{"jobId":"j","type":"scheduleUpdateTwin","status":"running","queryCondition":"*"}`
	exists, throttled := refuse(iothub.CodeJobAlreadyExists), refuse(iothub.CodeThrottlingException)
	create := func(ctx context.Context, c *iothub.Client) error { return second(c.CreateJob(ctx, request)) }
	cancel := func(ctx context.Context, c *iothub.Client) error { return second(c.CancelJob(ctx, "j")) }
	device := func(ctx context.Context, c *iothub.Client) error { return second(c.CreateDevice(ctx, keyed("d"))) }
	remove := func(ctx context.Context, c *iothub.Client) error { return c.DeleteDevice(ctx, "d", "*") }
	d, err := json.Marshal(keyed("d"))
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, call func(context.Context, *iothub.Client) error, want iothub.ErrorCode, steps ...step) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			hub := &fakeHub{steps: steps}
			err := call(t.Context(), newClient(t, hub, nil))
			if want == 0 && err != nil || want != 0 && !iothub.HasCode(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want.Name())
			}
			if len(hub.seen) != len(steps) {
				t.Errorf("%s: %d requests, want %d", name, len(hub.seen), len(steps))
			}
		})
	}
	try("job of a lost answer", create, 0, lost, exists, answer(200, own))
	try("job of a 503", create, 0, refuse(iothub.CodeServerBusy), throttled, exists, answer(200, own))
	try("job of another", create, iothub.CodeJobAlreadyExists, exists)
	try("job of another after a 429", create, iothub.CodeJobAlreadyExists, throttled, exists)
	try("another job", create, iothub.CodeJobAlreadyExists, lost, exists, answer(200, strings.Replace(own, `"*"`, `"deviceId = 'x'"`, 1)))
	try("another type of job", create, iothub.CodeJobAlreadyExists, lost, exists, answer(200, strings.Replace(own, "scheduleUpdateTwin", "scheduleDeviceMethod", 1)))
	try("unknown job", create, iothub.CodeJobAlreadyExists, lost, exists, refuse(iothub.CodeJobNotFound))
	try("cancelled by itself", cancel, 0, lost, refuse(iothub.CodeJobRunPreconditionFailed), answer(200, `{"jobId":"j","type":"x","status":"canceled"}`))
	try("running", cancel, iothub.CodeJobRunPreconditionFailed, lost, refuse(iothub.CodeJobRunPreconditionFailed), answer(200, own))
	try("running at once", cancel, iothub.CodeJobRunPreconditionFailed, refuse(iothub.CodeJobRunPreconditionFailed))
	try("own device", device, 0, lost, refuse(iothub.CodeDeviceAlreadyExists), answer(200, string(d)))
	try("another's device", device, iothub.CodeDeviceAlreadyExists, lost, refuse(iothub.CodeDeviceAlreadyExists), answer(200, strings.Replace(string(d), iothub.Key("one").Base64(), iothub.Key("three").Base64(), 1)))
	try("device before", device, iothub.CodeDeviceAlreadyExists, refuse(iothub.CodeDeviceAlreadyExists))
	try("deleted by itself", remove, 0, lost, refuse(iothub.CodeDeviceNotFound))
	try("deleted before", remove, iothub.CodeDeviceNotFound, refuse(iothub.CodeDeviceNotFound))
	removeModule := func(ctx context.Context, c *iothub.Client) error { return c.DeleteModule(ctx, "d", "m", "") }
	try("module deleted by itself", removeModule, 0, lost, refuse(iothub.CodeModuleNotFound))
	try("module deleted before", removeModule, iothub.CodeModuleNotFound, refuse(iothub.CodeModuleNotFound))
}

func TestRepeatedBulkForgivesWhatItDid(t *testing.T) {
	entries := []iothub.BulkEntry{entry("a", "create", true), entry("b", "create", true), entry("c", "Delete", false), entry("d", "update", true), entry("d", "delete", false)}
	entries[4].ModuleID = "m"
	refused := `{"isSuccessful":false,"errors":[
		{"deviceId":"a","errorCode":"DeviceAlreadyExists","errorStatus":"x"},{"deviceId":"b","errorCode":"DeviceAlreadyExists","errorStatus":"x"},
		{"deviceId":"c","errorCode":"DeviceNotFound","errorStatus":"x"},{"deviceId":"d","errorCode":"DeviceNotFound","errorStatus":"x"},
		{"deviceId":"d","moduleId":"m","errorCode":"ModuleNotFound","errorStatus":"x"}]}`
	a, err := json.Marshal(keyed("a"))
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, want []string, steps ...step) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			hub := &fakeHub{steps: steps}
			result, err := newClient(t, hub, nil).Bulk(t.Context(), entries)
			var got []string
			for _, e := range result.Errors {
				got = append(got, e.DeviceID)
			}
			if diff := cmp.Diff(want, got); err != nil || diff != "" || result.IsSuccessful != (want == nil) {
				t.Errorf("%s: %v, successful %v\n%s", name, err, result.IsSuccessful, diff)
			}
		})
	}
	try("at once", []string{"a", "b", "c", "d", "d"}, answer(400, refused))
	try("after a 429", []string{"a", "b", "c", "d", "d"}, refuse(iothub.CodeThrottlingException), answer(400, refused))
	try("repeated", []string{"b", "d"}, lost, answer(400, refused), answer(200, string(a)), answer(200, `{"deviceId":"b","authentication":{"symmetricKey":{"primaryKey":"eA==","secondaryKey":"eA=="}}}`))
}

func TestRetriesAreLoggedWithoutSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		hub := &fakeHub{steps: []step{lost, answer(200, ok)}}
		c := newClient(t, hub, func(o *iothub.ClientOptions) { o.Logger = debugLogger(&log) })
		if _, err := c.Twin(t.Context(), "d"); err != nil {
			t.Fatal(err)
		}
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `request="read twin d" attempt=2`) || strings.Contains(got, "sig") {
			t.Errorf("log is %q", got)
		}
	})
}

package hub_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/hub"
	"muster/iothub"
)

// direct sends a request to the hub's handler, without a network, as the policy iothubowner. It returns false for what no
// HTTP client could have sent.
func direct(h *hub.Hub, method, target, ifMatch, body string) (answer, bool) {
	u, err := url.ParseRequestURI(target)
	if err != nil || !strings.HasPrefix(target, "/") || strings.ContainsAny(ifMatch, "\r\n") {
		return answer{}, false
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Method, r.URL, r.RequestURI = method, u, target
	cs := h.ConnectionString()
	r.Header.Set("Authorization", iothub.NewToken(cs.HostName, cs.SharedAccessKey, cs.SharedAccessKeyName, time.Now().Add(time.Hour)))
	if ifMatch != "" {
		r.Header.Set("If-Match", ifMatch)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}, true
}

// mustDirect sends a request of the test's own, which succeeds.
func mustDirect(t testing.TB, h *hub.Hub, method, target, body string) answer {
	t.Helper()
	sep := "?"
	if strings.Contains(target, "?") {
		sep = "&"
	}
	a, ok := direct(h, method, target+sep+"api-version="+iothub.APIVersion, "", body)
	if !ok || a.status >= 300 {
		t.Fatalf("%s %s %s: %d %s", method, target, body, a.status, a.body)
	}
	return a
}

// statuses are those that the service documents, 502 for a device's bad answer, and 201 for a fault on purpose.
var statuses = map[int]bool{
	200: true, 201: true, 204: true, 400: true, 401: true, 403: true, 404: true, 405: true, 409: true, 412: true, 413: true, 429: true,
	500: true, 502: true, 503: true, 504: true,
}

// shaped checks that an answer has a documented status and, by that, the shape of an answer or of an error.
func shaped(t testing.TB, what string, a answer) {
	t.Helper()
	switch {
	case !statuses[a.status]:
		t.Errorf("%s: status %d %s", what, a.status, a.body)
	case a.status == http.StatusNoContent:
		if a.body != "" {
			t.Errorf("%s: 204 with a body: %s", what, a.body)
		}
		return
	case !json.Valid([]byte(a.body)) || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json"):
		t.Errorf("%s: %d %s, not JSON: %s", what, a.status, a.header.Get("Content-Type"), a.body)
	}
	if next, has := a.header["X-Ms-Continuation"]; has && next[0] == "" {
		t.Errorf("%s: an empty continuation token", what)
	}
	if a.status < 300 || strings.HasPrefix(a.body, `{"isSuccessful":false`) {
		return
	}
	e := iothub.ParseError(a.status, a.header, []byte(a.body))
	if e.Name == "" || e.Name != a.header.Get(iothub.ErrorCodeHeader) || e.Message == "" || a.status/100 != int(e.Code)/100_000 && e.Code != 0 {
		t.Errorf("%s: no error of the service: %d %v %s", what, a.status, a.header, a.body)
	}
}

// fuzzedHub runs a test with a hub that has a few devices and jobs, in a bubble, so that methods and jobs take no time.
func fuzzedHub(t *testing.T, test func(t *testing.T, h *hub.Hub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(nil)
		defer h.Close()
		mustDirect(t, h, "PUT", "/devices/dev1", `{}`)
		mustDirect(t, h, "PUT", "/devices/dev2", `{"status":"disabled"}`)
		mustDirect(t, h, "PUT", "/devices/dev1/modules/mod", `{}`)
		mustDirect(t, h, "PATCH", "/twins/dev1", `{"tags":{"a":1,"o":{"x":[1]}},"properties":{"desired":{"d":"v"}}}`)
		mustDirect(t, h, "PUT", "/jobs/v2/later", `{"type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{"b":1}},"queryCondition":"*","startTime":"2099-01-01T00:00:00Z"}`)
		test(t, h)
	})
}

// answers checks that the hub still does what it is for, and that nothing that it shows is broken.
func answers(t testing.TB, h *hub.Hub) {
	t.Helper()
	rows := decoded[[]iothub.Twin](t, mustDirect(t, h, "POST", "/devices/query", `{"query":"SELECT * FROM devices"}`).body)
	for _, row := range rows {
		mustDirect(t, h, "GET", "/twins/"+url.PathEscape(row.DeviceID), "")
		mustDirect(t, h, "GET", "/devices/"+url.PathEscape(row.DeviceID), "")
	}
	decoded[[]iothub.Job](t, mustDirect(t, h, "GET", "/jobs/v2/query", "").body)
	mustDirect(t, h, "PUT", "/devices/one-more-"+itoa(len(rows)), "{}")
}

// FuzzRequest sends one request to the REST side: whatever it is, the answer has the service's shape and the hub goes on.
func FuzzRequest(f *testing.F) {
	const api = "?api-version=" + iothub.APIVersion
	for _, seed := range [][4]string{
		{"GET", "/devices" + api + "&top=2", "", ""},
		{"GET", "/devices/" + api, "", ""},
		{"POST", "/devices" + api, "", `[{"id":"a","importMode":"create","tags":{"x":1}},{"id":"dev1","importMode":"UpdateTwin","twinETag":"*"}]`},
		{"GET", "/devices/dev1" + api, "", ""},
		{"PUT", "/devices/dev%201" + api, "", `{"deviceId":"dev 1","authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}}`},
		{"PUT", "/devices/dev1" + api, `"*"`, `{"authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"0000000000000000000000000000000000000000"}}}`},
		{"DELETE", "/devices/dev1" + api, `W/"AAA="`, ""},
		{"POST", "/devices/query" + api, "", `{"query":"SELECT tags.a AS a, COUNT() AS n FROM devices GROUP BY tags.a"}`},
		{"POST", "/devices/query" + api, "", `{"query":"SELECT * FROM devices.jobs"}`},
		{"GET", "/twins/dev1" + api, "", ""},
		{"PATCH", "/twins/dev1" + api, `"AAAAAAAAAAI="`, `{"tags":{"a":null},"properties":{"desired":{"d":{"e":[1,{"f":null}]}}}}`},
		{"PUT", "/twins/dev1" + api, "", `{"tags":{"é":"\u0001"},"properties":{"desired":{"$version":1}}}`},
		{"POST", "/twins/dev1/methods" + api, "", `{"methodName":"m","payload":{"a":1},"responseTimeoutInSeconds":5,"connectTimeoutInSeconds":300}`},
		{"PUT", "/jobs/v2/j1" + api, "", `{"jobId":"j1","type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m","payload":null},"queryCondition":"*","startTime":null}`},
		{"PUT", "/jobs/v2/j2" + api, "", `{"type":"scheduleUpdateTwin","updateTwin":{"etag":"*","properties":{"desired":{"x":1}}},"queryCondition":"FROM devices.modules WHERE","maxExecutionTimeInSeconds":60}`},
		{"GET", "/jobs/v2/later" + api, "", ""},
		{"POST", "/jobs/v2/later/cancel" + api, "", ""},
		{"GET", "/jobs/v2/query" + api + "&jobType=scheduleUpdateTwin&jobStatus=scheduled", "", ""},
		{"GET", "/statistics/devices" + api, "", ""},
		{"GET", "/statistics/service" + api, "", ""},
		{"GET", "/muster/stats", "", ""},
		{"POST", "/muster/faults", "", `{"kind":"silent","for":"1m"}`},
		{"DELETE", "/muster/faults/1", "", ""},
		{"PUT", "/devices/dev1/modules/m" + api, "", `{"moduleId":"m","deviceId":"dev1","managedBy":"x","authentication":{"type":"sas"}}`},
		{"PUT", "/devices/dev1/modules/mod" + api, `"*"`, `{"moduleId":"mod","status":"disabled"}`},
		{"GET", "/devices/dev1/modules" + api, "", ""},
		{"DELETE", "/devices/dev1/modules/mod" + api, "*", ""},
		{"PATCH", "/twins/dev1/modules/mod" + api, "", `{"properties":{"desired":{"x":1}}}`},
		{"PUT", "/twins/dev1/modules/mod" + api, "", `{"tags":{}}`},
		{"POST", "/twins/dev1/modules/mod/methods" + api, "", `{"methodName":"m"}`},
		{"POST", "/devices" + api, "", `[{"id":"dev1","moduleId":"n","importMode":"create"},{"id":"dev1","moduleId":"mod","importMode":"delete"}]`},
		{"DELETE", "/devices/dev1/commands" + api, "", ""},
		{"POST", "/muster/devices/dev1/messages", "", `{"body":"x","messageId":"1","properties":{"a":"b"},"expirySeconds":1}`},
		{"GET", "/muster/devices/dev1/telemetry", "", ""},
		{"GET", "/muster/devices/dev1/modules/mod/telemetry", "", ""},
		{"GET", "/$iothub/websocket", "", ""},
		{"OPTIONS", "/%2e%2e/devices//" + api, "", "["},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, method, target, ifMatch, body string) {
		fuzzedHub(t, func(t *testing.T, h *hub.Hub) {
			a, ok := direct(h, method, target, ifMatch, body)
			if !ok {
				return
			}
			if method != http.MethodHead {
				shaped(t, method+" "+target, a)
			}
			synctest.Wait()                                  // a job that it began
			mustDirect(t, h, "DELETE", "/muster/faults", "") // one that was asked for
			answers(t, h)
		})
	})
}

// FuzzBulk sends a bulk request of one entry: it either does what it says, or its error names the entry and nothing changed.
func FuzzBulk(f *testing.F) {
	for _, seed := range []string{
		`{"id":"new","importMode":"create","status":"enabled","authentication":{"symmetricKey":{"primaryKey":"MDEy","secondaryKey":""}}}`,
		`{"id":"dev1","importMode":"create"}`,
		`{"id":"dev1","importMode":"Update","status":"disabled","statusReason":"x"}`,
		`{"id":"dev1","importMode":"UpdateIfMatchETag","eTag":"AAAA"}`,
		`{"id":"dev1","importMode":"DELETE"}`,
		`{"id":"dev1","importMode":"deleteIfMatchETag","eTag":"*"}`,
		`{"id":"dev1","importMode":"updateTwin","tags":{"a":null},"properties":{"desired":{"x":{"y":1}},"reported":{"z":1}}}`,
		`{"id":"new","importMode":"createOrUpdate","properties":{"reported":{"z":[{}]}},"capabilities":{"iotEdge":true}}`,
		`{"id":"dev1","moduleId":"m","importMode":"create","deviceScope":null}`,
		`{"id":"a/b","importMode":"create"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		fuzzedHub(t, func(t *testing.T, h *hub.Hub) {
			before := mustDirect(t, h, "POST", "/devices/query", `{"query":"SELECT * FROM devices"}`).body
			a, _ := direct(h, "POST", "/devices?api-version=1", "", "["+entry+"]")
			shaped(t, entry, a)
			if a.status != http.StatusOK {
				if after := mustDirect(t, h, "POST", "/devices/query", `{"query":"SELECT * FROM devices"}`).body; !unlike(entry) && after != before {
					t.Errorf("%s: %s, and yet changed\n%s\nto\n%s", entry, a.body, before, after)
				}
			}
			answers(t, h)
		})
	})
}

// unlike says whether an entry is none alone: the closing bracket may end another one.
func unlike(entry string) bool { return !json.Valid([]byte(entry)) }

// FuzzTwinPatch merges a patch into a twin: the result is what a naive merge makes of it, or nothing has changed. All
// parts of a twin that hold it are the same JSON.
func FuzzTwinPatch(f *testing.F) {
	for _, seed := range []string{
		`{"a":2}`, `{"a":null,"o":null}`, `{"o":{"x":null,"y":{"z":null}}}`, `{"o":5}`, `{"new":{"n":null}}`, `{"o":{"x":[null,{"a":null}]}}`,
		`{"a":1,"a":2}`, `{"$x":1}`, `{"k":{"k":{"k":{"k":{"k":{"k":{"k":{"k":{"k":{"k":{"k":1}}}}}}}}}}}`, `{"\u0061":"\ud800"}`, `{"n":-4503599627370497}`,
		`{"f":1e400}`, `{"":""}`, "{\"\x80\":1}", `[]`, `null`, `{} {}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, patch string) {
		fuzzedHub(t, func(t *testing.T, h *hub.Hub) {
			section := func() map[string]any {
				twin := decoded[struct{ Tags map[string]any }](t, mustDirect(t, h, "GET", "/twins/dev1", "").body)
				return twin.Tags
			}
			before := section()
			a, _ := direct(h, "PATCH", "/twins/dev1?api-version=1", "", `{"tags":`+patch+`}`)
			shaped(t, patch, a)
			want := before
			var parsed any
			if a.status == http.StatusOK && json.Unmarshal([]byte(patch), &parsed) == nil {
				if object, ok := parsed.(map[string]any); ok {
					want = merged(before, object)
				}
			}
			if json.Valid([]byte(patch)) || a.status != http.StatusOK {
				if after := section(); !reflect.DeepEqual(after, want) {
					t.Errorf("PATCH %s: %d, tags %v, want %v", patch, a.status, after, want)
				}
			}
			answers(t, h)
		})
	})
}

// merged is a merge patch in the simplest form there is.
func merged(doc, patch map[string]any) map[string]any {
	result := map[string]any{}
	for key, value := range doc {
		result[key] = value
	}
	for key, value := range patch {
		below, isObject := value.(map[string]any)
		old, _ := result[key].(map[string]any)
		switch {
		case value == nil:
			delete(result, key)
		case isObject:
			result[key] = merged(old, below)
		default:
			result[key] = value
		}
	}
	return result
}

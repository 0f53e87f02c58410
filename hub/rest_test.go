package hub_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/memnet"
	"muster/iothub"
)

// Each line is a request and its answer, in one hub's life.
func TestIdentities(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		keys := `"authentication":{"type":"sas","symmetricKey":{"primaryKey":"AAAA","secondaryKey":"AQID"}}`
		tests := func(line, body, ifMatch string, want int) answer {
			t.Helper()
			var headers []string
			if ifMatch != "" {
				headers = []string{"If-Match", ifMatch}
			}
			a := rest(t, s, line, body, headers...)
			if a.status != want {
				t.Errorf("%s %s If-Match %s: %d %s, want %d", line, body, ifMatch, a.status, a.body, want)
			}
			return a
		}
		const dev = " /devices/dev%201x"
		tests("GET /devices/dev1", "", "", 404)
		created := tests("PUT /devices/dev1", `{"deviceId":"dev1",`+keys+`}`, "", 200)
		want := `{"deviceId":"dev1","generationId":"630822816000000000","etag":"MQ==","connectionState":"Disconnected","status":"enabled",` +
			`"statusReason":null,"connectionStateUpdatedTime":"0001-01-01T00:00:00Z","statusUpdatedTime":"0001-01-01T00:00:00Z",` +
			`"lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,"authentication":{"symmetricKey":` +
			`{"primaryKey":"AAAA","secondaryKey":"AQID"},"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"sas"},` +
			`"capabilities":{"iotEdge":false},"deviceScope":null,"parentScopes":[]}`
		if diff := cmp.Diff(decoded[map[string]any](t, want), decoded[map[string]any](t, created.body)); diff != "" {
			t.Errorf("created (-want +got):\n%s", diff)
		}
		etag := created.header.Get("ETag")
		tests("PUT /devices/dev1", `{"deviceId":"dev1"}`, "", 409)
		tests("PUT /devices/dev2", `{"deviceId":"dev2"}`, `"*"`, 404)
		tests("PUT /devices/dev1", `{"status":"disabled","statusReason":"lost"}`, `"x"`, 412)
		updated := tests("PUT /devices/dev1", `{"status":"disabled","statusReason":"lost"}`, etag, 200)
		for _, part := range []string{`"status":"disabled"`, `"statusReason":"lost"`, `"statusUpdatedTime":"2000-`, `"primaryKey":"AAAA"`} {
			if !strings.Contains(updated.body, part) {
				t.Errorf("updated: %s\nlacks %s", updated.body, part)
			}
		}
		tests("PUT /devices/dev1", `{}`, etag, 412)
		tests("DELETE /devices/dev1", "", etag, 412)
		if got := tests("DELETE /devices/dev1", "", updated.header.Get("ETag"), 204); got.body != "" {
			t.Errorf("deleted: body %q", got.body)
		}
		tests("DELETE /devices/dev1", "", "*", 404)
		tests("PUT /devices/dev3", `{"deviceId":"dev4"}`, "", 400)
		tests("PUT /devices/dev3", `{`, "", 400)
		tests("PUT /devices/dev3", `{"status":"broken"}`, "", 400)
		tests("PUT /devices/dev3", `{"authentication":{"symmetricKey":{"primaryKey":"not base64"}}}`, "", 400)
		tests("PUT /devices/dev3", `{"authentication":{"type":"selfSigned"}}`, "", 400)
		tests("PUT /devices/dev3", `{"capabilities":{"iotEdge":true}}`, "", 400)
		tests("PUT"+dev, `{}`, "", 400)
		tests("PUT /devices/%2e%2e", `{}`, "", 400)
		tests("PUT /devices/%2e", `{}`, "", 400)
		tests("PUT /devices/invalid%2Fname", `{}`, "", 400)
		tests("PUT /devices/"+strings.Repeat("x", 129), `{}`, "", 400)
		tests("PUT /devices/a'b(c)%25:%23", `{"authentication":{"symmetricKey":{"primaryKey":"","secondaryKey":""}}}`, "", 200)
		tests("GET /devices/a'b(c)%25:%23", ``, "", 200)
		tests("GET /twins/a'b(c)%25:%23", ``, "", 200)
	})
}

func TestGeneratedKeys(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		seen := make(map[string]bool)
		for i, body := range []string{`{}`, `{"authentication":{"symmetricKey":{"primaryKey":"","secondaryKey":""}}}`} {
			d := ok[iothub.Device](t, s, fmt.Sprintf("PUT /devices/dev%d", i), body)
			keys := d.Authentication.SymmetricKey
			for _, key := range []iothub.Key{keys.Primary, keys.Secondary} {
				seen[key.Base64()] = true
			}
		}
		if len(seen) != 4 || seen[""] {
			t.Errorf("%d different keys, want 4", len(seen))
		}
	})
}

func TestListDevices(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(1010)...)
		rest(t, s, "DELETE /devices/dev-00003", "")
		tests := func(path string, want int) {
			t.Helper()
			if got := ok[[]iothub.Device](t, s, "GET "+path, ""); len(got) != want || got[3].DeviceID != "dev-00004" {
				t.Errorf("%s: %d devices, want %d", path, len(got), want)
			}
		}
		tests("/devices", 1000)
		tests("/devices/", 1000)
		tests("/devices?top=10", 10)
		tests("/devices?top=0", 1000)
		tests("/devices?top=5000", 1000)
		if got := rest(t, s, "GET /statistics/devices", "").body; got != `{"totalDeviceCount":1009,"enabledDeviceCount":1009,"disabledDeviceCount":0}` {
			t.Errorf("statistics %s", got)
		}
	})
}

func TestBulk(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		tests := func(name, body string, want int, faults ...string) {
			t.Helper()
			a := rest(t, s, "POST /devices", body)
			result := decoded[iothub.BulkResult](t, a.body)
			var got []string
			for _, e := range result.Errors {
				got = append(got, e.DeviceID+" "+e.ErrorCode+" "+e.Operation)
			}
			if a.status != want || !slices.Equal(got, faults) || result.IsSuccessful != (len(faults) == 0) {
				t.Errorf("%s: %d %s\nwant %d %v", name, a.status, a.body, want, faults)
			}
		}
		tests("create", `[{"id":"a","importMode":"create","tags":{"site":"N","gone":null},"properties":{"desired":{"x":1},"reported":{"y":2}}},
			{"id":"b","importMode":"Create","status":"disabled"}]`, 200)
		twin := ok[iothub.Twin](t, s, "GET /twins/a", "")
		if got := string(twin.Tags) + plain(t, twin.Properties.Desired) + plain(t, twin.Properties.Reported); got !=
			`{"site":"N"}{"$version":1,"x":1}{"$version":1,"y":2}` || twin.Version != 1 {
			t.Errorf("seeded twin: %s, version %d", got, twin.Version)
		}
		tests("one taken", `[{"id":"a","importMode":"create"},{"id":"c","importMode":"create"}]`, 400, "a DeviceAlreadyExists create")
		tests("one bad", `[{"id":"a/b","importMode":"create"},{"id":"d","importMode":"create","tags":{"$x":1}},{"id":"e","importMode":"create"}]`, 400,
			"a/b ArgumentInvalid create", "d ArgumentInvalid create")
		tests("update", `[{"id":"b","importMode":"Update","status":"enabled"},{"id":"nobody","importMode":"update"}]`, 400, "nobody DeviceNotFound update")
		tests("update if", `[{"id":"b","importMode":"UpdateIfMatchETag","eTag":"x"}]`, 400, "b PreconditionFailed UpdateIfMatchETag")
		tests("twin", `[{"id":"b","importMode":"updateTwin","tags":{"t":1}},{"id":"b","importMode":"updateTwinIfMatchETag","twinETag":"x","tags":{"t":2}}]`, 400,
			"b PreconditionFailed updateTwinIfMatchETag")
		if got := string(ok[iothub.Twin](t, s, "GET /twins/b", "").Tags); got != `{"t":1}` {
			t.Errorf("tags of b: %s", got)
		}
		tests("create or update", `[{"id":"b","importMode":"createOrUpdate"},{"id":"f","importMode":"createOrUpdate"}]`, 200)
		tests("delete", `[{"id":"a","importMode":"Delete"},{"id":"c","importMode":"DeleteIfMatchETag","eTag":"x"}]`, 400,
			"c PreconditionFailed DeleteIfMatchETag")
		tests("unknown mode", `[{"id":"b","importMode":"explode"}]`, 400, "b ArgumentInvalid explode")
		tests("nothing", `[]`, 200)
		refused(t, "too many", rest(t, s, "POST /devices", "["+strings.Repeat(`{"id":"x"},`, 100)+`{"id":"x"}]`), iothub.CodeTooManyDevices)
		refused(t, "no array", rest(t, s, "POST /devices", "{}"), iothub.CodeArgumentInvalid)
	})
}

func TestUnauthorized(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		cs := s.ConnectionString()
		later := time.Now().Add(time.Hour)
		for name, header := range map[string]string{
			"nothing":          "",
			"bearer":           "Bearer abc",
			"expired":          iothub.NewToken("localhost", cs.SharedAccessKey, "iothubowner", time.Now()),
			"another hub":      iothub.NewToken("elsewhere", cs.SharedAccessKey, "iothubowner", later),
			"another policy":   iothub.NewToken("localhost", cs.SharedAccessKey, "service", later),
			"no policy":        iothub.NewToken("localhost", cs.SharedAccessKey, "", later),
			"a device's token": iothub.NewToken("localhost/devices/dev1", key("dev1"), "", later),
			"a device's scope": iothub.NewToken("localhost/devices/dev1", cs.SharedAccessKey, "iothubowner", later),
		} {
			req, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL()+"/twins/dev1?api-version=2021-04-12", nil)
			req.Header.Set("Authorization", header)
			refused(t, name, roundTrip(t, s, req), iothub.CodeIotHubUnauthorizedAccess)
		}
	})
}

// What a connection has proved with one token is not what its next request's token proves, nor proof for ever.
func TestAConnectionProvesEachRequest(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		conn, err := s.REST.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		rd := bufio.NewReader(conn)
		try := func(name, line, token string, want int) {
			t.Helper()
			fmt.Fprintf(conn, "%s?api-version=1 HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", line, token)
			resp, err := http.ReadResponse(rd, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != want {
				t.Errorf("%s: %d (%v), want %d", name, resp.StatusCode, err, want)
			}
		}
		token := func(policy string, ttl time.Duration) string {
			cs, _ := s.PolicyConnectionString(policy)
			return iothub.NewToken("localhost", cs.SharedAccessKey, policy, time.Now().Add(ttl))
		}
		service, reader := token("service", time.Minute), token("registryRead", time.Hour)
		try("no token", "GET /twins/dev1", "", 401)
		try("good", "GET /twins/dev1", service, 200)
		try("good again", "GET /twins/dev1", service, 200)
		try("not for this", "GET /devices/dev1", service, 401)
		try("cut short", "GET /twins/dev1", service[:len(service)-1], 401)
		try("another signature", "GET /twins/dev1", strings.Replace(service, "sig=", "sig=A", 1), 401)
		try("none any more", "GET /twins/dev1", "", 401)
		try("another policy", "GET /devices/dev1", reader, 200)
		try("of another policy", "GET /twins/dev1", reader, 401)
		try("good still", "GET /twins/dev1", service, 200)
		time.Sleep(time.Minute)
		try("expired", "GET /twins/dev1", service, 401)
		try("not expired", "GET /devices/dev1", reader, 200)
	})
}

func TestAPIVersionIsAParameter(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		cs := s.ConnectionString()
		token := iothub.NewToken("localhost", cs.SharedAccessKey, "iothubowner", time.Now().Add(time.Hour))
		try := func(query string, want int) {
			t.Helper()
			req, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL()+"/twins/dev1?"+query, nil)
			req.Header.Set("Authorization", token)
			if got := roundTrip(t, s, req); got.status != want {
				t.Errorf("GET /twins/dev1?%s = %d %s, want %d", query, got.status, got.body, want)
			}
		}
		try("api-version=2021-04-12", 200)
		try("api-version=", 200)
		try("api-version", 200)
		try("a=b&api-version=1", 200)
		try("api-version=1&a=b", 200)
		try("api%2dversion=1", 200)
		try("api-version=%31", 200)
		try("api-version=%zz", 400)
		try("api-version=1;a=b", 400)
		try("api-versions=1", 400)
		try("", 400)
	})
}

func TestUnsupported(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		for _, line := range []string{
			"GET /", "POST /devices/dev1/modules", "PATCH /devices/dev1/modules/m", "DELETE /twins/dev1/modules/m",
			"POST /devices/dev1/commands", "DELETE /devices/dev1/modules/m/commands", "POST /muster/devices/dev1/modules/m/messages",
			"POST /jobs/create", "GET /jobs", "GET /configurations", "GET /digitaltwins/dev1", "DELETE /jobs/v2/a", "PATCH /devices/dev1",
			"GET /devices//dev1", "GET //devices/dev1", "GET /twins/dev1//", "PUT /devices/..", "PUT /devices/./dev2", "POST /twins/dev1/../dev1/methods",
		} {
			refused(t, line, rest(t, s, line, "{}"), iothub.CodeGenericBadRequest)
		}
		req, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL()+"/twins/dev1", nil)
		cs := s.ConnectionString()
		req.Header.Set("Authorization", iothub.NewToken("localhost", cs.SharedAccessKey, "iothubowner", time.Now().Add(time.Hour)))
		refused(t, "no api-version", roundTrip(t, s, req), iothub.CodeInvalidProtocolVersion)
		refused(t, "too large", rest(t, s, "POST /devices", strings.Repeat(" ", 8<<20+1)), iothub.CodeMessageTooLarge)
	})
}

// half sends the header of a request whose body does not come to its end, and returns the connection.
func half(t *testing.T, s *hubtest.Server, authorized bool, method, part string) net.Conn {
	t.Helper()
	conn, err := s.REST.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	token := ""
	if authorized {
		cs := s.ConnectionString()
		token = iothub.NewToken("localhost", cs.SharedAccessKey, cs.SharedAccessKeyName, time.Now().Add(time.Hour))
	}
	if _, err := fmt.Fprintf(conn, "%s?api-version=1 HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: 100\r\n\r\n%s", method, token, part); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A body that does not come is waited for half a minute, and not at all without authorization.
func TestMissingBody(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		tests := func(authorized bool, part string, status int, after time.Duration) {
			t.Helper()
			start := time.Now()
			rd := bufio.NewReader(half(t, s, authorized, "POST /devices", part))
			resp, err := http.ReadResponse(rd, nil)
			if err != nil || resp.StatusCode != status || !resp.Close || time.Since(start) != after {
				t.Errorf("authorized %t: %v (%v) after %s, want %d after %s", authorized, resp, err, time.Since(start), status, after)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if _, err := rd.ReadByte(); err != io.EOF {
				t.Errorf("authorized %t: the connection stays open: %v", authorized, err)
			}
		}
		tests(true, "[", 400, 30*time.Second)
		tests(false, "[", 401, 0)
		tests(false, "", 401, 0)
	})
}

// A client that does not take its answer is not waited for for ever.
func TestAnswerNotTaken(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(1000)...)
		conn, err := s.REST.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		cs := s.ConnectionString()
		token := iothub.NewToken("localhost", cs.SharedAccessKey, cs.SharedAccessKeyName, time.Now().Add(time.Hour))
		fmt.Fprintf(conn, "GET /devices?api-version=1 HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", token)
		time.Sleep(31 * time.Second)
		n, err := io.Copy(io.Discard, conn)
		if err != nil || n < 1<<10 || n > 128<<10 {
			t.Errorf("%d bytes of the answer (%v), want what the transport holds and the end", n, err)
		}
		eventually(t, "counted", func() bool { return s.Stats().LostAnswers == 1 })
	})
}

// Close ends requests whose body is on its way, also where the hub is the handler of another server.
func TestCloseWithHalfARequest(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		l := memnet.Listen("foreign")
		srv := &http.Server{Handler: s.Hub}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = srv.Serve(l)
		}()
		own := half(t, s, true, "POST /devices", "[")
		foreign := &hubtest.Server{Hub: s.Hub, REST: l}
		conn := half(t, foreign, true, "POST /devices", "[")
		synctest.Wait()
		start := time.Now()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("Close took %s", d)
		}
		_, _ = io.Copy(io.Discard, own)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("the request of another server: %v (%v), want 503", resp, err)
		}
		_ = srv.Close()
		<-served
	})
}

// Close does not wait for a client that does not take its answer.
func TestCloseWithAnAnswerNotTaken(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(1000)...)
		conn, err := s.REST.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		cs := s.ConnectionString()
		token := iothub.NewToken("localhost", cs.SharedAccessKey, cs.SharedAccessKeyName, time.Now().Add(time.Hour))
		fmt.Fprintf(conn, "GET /devices?api-version=1 HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", token)
		synctest.Wait()
		start := time.Now()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("Close took %s", d)
		}
	})
}

// Pages of twins neither repeat nor skip, whatever happens to the twins and the registry between them.
func TestQueryPaging(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(250)...)
		for i := range 250 {
			rest(t, s, "PATCH /twins/"+ids(250)[i], fmt.Sprintf(`{"tags":{"n":%d,"even":%t}}`, i, i%2 == 0))
		}
		var got []string
		headers := []string{"x-ms-max-item-count", "10"}
		for page := 0; ; page++ {
			a := rest(t, s, "POST /devices/query", `{"query":"SELECT * FROM devices WHERE tags.even = true"}`, headers...)
			for _, twin := range decoded[[]iothub.Twin](t, a.body) {
				got = append(got, twin.DeviceID)
			}
			if a.header.Get("x-ms-item-type") != "Twin" {
				t.Errorf("item type %q", a.header.Get("x-ms-item-type"))
			}
			next, more := a.header["X-Ms-Continuation"]
			if !more {
				break
			}
			headers = []string{"x-ms-max-item-count", "10", "x-ms-continuation", next[0]}
			for _, id := range got[len(got)-3:] { // what was seen changes, what comes changes, new ones come, old ones go
				rest(t, s, "PATCH /twins/"+id, `{"tags":{"touched":true}}`)
			}
			rest(t, s, "DELETE /devices/"+ids(250)[page], "")
			register(t, s, fmt.Sprintf("new-%d", page))
		}
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != 125 || len(got) != 125 {
			t.Errorf("%d devices, want 125, each once and in order: %v", len(got), got)
		}
	})
}

// A query ends when nobody waits for it any more.
func TestQueryEndsWithCaller(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(10)...)
		schedule(t, s, "job-1", twinJob("*", `"tags":{"a":1}`))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		cs := s.ConnectionString()
		for _, source := range []string{"devices", "devices.jobs"} {
			req := httptest.NewRequestWithContext(ctx, "POST", "/devices/query?api-version=1",
				strings.NewReader(`{"query":"SELECT * FROM `+source+`"}`))
			req.Header.Set("Authorization", iothub.NewToken("localhost", cs.SharedAccessKey, cs.SharedAccessKeyName, time.Now().Add(time.Hour)))
			w := httptest.NewRecorder()
			s.ServeHTTP(w, req)
			refused(t, source, answer{w.Code, w.Header(), w.Body.String()}, iothub.CodeServiceUnavailable)
		}
	})
}

func TestQueries(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(6)...)
		for i, id := range ids(6) {
			rest(t, s, "PATCH /twins/"+id, fmt.Sprintf(`{"tags":{"site":"%c","n":%d},"properties":{"desired":{"x":{"y":%d}}}}`, 'A'+i%2, i, i))
		}
		b := reconnect(t, s, "dev-00002", iothub.FilterTwinResponses)
		b.publish(iothub.ReportedTopic("1"), `{"fw":"2.0"}`)
		b.message()
		rest(t, s, "PUT /devices/dev-00005", `{"status":"disabled"}`, "If-Match", "*")
		tests := func(condition string, want ...int) {
			t.Helper()
			var got []int
			for _, twin := range query[iothub.Twin](t, s, "SELECT * FROM devices WHERE "+condition, 2) {
				var i int
				fmt.Sscanf(twin.DeviceID, "dev-%d", &i)
				got = append(got, i)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", condition, got, want)
			}
		}
		tests("tags.site = 'A'", 0, 2, 4)
		tests("tags.site = 'A' AND tags.n > 1", 2, 4)
		tests("properties.desired.x.y >= 4", 4, 5)
		tests("properties.reported.fw = '2.0'", 2)
		tests("connectionState = 'Connected'", 2)
		tests("status = 'disabled'", 5)
		tests("DeviceId IN ['dev-00004','dev-00001','nobody','dev-00001']", 1, 4)
		tests("deviceId = 'dev-00003' OR tags.n = 0", 0, 3)
		tests("version = 2 AND properties.desired.$version = 2 AND tags.n < 2", 0, 1)
		tests("properties.reported.$version > 1", 2)
		tests("properties.reported.$metadata.fw.$lastUpdated > '1999-01-01'", 2)
		tests("properties.desired.$metadata.x.y.$lastUpdatedVersion = 2 AND tags.n < 2", 0, 1)
		tests("properties.desired.$metadata.$lastUpdatedVersion = 2 AND IS_DEFINED(properties.desired.$metadata.x) AND tags.n = 1", 1)
		tests("IS_DEFINED(properties.reported.$metadata.fw.$lastUpdatedVersion)")
		tests("IS_DEFINED(properties.desired.$metadata.x.y.$lastUpdated.z) OR IS_DEFINED(properties.desired.$metadata.x.z)")
		tests("lastActivityTime > '1999-12-31'", 2)
		tests("authenticationType = 'sas' AND capabilities.iotEdge = false AND IS_DEFINED(properties.reported.fw)", 2)
		tests("tags.nothing != 'x'")
		tests("IS_DEFINED(moduleId)")
		for _, bad := range []string{"", "SELECT", "SELECT * FROM nowhere", "SELECT * FROM devices WHERE", "SELECT deviceId, deviceId FROM devices", "SELECT COUNT() FROM devices.jobs"} {
			a := rest(t, s, "POST /devices/query", fmt.Sprintf(`{"query":%q}`, bad))
			refused(t, bad, a, iothub.CodeArgumentInvalid)
			if !strings.Contains(a.body, ";The query is invalid") {
				t.Errorf("%q: %s", bad, a.body)
			}
		}
		for _, header := range []string{"0", "-1", "many"} {
			refused(t, header, rest(t, s, "POST /devices/query", `{"query":"SELECT * FROM devices"}`, "x-ms-max-item-count", header), iothub.CodeArgumentInvalid)
		}
		next := rest(t, s, "POST /devices/query", `{"query":"SELECT * FROM devices"}`, "x-ms-max-item-count", "1").header.Get("x-ms-continuation")
		for name, token := range map[string]string{"garbage": "!!", "short": "AAAA", "of another query": next} {
			a := rest(t, s, "POST /devices/query", `{"query":"SELECT * FROM devices WHERE tags.n = 1"}`, "x-ms-continuation", token)
			refused(t, name, a, iothub.CodeArgumentInvalid)
		}
		if a := rest(t, s, "POST /devices/query", `{"query":"SELECT * FROM devices WHERE tags.n = 77"}`); a.body != "[]" {
			t.Errorf("no rows: %s", a.body)
		}
		if n := len(query[json.RawMessage](t, s, "SELECT * FROM devices", 1000)); n != 6 {
			t.Errorf("page size over the most: %d rows", n)
		}
	})
}

func TestStatistics(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		if got := rest(t, s, "GET /statistics/service", "").body; got != `{"connectedDeviceCount":1}` {
			t.Errorf("service statistics %s", got)
		}
		c := invoke(t, s, "dev1", `{"methodName":"m"}`)
		b.answerMethod("m", "null", 200, "")
		<-c.done
		got := map[string]float64{}
		for name, v := range ok[map[string]any](t, s, "GET /muster/stats", "") {
			if n, ok := v.(float64); ok {
				got[name] = n
			}
		}
		for name, want := range map[string]float64{"connections": 1, "accepted": 1, "methodRequests": 1, "methodResponses": 1, "requests": 4} {
			if got[name] != want {
				t.Errorf("%s is %v, want %v", name, got[name], want)
			}
		}
		for _, name := range []string{"cpuSeconds", "rssBytes", "maxRSSBytes"} {
			if got[name] <= 0 {
				t.Errorf("%s is %v", name, got[name])
			}
		}
		if got["maxRSSBytes"] < got["rssBytes"] {
			t.Errorf("maximum %v below present %v", got["maxRSSBytes"], got["rssBytes"])
		}
	})
}

// The hub answers under the name that it was given.
func TestHostName(t *testing.T) {
	key := iothub.Key("0123456789abcdef0123456789abcdef")
	bubble(t, &hub.Options{HostName: "myhub.azure-devices.net", ServiceKey: key}, func(t *testing.T, s *hubtest.Server) {
		want := "HostName=myhub.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=" + key.Base64()
		if got := s.ConnectionString().Reveal(); got != want {
			t.Errorf("connection string %s, want %s", got, want)
		}
		online(t, s, "dev1").alive()
	})
}

// A closed hub refuses requests of whoever serves it.
func TestClosedHub(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := s.HTTPClient().Get(s.URL()); err == nil {
			t.Error("a closed hub answers")
		}
		if _, err := s.MQTT.DialContext(t.Context(), "", ""); err == nil {
			t.Error("a closed hub accepts devices")
		}
	})
}

package hub_test

import (
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/iothub"
)

// withStore lets every hub on a fake clock have a store: what they do must not differ.
var withStore = flag.Bool("store", false, "run hubs with a store")

// bubble runs a test with a hub on a fake clock.
func bubble(t *testing.T, opts *hub.Options, test func(t *testing.T, s *hubtest.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if *withStore {
			opts = storing(t, opts, t.TempDir())
		}
		test(t, hubtest.Start(t, opts))
	})
}

// answer is what the REST side answered.
type answer struct {
	status int
	header http.Header
	body   string
}

// rest sends a request as the policy iothubowner. line is "METHOD /path"; the API version is added. headers are pairs.
func rest(t testing.TB, s *hubtest.Server, line, body string, headers ...string) answer {
	t.Helper()
	return restAs(t, s, s.ConnectionString(), line, body, headers...)
}

func restAs(t testing.TB, s *hubtest.Server, cs iothub.ConnectionString, line, body string, headers ...string) answer {
	t.Helper()
	method, path, _ := strings.Cut(line, " ")
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path+sep+"api-version="+iothub.APIVersion,
		strings.NewReader(body))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	req.Header.Set("Authorization", iothub.NewToken(cs.HostName, cs.SharedAccessKey, cs.SharedAccessKeyName,
		time.Now().Add(time.Hour)))
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return roundTrip(t, s, req)
}

func roundTrip(t testing.TB, s *hubtest.Server, req *http.Request) answer {
	t.Helper()
	resp, err := s.HTTPClient().Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(got)}
}

// ok sends a request that must succeed, and decodes the answer.
func ok[T any](t testing.TB, s *hubtest.Server, line, body string, headers ...string) T {
	t.Helper()
	a := rest(t, s, line, body, headers...)
	if a.status != http.StatusOK {
		t.Fatalf("%s %s: %d %s", line, body, a.status, a.body)
	}
	return decoded[T](t, a.body)
}

func decoded[T any](t testing.TB, body string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("decode %s: %v", body, err)
	}
	return v
}

// refused checks that an answer is an error of the service with this code.
func refused(t testing.TB, what string, a answer, want iothub.ErrorCode) {
	t.Helper()
	err := iothub.ParseError(a.status, a.header, []byte(a.body))
	if err.Code != want || a.status != want.StatusCode() || a.header.Get(iothub.ErrorCodeHeader) != want.Name() {
		t.Errorf("%s: got %d %s %s, want %d %s", what, a.status, a.header.Get(iothub.ErrorCodeHeader), a.body, want, want.Name())
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		t.Errorf("%s: content type %q", what, a.header.Get("Content-Type"))
	}
}

// eventually lets the bubble's goroutines come to rest and then checks.
func eventually(t testing.TB, what string, check func() bool) {
	t.Helper()
	synctest.Wait()
	if !check() {
		t.Errorf("not so: %s", what)
	}
}

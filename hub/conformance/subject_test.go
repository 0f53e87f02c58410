package conformance_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/iothub"
)

// subject is a hub that is tested, as its clients see it.
type subject struct {
	cs     iothub.ConnectionString // of a policy that may do everything
	base   string                  // of the REST side
	client *http.Client
	// dial opens a device's connection, showing a certificate if one is given; certificates says whether one can be.
	dial         func(ctx context.Context, cert *tls.Certificate) (net.Conn, error)
	certificates bool

	prefix   string        // of every id that is made
	patience time.Duration // how long what is only eventually so may take
	poll     time.Duration // how often it is asked for meanwhile
	pacer    pacer
	ids      atomic.Int64
	stop     context.Context // ends all that is asked, before the test is over; nil = the test's own
}

// pacer keeps requests apart, so that a hub's throttles need not act. Its zero value lets all pass.
type pacer struct {
	mu    sync.Mutex // guards next; held while waiting: requests are meant to queue
	next  time.Time
	apart bool
}

// wait lets a request wait for its turn: as long as its kind's share of an S1 hub's limits lasts.
func (p *pacer) wait(ctx context.Context, path string) error {
	if !p.apart {
		return nil
	}
	share := 100 * time.Millisecond
	switch {
	case path == "/devices/query":
		share = 3100 * time.Millisecond // 20 a minute
	case strings.HasPrefix(path, "/devices"), strings.HasPrefix(path, "/jobs"), strings.HasPrefix(path, "/statistics"):
		share = 650 * time.Millisecond // 100 a minute
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	timer := time.NewTimer(time.Until(p.next))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.next = time.Now().Add(share)
	return nil
}

// answer is what the REST side answered.
type answer struct {
	line   string // of the request
	status int
	header http.Header
	body   []byte
}

// ask sends a request with the subject's policy. line is "METHOD /path"; headers are pairs. A throttle that acts all the
// same is waited for: it is no part of the table.
func (h *subject) ask(t testing.TB, line, body string, headers ...string) answer {
	t.Helper()
	return h.askAs(t, h.token(time.Now().Add(time.Hour)), line, body, headers...)
}

func (h *subject) token(expiry time.Time) string {
	return iothub.NewToken(h.cs.HostName, h.cs.SharedAccessKey, h.cs.SharedAccessKeyName, expiry)
}

func (h *subject) askAs(t testing.TB, token, line, body string, headers ...string) answer {
	t.Helper()
	for {
		a, err := h.send(h.context(t), token, line, body, headers...)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if a.status != http.StatusTooManyRequests {
			return a
		}
		t.Logf("%s: throttled, again in 15 s", line)
		h.pause(t, 15*time.Second)
	}
}

func (h *subject) send(ctx context.Context, token, line, body string, headers ...string) (answer, error) {
	method, path, _ := strings.Cut(line, " ")
	if err := h.pacer.wait(ctx, path); err != nil {
		return answer{}, err
	}
	sep := map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")]
	req, err := http.NewRequestWithContext(ctx, method, h.base+path+sep+"api-version="+iothub.APIVersion, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return answer{line, resp.StatusCode, resp.Header, got}, err
}

var keys = regexp.MustCompile(`("(?:primary|secondary)Key":")[^"]*`)

// text is the body for people, without keys.
func (a answer) text() string { return keys.ReplaceAllString(string(a.body), "${1}***") }

// ok sends a request that must be answered with 200, and decodes the answer.
func ok[T any](t testing.TB, h *subject, line, body string, headers ...string) T {
	t.Helper()
	a := h.ask(t, line, body, headers...)
	a.is(t, http.StatusOK)
	return decoded[T](t, a)
}

func decoded[T any](t testing.TB, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%s: decode %s: %v", a.line, a.text(), err)
	}
	return v
}

// is checks an answer's status, and that what it says is JSON.
func (a answer) is(t testing.TB, want int) {
	t.Helper()
	if a.status != want {
		t.Fatalf("%s: %d %s, want %d", a.line, a.status, a.text(), want)
	}
	if len(a.body) > 0 && !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		t.Errorf("%s: content type %q", a.line, a.header.Get("Content-Type"))
	}
}

// refused checks that an answer is an error of the service.
func (a answer) refused(t testing.TB, want iothub.ErrorCode) {
	t.Helper()
	got := iothub.ParseError(a.status, a.header, a.body)
	if a.status != want.StatusCode() || got.Code != want {
		t.Errorf("%s: %d %s, want %d %s", a.line, a.status, a.text(), want, want.Name())
	}
}

// refusedAs checks that an answer is an error of a class of statuses, where the service's documentation does not say more.
func (a answer) refusedAs(t testing.TB, class int) {
	t.Helper()
	if a.status/100 != class/100 {
		t.Errorf("%s: %d %s, want one of %d", a.line, a.status, a.text(), class)
	}
}

// id returns an id that nobody else has.
func (h *subject) id() string { return h.prefix + itoa(int(h.ids.Add(1))) }

// identity is a device that a case made.
type identity struct {
	id  string
	key iothub.Key
}

// device registers a device, which is deleted when the case has ended.
func (h *subject) device(t testing.TB) identity {
	t.Helper()
	d := identity{id: h.id()}
	doc := ok[iothub.Device](t, h, "PUT "+h.created(t, d.id), `{"deviceId":"`+d.id+`"}`)
	d.key = doc.Authentication.SymmetricKey.Primary
	return d
}

// created returns the path of an identity that is about to be made, and sees to its end.
func (h *subject) created(t testing.TB, id string) string {
	path := "/devices/" + url.PathEscape(id)
	t.Cleanup(func() {
		for start := time.Now(); ; time.Sleep(h.poll) {
			a, err := h.remove(path)
			switch {
			case err == nil && (a.status == http.StatusNoContent || a.status == http.StatusNotFound || a.status == http.StatusBadRequest):
				return
			case time.Since(start) > 80*time.Second: // the end of a limited test leaves two minutes for all this
				t.Errorf("device %s is left behind: %v %d", id, err, a.status)
				return
			}
		}
	})
	return path
}

func (h *subject) context(t testing.TB) context.Context {
	if h.stop != nil {
		return h.stop
	}
	return t.Context()
}

// remove tries to delete an identity. The test may be over.
func (h *subject) remove(path string) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return h.send(ctx, h.token(time.Now().Add(time.Hour)), "DELETE "+path, "", "If-Match", `"*"`)
}

// pause waits, unless the test is interrupted.
func (h *subject) pause(t testing.TB, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-h.context(t).Done():
		t.Fatal("interrupted")
	}
}

// eventually waits until something is so, for which a hub may take its time.
func (h *subject) eventually(t testing.TB, what string, check func() bool) {
	t.Helper()
	for start := time.Now(); !check(); h.pause(t, h.poll) {
		if time.Since(start) > h.patience {
			t.Fatalf("not so within %v: %s", h.patience, what)
		}
	}
}

// at returns what a path of names finds in a document, or nil.
func at(doc any, path ...string) any {
	for _, name := range path {
		object, _ := doc.(map[string]any)
		doc = object[name]
	}
	return doc
}

// bare returns an object without the members that the service adds.
func bare(object any) any {
	source, ok := object.(map[string]any)
	if !ok {
		return object
	}
	result := map[string]any{}
	for name, value := range source {
		if !strings.HasPrefix(name, "$") {
			result[name] = bare(value)
		}
	}
	return result
}

// same checks a decoded value against JSON.
func same(t testing.TB, what string, got any, want string) {
	t.Helper()
	var expected any
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	if !reflect.DeepEqual(got, expected) {
		text, _ := json.Marshal(got)
		t.Errorf("%s is %s, want %s", what, text, want)
	}
}

// document decodes JSON to compare it.
func document(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("decode %q: %v", text, err)
	}
	return v
}

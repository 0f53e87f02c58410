package conformance_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/iothub"
)

// realHub is the variable that names the hub to be tested.
const realHub = "IOTHUB_CONNECTION_STRING"

// careful makes a subject one that others use too: slow, patient, and with names of its own.
func (h *subject) careful() {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	h.prefix = "muster-conformance-" + hex.EncodeToString(b[:]) + "-"
	h.patience, h.poll, h.pacer.apart = 5*time.Minute, 2*time.Second, true
}

// TestRealHub runs the table against a hub of the service. See the package's documentation.
func TestRealHub(t *testing.T) {
	text := os.Getenv(realHub)
	if text == "" {
		t.Skip(realHub + " is not set: no real hub is tested")
	}
	cs, err := iothub.ParseConnectionString(text)
	if err != nil {
		t.Fatal(err) // it does not quote the text
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if end, limited := t.Deadline(); limited { // what was made must still be deleted
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-2*time.Minute))
		defer cancel()
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	defer transport.CloseIdleConnections()
	h := &subject{cs: cs, base: "https://" + cs.HostName, client: &http.Client{Transport: transport}, certificates: true, stop: ctx}
	h.careful()
	t.Logf("every id begins with %s", h.prefix)

	overTLS := func(ctx context.Context, cert *tls.Certificate) (net.Conn, error) {
		d := tls.Dialer{Config: showing(cs.HostName, cert)}
		return d.DialContext(ctx, "tcp", net.JoinHostPort(cs.HostName, "8883"))
	}
	overWebSocket := func(ctx context.Context, cert *tls.Certificate) (net.Conn, error) {
		return dialSocket(ctx, cs.HostName, showing(cs.HostName, cert), nil)
	}
	h.dial = overTLS
	if conn, err := overTLS(ctx, nil); err != nil {
		t.Logf("port 8883 cannot be reached (%v): devices connect by WebSocket alone", err)
		h.dial = overWebSocket
	} else {
		_ = conn.Close()
	}
	run(t, h, "", table())
	h.dial = overWebSocket
	run(t, h, "WebSocket/", slices.Concat(connectCases, deviceCases))
}

// showing returns the configuration of a device that may show a certificate. The hub's is verified as the system has it.
func showing(host string, cert *tls.Certificate) *tls.Config {
	config := &tls.Config{ServerName: host}
	if cert != nil {
		config.Certificates = []tls.Certificate{*cert}
	}
	return config
}

// run runs cases one after the other, until it is interrupted or out of time.
func run(t *testing.T, h *subject, prefix string, cases []testCase) {
	t.Helper()
	for _, c := range cases {
		if h.stop.Err() != nil {
			t.Fatalf("not run: %s%s and what follows: %v; go test -timeout says how long all may take", prefix, c.name, context.Cause(h.stop))
		}
		t.Run(prefix+c.name, func(t *testing.T) { c.run(t, h) })
	}
}

// scope is a test within a test, where there can be no other: what a case cleans up is done when the case ends.
type scope struct {
	testing.TB
	cleanups []func()
}

func (s *scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *scope) end() {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
}

// What is done to a real hub, done to one of the smallest tier: it is never throttled, nothing is left behind, and what
// others have there is not touched.
func TestCareful(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := hubtest.Start(t, &hub.Options{Tier: hub.S1})
		h := way(s.Hub, "TLS", s.TLS(t), nil, s.MQTTS.DialContext, nil, nil, s.RESTS.DialContext)
		defer h.client.CloseIdleConnections()
		other := ok[map[string]any](t, h, "PUT /devices/of-others", `{"tags":{"a":1}}`)
		otherTwin := ok[map[string]any](t, h, "PATCH /twins/of-others", `{"tags":{"a":1}}`)
		start, before := time.Now(), s.Stats()
		h.careful()
		h.stop = t.Context()
		for _, c := range table() {
			inner := &scope{TB: t}
			c.run(inner, h)
			inner.end()
		}
		if got := s.Stats(); got.Throttled != before.Throttled {
			t.Errorf("%d requests were throttled", got.Throttled-before.Throttled)
		}
		t.Logf("the table takes %v of such a hub", time.Since(start).Round(time.Second))
		if took := time.Since(start); took > 50*time.Minute {
			t.Errorf("the table takes %v, more than the documented hour allows", took)
		}
		left := ok[[]iothub.Device](t, h, "GET /devices", "")
		if len(left) != 1 || left[0].DeviceID != "of-others" || left[0].ETag != other["etag"] {
			t.Errorf("left are %d devices", len(left))
		}
		same(t, "the twin of others", ok[map[string]any](t, h, "GET /twins/of-others", "")["version"], jsonOf(t, otherTwin["version"]))
		for _, job := range ok[[]iothub.Job](t, h, "GET /jobs/v2/query", "") {
			if !job.Status.Done() || !strings.HasPrefix(job.JobID, h.prefix) {
				t.Errorf("job %s is %s", job.JobID, job.Status)
			}
		}
	})
}

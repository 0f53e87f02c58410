package conformance_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// transports are the ways to the embedded hub.
var transports = []string{"plain", "TLS", "WebSocket"}

// dial is how a listener's connections are opened.
type dial func(ctx context.Context, network, address string) (net.Conn, error)

// way returns a subject that is reached by one transport: devices by one of three listeners, services by one of two.
func way(h *hub.Hub, transport string, config *tls.Config, mqtt, mqtts, ws, rest, rests dial) *subject {
	s := &subject{cs: h.ConnectionString(), prefix: "t-", patience: time.Minute, poll: 10 * time.Millisecond}
	s.base, s.client = "http://localhost", &http.Client{Transport: &http.Transport{DialContext: rest}}
	if transport != "plain" {
		s.certificates = true
		s.base, s.client = "https://localhost", &http.Client{Transport: &http.Transport{DialContext: rests, TLSClientConfig: config}}
	}
	s.dial = func(ctx context.Context, cert *tls.Certificate) (net.Conn, error) {
		c := config.Clone()
		if cert != nil {
			c.Certificates = []tls.Certificate{*cert}
		}
		switch transport {
		case "plain":
			return mqtt(ctx, "tcp", "")
		case "WebSocket":
			return dialSocket(ctx, "localhost", c, ws)
		}
		conn, err := mqtts(ctx, "tcp", "")
		if err != nil {
			return nil, err
		}
		return tls.Client(conn, c), nil
	}
	return s
}

// In memory every case has a hub of its own, and its time costs nothing.
func TestInMemory(t *testing.T) {
	for _, transport := range transports {
		for _, c := range table() {
			t.Run(transport+"/"+c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := hubtest.Start(t, nil)
					ws := memnet.Listen("ws")
					var serving sync.WaitGroup
					serving.Go(func() { _ = s.ServeWebSocket(ws) })
					h := way(s.Hub, transport, s.TLS(t), s.MQTT.DialContext, s.MQTTS.DialContext, ws.DialContext, s.REST.DialContext, s.RESTS.DialContext)
					t.Cleanup(func() {
						h.client.CloseIdleConnections()
						_ = s.Close()
						serving.Wait()
					})
					c.run(t, h)
				})
			})
		}
	}
}

// On sockets the cases share a hub.
func TestOnSockets(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := hub.New(nil)
			var serving sync.WaitGroup
			listen := func(serve func(net.Listener) error) dial {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				serving.Go(func() { _ = serve(l) })
				return func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
				}
			}
			h := way(s, transport, trusting(t, s), listen(s.ServeMQTT), listen(s.ServeMQTTS), listen(s.ServeWebSocket), listen(s.ServeREST), listen(s.ServeRESTS))
			t.Cleanup(func() {
				h.client.CloseIdleConnections()
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				serving.Wait()
			})
			for _, c := range table() {
				t.Run(c.name, func(t *testing.T) {
					if slices.Contains(slow, c.name) {
						t.Skip("in memory only: it waits")
					}
					c.run(t, h)
				})
			}
		})
	}
}

// trusting returns a client's configuration that trusts a hub's CA alone.
func trusting(t testing.TB, s *hub.Hub) *tls.Config {
	t.Helper()
	ca, err := s.CA()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM())
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// Every case says where its claim comes from, and has a name of its own.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range table() {
		if seen[c.name] || c.says == "" || strings.Contains(c.name, "/") {
			t.Errorf("case %q, %q", c.name, c.says)
		}
		seen[c.name] = true
	}
	for _, name := range slow {
		if !seen[name] {
			t.Errorf("no case %q", name)
		}
	}
	if len(seen) < 50 {
		t.Errorf("%d cases", len(seen))
	}
}

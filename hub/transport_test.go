package hub_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/memnet"
	"muster/internal/mqtt"
	"muster/iothub"
)

// dialer opens a connection to a hub in one of the ways that devices have.
type dialer func(t testing.TB, s *hubtest.Server) *bare

// dialTLS opens a connection to the hub's TLS side.
func dialTLS(t testing.TB, s *hubtest.Server) *bare {
	t.Helper()
	return bareOn(t, tls.Client(dialRaw(t, s.MQTTS), s.TLS(t)))
}

func bareOn(t testing.TB, conn net.Conn) *bare {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	return &bare{t: t, conn: conn, rd: mqtt.NewReader(conn, 1<<20)}
}

func dialRaw(t testing.TB, l *memnet.Listener) net.Conn {
	t.Helper()
	conn, err := l.DialContext(context.Background(), "", "")
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// dialWS opens a WebSocket over TLS.
func dialWS(t testing.TB, s *hubtest.Server) *bare {
	t.Helper()
	return bareOn(t, &messages{Conn: openWS(t, s)})
}

func openWS(t testing.TB, s *hubtest.Server) *websocket.Conn {
	t.Helper()
	return openWSWith(t, s, s.TLS(t))
}

func openWSWith(t testing.TB, s *hubtest.Server, config *tls.Config) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{NetDialContext: s.RESTS.DialContext, TLSClientConfig: config, Subprotocols: []string{"mqtt"}}
	ws, resp, err := d.Dial("wss://localhost/$iothub/websocket?iothub-no-client-cert=true", nil)
	if err != nil {
		t.Fatalf("dial WebSocket: %v", err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	if ws.Subprotocol() != "mqtt" {
		t.Errorf("subprotocol %q, want mqtt", ws.Subprotocol())
	}
	return ws
}

// messages is a WebSocket as a device's stream of bytes. It sends every write in messages of at most cut bytes.
type messages struct {
	*websocket.Conn
	cut     int // 0 = whole
	message io.Reader
}

func (m *messages) Read(p []byte) (int, error) {
	for {
		if m.message == nil {
			_, r, err := m.NextReader()
			if err != nil {
				return 0, err
			}
			m.message = r
		}
		n, err := m.message.Read(p)
		if err == io.EOF {
			m.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (m *messages) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		n := len(p) - sent
		if m.cut > 0 {
			n = min(n, m.cut)
		}
		if err := m.WriteMessage(websocket.BinaryMessage, p[sent:sent+n]); err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

func (m *messages) SetDeadline(at time.Time) error {
	_ = m.SetWriteDeadline(at)
	return m.SetReadDeadline(at)
}

// overAll runs a test in a bubble of its own for each secure way to connect.
func overAll(t *testing.T, test func(t *testing.T, s *hubtest.Server, dial dialer)) {
	t.Helper()
	for name, dial := range map[string]dialer{"TLS": dialTLS, "WebSocket": dialWS} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, s *hubtest.Server) { test(t, s, dial) })
		})
	}
}

func TestSecureDevice(t *testing.T) {
	overAll(t, func(t *testing.T, s *hubtest.Server, dial dialer) {
		register(t, s, "dev1")
		b := dial(t, s)
		if got := b.connect(valid(s, "dev1"), true, 60); got != mqtt.Accepted {
			t.Fatalf("CONNACK %d", got)
		}
		b.subscribe(iothub.FilterMethods, iothub.FilterTwinResponses)
		b.publish(iothub.TwinGetTopic("1"), "")
		b.wants(iothub.TwinResponseTopic(200, "1", 0), `{"desired":{"$version":1},"reported":{"$version":1}}`)
		b.send(mqtt.Publish{Topic: []byte(iothub.EventsTopic("dev1")), Payload: make([]byte, 256<<10), QoS: 1, ID: 7})
		b.expect(mqtt.TypePuback)
		call := invoke(t, s, "dev1", `{"methodName":"m","payload":{"a":1}}`)
		b.answerMethod("m", `{"a":1}`, 200, `"`+strings.Repeat("x", 100_000)+`"`)
		call.wants(t, 200, `{"status":200,"payload":"`+strings.Repeat("x", 100_000)+`"}`, 0)
		b.write(mqtt.AppendDisconnect(nil))
		b.closed()
		eventually(t, "offline", func() bool { return s.Stats().Connections == 0 })
	})
}

func TestSecureRefusals(t *testing.T) {
	overAll(t, func(t *testing.T, s *hubtest.Server, dial dialer) {
		register(t, s, "dev1", "dev2", "off")
		rest(t, s, "PUT /devices/off", `{"status":"disabled"}`, "If-Match", "*")
		policy := func(name string) string {
			cs, _ := s.PolicyConnectionString(name)
			return iothub.NewToken("localhost", cs.SharedAccessKey, name, time.Now().Add(time.Hour))
		}
		tests := func(name string, id, password string, want byte) {
			t.Helper()
			c := valid(s, id)
			c.password = password
			b := dial(t, s)
			if got := b.connect(c, true, 0); got != want {
				t.Errorf("%s: CONNACK %d, want %d", name, got, want)
			}
			if want != mqtt.Accepted {
				b.closed()
			}
		}
		const no = mqtt.RefusedNotAuthorized
		tests("its own key", "dev1", valid(s, "dev1").password, mqtt.Accepted)
		tests("policy device", "dev1", policy("device"), mqtt.Accepted)
		tests("policy service", "dev1", policy("service"), no)
		tests("policy registryReadWrite", "dev1", policy("registryReadWrite"), no)
		tests("key of another", "dev1", valid(s, "dev2").password, no)
		tests("expired", "dev1", token(s, "dev1", time.Now()), no)
		tests("disabled", "off", valid(s, "off").password, no)
		tests("nothing", "dev1", "", no)
	})
}

// The end of a connection comes to the second, and packets before it do not spoil the reading of those after: the
// deadline passes in the middle of reads.
func TestSecureDeadlines(t *testing.T) {
	overAll(t, func(t *testing.T, s *hubtest.Server, dial dialer) {
		if got := dial(t, s).closed(); got > 10*time.Second {
			t.Errorf("a connection without CONNECT lasted %s, want 10s", got)
		}
		register(t, s, "dev1")
		c := valid(s, "dev1")
		b := dial(t, s)
		b.connect(c, true, 10)
		for range 20 {
			time.Sleep(9 * time.Second)
			b.alive()
		}
		if got := b.closed(); got != 15*time.Second {
			t.Errorf("quiet for %s, want 15s", got)
		}
		c.password = token(s, "dev1", time.Now().Add(90*time.Second))
		b = dial(t, s)
		b.connect(c, true, 60)
		time.Sleep(50 * time.Second)
		b.alive()
		if got := b.closed(); got != 40*time.Second {
			t.Errorf("closed %s after 50 s, want 40s", got)
		}
		eventually(t, "counted", func() bool { return s.Stats().TokenExpired == 1 && s.Stats().KeepAliveClosed >= 1 })
	})
}

// A session belongs to the device, however it connects; so does its one connection.
func TestTakeoverAcrossTransports(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		var older *bare
		for i, open := range []dialer{dial, dialTLS, dialWS, dialTLS, dialWS, dial} {
			b := open(t, s)
			ack := b.connack(mqtt.Connect{}, valid(s, "dev1"))
			if ack.Code != mqtt.Accepted || ack.SessionPresent != (i > 0) {
				t.Errorf("connection %d: CONNACK %+v", i, ack)
			}
			if i == 0 {
				b.subscribe(iothub.FilterTwinResponses)
			} else {
				older.closed()
			}
			b.publish(iothub.TwinGetTopic("1"), "")
			b.message()
			older = b
		}
		eventually(t, "5 taken over, 1 connection", func() bool { return s.Stats().TakenOver == 5 && s.Stats().Connections == 1 })
	})
}

func TestSecureSlowConsumer(t *testing.T) {
	overAll(t, func(t *testing.T, s *hubtest.Server, dial dialer) {
		register(t, s, "deaf")
		deaf := dial(t, s)
		deaf.connect(valid(s, "deaf"), true, 0)
		deaf.subscribe(iothub.FilterDesired)
		big := `{"properties":{"desired":{"a":"` + strings.Repeat("x", 4000) + `","b":"` + strings.Repeat("x", 4000) + `"}}}`
		for range 30 { // 240 KB: the transport takes 64 KB
			rest(t, s, "PATCH /twins/deaf", big)
		}
		eventually(t, "a burst makes no slow consumer", func() bool { return s.Stats().SlowClosed == 0 })
		time.Sleep(501 * time.Millisecond)
		rest(t, s, "PATCH /twins/deaf", big)
		eventually(t, "closed as slow, in no time", func() bool {
			return s.Stats().SlowClosed == 1 && s.Stats().Connections == 0
		})
	})
}

// Close takes no time, whatever state connections are in.
func TestSecureClose(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1", "dev2")
		over, ws := dialTLS(t, s), dialWS(t, s)
		over.connect(valid(s, "dev1"), true, 0)
		ws.connect(valid(s, "dev2"), true, 0)
		half := []net.Conn{dialRaw(t, s.MQTTS), dialRaw(t, s.RESTS)} // in the middle of the handshake
		_, _ = half[0].Write([]byte{22, 3, 1, 0, 200})
		dialWS(t, s)
		synctest.Wait()
		start := time.Now()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("Close took %s", d)
		}
		over.closed()
		ws.closed()
	})
}

func TestHandshake(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		fails := func(name string, change func(*tls.Config)) {
			t.Helper()
			before := s.Stats().HandshakeFailed
			config := s.TLS(t)
			change(config)
			conn := tls.Client(dialRaw(t, s.MQTTS), config)
			if err := conn.Handshake(); err == nil {
				t.Errorf("%s: the handshake succeeded", name)
			}
			_ = conn.Close()
			eventually(t, name+" counted", func() bool { return s.Stats().HandshakeFailed == before+1 })
		}
		fails("no trust", func(c *tls.Config) { c.RootCAs = x509.NewCertPool() })
		fails("another name", func(c *tls.Config) { c.ServerName = "elsewhere.test" })
		fails("TLS 1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			config := s.TLS(t)
			config.MaxVersion = version
			conn := tls.Client(dialRaw(t, s.MQTTS), config)
			if err := conn.Handshake(); err != nil || conn.ConnectionState().Version != version {
				t.Errorf("TLS version %x: %v", version, err)
			}
		}
		garbage := dialRaw(t, s.MQTTS)
		before := s.Stats().HandshakeFailed
		_, _ = garbage.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		eventually(t, "garbage counted", func() bool { return s.Stats().HandshakeFailed == before+1 })
		silent := &bare{t: t, conn: dialRaw(t, s.MQTTS)}
		silent.rd = mqtt.NewReader(silent.conn, 1)
		if got := silent.closed(); got != 10*time.Second {
			t.Errorf("a silent peer lasted %s, want 10s", got)
		}
	})
}

func TestServerNames(t *testing.T) {
	bubble(t, &hub.Options{HostName: "myhub.example.test:8884"}, func(t *testing.T, s *hubtest.Server) {
		for _, name := range []string{"localhost", "127.0.0.1", "::1", "myhub.example.test"} {
			config := s.TLS(t)
			config.ServerName = name
			if err := tls.Client(dialRaw(t, s.MQTTS), config).Handshake(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// The REST side over TLS asks for the same permissions.
func TestHTTPS(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		client := &http.Client{Transport: &http.Transport{DialContext: s.RESTS.DialContext, TLSClientConfig: s.TLS(t)}}
		defer client.CloseIdleConnections()
		tests := func(name, path, policy string, lifetime time.Duration, want int) {
			t.Helper()
			req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://localhost"+path+"?api-version="+iothub.APIVersion, nil)
			if cs, ok := s.PolicyConnectionString(policy); ok {
				req.Header.Set("Authorization", iothub.NewToken("localhost", cs.SharedAccessKey, policy, time.Now().Add(lifetime)))
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s: %s, want %d", name, resp.Status, want)
			}
		}
		register(t, s, "dev1")
		tests("owner", "/devices/dev1", "iothubowner", time.Hour, 200)
		tests("registryRead", "/devices/dev1", "registryRead", time.Hour, 200)
		tests("service reads no identities", "/devices/dev1", "service", time.Hour, 401)
		tests("service reads twins", "/twins/dev1", "service", time.Hour, 200)
		tests("registryRead reads no twins", "/twins/dev1", "registryRead", time.Hour, 401)
		tests("device reads nothing", "/twins/dev1", "device", time.Hour, 401)
		tests("expired", "/twins/dev1", "iothubowner", 0, 401)
		tests("no token", "/twins/dev1", "", 0, 401)
	})
}

// listenWS lets the hub serve WebSockets alone on a listener that it returns.
func listenWS(t *testing.T, s *hubtest.Server) *memnet.Listener {
	l := memnet.Listen("ws")
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.ServeWebSocket(l); err != nil {
			t.Errorf("ServeWebSocket: %v", err)
		}
	})
	t.Cleanup(func() {
		_ = s.Close()
		serving.Wait()
	})
	return l
}

// pipes is a listener whose connections have no buffer: what the peer does not read is not written.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error { close(p); return nil }

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial() net.Conn {
	near, far := net.Pipe()
	p <- far
	return near
}

// A peer that never reads holds up neither the handshake's end nor Close.
func TestDeafPeer(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		l := make(pipes)
		var serving sync.WaitGroup
		serving.Go(func() { _ = s.ServeMQTTS(l) })
		register(t, s, "dev1")
		hello := captureHello(t, s)
		deaf := l.dial()
		_, _ = deaf.Write(hello)
		time.Sleep(9 * time.Second)
		eventually(t, "it waits", func() bool { return s.Stats().KeepAliveClosed == 0 })
		time.Sleep(time.Second)
		eventually(t, "it gave up after 10s", func() bool { return s.Stats().KeepAliveClosed == 1 })
		_ = deaf.Close()

		b := bareOn(t, tls.Client(l.dial(), s.TLS(t)))
		b.connect(valid(s, "dev1"), true, 0)
		start := time.Now()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		serving.Wait()
		if d := time.Since(start); d > 0 {
			t.Errorf("Close took %s", d)
		}
	})
}

// keeping is a listener that keeps the hub's end of its last connection.
type keeping struct {
	*memnet.Listener
	last net.Conn
}

func (k *keeping) Accept() (conn net.Conn, err error) {
	conn, err = k.Listener.Accept()
	k.last = conn
	return conn, err
}

// Devices over TLS that leave, and do not take the hub's farewell, hold up no other device.
func TestDeafPeersLeave(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		l := &keeping{Listener: memnet.Listen("deaf")}
		var serving sync.WaitGroup
		serving.Go(func() { _ = s.ServeMQTTS(l) })
		other := online(t, s, "other")
		var deaf []*bare
		for i := range runtime.GOMAXPROCS(0) { // one for each of the hub's readers
			id := fmt.Sprintf("deaf%d", i)
			register(t, s, id)
			b := bareOn(t, tls.Client(dialRaw(t, l.Listener), s.TLS(t)))
			b.connect(valid(s, id), true, 0)
			synctest.Wait()
			if n, err := l.last.(interface{ TryWrite([]byte) (int, error) }).TryWrite(make([]byte, 1<<20)); n == 0 || err != nil {
				t.Fatalf("TryWrite = %d, %v; want what there is room for", n, err)
			}
			deaf = append(deaf, b)
		}
		for _, b := range deaf {
			b.write(mqtt.AppendDisconnect(nil))
		}
		synctest.Wait()
		start := time.Now()
		other.alive()
		if d := time.Since(start); d > 0 {
			t.Errorf("another device waited %s", d)
		}
		_ = s.Close()
		serving.Wait()
	})
}

// captureHello returns the first message of a TLS client.
func captureHello(t *testing.T, s *hubtest.Server) []byte {
	t.Helper()
	near, far := net.Pipe()
	client := tls.Client(near, s.TLS(t))
	var shaking sync.WaitGroup
	shaking.Go(func() { _ = client.Handshake() })
	hello := make([]byte, 4096)
	n, err := far.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	_ = far.Close()
	shaking.Wait()
	return hello[:n]
}

package hub_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
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

// hostiles is how many packets and requests the hub must stand.
const hostiles = 10_000

// heapNow returns how much memory is in use, after everything that is not was collected.
func heapNow() int64 {
	runtime.GC()
	runtime.GC() // what pools hold goes with the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// bubbled returns how many goroutines there are in bubbles, of which there is one at a time: the runtime has others of its own.
func bubbled() int {
	buf := make([]byte, 1<<20)
	return bytes.Count(buf[:runtime.Stack(buf, true)], []byte("synctest bubble"))
}

// bounded runs something hostile and checks that it leaves neither memory nor goroutines nor connections behind, and that
// an honest device and an honest service are served afterwards as before.
func bounded(t *testing.T, opts *hub.Options, hostile func(t *testing.T, s *hubtest.Server)) {
	t.Helper()
	bubble(t, opts, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "honest")
		honest := dial(t, s)
		honest.connect(valid(s, "honest"), true, 0)
		honest.subscribe(iothub.FilterMethods)
		s.HTTPClient().CloseIdleConnections()
		synctest.Wait()
		heap, goroutines := heapNow(), bubbled()
		hostile(t, s)
		s.HTTPClient().CloseIdleConnections()
		synctest.Wait()
		if got := bubbled(); got > goroutines || goroutines == 0 {
			t.Errorf("%d goroutines are left, there were %d", got, goroutines)
		}
		if got := heapNow(); got > heap+16<<20 {
			t.Errorf("%d MB are left, there were %d", got>>20, heap>>20)
		}
		if got := s.Stats(); got.Strangers != 0 || got.Connections != 1 {
			t.Errorf("%d strangers and %d devices are connected, want 0 and 1", got.Strangers, got.Connections)
		}
		call := invoke(t, s, "honest", `{"methodName":"m"}`)
		honest.answerMethod("m", "null", 200, "")
		call.wants(t, 200, `{"status":200,"payload":null}`, 0)
	})
}

// mutant returns a changed copy of one of the seeds: bytes flipped, cut, doubled, inserted or taken from another seed.
func mutant(r *rand.Rand, seeds [][]byte) []byte {
	b := bytes.Clone(seeds[r.IntN(len(seeds))])
	for range 1 + r.IntN(4) {
		i := r.IntN(len(b) + 1)
		switch r.IntN(6) {
		case 0:
			b = b[:i]
		case 1:
			b = append(b[:i:i], append([]byte{byte(r.Uint32())}, b[i:]...)...)
		case 2:
			other := seeds[r.IntN(len(seeds))]
			b = append(b[:i:i], other[r.IntN(len(other)):]...)
		case 3:
			b = append(b, b[i:]...)
		default:
			if i < len(b) {
				b[i] ^= 1 << r.IntN(8)
			}
		}
	}
	return b
}

// packets are what a device may send.
func packets(t testing.TB, s *hubtest.Server, id string) [][]byte {
	t.Helper()
	c := valid(s, id)
	connect, err := mqtt.AppendConnect(nil, mqtt.Connect{
		ClientID: []byte(c.clientID), CleanSession: true, KeepAlive: 60, HasUsername: true, Username: []byte(c.username),
		HasPassword: true, Password: []byte(c.password), HasWill: true, WillTopic: []byte(iothub.EventsTopic(id)), WillPayload: []byte("will"),
	})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(topic, payload string, qos byte) []byte {
		packet, err := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte(topic), Payload: []byte(payload), QoS: qos, ID: uint16(qos)})
		if err != nil {
			t.Fatal(err)
		}
		return packet
	}
	subscribe, _ := mqtt.AppendSubscribe(nil, 1, mqtt.Filter{Topic: []byte(iothub.FilterTwinResponses)}, mqtt.Filter{Topic: []byte(iothub.FilterDesired), QoS: 1})
	unsubscribe, _ := mqtt.AppendUnsubscribe(nil, 2, []byte(iothub.FilterMethods))
	return [][]byte{
		connect, subscribe, unsubscribe, mqtt.AppendPingreq(nil), mqtt.AppendDisconnect(nil), mqtt.AppendPuback(nil, 7),
		publish(iothub.TwinGetTopic("1"), " ", 0), publish(iothub.ReportedTopic("2"), `{"a":{"b":[1,"x",null]},"c":null}`, 0),
		publish(iothub.MethodResponseTopic(200, "1"), `{"ok":true}`, 0),
		publish(iothub.EventsTopic(id)+"%24.ct=application%2Fjson&a=b", `{"t":21.5}`, 1),
	}
}

func TestHostilePackets(t *testing.T) {
	bounded(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "hostile")
		r := rand.New(rand.NewPCG(1, 2))
		seeds := packets(t, s, "hostile")
		webSocket := func(t testing.TB, s *hubtest.Server) *bare {
			d := websocket.Dialer{NetDialContext: s.REST.DialContext, Subprotocols: []string{"mqtt"}}
			ws, _, err := d.Dial("ws://hub.test/$iothub/websocket", nil)
			if err != nil {
				t.Fatalf("dial WebSocket: %v", err)
			}
			return &bare{t: t, conn: &messages{Conn: ws, cut: 1 + r.IntN(100)}, rd: mqtt.NewReader(ws.NetConn(), 1<<20)}
		}
		raw := func(t testing.TB, s *hubtest.Server) *bare {
			conn, err := s.MQTT.DialContext(context.Background(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			return &bare{t: t, conn: conn, rd: mqtt.NewReader(conn, 1<<20)}
		}
		for sent := 0; sent < hostiles; {
			b := raw(t, s)
			if r.IntN(3) == 0 {
				b = webSocket(t, s)
			}
			if r.IntN(4) > 0 {
				_, _ = b.conn.Write(seeds[0])
			}
			for range 1 + r.IntN(4) { // several on one connection, as far as it lasts
				_, _ = b.conn.Write(mutant(r, seeds))
				sent++
			}
			if r.IntN(8) > 0 { // most go away, some just stop
				_ = b.conn.Close()
			} else {
				defer b.conn.Close()
			}
		}
		time.Sleep(2 * time.Minute) // the last keep-alive and more
		if got := s.Stats(); got.ProtocolErrors < hostiles/10 || got.Unproven < hostiles/100 {
			t.Errorf("%d protocol errors and %d connections that proved nothing were counted", got.ProtocolErrors, got.Unproven)
		}
	})
}

// requests are what a service may send.
func requests(s *hubtest.Server, authorized bool) (all [][]byte) {
	cs := s.ConnectionString()
	token := "SharedAccessSignature sr=localhost&sig=x&se=1"
	if authorized {
		token = iothub.NewToken(cs.HostName, cs.SharedAccessKey, cs.SharedAccessKeyName, time.Now().Add(24*time.Hour))
	}
	for _, r := range [][2]string{
		{"GET /devices?top=3&", ""},
		{"PUT /devices/hostile?", `{"deviceId":"hostile","status":"enabled"}`},
		{"GET /twins/hostile?", ""},
		{"POST /devices?", `[{"id":"hostile","importMode":"updateTwin","tags":{"a":1}}]`},
		{"PATCH /twins/hostile?", `{"tags":{"a":{"b":null}},"properties":{"desired":{"x":[1,2]}}}`},
		{"POST /devices/query?", `{"query":"SELECT tags.a AS a FROM devices WHERE deviceId = 'hostile'"}`},
		{"POST /twins/hostile/methods?", `{"methodName":"m","payload":{"a":1},"connectTimeoutInSeconds":300}`},
		{"PUT /jobs/v2/hostile?", `{"type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{"j":1}},"queryCondition":"deviceId = 'hostile'"}`},
		{"GET /jobs/v2/query?jobStatus=running&", ""},
		{"POST /jobs/v2/hostile/cancel?", ""},
		{"GET /$iothub/websocket?", ""},
	} {
		all = append(all, fmt.Appendf(nil, "%sapi-version=2021-04-12 HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nIf-Match: \"*\"\r\n"+
			"x-ms-max-item-count: 2\r\nContent-Length: %d\r\n\r\n%s", r[0], token, len(r[1]), r[1]))
	}
	return append(all, fmt.Appendf(nil, "POST /devices?api-version=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n", token))
}

func TestHostileRequests(t *testing.T) {
	bounded(t, nil, func(t *testing.T, s *hubtest.Server) {
		r := rand.New(rand.NewPCG(3, 4))
		good, bad := requests(s, true), requests(s, false)
		counts := map[int]int{}
		for i := range hostiles {
			seeds := good
			if i%3 == 0 {
				seeds = bad
			}
			conn, err := s.REST.DialContext(context.Background(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = conn.Write(mutant(r, seeds))
			_ = conn.(interface{ CloseWrite() error }).CloseWrite()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil {
				counts[resp.StatusCode]++
				_, _ = io.Copy(io.Discard, resp.Body)
			}
			_ = conn.Close()
		}
		if counts[200] < hostiles/100 || counts[400] < hostiles/10 || counts[401] < hostiles/10 || counts[500] > 0 {
			t.Errorf("answers by status: %v", counts)
		}
		time.Sleep(time.Minute)
		if got := s.Stats(); got.Unproven < hostiles/4 || got.Unauthorized < int64(counts[401]) {
			t.Errorf("%d connections that proved nothing and %d requests without a token were counted; answers %v", got.Unproven, got.Unauthorized, counts)
		}
	})
}

// drip writes a byte of what again and again, until the peer ends the connection, and returns how long that took.
func drip(conn net.Conn, what []byte, every time.Duration) time.Duration {
	start := time.Now()
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(io.Discard, conn)
	}()
	for i := 0; ; i = (i + 1) % len(what) {
		if _, err := conn.Write(what[i : i+1]); err != nil {
			<-over
			return time.Since(start)
		}
		select {
		case <-over:
			return time.Since(start)
		case <-time.After(every):
		}
	}
}

// Who sends a byte now and then is waited for no longer than who sends nothing.
func TestSlowPeers(t *testing.T) {
	tests := func(name string, open func(t *testing.T, s *hubtest.Server) (net.Conn, []byte), every, most time.Duration, counted func(hub.Stats) int64) {
		t.Run(name, func(t *testing.T) {
			bounded(t, nil, func(t *testing.T, s *hubtest.Server) {
				conn, what := open(t, s)
				if took := drip(conn, what, every); took > most || took < most/2 {
					t.Errorf("the connection lasted %v, want %v", took, most)
				}
				_ = conn.Close()
				eventually(t, "counted", func() bool { return counted(s.Stats()) == 1 })
				time.Sleep(3 * time.Minute)
			})
		})
	}
	on := func(l func(s *hubtest.Server) *memnet.Listener, what func(t *testing.T, s *hubtest.Server) []byte) func(t *testing.T, s *hubtest.Server) (net.Conn, []byte) {
		return func(t *testing.T, s *hubtest.Server) (net.Conn, []byte) { return dialRaw(t, l(s)), what(t, s) }
	}
	mqttSide := func(s *hubtest.Server) *memnet.Listener { return s.MQTT }
	rest := func(s *hubtest.Server) *memnet.Listener { return s.REST }
	hello := func(t *testing.T, s *hubtest.Server) []byte { return captureHello(t, s) }
	timedOut := func(s hub.Stats) int64 { return s.KeepAliveClosed }
	unproven := func(s hub.Stats) int64 { return s.Unproven }
	tests("CONNECT", on(mqttSide, func(t *testing.T, s *hubtest.Server) []byte { return packets(t, s, "honest")[0] }), time.Second, 10*time.Second, timedOut)
	tests("TLS handshake of a device", on(func(s *hubtest.Server) *memnet.Listener { return s.MQTTS }, hello), time.Second, 10*time.Second, timedOut)
	tests("TLS handshake of a service", on(func(s *hubtest.Server) *memnet.Listener { return s.RESTS }, hello), time.Second, 10*time.Second, unproven)
	tests("header", on(rest, func(*testing.T, *hubtest.Server) []byte {
		return []byte("GET /devices HTTP/1.1\r\nA: " + strings.Repeat("x", 100))
	}),
		time.Second, 10*time.Second, unproven)
	tests("body", func(t *testing.T, s *hubtest.Server) (net.Conn, []byte) {
		return half(t, s, true, "POST /devices", "["), []byte(" ")
	},
		time.Second, 31*time.Second, func(s hub.Stats) int64 { return s.BadBodies })
	tests("CONNECT on a WebSocket", func(t *testing.T, s *hubtest.Server) (net.Conn, []byte) {
		return &messages{Conn: openPlainWS(t, s)}, packets(t, s, "honest")[0]
	}, time.Second, 10*time.Second, timedOut)
	tests("message on a WebSocket", func(t *testing.T, s *hubtest.Server) (net.Conn, []byte) {
		// The header of a frame of a megabyte, and its bytes.
		return openPlainWS(t, s).NetConn(), append([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4}, 0x11, 0x83, 0xfc)
	}, time.Second, 10*time.Second, func(s hub.Stats) int64 { return s.KeepAliveClosed + s.ProtocolErrors })
	tests("PUBLISH", func(t *testing.T, s *hubtest.Server) (net.Conn, []byte) {
		b := online(t, s, "slow")
		b.write([]byte{0x30, 0xff, 0xff, 0x03})
		return b.conn, []byte("x")
	}, 5*time.Second, 90*time.Second, timedOut)
}

func openPlainWS(t *testing.T, s *hubtest.Server) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{NetDialContext: s.REST.DialContext, Subprotocols: []string{"mqtt"}}
	ws, _, err := d.Dial("ws://hub.test/$iothub/websocket", nil)
	if err != nil {
		t.Fatalf("dial WebSocket: %v", err)
	}
	return ws
}

// A peer that has said its last word, wherever that is, is let go.
func TestHalfOpenPeers(t *testing.T) {
	bounded(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "half")
		connect := packets(t, s, "half")[0]
		request := requests(s, true)[1]
		hello := captureHello(t, s)
		for name, peer := range map[string]struct {
			l      *memnet.Listener
			said   []byte
			proved bool
		}{
			"nothing":           {s.MQTT, nil, false},
			"half a CONNECT":    {s.MQTT, connect[:20], false},
			"a CONNECT":         {s.MQTT, connect, true},
			"and half a packet": {s.MQTT, append(bytes.Clone(connect), 0x30, 0x40, 0), true},
			"nothing by TLS":    {s.MQTTS, nil, false},
			"half a handshake":  {s.MQTTS, hello[:len(hello)/2], false},
			"a hello":           {s.MQTTS, hello, false},
			"nothing by HTTP":   {s.REST, nil, false},
			"half a header":     {s.REST, request[:30], false},
			"half a body":       {s.REST, request[:len(request)-5], true},
			"a hello by HTTPS":  {s.RESTS, hello, false},
		} {
			before := s.Stats()
			conn := dialRaw(t, peer.l)
			_, _ = conn.Write(peer.said)
			synctest.Wait()
			_ = conn.(interface{ CloseWrite() error }).CloseWrite()
			start := time.Now()
			_, _ = io.Copy(io.Discard, conn)
			if took := time.Since(start); took > time.Second {
				t.Errorf("%s: the hub held on for %v", name, took)
			}
			eventually(t, name+" counted", func() bool { return (s.Stats().Unproven == before.Unproven+1) != peer.proved })
		}
	})
}

// Calls that nobody answers end in time, and what is too many of them at once; other devices are called meanwhile.
func TestManyPendingMethods(t *testing.T) {
	bounded(t, nil, func(t *testing.T, s *hubtest.Server) {
		const devices, calls, most = 5, 110, 100
		other := online(t, s, "other", iothub.FilterMethods)
		start := time.Now()
		var waiting []*invocation
		var conns []*bare
		for _, id := range ids(devices) {
			conns = append(conns, online(t, s, id, iothub.FilterMethods))
			for range calls {
				waiting = append(waiting, invoke(t, s, id, `{"methodName":"m","responseTimeoutInSeconds":5}`))
			}
		}
		c := invoke(t, s, "other", `{"methodName":"m"}`)
		other.answerMethod("m", "null", 200, "")
		c.wants(t, 200, `{"status":200,"payload":null}`, 0)
		for i, c := range waiting {
			if i%calls < most {
				c.refused(t, iothub.CodeGatewayTimeout, 5*time.Second)
			} else {
				c.refused(t, iothub.CodeDeviceMaximumInflightMethodExceeded, 0)
			}
		}
		if got := s.Stats().MethodTimeouts; got != devices*most || time.Since(start) != 5*time.Second {
			t.Errorf("%d timeouts were counted after %v", got, time.Since(start))
		}
		for _, b := range append(conns, other) {
			_ = b.conn.Close()
		}
		time.Sleep(time.Second)
	})
}

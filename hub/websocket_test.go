package hub_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// Messages are no packets: a packet may come in many, and many in one [MQTT-6.0.0-2].
func TestWebSocketMessages(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		conn := &messages{Conn: openWS(t, s), cut: 1}
		b := bareOn(t, conn)
		if got := b.connect(valid(s, "dev1"), true, 0); got != mqtt.Accepted {
			t.Fatalf("CONNECT a byte a message: CONNACK %d", got)
		}
		conn.cut = 0
		if err := conn.WriteMessage(websocket.BinaryMessage, nil); err != nil {
			t.Errorf("empty message: %v", err)
		}
		b.write(mqtt.AppendPingreq(mqtt.AppendPingreq(nil)))
		b.expect(mqtt.TypePingresp)
		b.expect(mqtt.TypePingresp)
	})
}

// What may come before CONNECT is accepted is counted in packets' bytes, not in frames'.
func TestWebSocketLargeConnect(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		will := mqtt.Connect{HasWill: true, WillTopic: []byte(iothub.EventsTopic("dev1")), WillPayload: make([]byte, 60_000)}
		if got := dialWS(t, s).connack(will, valid(s, "dev1")); got.Code != mqtt.Accepted {
			t.Errorf("a large will: CONNACK %d", got.Code)
		}
		b := dialWS(t, s)
		_, _ = b.conn.Write(append([]byte{0x10, 0x80, 0x80, 0x14}, make([]byte, 17<<10)...)) // may be cut short
		b.closed()
		eventually(t, "counted", func() bool { return s.Stats().ProtocolErrors == 1 })
	})
}

// A pong is due also long after the last packet was written.
func TestWebSocketPing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		ws := openWS(t, s)
		b := bareOn(t, &messages{Conn: ws})
		b.connect(valid(s, "dev1"), true, 0)
		time.Sleep(time.Minute)
		pongs := 0
		ws.SetPongHandler(func(string) error { pongs++; return nil })
		if err := ws.WriteControl(websocket.PingMessage, []byte("hello"), time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		b.alive()
		if pongs != 1 {
			t.Errorf("%d pongs, want 1", pongs)
		}
	})
}

// Pings are no packets: they do not keep a connection.
func TestWebSocketPingsAreNoKeepAlive(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		ws := openWS(t, s)
		b := bareOn(t, &messages{Conn: ws})
		b.connect(valid(s, "dev1"), true, 10)
		for range 14 {
			time.Sleep(time.Second)
			_ = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
		}
		if got := b.closed(); got != time.Second {
			t.Errorf("closed %s after 14 s, want 1s", got)
		}
	})
}

func TestWebSocketBreaches(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		tests := func(name string, wantBreach bool, provoke func(ws *websocket.Conn)) {
			t.Helper()
			before := s.Stats().ProtocolErrors
			ws := openWS(t, s)
			b := bareOn(t, &messages{Conn: ws})
			b.connect(valid(s, "dev1"), true, 60)
			provoke(ws)
			if d := b.closed(); d > 0 {
				t.Errorf("%s: closed after %s", name, d)
			}
			eventually(t, name+" counted", func() bool {
				return (s.Stats().ProtocolErrors > before) == wantBreach && s.Stats().Connections == 0
			})
		}
		frame := func(bytes ...byte) func(*websocket.Conn) {
			return func(ws *websocket.Conn) { _, _ = ws.NetConn().Write(bytes) }
		}
		tests("text", true, func(ws *websocket.Conn) { _ = ws.WriteMessage(websocket.TextMessage, []byte{0xc0, 0}) })
		tests("not masked", true, frame(0x82, 2, 0xc0, 0))
		tests("reserved bits", true, frame(0xf2, 0x80, 0, 0, 0, 0))
		tests("unknown opcode", true, frame(0x83, 0x80, 0, 0, 0, 0))
		tests("continuation of nothing", true, frame(0x80, 0x80, 0, 0, 0, 0))
		tests("a length beyond all", true, frame(0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0))
		tests("a packet beyond the limit", true, func(ws *websocket.Conn) {
			_ = ws.WriteMessage(websocket.BinaryMessage, []byte{0x30, 0xff, 0xff, 0xff, 0x7f})
		})
		tests("unknown topic", true, func(ws *websocket.Conn) {
			packet, _ := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte("news")})
			_ = ws.WriteMessage(websocket.BinaryMessage, packet)
		})
		tests("farewell", false, func(ws *websocket.Conn) {
			_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
		})
		tests("gone", false, func(ws *websocket.Conn) { _ = ws.NetConn().Close() })
	})
}

// What is no WebSocket of the service is answered as a request; another path has none.
func TestWebSocketRequests(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		tests := func(name, path string, subprotocols []string, want int) {
			t.Helper()
			d := websocket.Dialer{NetDialContext: s.RESTS.DialContext, TLSClientConfig: s.TLS(t), Subprotocols: subprotocols}
			_, resp, err := d.Dial("wss://localhost"+path, nil)
			if err == nil || resp == nil || resp.StatusCode != want {
				t.Errorf("%s: %v, %v, want status %d", name, resp, err, want)
				return
			}
			_ = resp.Body.Close()
		}
		tests("no subprotocol", "/$iothub/websocket", nil, 400)
		tests("another subprotocol", "/$iothub/websocket", []string{"amqp"}, 400)
		tests("another path", "/mqtt", []string{"mqtt"}, 401) // as for any request without a token
		a := rest(t, s, "GET /$iothub/websocket", "")
		if a.status != http.StatusBadRequest {
			t.Errorf("no WebSocket: %d", a.status)
		}
	})
}

// The listener for WebSockets alone serves nothing else.
func TestServeWebSocket(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		l := listenWS(t, s)
		register(t, s, "dev1")
		b := dialWS(t, &hubtest.Server{Hub: s.Hub, RESTS: l})
		if got := b.connect(valid(s, "dev1"), true, 0); got != mqtt.Accepted {
			t.Errorf("CONNACK %d", got)
		}
		client := &http.Client{Transport: &http.Transport{DialContext: l.DialContext, TLSClientConfig: s.TLS(t)}}
		defer client.CloseIdleConnections()
		req, _ := http.NewRequest("GET", "https://localhost/devices?api-version=1", nil)
		cs := s.ConnectionString()
		req.Header.Set("Authorization", iothub.NewToken("localhost", cs.SharedAccessKey, cs.SharedAccessKeyName, time.Now().Add(time.Hour)))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("REST on the WebSockets' listener: %s", resp.Status)
		}
	})
}

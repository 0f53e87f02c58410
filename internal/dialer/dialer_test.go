package dialer_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/dialer"
	"muster/internal/memnet"
	"muster/internal/mqtt"
	"muster/internal/socket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	mqttAddr = "hub.test:8883"
	wsAddr   = "hub.test:443"
)

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// places says who is at an address; nobody refuses.
type places map[string]*memnet.Listener

func (p places) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	l := p[addr]
	if l == nil {
		return nil, errRefused
	}
	return l.DialContext(ctx, "", "")
}

// start returns a hub, who is where, and a dialer that trusts the hub.
func start(t *testing.T) (*hubtest.Server, places, *dialer.Dialer) {
	t.Helper()
	s := hubtest.Start(t, &hub.Options{HostName: "hub.test"})
	at := places{mqttAddr: s.MQTTS, wsAddr: s.RESTS}
	return s, at, dialer.New(dialer.Options{MQTT: mqttAddr, WebSocket: wsAddr, TLS: trusting(t, s), Network: at.dial})
}

func trusting(t *testing.T, s *hubtest.Server) *tls.Config {
	t.Helper()
	config := s.TLS(t)
	config.ServerName = "" // the address has it
	return config
}

// exchange sends a CONNECT in pieces and returns the hub's refusal of it.
func exchange(t *testing.T, c net.Conn) (mqtt.Header, []byte) {
	t.Helper()
	packet, err := mqtt.AppendConnect(nil, mqtt.Connect{ClientID: []byte("nobody"), Username: []byte("hub.test/nobody"), HasUsername: true, CleanSession: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{packet[:1], packet[1:5], packet[5:]} {
		if n, err := c.Write(part); n != len(part) || err != nil {
			t.Fatalf("Write() = %d, %v", n, err)
		}
	}
	head, body, err := mqtt.NewReader(c, 1024).Next()
	if err != nil {
		t.Fatalf("read the CONNACK: %v", err)
	}
	return head, body
}

func TestBothTransportsCarryMQTT(t *testing.T) {
	for _, transport := range []dialer.Transport{dialer.MQTT, dialer.WebSocket} {
		synctest.Test(t, func(t *testing.T) {
			_, _, d := start(t)
			c, err := d.Dial(t.Context(), transport, "dev1")
			if err != nil {
				t.Fatalf("Dial(%s) = %v", transport, err)
			}
			defer c.Close()
			if head, body := exchange(t, c); head.Type != mqtt.TypeConnack || len(body) != 2 || body[1] != 5 {
				t.Errorf("%s: the hub answers with %v %v, want CONNACK 5", transport, head.Type, body)
			}
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("%s: Read() after the hub has closed = %v, want EOF", transport, err)
			}
		})
	}
}

// TestDevicesResumeTheirOwnSessions connects twice as each device.
func TestDevicesResumeTheirOwnSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, d := start(t)
		resumed := func(device string) bool {
			t.Helper()
			c, err := d.Dial(t.Context(), dialer.MQTT, device)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			exchange(t, c) // the ticket comes with the first bytes
			state := c.(socket.Secure).ConnectionState()
			if state.Version < tls.VersionTLS12 || state.ServerName != "hub.test" {
				t.Errorf("connected as %q with version %x", state.ServerName, state.Version)
			}
			return state.DidResume
		}
		var got []bool
		for _, device := range []string{"dev1", "dev2", "dev1", "dev2", "", ""} {
			got = append(got, resumed(device))
		}
		if want := "[false false true true false false]"; fmt.Sprint(got) != want {
			t.Errorf("resumed as dev1, dev2, dev1, dev2 and nobody twice: %v, want %s", got, want)
		}
	})
}

func TestChoose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, at, d := start(t)
		chooses := func(want dialer.Transport, instead, fault string) {
			t.Helper()
			got, why, err := d.Choose(t.Context())
			if got != want || (why == nil) != (instead == "") || why != nil && !strings.Contains(why.Error(), instead) ||
				(err == nil) != (fault == "") || err != nil && !strings.Contains(err.Error(), fault) {
				t.Errorf("Choose() = %q, %v, %v; want %q, %q, %q", got, why, err, want, instead, fault)
			}
		}
		chooses(dialer.MQTT, "", "")
		at[mqttAddr] = nil
		chooses(dialer.WebSocket, "reach hub.test:8883 by mqtt: dial tcp: connection refused", "")
		at[mqttAddr], at[wsAddr] = s.MQTT, s.RESTS // what is there does not speak TLS
		chooses(dialer.WebSocket, "reach hub.test:8883 by mqtt", "")
		at[mqttAddr] = memnet.Listen("silent") // nobody accepts
		began := time.Now()
		chooses(dialer.WebSocket, "context deadline exceeded", "")
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("a silent port was tried for %v, want 10s", took)
		}
		at[mqttAddr], at[wsAddr] = nil, nil
		chooses("", "", "reach hub.test:443 by websocket: dial tcp: connection refused")
		at[mqttAddr], at[wsAddr] = s.MQTTS, s.RESTS
		d = dialer.New(dialer.Options{MQTT: mqttAddr, WebSocket: wsAddr, Network: at.dial}) // it does not trust the hub
		chooses("", "", "failed to verify certificate")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := d.Choose(ctx); err == nil {
			t.Error("Choose() with a context that has ended = nil")
		}
	})
}

// TestWebSocketsThatAreNone holds one answer on each line.
func TestWebSocketsThatAreNone(t *testing.T) {
	for _, c := range []struct {
		answer func(http.ResponseWriter, *http.Request)
		want   string
	}{
		{http.NotFound, "websocket: the hub answers 404 Not Found"},
		{func(w http.ResponseWriter, r *http.Request) {
			up := websocket.Upgrader{}
			if ws, err := up.Upgrade(w, r, nil); err == nil {
				_ = ws.Close()
			}
		}, "websocket: the hub does not speak mqtt in it"},
	} {
		serving(t, c.answer, func(d *dialer.Dialer) {
			if _, err := d.Dial(t.Context(), dialer.WebSocket, "dev1"); fmt.Sprint(err) != c.want {
				t.Errorf("Dial() = %v, want %s", err, c.want)
			}
		})
	}
}

// TestASilentServerEndsWithItsContext waits for an answer that never comes, as
// a device does: until it is told, without a deadline.
func TestASilentServerEndsWithItsContext(t *testing.T) {
	for _, transport := range []dialer.Transport{dialer.MQTT, dialer.WebSocket} {
		synctest.Test(t, func(t *testing.T) {
			l := memnet.Listen("silent")
			var accepting sync.WaitGroup
			accepting.Go(func() {
				if c, err := l.Accept(); err == nil {
					_, _ = io.Copy(io.Discard, c)
				}
			})
			defer accepting.Wait()
			defer l.Close()
			d := dialer.New(dialer.Options{MQTT: mqttAddr, WebSocket: wsAddr, Network: places{mqttAddr: l, wsAddr: l}.dial})
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			over := errors.New("over")
			defer time.AfterFunc(5*time.Second, func() { cancel(over) }).Stop()
			began := time.Now()
			if _, err := d.Dial(ctx, transport, "dev1"); err == nil || time.Since(began) != 5*time.Second {
				t.Errorf("Dial(%s) = %v after %v, want it to end after 5s", transport, err, time.Since(began))
			}
		})
	}
	entered, done := make(chan struct{}), make(chan struct{})
	serving(t, func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-done
	}, func(d *dialer.Dialer) {
		defer close(done)
		ctx, cancel := context.WithCancelCause(t.Context())
		over := errors.New("over")
		var waiting sync.WaitGroup
		waiting.Go(func() {
			<-entered
			cancel(over)
		})
		defer waiting.Wait()
		if _, err := d.Dial(ctx, dialer.WebSocket, "dev1"); !errors.Is(err, over) {
			t.Errorf("Dial() of a WebSocket that is never answered = %v, want over", err)
		}
	})
}

// TestWebSocketBreaches holds a peer's fault on each line.
func TestWebSocketBreaches(t *testing.T) {
	for _, c := range []struct {
		name string
		send func(*websocket.Conn) error
		want string
	}{
		{"text", func(ws *websocket.Conn) error { return ws.WriteMessage(websocket.TextMessage, []byte("hello")) }, "not binary"},
		{"cut off", func(ws *websocket.Conn) error { return ws.NetConn().Close() }, "EOF"},
		{"farewell", func(ws *websocket.Conn) error { return ws.WriteMessage(websocket.CloseMessage, nil) }, "EOF"},
	} {
		done := make(chan struct{})
		answer := func(w http.ResponseWriter, r *http.Request) {
			up := websocket.Upgrader{Subprotocols: []string{"mqtt"}}
			ws, err := up.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer ws.Close()
			_ = ws.WriteMessage(websocket.BinaryMessage, []byte("good"))
			_ = c.send(ws)
			<-done
		}
		serving(t, answer, func(d *dialer.Dialer) {
			defer close(done)
			conn, err := d.Dial(t.Context(), dialer.WebSocket, "dev1")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Errorf("%s: SetDeadline() = %v", c.name, err)
			}
			got, err := io.ReadAll(conn)
			if string(got) != "good" || c.want == "EOF" && c.name == "farewell" && err != nil || c.want != "EOF" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: read %q, %v; want good, then %s", c.name, got, err, c.want)
			}
		})
	}
}

// TestWebSocketWritersDoNotMeet writes from many goroutines, as paho does.
func TestWebSocketWritersDoNotMeet(t *testing.T) {
	const writers, each = 8, 50
	got := make(chan int, 1) // how many whole messages came
	answer := func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{Subprotocols: []string{"mqtt"}}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		n := 0
		for {
			_, p, err := ws.ReadMessage()
			if err != nil {
				got <- n
				return
			}
			if string(p) == "message" {
				n++
			}
		}
	}
	serving(t, answer, func(d *dialer.Dialer) {
		conn, err := d.Dial(t.Context(), dialer.WebSocket, "dev1")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range writers {
			all.Go(func() {
				for range each {
					_ = conn.SetWriteDeadline(time.Now().Add(time.Minute))
					_, _ = conn.Write([]byte("message")) // counted at the other end
				}
			})
		}
		all.Wait()
		_ = conn.Close()
		if n := <-got; n != writers*each {
			t.Errorf("%d whole messages came, want %d", n, writers*each)
		}
	})
}

// serving runs do with a dialer to a server of one's own behind the hub's
// certificate.
func serving(t *testing.T, answer http.HandlerFunc, do func(*dialer.Dialer)) {
	t.Helper()
	ca, err := hub.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue("hub.test")
	if err != nil {
		t.Fatal(err)
	}
	l := memnet.Listen("server")
	server := &http.Server{Handler: answer}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})) }) // ends with the test
	defer running.Wait()
	defer server.Close()
	h := hubtest.Start(t, &hub.Options{HostName: "hub.test", CA: ca})
	do(dialer.New(dialer.Options{WebSocket: wsAddr, TLS: trusting(t, h), Network: places{wsAddr: l}.dial}))
}

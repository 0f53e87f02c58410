package hub_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/memnet"
	"muster/internal/mqtt"
)

// Connections that never say who they are make room for others, the oldest first, and go after ten seconds.
func TestManyStrangers(t *testing.T) {
	most, n := 0, 50_000 // 0: the hub's default
	want := int64(16_384)
	if raceEnabled { // which stands no more than 8,000 goroutines
		most, n, want = 1000, 5000, 1000
	}
	bounded(t, &hub.Options{MaxStrangers: most}, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "late")
		synctest.Wait()
		before := heapNow()
		conns := make([]net.Conn, n)
		for i := range conns {
			l := s.MQTT
			if i%10 == 0 {
				l = s.REST
			}
			conns[i] = dialRawNow(t, l)
			if i%1000 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		got := s.Stats()
		if got.Strangers != want || got.Crowded != int64(n)-want || got.Unproven != 0 {
			t.Errorf("%d strangers, %d closed for them, %d others; want %d, %d and none", got.Strangers, got.Crowded, got.Unproven, want, int64(n)-want)
		}
		each := (heapNow() - before) / int64(n)
		t.Logf("%d connections take %d bytes of heap each, %d KB in all", n, each, each*int64(n)>>10)
		if each*int64(n)/want > 16<<10 {
			t.Errorf("a stranger takes %d bytes", each*int64(n)/want)
		}
		late := reconnect(t, s, "late")
		late.alive()
		time.Sleep(10 * time.Second)
		eventually(t, "all gone", func() bool { return s.Stats().Strangers == 0 && s.Stats().Unproven >= want-2 })
		late.alive()
		_ = late.conn.Close()
		for _, c := range conns {
			_ = c.Close()
		}
	})
}

func dialRawNow(t testing.TB, l *memnet.Listener) net.Conn {
	t.Helper()
	conn, err := l.DialContext(context.Background(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// A device and a service that have proved themselves are no strangers, however many come.
func TestStrangersMakeNoRoomOfOthers(t *testing.T) {
	bounded(t, &hub.Options{MaxStrangers: 2}, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "proved")
		ws := dialWS(t, s)
		register(t, s, "socket")
		if code := ws.connect(valid(s, "socket"), true, 60); code != mqtt.Accepted {
			t.Fatalf("CONNACK %d", code)
		}
		conn := dialRaw(t, s.REST)
		rd := bufio.NewReader(conn)
		ask := func() {
			t.Helper()
			_, _ = conn.Write(requests(s, true)[0])
			resp, err := http.ReadResponse(rd, nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("%v %v", resp, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		ask()
		before := s.Stats().Crowded
		for range 10 {
			dialRaw(t, s.MQTT)
			dialRaw(t, s.MQTTS)
			dialRaw(t, s.RESTS)
		}
		synctest.Wait()
		b.alive()
		ws.alive()
		ask()
		if got := s.Stats(); got.Crowded != before+28 || got.Strangers != 2 {
			t.Errorf("%d strangers, %d closed for them, want 2 and 28", got.Strangers, got.Crowded-before)
		}
		for _, c := range []net.Conn{b.conn, ws.conn, conn} {
			_ = c.Close()
		}
		time.Sleep(10 * time.Second)
	})
}

// scarce is a listener that has run out of descriptors until a connection is closed.
type scarce struct {
	net.Listener
	mu   sync.Mutex
	free int
}

type scarceConn struct {
	net.Conn
	l *scarce
}

func (c scarceConn) Close() error {
	c.l.mu.Lock()
	c.l.free++
	c.l.mu.Unlock()
	return c.Conn.Close()
}

func (l *scarce) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free == 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	l.free--
	l.mu.Unlock()
	conn, err := l.Listener.Accept()
	l.mu.Lock()
	if err != nil {
		return nil, err
	}
	return scarceConn{conn, l}, nil
}

// When descriptors run out, strangers give theirs.
func TestStrangersGiveTheirDescriptors(t *testing.T) {
	bounded(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "late")
		l := memnet.Listen("scarce")
		var serving sync.WaitGroup
		serving.Go(func() { _ = s.ServeMQTT(&scarce{Listener: l, free: 3}) })
		for range 3 {
			dialRaw(t, l)
		}
		synctest.Wait()
		b := bareOn(t, dialRaw(t, l))
		start := time.Now()
		if code := b.connect(valid(s, "late"), true, 60); code != mqtt.Accepted {
			t.Fatalf("CONNACK %d", code)
		}
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("connected after %v, though strangers hold descriptors", took)
		}
		if got := s.Stats().Unaccepted; got < 1 {
			t.Errorf("Stats().Unaccepted = %d after a connection waited for a descriptor", got)
		}
		_ = l.Close()
		time.Sleep(10 * time.Second)
		_ = b.conn.Close()
		synctest.Wait()
		serving.Wait()
	})
}

// They do so for services too.
func TestStrangersGiveServicesTheirDescriptors(t *testing.T) {
	bounded(t, nil, func(t *testing.T, s *hubtest.Server) {
		l := memnet.Listen("scarce")
		var serving sync.WaitGroup
		serving.Go(func() { _ = s.ServeREST(&scarce{Listener: l, free: 3}) })
		for range 3 {
			dialRaw(t, l)
		}
		synctest.Wait()
		client := &http.Client{Transport: &http.Transport{DialContext: l.DialContext, DisableKeepAlives: true}}
		start := time.Now()
		resp, err := client.Get("http://scarce/devices")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("answered after %v, though strangers hold descriptors", took)
		}
		_ = l.Close()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		serving.Wait()
	})
}

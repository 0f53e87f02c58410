package memnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"muster/internal/memnet"
)

func TestListenerAddr(t *testing.T) {
	l := memnet.Listen("hub")
	client, server := connect(t, l)
	for name, addr := range map[string]net.Addr{
		"listener": l.Addr(), "client's peer": client.RemoteAddr(), "server": server.LocalAddr(),
		"client": client.LocalAddr(), "server's peer": server.RemoteAddr(),
	} {
		if addr.Network() != "memory" || addr.String() != "memory:hub" {
			t.Errorf("%s: %s %s, want memory memory:hub", name, addr.Network(), addr)
		}
	}
}

func TestDialBeforeAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen("hub")
		client, err := l.DialContext(t.Context(), "tcp", "anything:1883")
		if err != nil {
			t.Fatal(err)
		}
		client.Write([]byte("hello"))
		client.Close()
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		if got, err := io.ReadAll(server); string(got) != "hello" || err != nil {
			t.Errorf("read %q, %v; want hello", got, err)
		}
	})
}

func TestDialErrors(t *testing.T) {
	check := func(name string, want error, dial func(l *memnet.Listener) (net.Conn, error)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := memnet.Listen("hub")
				defer l.Close()
				if _, err := dial(l); !errors.Is(err, want) {
					t.Errorf("DialContext: %v, want %v", err, want)
				}
			})
		})
	}
	dial := func(ctx context.Context, l *memnet.Listener) (net.Conn, error) { return l.DialContext(ctx, "", "") }
	fill := func(l *memnet.Listener) {
		for range 128 {
			dial(context.Background(), l)
		}
	}

	check("closed", syscall.ECONNREFUSED, func(l *memnet.Listener) (net.Conn, error) {
		l.Close()
		return dial(context.Background(), l)
	})
	check("cancelled before", context.Canceled, func(l *memnet.Listener) (net.Conn, error) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return dial(ctx, l)
	})
	check("timed out in the queue", context.DeadlineExceeded, func(l *memnet.Listener) (net.Conn, error) {
		fill(l)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return dial(ctx, l)
	})
	check("closed while in the queue", syscall.ECONNREFUSED, func(l *memnet.Listener) (net.Conn, error) {
		fill(l)
		time.AfterFunc(time.Minute, func() { l.Close() })
		return dial(context.Background(), l)
	})
	check("queue moves on", nil, func(l *memnet.Listener) (net.Conn, error) {
		fill(l)
		time.AfterFunc(time.Minute, func() { l.Accept() })
		return dial(context.Background(), l)
	})
}

func TestListenerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen("hub")
		accepted, server := connect(t, l)
		defer server.Close()
		queued, err := l.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v, want net.ErrClosed", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v, want net.ErrClosed", err)
		}
		if _, err := accepted.Write([]byte("a")); err != nil {
			t.Errorf("Write on an accepted connection: %v", err)
		}
		if _, err := queued.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read on a connection never accepted: %v, want EOF", err)
		}
	})
}

func TestCloseEndsAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen("hub")
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { _, err = l.Accept() })
		synctest.Wait()
		l.Close()
		wg.Wait()
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v, want net.ErrClosed", err)
		}
	})
}

// TestDialRacesClose wants every connection that was dialed while the listener
// was closing to end, never to wait for an Accept that will not come.
func TestDialRacesClose(t *testing.T) {
	for range 2000 {
		l := memnet.Listen("hub")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				c, err := l.DialContext(t.Context(), "", "")
				if err != nil {
					return
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err := c.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("Read: %v, want EOF", err)
				}
			})
		}
		wg.Go(func() { l.Close() })
		wg.Wait()
	}
}

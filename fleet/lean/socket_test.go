package lean_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"muster/fleet"
	"muster/fleet/lean"
	"muster/internal/mqtt"
	"muster/internal/socket"
)

var sockets socket.Network

// dialSocket opens a connection over loopback to a server that accepts it.
func dialSocket(t *testing.T, s fleet.Session) (conn fleet.Conn, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan *net.TCPConn, 1) // one connection
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _, err = mqtt.NewReader(c, 1<<10).Next()
		}
		if err == nil { // what follows the CONNACK at once must not be lost
			_, err = c.Write(append(mqtt.AppendConnack(nil, false, mqtt.Accepted), packet(mqtt.Publish{Topic: []byte("early")})...))
		}
		if err != nil {
			t.Error(err)
		}
		accepted <- c.(*net.TCPConn)
	}()
	conn, err = new(lean.Driver).Dial(t.Context(), func(ctx context.Context) (net.Conn, error) {
		return sockets.Dial(ctx, netip.Addr{}, l.Addr().(*net.TCPAddr).AddrPort())
	}, s)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	server = <-accepted
	t.Cleanup(func() {
		_ = conn.Close()
		_ = server.Close()
	})
	return conn, server
}

// TestSocket has messages of all sizes come over a socket, one by one, many at
// once and in pieces.
func TestSocket(t *testing.T) {
	got := make(chan int, 1000) // all that the test sends
	_, server := dialSocket(t, fleet.Session{ClientID: "dev", OnMessage: func(_ string, payload []byte) { got <- len(payload) }})
	want := func(what string, sizes ...int) {
		t.Helper()
		left := map[int]int{}
		for _, size := range sizes {
			left[size]++
		}
		for range sizes { // handlers run side by side, in any order
			left[<-got]--
		}
		for size, n := range left {
			if n != 0 {
				t.Errorf("%s: %d messages of %d bytes too few", what, n, size)
			}
		}
	}
	send := func(b []byte) {
		t.Helper()
		if _, err := server.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	message := func(size int) []byte {
		return packet(mqtt.Publish{Topic: []byte("t"), Payload: make([]byte, size)})
	}
	want("behind the CONNACK", 0)
	for _, size := range []int{1, 500, 600, 20_000, 300_000, 2} {
		send(message(size))
		want("alone", size)
	}
	send(bytes.Repeat(message(100), 200))
	want("at once", slices.Repeat([]int{100}, 200)...)
	for _, b := range message(700) {
		send([]byte{b})
	}
	want("in pieces", 700)
}

// TestSocketEnds ends connections over a socket and wants to be told why.
func TestSocketEnds(t *testing.T) {
	check := func(name string, end func(server *net.TCPConn), want error) {
		t.Helper()
		lost := make(chan error, 1)
		conn, server := dialSocket(t, fleet.Session{ClientID: "dev", OnLost: func(err error) { lost <- err }})
		end(server)
		if err := <-lost; !errors.Is(err, want) {
			t.Errorf("%s: lost for %v, want %v", name, err, want)
		}
		if err := conn.Close(); err != nil {
			t.Errorf("%s: Close() = %v", name, err)
		}
	}
	check("end", func(server *net.TCPConn) { server.Close() }, io.EOF)
	check("end in the middle", func(server *net.TCPConn) {
		server.Write([]byte{0x30, 100, 0})
		server.CloseWrite()
	}, io.ErrUnexpectedEOF)
	check("reset", func(server *net.TCPConn) {
		server.SetLinger(0)
		server.Close()
	}, syscall.ECONNRESET)
}

func TestSocketClose(t *testing.T) {
	conn, _ := dialSocket(t, fleet.Session{ClientID: "dev", OnLost: func(err error) { t.Errorf("lost for %v after Close", err) }})
	if err := conn.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if err := conn.Publish(t.Context(), "t", nil, 0); err == nil {
		t.Error("Publish after Close gives no error")
	}
}

//go:build linux

package socket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"muster/internal/socket"
)

var anywhere netip.Addr

// listen opens a listener of n on loopback.
func listen(t testing.TB, n *socket.Network) (net.Listener, netip.AddrPort) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := n.Listen(tcp)
	if err != nil {
		t.Fatal(err)
	}
	return l, l.Addr().(*net.TCPAddr).AddrPort()
}

// pair returns both ends of a connection, which are closed with the test at the latest.
func pair(t testing.TB, n *socket.Network) (a, b *socket.Conn) {
	t.Helper()
	l, addr := listen(t, n)
	defer l.Close()
	dialed, err := n.Dial(t.Context(), anywhere, addr)
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = dialed.Close()
		_ = accepted.Close()
	})
	return dialed.(*socket.Conn), accepted.(*socket.Conn)
}

// TestNetConn is package net's own test of what implements net.Conn.
func TestNetConn(t *testing.T) {
	nettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
		var n socket.Network
		x, y := pair(t, &n)
		return x, y, func() {
			_ = x.Close() // the test may have closed it
			_ = y.Close()
		}, nil
	})
}

// teller counts how often a connection told, and lets a test wait for that.
type teller struct {
	mu      sync.Mutex
	changed sync.Cond
	times   int
}

func tellerOf(c *socket.Conn) *teller {
	told := new(teller)
	told.changed.L = &told.mu
	c.TellRead(func() {
		told.mu.Lock()
		defer told.mu.Unlock()
		told.times++
		told.changed.Broadcast()
	})
	return told
}

// await waits until it was told more than so many times, and returns how many.
func (told *teller) await(times int) int {
	told.mu.Lock()
	defer told.mu.Unlock()
	for told.times <= times {
		told.changed.Wait()
	}
	return told.times
}

func (told *teller) count() int {
	told.mu.Lock()
	defer told.mu.Unlock()
	return told.times
}

// TestTold does something to a connection whose one end a is told, and looks what
// a TryRead gives then.
func TestTold(t *testing.T) {
	var n socket.Network
	check := func(name string, do func(a, b *socket.Conn), wantN int, wantErr error) {
		t.Helper()
		a, b := pair(t, &n)
		told := tellerOf(a)
		do(a, b)
		told.await(0)
		got, err := a.TryRead(make([]byte, 10))
		if got != wantN || !errors.Is(err, wantErr) {
			t.Errorf("%s: TryRead = %d, %v; want %d, %v", name, got, err, wantN, wantErr)
		}
	}
	check("a write", func(_, b *socket.Conn) { b.Write([]byte("abc")) }, 3, nil)
	check("more than a read takes", func(_, b *socket.Conn) { b.Write(make([]byte, 20)) }, 10, nil)
	check("the end", func(_, b *socket.Conn) { b.Close() }, 0, io.EOF)
	check("the own close", func(a, _ *socket.Conn) { a.Close() }, 0, net.ErrClosed)
}

func TestNothingToRead(t *testing.T) {
	var n socket.Network
	a, b := pair(t, &n)
	check := func(when string) {
		t.Helper()
		if got, err := a.TryRead(make([]byte, 10)); got != 0 || err != syscall.EAGAIN {
			t.Errorf("%s: TryRead = %d, %v; want 0, EAGAIN", when, got, err)
		}
	}
	check("at first")
	b.Write([]byte("abc"))
	if got, err := a.Read(make([]byte, 10)); got != 3 || err != nil {
		t.Errorf("Read = %d, %v; want 3, nil", got, err)
	}
	check("behind all that came")
	a.SetReadDeadline(time.Unix(1, 0))
	if _, err := a.TryRead(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("TryRead behind the deadline: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	a.SetReadDeadline(time.Time{})
	check("without a deadline")
}

// TestToldReaderMissesNothing has many readers that only ever read when they were
// told, into buffers that what comes fills or does not, and to the end.
func TestToldReaderMissesNothing(t *testing.T) {
	var n socket.Network
	const conns, each = 20, 300 << 10
	var working sync.WaitGroup
	for i := range conns {
		a, b := pair(t, &n)
		told := tellerOf(a)
		working.Go(func() {
			for left := each; left > 0; left -= min(left, 1000+i) {
				if _, err := b.Write(make([]byte, min(left, 1000+i))); err != nil {
					t.Errorf("Write: %v", err)
				}
			}
			b.Close()
		})
		working.Go(func() {
			got, times := 0, 0
			for buf := make([]byte, 1000); ; {
				n, err := a.TryRead(buf)
				got += n
				if err == syscall.EAGAIN {
					times = told.await(times)
				} else if err == io.EOF {
					break
				} else if err != nil {
					t.Errorf("TryRead: %v", err)
					break
				}
			}
			if got != each {
				t.Errorf("read %d bytes, want %d", got, each)
			}
		})
	}
	working.Wait()
}

// TestTryWrite fills a connection that nobody reads, and goes on when somebody
// has read it.
func TestTryWrite(t *testing.T) {
	var n socket.Network
	a, b := pair(t, &n)
	sent := 0
	for {
		n, err := a.TryWrite(make([]byte, 64<<10))
		if err != nil {
			t.Fatalf("TryWrite: %v", err)
		}
		if n == 0 {
			break
		}
		sent += n
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		if n, err := a.Write([]byte("last")); n != 4 || err != nil {
			t.Errorf("Write = %d, %v; want 4, nil", n, err)
		}
	})
	got := make([]byte, sent+4)
	if _, err := io.ReadFull(b, got); err != nil {
		t.Fatal(err)
	}
	writing.Wait()
	if !bytes.HasSuffix(got, []byte("\x00last")) {
		t.Errorf("the end is %q", got[sent-4:])
	}
	if n, err := a.TryWrite([]byte("more")); n != 4 || err != nil {
		t.Errorf("TryWrite = %d, %v; want 4, nil", n, err)
	}
}

func TestDialFails(t *testing.T) {
	var n socket.Network
	l, gone := listen(t, &n)
	l.Close()
	ended, end := context.WithCancelCause(t.Context())
	end(io.ErrNoProgress)
	check := func(name string, ctx context.Context, from netip.Addr, to netip.AddrPort, want error) {
		t.Helper()
		c, err := n.Dial(ctx, from, to)
		if c != nil || !errors.Is(err, want) {
			t.Errorf("%s: Dial = %v, %v; want nil, %v", name, c, err, want)
		}
		if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Op != "dial" {
			t.Errorf("%s: the error is %#v, want that of a dial", name, err)
		}
	}
	check("nobody listens", t.Context(), anywhere, gone, syscall.ECONNREFUSED)
	check("no such address here", t.Context(), netip.MustParseAddr("192.0.2.1"), gone, syscall.EADDRNOTAVAIL)
	check("given up", ended, anywhere, gone, io.ErrNoProgress)
}

func TestFrom(t *testing.T) {
	var n socket.Network
	l, addr := listen(t, &n)
	defer l.Close()
	from := netip.MustParseAddr("127.0.0.5")
	c, err := n.Dial(t.Context(), from, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	peer := accepted.RemoteAddr().(*net.TCPAddr).AddrPort()
	if peer.Addr() != from || peer.String() != c.LocalAddr().String() {
		t.Errorf("the peer is %v, which says that it is %v; want a port of %v", peer, c.LocalAddr(), from)
	}
}

// TestSilentPeersAreProbed looks at the timers that the system has of connections that may be those of other hosts.
func TestSilentPeersAreProbed(t *testing.T) {
	var n socket.Network
	tcp, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := n.Listen(tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	check := func(host netip.Addr, wantDialed, wantAccepted bool) {
		t.Helper()
		dialed, err := n.Dial(t.Context(), anywhere, netip.AddrPortFrom(host, port))
		if err != nil {
			t.Fatal(err)
		}
		defer dialed.Close()
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		if got := probed(t, dialed); got != wantDialed {
			t.Errorf("to %s: the peer is probed: %t, want %t", host, got, wantDialed)
		}
		if got := probed(t, accepted); got != wantAccepted {
			t.Errorf("from %s: the peer is probed: %t, want %t", host, got, wantAccepted)
		}
	}
	check(netip.MustParseAddr("127.0.0.1"), false, true)
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			check(p.Addr(), true, true)
			break // one shows it
		}
	}
}

// probed says whether the system has a keep-alive timer of a connection.
func probed(t *testing.T, c net.Conn) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	ports := func(a net.Addr) string { return fmt.Sprintf(":%04X", a.(*net.TCPAddr).Port) }
	for line := range strings.Lines(string(table)) { // number, both addresses, state, queues, timer
		f := strings.Fields(line)
		if strings.HasSuffix(f[1], ports(c.LocalAddr())) && strings.HasSuffix(f[2], ports(c.RemoteAddr())) {
			return strings.HasPrefix(f[5], "02:") // proc(5)
		}
	}
	t.Fatalf("the system has no connection from %s to %s", c.LocalAddr(), c.RemoteAddr())
	return false
}

func TestAcceptEnds(t *testing.T) {
	var n socket.Network
	l, _ := listen(t, &n)
	var closing sync.WaitGroup
	closing.Go(func() { l.Close() })
	if c, err := l.Accept(); c != nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v, %v; want nil, %v", c, err, net.ErrClosed)
	}
	closing.Wait()
}

// TestCloseBesideUse closes connections that are being used, so that their
// descriptors are those of others at once, and wants nobody to read for another.
func TestCloseBesideUse(t *testing.T) {
	var n socket.Network
	var working sync.WaitGroup
	for i := range 8 {
		working.Go(func() {
			for range 100 {
				a, b := pair(t, &n)
				var using sync.WaitGroup
				using.Go(func() {
					buf := make([]byte, 10)
					for {
						n, err := a.Read(buf)
						if err != nil {
							return
						}
						for _, got := range buf[:n] {
							if got != byte(i) {
								t.Errorf("read a byte of connection %d, want of %d", got, i)
								return
							}
						}
					}
				})
				b.Write(bytes.Repeat([]byte{byte(i)}, 25))
				a.Close()
				using.Wait()
				b.Close()
			}
		})
	}
	working.Wait()
}

// TestManyReaders has many read one byte each of what comes at once: nobody may be left waiting.
func TestManyReaders(t *testing.T) {
	var n socket.Network
	for range 20 {
		a, b := pair(t, &n)
		const readers = 30
		var reading sync.WaitGroup
		for range readers {
			reading.Go(func() {
				if n, err := a.Read(make([]byte, 1)); n != 1 || err != nil {
					t.Errorf("Read = %d, %v; want 1, nil", n, err)
				}
			})
		}
		b.Write(make([]byte, readers))
		reading.Wait() // or the test is stuck
		a.Close()
		b.Close()
	}
}

// TestEventOfAnother has something happen to a socket whose descriptor is that of another connection since, and that is
// not gone: somebody has a duplicate, as a process that is being started has.
func TestEventOfAnother(t *testing.T) {
	var n socket.Network
	fence, toFence := pair(t, &n)
	l, addr := listen(t, &n)
	defer l.Close()
	dialed, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := dialed.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	gone, err := n.Adopt(dialed)
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	var others [2]*teller // the descriptors that are free are theirs
	for i := range others {
		c, err := n.Dial(t.Context(), anywhere, addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		others[i] = tellerOf(c.(*socket.Conn))
	}
	fenced := tellerOf(fence)
	peer.Close()
	toFence.Write([]byte("x"))
	fenced.await(0)
	for _, told := range others {
		if told.count() != 0 {
			t.Error("a connection to which nothing happened was told that something did")
		}
	}
}

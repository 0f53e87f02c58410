package memnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"muster/internal/memnet"
)

func TestConnConforms(t *testing.T) {
	t.Run("Pipe", func(t *testing.T) {
		nettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
			a, b = memnet.Pipe()
			return a, b, func() { a.Close(); b.Close() }, nil
		})
	})
	t.Run("Listener", func(t *testing.T) {
		nettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
			l := memnet.Listen("conformance")
			a, b = connect(t, l)
			return a, b, func() { a.Close(); b.Close(); l.Close() }, nil
		})
	})
}

// connect returns both ends of a connection through l.
func connect(t testing.TB, l *memnet.Listener) (client, server net.Conn) {
	t.Helper()
	client, err := l.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatalf("DialContext: %v", err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	return client, server
}

// step is one call in the table of TestErrors.
type step func(a, b net.Conn) (int, error)

func read(n int) step {
	return func(a, _ net.Conn) (int, error) { return a.Read(make([]byte, n)) }
}

func write(s string) step {
	return func(a, _ net.Conn) (int, error) { return a.Write([]byte(s)) }
}

func closeWrite(a, _ net.Conn) (int, error) {
	return 0, a.(interface{ CloseWrite() error }).CloseWrite()
}

func deadline(d time.Duration) step {
	return func(a, _ net.Conn) (int, error) { return 0, a.SetDeadline(time.Now().Add(d)) }
}

func noDeadline(a, _ net.Conn) (int, error) { return 0, a.SetDeadline(time.Time{}) }

func closeConn(a, _ net.Conn) (int, error) { return 0, a.Close() }

// peer does s at the other end.
func peer(s step) step {
	return func(a, b net.Conn) (int, error) { return s(b, a) }
}

// TestErrors makes calls one after the other on both ends of a connection, none
// of which may block for ever, and looks at the last one's results.
func TestErrors(t *testing.T) {
	check := func(name string, wantN int, wantErr error, steps ...step) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := memnet.Pipe()
				defer b.Close()
				defer a.Close()
				var n int
				var err error
				for _, s := range steps {
					n, err = s(a, b)
				}
				if n != wantN || !errors.Is(err, wantErr) {
					t.Errorf("last call = %d, %v; want %d, %v", n, err, wantN, wantErr)
				}
			})
		})
	}
	second, past, full := deadline(time.Second), deadline(-time.Second), write(string(make([]byte, 64<<10)))

	check("read what came", 2, nil, peer(write("abc")), read(2))
	check("read the rest", 1, nil, peer(write("abc")), read(2), read(2))
	check("read drains first", 3, nil, peer(write("abc")), peer(closeConn), read(4))
	check("then end of file", 0, io.EOF, peer(write("abc")), peer(closeConn), read(4), read(4))
	check("half-close", 0, io.EOF, peer(closeWrite), read(1))
	check("half-close twice", 0, nil, closeWrite, closeWrite)
	check("write after half-close", 0, syscall.EPIPE, closeWrite, write("a"))
	check("read after own half-close", 1, nil, closeWrite, peer(write("a")), read(1))
	check("write to half-closed peer", 1, nil, peer(closeWrite), write("a"))
	check("write to closed peer", 0, syscall.EPIPE, peer(closeConn), write("a"))
	check("read after close", 0, net.ErrClosed, peer(write("a")), closeConn, read(1))
	check("write after close", 0, net.ErrClosed, closeConn, write("a"))
	check("close twice", 0, net.ErrClosed, closeConn, closeConn)
	check("close after half-close", 0, nil, closeWrite, closeConn)
	check("half-close after close", 0, net.ErrClosed, closeConn, closeWrite)
	check("deadline after close", 0, net.ErrClosed, closeConn, second)
	check("empty read", 0, nil, read(0))
	check("empty write", 0, nil, write(""))
	check("empty write to closed peer", 0, syscall.EPIPE, peer(closeConn), write(""))
	check("read times out", 0, os.ErrDeadlineExceeded, second, read(1))
	check("write times out", 0, os.ErrDeadlineExceeded, full, second, write("a"))
	check("write of a part times out", 64<<10, os.ErrDeadlineExceeded, second, write(string(make([]byte, 65<<10))))
	check("past deadline beats data", 0, os.ErrDeadlineExceeded, peer(write("a")), past, read(1))
	check("past deadline beats room", 0, os.ErrDeadlineExceeded, past, write("a"))
	check("past deadline taken back", 1, nil, peer(write("a")), past, noDeadline, read(1))
	check("deadline put off", 1, nil, peer(write("a")), past, second, read(1))
	check("deadline never set is taken back", 1, nil, noDeadline, write("a"))
	check("deadline before close", 0, net.ErrClosed, second, closeConn, read(1))
}

// TestDeadlinesOnFakeClock wants each deadline on the bubble's clock to the
// nanosecond.
func TestDeadlinesOnFakeClock(t *testing.T) {
	check := func(name string, want time.Duration, set func(c net.Conn, in func(time.Duration) time.Time)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := memnet.Pipe()
				defer b.Close()
				defer a.Close()
				start := time.Now()
				set(a, func(d time.Duration) time.Time { return start.Add(d) })
				_, err := a.Read(make([]byte, 1))
				if got := time.Since(start); got != want || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Read ended after %v with %v, want %v and a timeout", got, err, want)
				}
				var netErr net.Error
				if !errors.As(err, &netErr) || !netErr.Timeout() {
					t.Errorf("Timeout() of %v is not true", err)
				}
			})
		})
	}
	type in = func(time.Duration) time.Time

	check("once", time.Hour, func(c net.Conn, at in) { c.SetReadDeadline(at(time.Hour)) })
	check("both", time.Hour, func(c net.Conn, at in) { c.SetDeadline(at(time.Hour)) })
	check("later", time.Hour, func(c net.Conn, at in) { c.SetReadDeadline(at(1)); c.SetReadDeadline(at(time.Hour)) })
	check("earlier", time.Second, func(c net.Conn, at in) {
		c.SetReadDeadline(at(time.Hour))
		c.SetReadDeadline(at(time.Second))
	})
	check("earlier while blocked", 3*time.Second, func(c net.Conn, at in) {
		c.SetReadDeadline(at(time.Hour))
		time.AfterFunc(2*time.Second, func() { c.SetReadDeadline(at(3 * time.Second)) })
	})
	check("later while blocked", time.Hour, func(c net.Conn, at in) {
		c.SetReadDeadline(at(3 * time.Second))
		time.AfterFunc(2*time.Second, func() { c.SetReadDeadline(at(time.Hour)) })
	})
	check("past while blocked", 2*time.Second, func(c net.Conn, at in) {
		time.AfterFunc(2*time.Second, func() { c.SetReadDeadline(at(0)) })
	})
	check("without monotonic reading", time.Hour, func(c net.Conn, at in) { c.SetReadDeadline(at(time.Hour).Round(0)) })
	check("the writer's is not the reader's", time.Hour, func(c net.Conn, at in) {
		c.SetWriteDeadline(at(time.Second))
		c.SetReadDeadline(at(time.Hour))
	})
}

// TestBlockedCallsEnd closes one end while the other or the same is blocked.
func TestBlockedCallsEnd(t *testing.T) {
	check := func(name string, want error, blocked, wake step) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := memnet.Pipe()
				defer b.Close()
				defer a.Close()
				var err error
				var wg sync.WaitGroup
				wg.Go(func() { _, err = blocked(a, b) })
				synctest.Wait()
				wake(a, b)
				wg.Wait()
				if !errors.Is(err, want) {
					t.Errorf("blocked call ended with %v, want %v", err, want)
				}
			})
		})
	}
	big := write(string(make([]byte, 100<<10)))

	check("read, own close", net.ErrClosed, read(1), closeConn)
	check("read, peer's close", io.EOF, read(1), peer(closeConn))
	check("read, peer's half-close", io.EOF, read(1), peer(closeWrite))
	check("read, peer's write", nil, read(1), peer(write("a")))
	check("write, own close", net.ErrClosed, big, closeConn)
	check("write, own half-close", syscall.EPIPE, big, closeWrite)
	check("write, peer's close", syscall.EPIPE, big, peer(closeConn))
	check("write, peer's read", nil, big, peer(func(a, _ net.Conn) (int, error) {
		return io.ReadFull(a, make([]byte, 100<<10))
	}))
}

func TestWriteBlocksWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe()
		defer b.Close()
		defer a.Close()
		var done bool
		var wg sync.WaitGroup
		wg.Go(func() {
			a.Write(make([]byte, 64<<10))
			a.Write([]byte{1})
			done = true
		})
		synctest.Wait()
		if done {
			t.Fatal("Write of 64 KiB + 1 did not block")
		}
		b.Read(make([]byte, 1))
		wg.Wait()
	})
}

// TestConcurrentWritesStayWhole writes records from many goroutines, each larger
// than the buffer, and wants none torn.
func TestConcurrentWritesStayWhole(t *testing.T) {
	const writers, size = 8, 100 << 10
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe()
		defer b.Close()
		defer a.Close()
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() { a.Write(bytes.Repeat([]byte{byte(i)}, size)) })
		}
		record := make([]byte, size)
		for range writers {
			if _, err := io.ReadFull(b, record); err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(record, record[:1]); n != size {
				t.Errorf("a record has %d bytes of one writer, want %d", n, size)
			}
		}
		wg.Wait()
	})
}

// TestWriteWaitsItsTurn writes while another Write is blocked that could go on but
// has not run yet.
func TestWriteWaitsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe()
		defer b.Close()
		var wg sync.WaitGroup
		wg.Go(func() { a.Write(make([]byte, 64<<10+1)) })
		synctest.Wait()
		b.Read(make([]byte, 10))
		a.Write([]byte("x"))
		wg.Wait()
		a.Close()
		if got, _ := io.ReadAll(b); len(got) != 64<<10+1-10+1 || got[len(got)-1] != 'x' {
			t.Errorf("read %d bytes, the last of them %q; want the second Write behind the first", len(got), got[len(got)-1])
		}
	})
}

// TestQueue compares a connection with a slice of bytes, one call after the other.
func TestQueue(t *testing.T) {
	a, b := memnet.Pipe()
	defer b.Close()
	defer a.Close()
	rng := rand.New(rand.NewPCG(5, 6))
	size := func(limit int) int { return min(rng.IntN(1<<(1+rng.IntN(17))), limit) }
	var queue []byte
	for i := range 20_000 {
		out := make([]byte, size(64<<10-len(queue)))
		for j := range out {
			out[j] = byte(i + j)
		}
		a.Write(out)
		queue = append(queue, out...)
		in := make([]byte, size(len(queue)))
		if n, err := b.Read(in); n != len(in) || err != nil || !bytes.Equal(in, queue[:n]) {
			t.Fatalf("call %d: Read = %d, %v; want the first %d of %d bytes", i, n, err, len(in), len(queue))
		}
		queue = queue[len(in):]
	}
}

// TestBytesArriveInOrder sends pieces of random sizes through the ring, so that it
// wraps, grows and empties in many places.
func TestBytesArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memnet.Pipe()
		defer b.Close()
		rng := rand.New(rand.NewPCG(1, 2))
		want := make([]byte, 4<<20)
		for i := range want {
			want[i] = byte(rng.Uint32())
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			pieces := rand.New(rand.NewPCG(3, 4))
			for rest := want; len(rest) > 0; {
				n := min(1+pieces.IntN(1<<(1+pieces.IntN(17))), len(rest))
				a.Write(rest[:n])
				rest = rest[n:]
			}
			a.Close()
		})
		var got []byte
		for buf := make([]byte, 128<<10); ; {
			n, err := b.Read(buf[:1+rng.IntN(1<<(1+rng.IntN(16)))])
			got = append(got, buf[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		wg.Wait()
		if !bytes.Equal(got, want) {
			t.Error("bytes differ from what was written")
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	a, b := memnet.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for _, c := range []net.Conn{a, b} {
		for range 4 {
			wg.Go(func() { io.Copy(io.Discard, patient{c}) })
			wg.Go(func() {
				for ctx.Err() == nil {
					c.Write(make([]byte, 3000))
					c.SetDeadline(time.Now().Add(50 * time.Microsecond))
				}
				c.Close()
			})
		}
	}
	wg.Wait()
}

// patient reads again after a timeout.
type patient struct{ net.Conn }

func (p patient) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = p.SetDeadline(time.Now().Add(time.Millisecond))
	}
	return n, err
}

func TestErrorTexts(t *testing.T) {
	client, server := connect(t, memnet.Listen("hub"))
	server.Close()
	_, err := client.Write([]byte("a"))
	if got, want := err.Error(), "write memory memory:hub->memory:hub: broken pipe"; got != want {
		t.Errorf("Write to a closed peer: %q, want %q", got, want)
	}
	client.Close()
	_, err = client.Read(make([]byte, 1))
	if got, want := err.Error(), "read memory memory:hub->memory:hub: use of closed network connection"; got != want {
		t.Errorf("Read after Close: %q, want %q", got, want)
	}
}

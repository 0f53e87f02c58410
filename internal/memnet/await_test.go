package memnet_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/internal/memnet"
)

// awaiting is what a connection has for who does not wait in Read.
type awaiting interface {
	net.Conn
	TryRead(p []byte) (int, error)
	Await(w memnet.Waker) bool
}

// waker counts how often it was woken; its channel has room for all of it.
type waker chan struct{}

func newWaker() waker { return make(waker, 16) }

func (w waker) Wake() { w <- struct{}{} }

func TestTryRead(t *testing.T) {
	check := func(name string, wantN int, wantErr error, steps ...step) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			a, b := memnet.Pipe()
			defer b.Close()
			defer a.Close()
			for _, s := range steps {
				s(a, b)
			}
			if n, err := a.(awaiting).TryRead(make([]byte, 4)); n != wantN || !errors.Is(err, wantErr) {
				t.Errorf("TryRead = %d, %v; want %d, %v", n, err, wantN, wantErr)
			}
		})
	}
	check("nothing", 0, nil)
	check("what came", 3, nil, peer(write("abc")))
	check("a part of it", 4, nil, peer(write("abcde")))
	check("end of file", 0, io.EOF, peer(closeConn))
	check("closed", 0, net.ErrClosed, peer(write("a")), closeConn)
	check("deadline", 0, os.ErrDeadlineExceeded, peer(write("a")), deadline(-time.Second))
	check("deadline ahead", 0, nil, deadline(time.Hour))
}

// TestAwait wants a waker to be told once for whatever ends a Read's wait, and
// not for what does not; and Await to say so where a Read would not wait.
func TestAwait(t *testing.T) {
	check := func(name string, before, then step, registered bool, woken int) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := memnet.Pipe()
				defer b.Close()
				defer a.Close()
				before(a, b)
				w := newWaker()
				if got := a.(awaiting).Await(w); got != registered {
					t.Fatalf("Await = %t, want %t", got, registered)
				}
				then(a, b)
				then(a, b)
				time.Sleep(time.Hour)
				synctest.Wait()
				if len(w) != woken {
					t.Errorf("woken %d times, want %d", len(w), woken)
				}
			})
		})
	}
	idle := func(net.Conn, net.Conn) (int, error) { return 0, nil }
	check("nothing", idle, idle, true, 0)
	check("peer's write", idle, peer(write("a")), true, 1)
	check("peer's large write", idle, peer(func(a, b net.Conn) (int, error) { return a.Write(make([]byte, 32<<10)) }), true, 1)
	check("peer's empty write", idle, peer(write("")), true, 0)
	check("peer's close", idle, peer(closeConn), true, 1)
	check("peer's half-close", idle, peer(closeWrite), true, 1)
	check("own close", idle, closeConn, true, 1)
	check("own write", idle, write("a"), true, 0)
	check("deadline that passes", deadline(time.Minute), idle, true, 1)
	check("deadline far away", deadline(3*time.Hour), idle, true, 0)
	check("deadline set meanwhile", idle, deadline(time.Minute), true, 1)
	check("deadline brought forward", deadline(3*time.Hour), deadline(time.Minute), true, 1)
	check("deadline put off", deadline(time.Minute), deadline(3*time.Hour), true, 0)
	check("deadline taken back", deadline(time.Minute), noDeadline, true, 0)
	check("past deadline", idle, deadline(-time.Second), true, 1)
	check("something there", peer(write("a")), idle, false, 0)
	check("ended", peer(closeConn), idle, false, 0)
	check("closed", closeConn, idle, false, 0)
	check("late", deadline(-time.Second), idle, false, 0)
}

// TestAwaitInsteadOfRead reads a stream larger than the buffers as it is woken, from
// several writers at once.
func TestAwaitInsteadOfRead(t *testing.T) {
	const writers, size = 3, 300 << 10
	a, b := memnet.Pipe()
	defer a.Close()
	var writing sync.WaitGroup
	for i := range writers {
		writing.Go(func() { _, _ = b.Write(bytes.Repeat([]byte{byte(i)}, size)) })
	}
	var got []byte
	var err error
	buf := make([]byte, 5000)
	for w := newWaker(); err == nil && len(got) < writers*size; {
		var n int
		if n, err = a.(awaiting).TryRead(buf); n > 0 {
			got = append(got, buf[:n]...)
		} else if err == nil && a.(awaiting).Await(w) {
			<-w
		}
	}
	writing.Wait()
	b.Close()
	if err != nil || len(got) != writers*size {
		t.Fatalf("read %d bytes, %v; want %d", len(got), err, writers*size)
	}
	for i := range writers {
		if part := got[i*size : (i+1)*size]; bytes.Count(part, part[:1]) != size {
			t.Errorf("record %d is not of one writer", i)
		}
	}
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("pools drop what they are given, with the race detector")
	}
	check := func(name string, f func(a, b awaiting)) {
		t.Helper()
		p, q := memnet.Pipe()
		defer p.Close()
		a, b := p.(awaiting), q.(awaiting)
		f(a, b)
		if n := testing.AllocsPerRun(500, func() { f(a, b) }); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
	buf := make([]byte, 300)
	w := newWaker()
	check("write and read", func(a, b awaiting) { a.Write(buf); b.Read(buf) })
	check("with deadlines", func(a, b awaiting) {
		a.SetWriteDeadline(time.Now().Add(time.Second))
		b.SetReadDeadline(time.Now().Add(time.Second))
		a.Write(buf)
		b.Read(buf)
	})
	check("await, write and read", func(a, b awaiting) { b.Await(w); a.Write(buf); <-w; b.TryRead(buf) })
}

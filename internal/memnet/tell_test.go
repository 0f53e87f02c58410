package memnet_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"muster/internal/memnet"
)

// telling is what an end of a connection has beside net.Conn.
type telling interface {
	net.Conn
	TryRead(p []byte) (int, error)
	TellRead(tell func())
}

// TestTold does things to a connection whose one end a wants to be told, and
// looks how often that was and what a TryRead gives then.
func TestTold(t *testing.T) {
	check := func(name string, do func(a, b net.Conn), wantTold, wantN int, wantErr error) {
		t.Helper()
		p, b := memnet.Pipe()
		a, told := p.(telling), 0
		a.TellRead(func() { told++ })
		do(a, b)
		n, err := a.TryRead(make([]byte, 10))
		if told != wantTold || n != wantN || !errors.Is(err, wantErr) {
			t.Errorf("%s: told %d times, TryRead = %d, %v; want %d times, %d, %v", name, told, n, err, wantTold, wantN, wantErr)
		}
		a.Close()
		b.Close()
	}
	put := func(c net.Conn, s string) { c.Write([]byte(s)) }
	check("nothing", func(a, b net.Conn) {}, 0, 0, syscall.EAGAIN)
	check("a write", func(a, b net.Conn) { put(b, "abc") }, 1, 3, nil)
	check("two writes", func(a, b net.Conn) { put(b, "abc"); put(b, "defg") }, 2, 7, nil)
	check("an own write", func(a, b net.Conn) { put(a, "abc") }, 0, 0, syscall.EAGAIN)
	check("the end", func(a, b net.Conn) { b.Close() }, 1, 0, io.EOF)
	check("a write and the end", func(a, b net.Conn) { put(b, "abc"); b.Close() }, 2, 3, nil)
	check("half the end", func(a, b net.Conn) { closeWrite(b, a) }, 1, 0, io.EOF)
	check("the own close", func(a, b net.Conn) { a.Close() }, 1, 0, net.ErrClosed)
	check("a deadline, which is not told", func(a, b net.Conn) { a.SetReadDeadline(time.Unix(1, 0)) }, 0, 0, os.ErrDeadlineExceeded)
}

// TestToldReaderMissesNothing has a reader that only ever reads when it was
// told, while two write more than a connection holds.
func TestToldReaderMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, b := memnet.Pipe()
		a := p.(telling)
		news := make(chan struct{}, 1) // says that something came since the last look
		a.TellRead(func() {
			select {
			case news <- struct{}{}:
			default:
			}
		})
		const each = 300 << 10
		var writing sync.WaitGroup
		for _, letter := range []byte("xy") {
			writing.Go(func() {
				if n, err := b.Write(bytes.Repeat([]byte{letter}, each)); n != each || err != nil {
					t.Errorf("Write of %c = %d, %v", letter, n, err)
				}
			})
		}
		var got []byte
		for buf := make([]byte, 1000); len(got) < 2*each; {
			n, err := a.TryRead(buf)
			got = append(got, buf[:n]...)
			if errors.Is(err, syscall.EAGAIN) {
				<-news // or the test is stuck, and the bubble says so
			} else if err != nil {
				t.Fatalf("TryRead: %v", err)
			}
		}
		writing.Wait()
		if first := got[:each]; bytes.Count(first, first[:1]) != each {
			t.Errorf("of the first %d bytes %d are of the first write: the writes are mixed", each, bytes.Count(first, first[:1]))
		}
		a.Close()
		b.Close()
	})
}

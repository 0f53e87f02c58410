package memnet_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"

	"muster/internal/memnet"
)

// TestTryWrite wants what there is room for to be written, in order and at once, and a write that waits to come first.
func TestTryWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen("test")
		defer l.Close()
		a, b := connect(t, l)
		try := func(p []byte, want int, wantErr error) {
			t.Helper()
			if n, err := a.(interface{ TryWrite([]byte) (int, error) }).TryWrite(p); n != want || !errors.Is(err, wantErr) {
				t.Errorf("TryWrite of %d bytes = %d, %v; want %d, %v", len(p), n, err, want, wantErr)
			}
		}
		try([]byte("one"), 3, nil)
		large := bytes.Repeat([]byte("x"), 10<<20)
		n, err := a.(interface{ TryWrite([]byte) (int, error) }).TryWrite(large)
		if n <= 0 || n >= len(large) || err != nil {
			t.Fatalf("TryWrite of %d bytes = %d, %v; want some of them", len(large), n, err)
		}
		try([]byte("full"), 0, nil)
		waiting := make(chan error, 1)
		go func() {
			_, err := a.Write([]byte("two"))
			waiting <- err
		}()
		synctest.Wait()
		try([]byte("later"), 0, nil)
		got := make([]byte, 3+n+3)
		if _, err := io.ReadFull(b, got); err != nil {
			t.Fatal(err)
		}
		if want := "one" + string(large[:n]) + "two"; string(got) != want || <-waiting != nil {
			t.Errorf("%d bytes were read that are not those that were written", len(got))
		}
		try([]byte("three"), 5, nil)
		_ = b.Close()
		try([]byte("four"), 0, syscall.EPIPE)
		_ = a.Close()
		try([]byte("five"), 0, net.ErrClosed)
	})
}

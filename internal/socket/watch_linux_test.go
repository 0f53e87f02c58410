package socket_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"muster/internal/socket"
)

// watchEvents has n files watched and returns what makes one readable. readable is
// called each time one is.
func watchEvents(t *testing.T, sockets *socket.Network, n int, readable func(i int)) (set func(i int)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	fds := make([]int, n)
	for i := range fds {
		fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		fds[i] = fd
		watching.Go(func() {
			err := sockets.Watch(ctx, fd, func() {
				_, _ = unix.Read(fd, make([]byte, 8)) // it is not readable until it is set again
				readable(i)
			})
			if err != nil {
				t.Errorf("Watch() = %v, want nil at the context's end", err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		watching.Wait()
		for _, fd := range fds {
			_ = unix.Close(fd) // nobody uses it any more
		}
	})
	return func(i int) {
		if _, err := unix.Write(fds[i], []byte{1, 1, 1, 1, 1, 1, 1, 1}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatIsReadableWaitsInTurn makes many files readable while a connection is
// told, more than the loop takes at once, and wants the last one's turn to come
// after all others'.
func TestWhatIsReadableWaitsInTurn(t *testing.T) {
	const files, last = 600, 599
	var sockets socket.Network
	a, b := pair(t, &sockets)
	var seen, before atomic.Int32
	over := make(chan struct{}, files)
	set := watchEvents(t, &sockets, files, func(i int) {
		if n := seen.Add(1); i == last {
			before.Store(n - 1)
		}
		over <- struct{}{}
	})
	for round := range 2 { // in the first they come to be watched
		begun, proceed := make(chan struct{}), make(chan struct{})
		a.TellRead(sync.OnceFunc(func() {
			close(begun)
			<-proceed
		}))
		if _, err := b.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		<-begun
		seen.Store(0)
		for i := range files {
			set(i)
		}
		close(proceed)
		for range files {
			<-over
		}
		if n := before.Load(); round > 0 && n != last {
			t.Errorf("%d of the %d files that were readable before the last one had their turn before it, want all", n, last)
		}
	}
}

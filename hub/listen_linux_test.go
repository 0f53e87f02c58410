package hub_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"muster/hub"
)

// TestServeWithoutDescriptors wants a listener that cannot be served to be closed all the same.
func TestServeWithoutDescriptors(t *testing.T) {
	h := hub.New(nil)
	defer h.Close()
	if _, err := h.CA(); err != nil {
		t.Fatal(err)
	}
	check := func(name string, serve func(net.Listener) error) {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		none := syscall.Rlimit{Cur: 0, Max: limit.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
			t.Fatal(err)
		}
		served := serve(l)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(served, syscall.EMFILE) {
			t.Errorf("%s: %v, want %v", name, served, syscall.EMFILE)
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: Close of the listener behind it: %v, want %v", name, err, net.ErrClosed)
		}
	}
	check("ServeMQTT", h.ServeMQTT)
	check("ServeMQTTS", h.ServeMQTTS)
}

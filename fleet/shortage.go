package fleet

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// shortWait is how long a device waits whose attempt failed for want of
// something on this host: no hub needs to be spared, and a shortage that passes
// is over soon.
const shortWait = 500 * time.Millisecond

// Shortage is what this host lacked for a connection. Such an attempt says
// nothing about the hub.
type Shortage string

// The shortages. The zero value is none.
const (
	NoShortage Shortage = ""
	NoFiles    Shortage = "open files"
	NoPorts    Shortage = "local ports"
	NoBuffers  Shortage = "memory for sockets"
)

// ShortageOf tells what this host lacked if that is why opening a connection
// failed.
func ShortageOf(err error) Shortage {
	var number syscall.Errno
	if !errors.As(err, &number) {
		return NoShortage
	}
	switch number {
	case syscall.EMFILE, syscall.ENFILE:
		return NoFiles
	case syscall.EADDRNOTAVAIL, syscall.EADDRINUSE:
		return NoPorts
	case syscall.ENOBUFS, syscall.ENOMEM:
		return NoBuffers
	}
	return NoShortage
}

// shortages are the devices that are not online for want of something on this
// host.
type shortages struct {
	count atomic.Int64 // of devices; what an attempt reads that met none

	mu      sync.Mutex // guards the fields below
	devices map[uint32]struct{}
	last    error // of the newest
}

// note takes the end of a device's attempt.
func (s *shortages) note(device uint32, err error) {
	short := err != nil && ShortageOf(err) != NoShortage
	if !short && s.count.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if short {
		if s.devices == nil {
			s.devices = map[uint32]struct{}{}
		}
		s.devices[device] = struct{}{}
		s.last = err
	} else {
		delete(s.devices, device)
	}
	s.count.Store(int64(len(s.devices)))
}

// has reports whether the device's last attempt failed so.
func (s *shortages) has(device uint32) bool {
	if s.count.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, has := s.devices[device]
	return has
}

// Short returns how many devices are offline since their last attempt to
// connect failed for want of something on this host, and the newest such error.
func (f *Fleet) Short() (devices int, err error) {
	if f.short.count.Load() == 0 {
		return 0, nil
	}
	f.short.mu.Lock()
	defer f.short.mu.Unlock()
	return len(f.short.devices), f.short.last
}

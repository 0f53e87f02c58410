package socket

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Network is where connections are opened and accepted. Its zero value is ready
// for use; it must not be copied.
type Network struct {
	mu    sync.Mutex // guards the fields below
	conns int        // and files
	loop  *loop      // of what there is; nil: nothing
}

// join counts a connection, or a file that is watched, and returns the loop that
// serves it until leave.
func (n *Network) join() (*loop, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == 0 {
		l, err := newLoop()
		if err != nil {
			return nil, err
		}
		n.loop = l
	}
	n.conns++
	return n.loop, nil
}

// leave takes one off. The last one ends the loop.
func (n *Network) leave() {
	n.mu.Lock()
	n.conns--
	var done *loop
	if n.conns == 0 {
		done, n.loop = n.loop, nil
	}
	n.mu.Unlock()
	if done != nil {
		done.close()
	}
}

// loop waits for whatever happens to connections and tells them. The epoll is a
// file that the runtime's poller watches in turn: so the loop's goroutine holds
// no thread while it waits.
type loop struct {
	epoll   *os.File
	raw     syscall.RawConn // of epoll
	fd      int             // of epoll
	running sync.WaitGroup  // ends with epoll
	events  [256]unix.EpollEvent
	n       int // of events
	batch   [256]told

	mu     sync.Mutex // guards the fields below
	all    []place    // by descriptor
	serial int32      // of the last one added
}

// told is what a loop tells what has happened to it.
type told interface{ happened(events uint32) }

// place is a descriptor's in a loop.
type place struct {
	told   // nil: nobody has it
	serial int32
}

func newLoop() (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or the runtime would not watch it
		_ = unix.Close(fd) // nothing is in it
		return nil, os.NewSyscallError("fcntl", err)
	}
	l := &loop{epoll: os.NewFile(uintptr(fd), "epoll"), fd: fd}
	if l.raw, err = l.epoll.SyscallConn(); err != nil {
		_ = l.epoll.Close() // nothing is in it
		return nil, fmt.Errorf("watch the epoll: %w", err)
	}
	l.running.Go(l.run)
	return l, nil
}

func (l *loop) close() {
	_ = l.epoll.Close() // wakes run; nothing is in it any more
	l.running.Wait()
}

// watched is what a connection is told. Each comes once, when it begins.
const watched = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff

// add has t told from now on what happens to a descriptor.
func (l *loop) add(fd int, t told) error {
	l.mu.Lock()
	for len(l.all) <= fd {
		l.all = append(l.all, place{})
	}
	l.serial++
	serial := l.serial
	l.all[fd] = place{t, serial}
	l.mu.Unlock()
	err := unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: watched, Fd: int32(fd), Pad: serial})
	return os.NewSyscallError("epoll_ctl", err)
}

// remove is told before a descriptor is closed, which takes it out of the epoll.
func (l *loop) remove(fd int, t told) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if fd < len(l.all) && l.all[fd].told == t {
		l.all[fd] = place{}
	}
}

func (l *loop) run() {
	for l.raw.Read(l.wait) == nil {
		l.mu.Lock()
		for i, e := range l.events[:l.n] {
			if p := l.all[e.Fd]; p.serial == e.Pad { // and nobody who has the descriptor since
				l.batch[i] = p.told
			}
		}
		l.mu.Unlock()
		for i, t := range l.batch[:l.n] {
			l.batch[i] = nil
			if t != nil {
				t.happened(l.events[i].Events)
			}
		}
	}
}

// wait takes what has happened, and reports whether that is anything. The call
// never waits, so the scheduler is not told of it: in an idle process that would
// wake the scheduler's own watch each time.
func (l *loop) wait(fd uintptr) bool {
	for {
		n, _, err := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&l.events)), uintptr(len(l.events)), 0, 0, 0)
		if err == unix.EINTR {
			continue
		}
		if l.n = int(n); err != 0 {
			l.n = 0
		}
		return l.n > 0
	}
}

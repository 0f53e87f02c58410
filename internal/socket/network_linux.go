package socket

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Network is where connections are opened and accepted. Its zero value is ready
// for use; it must not be copied.
type Network struct {
	mu    sync.Mutex // guards the fields below
	conns int
	loop  *loop // of the connections that there are; nil: none
}

// join counts a connection, and returns the loop that serves it until leave.
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

// leave takes a connection off. The last one ends the loop.
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
	batch   [256]*Conn

	mu     sync.Mutex // guards the fields below
	conns  []*Conn    // by descriptor
	serial int32      // of the last one added
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

// add has a connection told from now on.
func (l *loop) add(c *Conn) error {
	l.mu.Lock()
	for len(l.conns) <= c.fd {
		l.conns = append(l.conns, nil)
	}
	l.conns[c.fd] = c
	l.serial++
	c.serial = l.serial
	l.mu.Unlock()
	err := unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, c.fd, &unix.EpollEvent{Events: watched, Fd: int32(c.fd), Pad: c.serial})
	return os.NewSyscallError("epoll_ctl", err)
}

// remove is told before a connection's descriptor is closed, which takes it out
// of the epoll.
func (l *loop) remove(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.fd < len(l.conns) && l.conns[c.fd] == c {
		l.conns[c.fd] = nil
	}
}

func (l *loop) run() {
	for l.raw.Read(l.wait) == nil {
		l.mu.Lock()
		for i, e := range l.events[:l.n] {
			if c := l.conns[e.Fd]; c != nil && c.serial == e.Pad { // and nobody who has the descriptor since
				l.batch[i] = c
			}
		}
		l.mu.Unlock()
		for i, c := range l.batch[:l.n] {
			l.batch[i] = nil
			if c != nil {
				c.happened(l.events[i].Events)
			}
		}
	}
}

// wait takes what has happened, and reports whether that is anything.
func (l *loop) wait(fd uintptr) bool {
	n, err := unix.EpollWait(int(fd), l.events[:], 0)
	for err == unix.EINTR {
		n, err = unix.EpollWait(int(fd), l.events[:], 0)
	}
	l.n = max(0, n)
	return l.n > 0
}

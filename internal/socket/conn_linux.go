package socket

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The directions of a connection.
const (
	reading = iota
	writing
)

// Conn is a TCP connection. It is a net.Conn.
type Conn struct {
	network *Network
	loop    *loop
	fd      int // until uses is 0 after Close

	whole sync.Mutex // held for all of a Write, which others must not divide

	mu      sync.Mutex // guards the fields below; never held across a call of the system, or of tell
	tell    func()     // called whenever there is something new to read; nil: a Read waits for it
	ready   [2]bool    // a read, or a write, may find something, or room
	over    bool       // the peer has ended its direction, or the connection failed: a read never waits again
	closed  bool
	uses    int32         // calls of the system that go on
	blocked int32         // calls that wait
	changed *sync.Cond    // broadcast at each change that they wait for; nil: none waits
	limits  *[2]time.Time // deadlines; nil: none
}

// open makes a connection of a socket, which is closed with an error. Of one that
// is connected it is known that there is room to write.
func (n *Network) open(fd int, connected bool) (*Conn, error) {
	l, err := n.join()
	if err != nil {
		_ = unix.Close(fd) // nobody has used it
		return nil, err
	}
	c := &Conn{network: n, loop: l, fd: fd, ready: [2]bool{writing: connected}}
	if err := l.add(c.fd, c); err != nil {
		_ = c.Close() // nobody has used it
		return nil, err
	}
	return c, nil
}

// happened is told by the loop what the connection is ready for.
func (c *Conn) happened(events uint32) {
	over := events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	c.mu.Lock()
	c.over = c.over || over
	in := over || events&unix.EPOLLIN != 0
	c.ready[reading] = c.ready[reading] || in
	c.ready[writing] = c.ready[writing] || over || events&unix.EPOLLOUT != 0
	c.wakeLocked()
	tell := c.tell
	c.mu.Unlock()
	if in && tell != nil {
		tell()
	}
}

// TellRead has tell called whenever there is something that a TryRead would not
// have returned before: bytes, the end, or the own Close. tell must not block.
// Deadlines are not told. What has happened before is not told either: who has
// set tell tries once.
func (c *Conn) TellRead(tell func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tell = tell
}

// TryRead reads what has arrived as Read does, and never waits: if there is
// nothing to read its error is syscall.EAGAIN.
func (c *Conn) TryRead(p []byte) (int, error) {
	if err := c.begin(reading); err != nil {
		return 0, c.opError("read", err)
	}
	n, err := retried(unix.Read, c.fd, p)
	c.end(reading, err == nil && n == len(p)) // less was all that there is
	switch {
	case err != nil:
		return 0, c.callError("read", err)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// Read reads what has arrived, at least one byte unless p is empty.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		n, err := c.TryRead(p)
		if err != syscall.EAGAIN {
			return n, err
		}
		c.await(reading)
	}
}

// TryWrite writes as much of p as there is room for, and waits for nothing: also
// not for another Write, ahead of which it writes nothing.
func (c *Conn) TryWrite(p []byte) (int, error) {
	if !c.whole.TryLock() {
		return 0, nil
	}
	defer c.whole.Unlock()
	n, err := c.write(p)
	if err == syscall.EAGAIN {
		return 0, nil
	}
	return n, err
}

// Write writes all of p, or less with an error.
func (c *Conn) Write(p []byte) (written int, err error) {
	c.whole.Lock()
	defer c.whole.Unlock()
	for {
		n, err := c.write(p[written:])
		written += n
		switch {
		case err == syscall.EAGAIN:
			c.await(writing)
		case err != nil || written == len(p):
			return written, err
		}
	}
}

// write writes what there is room for. Its error is syscall.EAGAIN if there is
// none.
func (c *Conn) write(p []byte) (int, error) {
	if err := c.begin(writing); err != nil {
		return 0, c.opError("write", err)
	}
	n, err := retried(unix.Write, c.fd, p)
	c.end(writing, err != syscall.EAGAIN)
	if err != nil {
		return 0, c.callError("write", err)
	}
	return n, nil
}

// retried makes a call of the system until no signal interrupts it.
func retried(call func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	for {
		if n, err := call(fd, p); err != unix.EINTR {
			return n, err
		}
	}
}

// begin takes the right to a call of the system in a direction, which end gives
// back. What happens from now on makes the direction ready anew.
func (c *Conn) begin(direction int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.faultLocked(direction); err != nil {
		return err
	}
	if !c.ready[direction] {
		return syscall.EAGAIN
	}
	c.ready[direction] = direction == reading && c.over
	c.uses++
	return nil
}

// end says whether the next call may find something too. Another reader may have
// come meanwhile, and wait; writers come one after the other.
func (c *Conn) end(direction int, more bool) {
	c.mu.Lock()
	c.ready[direction] = c.ready[direction] || more
	if more && direction == reading {
		c.wakeLocked()
	}
	c.uses--
	last := c.closed && c.uses == 0
	c.mu.Unlock()
	if last {
		c.release()
	}
}

// faultLocked returns why nothing can be done in a direction any more.
func (c *Conn) faultLocked(direction int) error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.limits != nil && expired(c.limits[direction]):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Close ends both directions. What has been written is still sent; what has not
// been read is lost.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.opError("close", net.ErrClosed)
	}
	c.closed = true
	c.wakeLocked()
	last, tell := c.uses == 0, c.tell
	c.mu.Unlock()
	if last {
		c.release()
	}
	if tell != nil {
		tell()
	}
	return nil
}

// release closes the descriptor, which nobody uses any more.
func (c *Conn) release() {
	c.loop.remove(c.fd, c)
	_ = unix.Close(c.fd) // there is nothing to be done about it
	c.network.leave()
}

// callError is opError of a call of the system.
func (c *Conn) callError(op string, err error) error {
	if err == syscall.EAGAIN {
		return err
	}
	return c.opError(op, os.NewSyscallError(op, err))
}

// opError words what went wrong as package net does; syscall.EAGAIN is nothing
// wrong.
func (c *Conn) opError(op string, err error) error {
	if err == syscall.EAGAIN {
		return err
	}
	return &net.OpError{Op: op, Net: network, Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

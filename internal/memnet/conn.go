package memnet

import (
	"io"
	"net"
	"syscall"
	"time"
)

// conn is one end of a pipe.
type conn struct {
	pipe *pipe
	end  int // its place in the pipe's ends
}

// in carries what c reads, out what it writes.
func (c *conn) in() *half  { return &c.pipe.halves[1-c.end] }
func (c *conn) out() *half { return &c.pipe.halves[c.end] }

// Read reads what has arrived, at least one byte unless p is empty.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in().read(p)
	return n, c.readError(err)
}

func (c *conn) readError(err error) error {
	if err == nil || err == io.EOF || err == syscall.EAGAIN {
		return err
	}
	return c.opError("read", err)
}

// Write writes all of p, or less with an error.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out().write(p)
	if err != nil {
		return n, c.opError("write", err)
	}
	return n, nil
}

// TryWrite writes as much of p as there is room for, and waits for nothing.
func (c *conn) TryWrite(p []byte) (int, error) {
	n, err := c.out().tryWrite(p)
	if err != nil {
		return n, c.opError("write", err)
	}
	return n, nil
}

// Close ends both directions. What has been written can still be read by the
// peer; what has not been read is lost.
func (c *conn) Close() error {
	if !c.out().closeWriter() { // first: whom the other wakes from a read must not be able to write any more, as on a socket
		return c.opError("close", net.ErrClosed)
	}
	c.in().closeReader()
	return nil
}

// CloseWrite ends the direction to the peer, which reads io.EOF behind what has
// been written.
func (c *conn) CloseWrite() error {
	if !c.out().finish() {
		return c.opError("close", net.ErrClosed)
	}
	return nil
}

// LocalAddr returns the address of the listener, as RemoteAddr does.
func (c *conn) LocalAddr() net.Addr { return c.pipe.addr }

// RemoteAddr returns the address of the listener.
func (c *conn) RemoteAddr() net.Addr { return c.pipe.addr }

// SetDeadline sets both deadlines. The zero time is none.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline ends present and future Reads at t.
func (c *conn) SetReadDeadline(t time.Time) error {
	if !c.in().setDeadline(&c.in().reader, t) {
		return c.opError("set", net.ErrClosed)
	}
	return nil
}

// SetWriteDeadline ends present and future Writes at t.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if !c.out().setDeadline(&c.out().writer, t) {
		return c.opError("set", net.ErrClosed)
	}
	return nil
}

func (c *conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: network, Source: c.pipe.addr, Addr: c.pipe.addr, Err: err}
}

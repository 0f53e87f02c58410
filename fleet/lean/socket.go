package lean

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// readSocket is read where the network connection is a socket. Its goroutine
// waits until there is something to read, and has a codec only then: a Read would
// need a buffer for as long as it waits.
func (c *conn) readSocket(raw syscall.RawConn) {
	var err error
	closed := raw.Read(func(fd uintptr) (done bool) {
		err = c.readReady(int(fd))
		return !errors.Is(err, syscall.EAGAIN)
	})
	if closed != nil {
		err = closed
	}
	c.readerEnds(err)
}

// readReady reads until there is nothing to read, or until the connection is
// over, and returns which by its error.
func (c *conn) readReady(fd int) error {
	c.socket = fd + 1
	if c.in == nil {
		c.in = takeReader((*source)(c))
	}
	for {
		t, err := c.next()
		if t != nil {
			c.crew.dispatch(t)
		}
		if errors.Is(err, syscall.EAGAIN) && c.in.Buffered() == 0 {
			c.giveReader()
		}
		if err != nil {
			return err
		}
	}
}

// readSocket reads what has arrived at a descriptor. The error is EAGAIN if that
// is nothing, and else as of a net.Conn.
func readSocket(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, err
		case err != nil:
			return 0, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", err)}
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

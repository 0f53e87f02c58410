package lean

import (
	"errors"
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

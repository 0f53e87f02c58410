package socket

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Adopt returns a *Conn in place of a connection of package net, which it closes.
// One that is not of TCP it returns as it is.
func (n *Network) Adopt(c net.Conn) (net.Conn, error) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c, nil
	}
	fd, err := duplicate(tcp)
	if err = errors.Join(err, tcp.Close()); err != nil {
		return nil, err
	}
	return n.open(fd, true)
}

// duplicate returns another descriptor of a connection's socket.
func duplicate(c *net.TCPConn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(of uintptr) {
		fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, errors.Join(controlErr, os.NewSyscallError("fcntl", err))
}

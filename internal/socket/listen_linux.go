package socket

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen returns a listener in place of l, whose connections are a *Conn each. One
// that is not of TCP it returns as it is. Its Accept is for one caller at a time.
func (n *Network) Listen(l net.Listener) (net.Listener, error) {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return l, nil
	}
	file, err := tcp.File()
	if err != nil {
		return nil, err
	}
	a := &listener{network: n, file: file, addr: l.Addr()}
	a.once = a.accept
	if a.raw, err = file.SyscallConn(); err == nil {
		err = a.raw.Control(a.prepare)
	}
	if err == nil {
		err = a.err
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return a, l.Close() // the socket is that of file
}

// listener accepts by itself.
type listener struct {
	network *Network
	file    *os.File
	raw     syscall.RawConn // of file
	addr    net.Addr
	once    func(uintptr) bool // accept
	fd      int                // what it has accepted
	err     error
}

// prepare is for the connections, which have it from the listener.
func (l *listener) prepare(fd uintptr) {
	l.err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	if at, ok := l.addr.(*net.TCPAddr); ok && l.err == nil && !at.IP.IsLoopback() {
		l.err = probe(int(fd))
	}
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	if l.raw.Read(l.once) != nil {
		return nil, l.opError("accept", net.ErrClosed)
	}
	if l.err != nil {
		return nil, l.opError("accept", os.NewSyscallError("accept4", l.err))
	}
	c, err := l.network.open(l.fd, true)
	if err != nil {
		return nil, l.opError("accept", err)
	}
	return c, nil
}

// accept takes a connection that has been made, and reports whether that went
// one way or the other.
func (l *listener) accept(fd uintptr) bool {
	for {
		l.fd, _, l.err = unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if l.err != unix.EINTR && l.err != unix.ECONNABORTED { // the peer of the latter has gone
			return l.err != unix.EAGAIN
		}
	}
}

// Close ends Accept. Connections stay.
func (l *listener) Close() error {
	if l.file.Close() != nil {
		return l.opError("close", net.ErrClosed)
	}
	return nil
}

// Addr returns the address.
func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: network, Addr: l.addr, Err: err}
}

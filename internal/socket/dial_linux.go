package socket

import (
	"context"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const network = "tcp"

// Dial connects to an address, from an address of this host, the zero Addr being
// any. A port is chosen when the connection is made: it must then be free towards
// the one peer only. What it returns is a *Conn.
func (n *Network) Dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	c, err := n.dial(ctx, from, to)
	if err == nil {
		return c, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	e := &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	if from.IsValid() {
		e.Source = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	return nil, e
}

func (n *Network) dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fd, err := newSocket(from, to)
	if err != nil {
		return nil, err
	}
	err = connect(fd, to)
	if err != nil && err != unix.EALREADY {
		_ = unix.Close(fd) // nobody has used it
		return nil, os.NewSyscallError("connect", err)
	}
	c, openErr := n.open(fd, err == nil)
	if openErr != nil {
		return nil, openErr
	}
	if err != nil {
		err = c.connected(ctx)
	}
	if err == nil && c.LocalAddr().(*net.TCPAddr).AddrPort() == netip.AddrPortFrom(to.Addr().Unmap(), to.Port()) { // nobody listens, and the port was chosen for this end
		err = os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	if err != nil {
		_ = c.Close() // it may be closed already
		return nil, err
	}
	return c, nil
}

// connect begins to connect. It returns EALREADY if that goes on. To a peer on
// this host the connection is made when the first call returns, which does not
// say so.
func connect(fd int, to netip.AddrPort) error {
	peer := sockaddr(to)
	err := unix.Connect(fd, peer)
	for err == unix.EINPROGRESS || err == unix.EINTR {
		err = unix.Connect(fd, peer)
	}
	return err
}

// connected waits until a connection is made.
func (c *Conn) connected(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	c.await(writing)
	if !stop() {
		return context.Cause(ctx)
	}
	code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return os.NewSyscallError("connect", err)
}

// newSocket returns a socket that connects from an address.
func newSocket(from netip.Addr, to netip.AddrPort) (int, error) {
	family := unix.AF_INET
	if !to.Addr().Unmap().Is4() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	if err == nil && !to.Addr().Unmap().IsLoopback() {
		err = probe(fd)
	}
	if err == nil && from.IsValid() {
		err = bind(fd, from)
	}
	if err != nil {
		_ = unix.Close(fd) // nobody has used it
		return 0, err
	}
	return fd, nil
}

// bind leaves the choice of the port to connect.
func bind(fd int, from netip.Addr) error {
	if err := ChoosePortLate(fd); err != nil {
		return err
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))))
}

// ChoosePortLate has connect choose the port of a socket that is bound to an
// address. bind would choose one that nothing else of the address has.
func ChoosePortLate(fd int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if err == unix.ENOPROTOOPT { // Linux before 4.2: bind chooses
		return nil
	}
	return os.NewSyscallError("setsockopt", err)
}

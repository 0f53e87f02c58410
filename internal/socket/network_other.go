//go:build !linux

package socket

import (
	"context"
	"net"
	"net/netip"
)

// Network is where connections are opened and accepted. Its zero value is ready
// for use.
type Network struct{}

// Dial connects to an address, from an address of this host, the zero Addr being
// any.
func (*Network) Dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	return d.DialContext(ctx, "tcp", to.String())
}

// Listen returns l.
func (*Network) Listen(l net.Listener) (net.Listener, error) { return l, nil }

// Adopt returns c.
func (*Network) Adopt(c net.Conn) (net.Conn, error) { return c, nil }

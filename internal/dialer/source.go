package dialer

import (
	"net"
	"net/netip"
)

// From returns d with connections that come from an address of this host, the
// zero Addr being any. Where the system can, a port is chosen when the
// connection is made: it must then be free towards the one peer only.
func From(d net.Dialer, source netip.Addr) *net.Dialer {
	if source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
		d.Control = choosePortLate
	}
	return &d
}

package socket

import (
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// sockaddr returns an address as the system wants it.
func sockaddr(a netip.AddrPort) unix.Sockaddr {
	ip := a.Addr().Unmap()
	if ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), ZoneId: zone(ip.Zone()), Addr: ip.As16()}
}

// zone returns the number of an interface, 0 if there is none of the name.
func zone(name string) uint32 {
	if name == "" {
		return 0
	}
	if i, err := net.InterfaceByName(name); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(name, 10, 32)
	return uint32(n)
}

// LocalAddr returns the address of this end, or none after Close.
func (c *Conn) LocalAddr() net.Addr { return c.addr(unix.Getsockname) }

// RemoteAddr returns the address of the peer, or none after Close.
func (c *Conn) RemoteAddr() net.Addr { return c.addr(unix.Getpeername) }

// addr asks the system: few connections are ever asked, and each would hold two.
func (c *Conn) addr(ask func(int) (unix.Sockaddr, error)) net.Addr {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return &net.TCPAddr{}
	}
	c.uses++
	c.mu.Unlock()
	a, _ := ask(c.fd) // of a connection that is over there is none
	c.end(reading, false)
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(a.Addr)
		if a.ZoneId != 0 {
			ip = ip.WithZone(strconv.Itoa(int(a.ZoneId)))
		}
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(a.Port)))
	}
	return &net.TCPAddr{}
}

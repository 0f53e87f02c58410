package harness

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"muster/scenarios"
)

// loopback is where the embedded hub listens, and where the addresses begin
// that its fleet may connect from: on Linux all of 127.0.0.0/8 are this host's.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// roomy is how many of an address's ports a fleet takes before it takes another
// address as well. Linux looks for a free port among every second one first, and
// once these are taken it looks at all of them for each connection, which takes
// a hundred times as long.
func roomy(ports int) int { return max(1, ports/2) }

// sources are the addresses that a fleet connects from.
type sources struct {
	addrs  []netip.Addr // none: the system chooses one
	chosen bool         // by muster, which takes as many as it needs
}

// sourcesOf returns where the connections of a run of s come from.
func sourcesOf(s *scenarios.Scenario, ports int) sources {
	switch {
	case inMemory(s):
		return sources{}
	case len(s.Connect.SourceAddresses) > 0:
		return sources{addrs: s.Connect.SourceAddresses}
	case isRemote(s) || runtime.GOOS != "linux" || bindable(loopback.Next()) != nil:
		return sources{}
	case ports == 0 || s.Devices() <= roomy(ports):
		return sources{chosen: true}
	}
	all := make([]netip.Addr, (s.Devices()+roomy(ports)-1)/roomy(ports))
	for i, addr := 0, loopback; i < len(all); i, addr = i+1, addr.Next() {
		all[i] = addr
	}
	return sources{all, true}
}

// ports returns how many there are for connections to one peer.
func (s sources) ports(each int) int { return each * max(1, len(s.addrs)) }

// check finds out whether connections can come from all addresses.
func (s sources) check() error {
	if s.chosen {
		return nil // one like them was tried
	}
	for i, addr := range s.addrs {
		if err := bindable(addr); err != nil {
			return fmt.Errorf("connect.sourceAddresses[%d]: no connection can come from %v: %w; it must be an address of this host (`ip address` lists them)", i, addr, err)
		}
	}
	return nil
}

// bindable finds out whether this host has an address.
func bindable(addr netip.Addr) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		return unwrapped(err)
	}
	return l.Close()
}

// unwrapped returns what went wrong without the address, which was named.
func unwrapped(err error) error {
	if op, ok := err.(*net.OpError); ok {
		return op.Err
	}
	return err
}

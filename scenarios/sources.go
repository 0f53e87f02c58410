package scenarios

import (
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v4"
)

// sourceAddress decodes an address that connections may come from, and appends
// it. Whether this host has it is found out before a run.
func (d *decoder) sourceAddress(dst *[]netip.Addr) decode {
	return func(n *node, path string) {
		var s string
		d.text(&s)(n, path)
		if s == "" {
			return
		}
		addr, err := netip.ParseAddr(s)
		addr = addr.Unmap()
		switch at := slices.Index(*dst, addr); {
		case err != nil:
			d.wrong(n, path, "an IP address such as 127.0.0.2")
		case addr.IsUnspecified() || addr.IsMulticast():
			d.fail(n, path, "%v is no address that a connection can come from", addr)
		case at >= 0:
			d.fail(n, path, "%v stands here twice; the first is %s", addr, index("connect.sourceAddresses", at))
		default:
			*dst = append(*dst, addr)
		}
	}
}

// checkSources refuses addresses from which the embedded hub cannot be reached.
func (d *decoder) checkSources(s *Scenario) {
	if s.Target.Embedded == nil {
		return
	}
	for i, addr := range s.Connect.SourceAddresses {
		if !addr.Is4() {
			d.failPath(index("connect.sourceAddresses", i), "%v is no IPv4 address, and the embedded hub is at 127.0.0.1", addr)
		}
	}
}

func (p printer) sources(all []netip.Addr) *yaml.Node {
	return list(len(all), func(i int) *yaml.Node {
		return p.scalar(index("connect.sourceAddresses", i), text(all[i].String()))
	})
}

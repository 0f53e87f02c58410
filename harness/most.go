package harness

import (
	"fmt"

	"muster/internal/quota"
	"muster/scenarios"
)

// most is how many devices something allows.
type most struct {
	devices int
	why     string
}

// MostDevices returns how many devices a run of s can have at most, and what
// bounds them: a limit of the host or the tier. inside says that an embedded
// hub shares this process.
func MostDevices(s *scenarios.Scenario, host Host, inside bool) (devices int, why string) {
	least := most{scenarios.MaxDevices, "the largest fleet that a scenario can have"}
	bound := func(n int64, format string, args ...any) {
		if n < int64(least.devices) {
			least = most{int(max(n, 0)), fmt.Sprintf(format, args...)}
		}
	}
	if tier, units := quotaOf(s); tier != "" {
		if limits, err := quota.For(tier, units); err == nil {
			bound(int64(limits.Devices), "tier %s, which holds %d devices", tier, limits.Devices)
		}
	}
	if host.MemoryBytes > 0 {
		bound(host.MemoryBytes/bytesPerDevice(s), "the host's memory: about %d MiB are available", host.MemoryBytes>>20)
	}
	if inMemory(s) {
		return least.devices, least.why
	}
	each := 1
	if inside && !isRemote(s) {
		each = 2 // both ends of every connection
	}
	if host.Descriptors > 0 {
		bound(int64((host.Descriptors-spareDescriptors)/each), "the limit of %d open files in a process (ulimit -Hn)", host.Descriptors)
	}
	if host.Ports > 0 {
		bound(int64(host.Ports), "the host's %d local ports (net.ipv4.ip_local_port_range)", host.Ports)
	}
	return least.devices, least.why
}

// bytesPerDevice is what a device takes of this host's memory.
func bytesPerDevice(s *scenarios.Scenario) int64 {
	switch generator := generatorBytesPerDevice(s); {
	case inMemory(s):
		return generator + memoryDeviceBytes
	case isRemote(s):
		return generator + tlsDeviceBytes
	default:
		return generator + hubDeviceBytes
	}
}

// generatorBytesPerDevice is the generator's part of it over plain TCP, as the
// groups' drivers have it on average.
func generatorBytesPerDevice(s *scenarios.Scenario) int64 {
	var all int64
	for _, g := range s.Fleet {
		each := int64(pahoDeviceBytes)
		if g.Driver == scenarios.Lean {
			each = leanDeviceBytes
		}
		all += each * int64(g.Devices)
	}
	return all / int64(max(1, s.Devices()))
}

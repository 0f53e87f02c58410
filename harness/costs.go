package harness

import "muster/scenarios"

// What a run takes of memory, as docs/performance.md has it under "What a run needs of memory": what a
// process takes by itself, and then for each device. They are estimates; what
// ends a run is what it does take, see watch.
const (
	processBytes      = 20 << 20
	pahoDeviceBytes   = 43 << 10 // of the generator
	leanDeviceBytes   = 5 << 10
	hubDeviceBytes    = 4 << 10
	memoryDeviceBytes = 4 << 10  // the hub in the generator's process, without sockets
	leanMemoryBytes   = 9 << 10  // both, without goroutines either, of devices with the lean driver
	tlsDeviceBytes    = 16 << 10 // TLS, on top of a generator's device, and about as much of the hub's
)

// needsMemory returns what a run of s takes with so many devices: the process
// of the generator, and that of the hub, which is 0 where it has none.
func needsMemory(s *scenarios.Scenario, devices int, inside bool) (generator, hub int64) {
	n := int64(devices)
	generator, hub = processBytes+n*generatorBytesPerDevice(s), processBytes+n*hubDeviceBytes
	if embeddedOver(s, scenarios.TLS) {
		generator, hub = generator+n*tlsDeviceBytes, hub+n*tlsDeviceBytes
	}
	switch {
	case isRemote(s):
		return generator + n*tlsDeviceBytes, 0
	case inMemory(s):
		return processBytes + n*memoryBytesPerDevice(s), 0
	case inside:
		return generator + hub - processBytes, 0
	}
	return generator, hub
}

// devicesWithin returns how large a fleet may be whose need, which grows
// evenly, is to stay within so many bytes.
func devicesWithin(bytes int64, need func(devices int) int64) int {
	const many = 1 << 20
	base := need(0)
	each := max(1, (need(many)-base)/many)
	return int(max(0, bytes-base) / each)
}

// generatorBytesPerDevice is the generator's part of a device over plain TCP.
func generatorBytesPerDevice(s *scenarios.Scenario) int64 {
	return average(s, pahoDeviceBytes, leanDeviceBytes)
}

// memoryBytesPerDevice is all of a device where the hub is in the process.
func memoryBytesPerDevice(s *scenarios.Scenario) int64 {
	return average(s, pahoDeviceBytes+memoryDeviceBytes, leanMemoryBytes)
}

// average is what a device takes on average, by the groups' drivers.
func average(s *scenarios.Scenario, paho, lean int64) int64 {
	var all int64
	for _, g := range s.Fleet {
		each := paho
		if g.Driver == scenarios.Lean {
			each = lean
		}
		all += each * int64(g.Devices)
	}
	return all / int64(max(1, s.Devices()))
}

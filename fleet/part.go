package fleet

// Part is what one of several generators runs of a fleet: the devices from From
// up to To, which is not of it. The parts of a fleet have its identities, twins,
// behaviour and randomness; each opens its share of the connections at a time,
// and the attempts of the whole ramp are dealt out to them in turn, so that all
// of them connect from its begin to its end at the rate of the whole.
type Part struct {
	From, To int
	Nth, Of  int // which part it is, from 0, and how many there are
}

// Parts divides a fleet into n parts of sizes that differ by one at most, the
// larger ones first.
func Parts(devices, n int) []Part {
	parts := make([]Part, n)
	from := 0
	for i := range parts {
		to := from + devices/n
		if i < devices%n {
			to++
		}
		parts[i] = Part{From: from, To: to, Nth: i, Of: n}
		from = to
	}
	return parts
}

func (p Part) len() int { return p.To - p.From }

// place returns the place of a device in the whole fleet's ramp.
func (p Part) place(device int) int { return (device-p.From)*p.Of + p.Nth }

// share returns the part's share of n things, at least one.
func (p Part) share(n int) int { return max(1, (n+p.Of-1-p.Nth)/p.Of) }

// fits reports whether it is a part of so many devices.
func (p Part) fits(devices uint64) bool {
	return 0 <= p.From && p.From <= p.To && uint64(p.To) <= devices && 0 <= p.Nth && p.Nth < p.Of
}

// part returns what of the fleet is run here.
func (c *Config) part() Part {
	if c.Part != nil {
		return *c.Part
	}
	return Part{To: int(c.devices()), Of: 1}
}

// Mirror is told what queries read of the devices of a Part, so that the fleet as
// a whole can answer them elsewhere. *Fleet is one, if it does not run itself.
// Its calls come from many goroutines and must not block.
type Mirror interface {
	// Moved tells that a device is online now, or not any more.
	Moved(device uint32, isOnline bool)
	// Reported tells that a hub has confirmed a patch of reported properties.
	Reported(device uint32, patch []byte)
}

// Moved implements Mirror.
func (f *Fleet) Moved(device uint32, isOnline bool) {
	to := offline
	if isOnline {
		to = online
	}
	f.move(device, to)
}

// Reported implements Mirror.
func (f *Fleet) Reported(device uint32, patch []byte) { f.merge(device, reported, patch) }

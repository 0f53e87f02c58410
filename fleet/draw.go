package fleet

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
)

// draw is randomness that depends on nothing but its key, so that neither the
// order in which devices act nor what others draw can change it. It is the
// splitmix64 generator, started at a hash of the key.
type draw struct{ state uint64 }

// Streams keep a device's draws for different purposes apart. Those of methods
// are hashes of their names.
const (
	streamBackoff uint64 = 1
	streamRenewal uint64 = 2
)

// newDraw returns the draw of the n-th event of a device's stream.
func newDraw(seed uint64, device uint32, stream, n uint64) draw {
	d := draw{state: seed}
	for _, part := range [...]uint64{uint64(device), stream, n} {
		d.state = d.Uint64() ^ part
	}
	return draw{state: d.Uint64()}
}

// methodStream returns the stream of a method's draws.
func methodStream(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return h.Sum64()
}

// Uint64 returns the next 64 bits. It makes draw a rand.Source.
func (d *draw) Uint64() uint64 {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// unit returns the next number in [0, 1).
func (d *draw) unit() float64 { return float64(d.Uint64()>>11) / (1 << 53) }

// normal returns the next number of the standard normal distribution.
func (d *draw) normal() float64 { return rand.New(d).NormFloat64() }

// fate is how a device takes one method call.
type fate struct {
	silent  bool
	failed  bool
	latency time.Duration
}

// fate draws how m takes a call. All of it is drawn each time, in one order: a
// rate that changes leaves the other draws as they were.
func (m *Method) fate(d draw) fate {
	drawn := d.unit() // one draw decides between silence and failure: their shares add up
	return fate{
		silent:  drawn < m.SilenceRate,
		failed:  drawn >= m.SilenceRate && drawn < m.SilenceRate+m.FailureRate,
		latency: m.Latency.draw(d),
	}
}

// draw returns one latency.
func (l Latency) draw(d draw) time.Duration {
	if l.Kind != Lognormal || l.Median <= 0 {
		return l.Median
	}
	tail := d // a copy, as only what follows makes it escape
	ns := float64(l.Median) * math.Exp(l.Sigma*tail.normal())
	if ns >= float64(maxLatency) { // also where the product is infinite
		return maxLatency
	}
	return time.Duration(ns)
}

// jitter returns the wait before a device connects again: uniform between zero
// and base doubled for each failure in a row after the first, but at most limit.
func jitter(d draw, base, limit time.Duration, failures uint32) time.Duration {
	ceiling := limit
	if doublings := failures - min(failures, 1); doublings < 62 && base < limit>>doublings {
		ceiling = base << doublings
	}
	return time.Duration(d.unit() * float64(ceiling))
}

package sample

import "time"

// Moment is a point in a run: nanoseconds since the run's epoch on the clock
// of the process that generates the load. Zero means that the moment was not
// seen; a Clock never returns it.
type Moment int64

// Seen reports whether the moment was seen at all.
func (m Moment) Seen() bool { return m != 0 }

// Since returns how long after earlier m came. It reports false if either of
// them was not seen: an absent moment is never a zero duration.
func (m Moment) Since(earlier Moment) (time.Duration, bool) {
	if !m.Seen() || !earlier.Seen() {
		return 0, false
	}
	return time.Duration(m - earlier), true
}

// Add returns the moment d later, or zero if m was not seen.
func (m Moment) Add(d time.Duration) Moment {
	if !m.Seen() {
		return 0
	}
	return m + Moment(d)
}

// Clock gives the moments of one run. Its epoch holds a monotonic and a wall
// reading taken at once, so that a time from another process of this host can
// be placed on it. It is safe for concurrent use.
type Clock struct {
	epoch time.Time
	wall  time.Time // epoch without its monotonic reading
}

// NewClock returns a clock whose epoch is now.
func NewClock() *Clock {
	// One nanosecond back, so that Now is never zero.
	return ClockSince(time.Now().Add(-time.Nanosecond))
}

// ClockSince returns a clock whose epoch was at a time of this process.
func ClockSince(epoch time.Time) *Clock { return &Clock{epoch: epoch, wall: epoch.Round(0)} }

// Epoch returns the wall time at which the clock began.
func (c *Clock) Epoch() time.Time { return c.wall }

// Now returns the present moment.
func (c *Clock) Now() Moment { return Moment(time.Since(c.epoch)) }

// At places t on the clock: by its monotonic reading if it has one, else by
// wall time, which is right as long as the wall clock has not stepped (see
// Step). The zero time is a moment not seen.
func (c *Clock) At(t time.Time) Moment {
	if t.IsZero() {
		return 0
	}
	if m := Moment(t.Sub(c.epoch)); m != 0 {
		return m
	}
	return 1
}

// Time returns the wall time of m.
func (c *Clock) Time(m Moment) time.Time { return c.wall.Add(time.Duration(m)) }

// Step returns how far the wall clock has moved against the monotonic one
// since the epoch. While it is near zero, times of other processes on this
// host may be compared with moments.
func (c *Clock) Step() time.Duration {
	now := time.Now()
	return now.Round(0).Sub(c.wall) - now.Sub(c.epoch)
}

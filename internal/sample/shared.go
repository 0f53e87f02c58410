package sample

import "time"

// Epoch is where a clock begins, as another process of this host understands it.
type Epoch struct {
	Monotonic int64 `json:"monotonic"` // what CLOCK_MONOTONIC showed, in nanoseconds
	Wall      int64 `json:"wall"`      // nanoseconds since 1970
}

// Share returns the clock's epoch for ClockAt in another process of this host.
// It is as exact as two readings of the clock are near each other: to some ten
// nanoseconds, or some hundred on a virtual machine. Only Linux has it.
func (c *Clock) Share() (Epoch, error) {
	now, monotonic, err := bracketed()
	if err != nil {
		return Epoch{}, err
	}
	return Epoch{Monotonic: monotonic - int64(now.Sub(c.epoch)), Wall: c.wall.UnixNano()}, nil
}

// ClockAt returns the clock of the process that shared e: both give the same
// moments at the same time.
func ClockAt(e Epoch) (*Clock, error) {
	now, monotonic, err := bracketed()
	if err != nil {
		return nil, err
	}
	return &Clock{epoch: now.Add(time.Duration(e.Monotonic - monotonic)), wall: time.Unix(0, e.Wall)}, nil
}

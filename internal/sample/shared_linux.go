package sample

import (
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// bracketed returns the present time with what CLOCK_MONOTONIC, which is one
// for all processes of a host, shows at it. Of several readings it takes the
// one that the fewest nanoseconds passed around, half of which is its error.
func bracketed() (now time.Time, monotonic int64, err error) {
	const readings = 32
	least := int64(math.MaxInt64)
	for range readings {
		var before, after unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &before); err != nil {
			return time.Time{}, 0, fmt.Errorf("read the monotonic clock: %w", err)
		}
		at := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &after); err != nil {
			return time.Time{}, 0, fmt.Errorf("read the monotonic clock: %w", err)
		}
		if passed := after.Nano() - before.Nano(); passed < least {
			least, now, monotonic = passed, at, before.Nano()+passed/2
		}
	}
	return now, monotonic, nil
}

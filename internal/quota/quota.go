// Package quota knows what an IoT hub of each tier does at most, and meters it: the limits by tier and units, and a token
// bucket with traffic shaping.
//
// # Concurrency
//
// A Meter may be used from many goroutines at once. It owns neither a goroutine nor a clock: whoever takes from it says
// what time it is, and waits, or lets Wait do both.
package quota

import (
	"fmt"
	"strconv"
	"time"
)

// Tier is an edition of a hub. The zero value is no tier at all: nothing is limited.
type Tier string

// The tiers.
const (
	F1 Tier = "F1"
	S1 Tier = "S1"
	S2 Tier = "S2"
	S3 Tier = "S3"
)

// maxUnits is how many units a hub may have, whatever its tier.
const maxUnits = 200

// Limit is a number of operations in each period.
type Limit struct {
	Count float64
	Per   time.Duration
}

// String returns the limit as in "10/s" and "100/min".
func (l Limit) String() string {
	count, unit := l.Count, "/min"
	if l.Per != time.Minute {
		count, unit = l.Count/l.Per.Seconds(), "/s"
	}
	return strconv.FormatFloat(count, 'f', -1, 64) + unit
}

// Takes returns how long n operations take at the limit's rate.
func (l Limit) Takes(n int) time.Duration {
	return time.Duration(float64(n) / l.Count * float64(l.Per))
}

// TakesAtLeast returns how long n operations take if the first burst, one period's worth, is done at once.
func (l Limit) TakesAtLeast(n int) time.Duration {
	return l.Takes(max(0, n-int(l.Count)))
}

// Limits are what a hub of some tier and units does at most.
type Limits struct {
	Registry    Limit // identities created, read, listed, changed or deleted
	Connects    Limit // connections accepted from devices
	Queries     Limit // pages of queries
	Methods     Limit // blocks of MethodBlock bytes of direct methods' payloads
	TwinReads   Limit // by devices and services
	TwinUpdates Limit // by devices and services
	Jobs        Limit // jobs created, read, listed or cancelled
	JobDevices  Limit // executions of all jobs together

	ActiveJobs int // jobs accepted that have not ended
	Devices    int // identities
}

// MethodBlock is the size by which payloads of direct methods are metered. None is one block too.
const MethodBlock = 4 << 10

// MethodBlocks returns how many blocks a payload of a direct method counts.
func MethodBlocks(payloadBytes int) int {
	return max(1, (payloadBytes+MethodBlock-1)/MethodBlock)
}

// For returns the limits of a tier with so many units.
func For(t Tier, units int) (Limits, error) {
	switch {
	case t != F1 && t != S1 && t != S2 && t != S3:
		return Limits{}, fmt.Errorf("unknown tier %q; expected F1, S1, S2 or S3", string(t))
	case t == F1 && units != 1:
		return Limits{}, fmt.Errorf("a hub of tier F1 has 1 unit, not %d", units)
	case units < 1 || units > maxUnits:
		return Limits{}, fmt.Errorf("units must be 1 to %d, is %d", maxUnits, units)
	}
	u := float64(units)
	switch t {
	case S2:
		return limits(rates{100 * u, 120 * u, 20 * u, 120 * u, max(100, 10*u), max(50, 5*u), 100 * u, max(10, u)}, 5), nil
	case S3:
		return limits(rates{5000 * u, 6000 * u, 1000 * u, 6144 * u, 500 * u, 250 * u, 5000 * u, 50 * u}, 10), nil
	}
	l := limits(rates{100 * u, max(100, 12*u), 20 * u, 40 * u, 100, 50, 100 * u, 10}, 1)
	if t == F1 {
		l.Devices = 500
	}
	return l, nil
}

// rates are the counts of Limits, each in its own period.
type rates struct {
	registry, connects, queries, methods, reads, updates, jobs, jobDevices float64
}

func limits(r rates, activeJobs int) Limits {
	minute := func(n float64) Limit { return Limit{n, time.Minute} }
	second := func(n float64) Limit { return Limit{n, time.Second} }
	return Limits{
		Registry: minute(r.registry), Connects: second(r.connects), Queries: minute(r.queries), Methods: second(r.methods),
		TwinReads: second(r.reads), TwinUpdates: second(r.updates), Jobs: minute(r.jobs), JobDevices: second(r.jobDevices),
		ActiveJobs: activeJobs, Devices: 1_000_000,
	}
}

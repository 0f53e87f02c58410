// Command truth holds what muster measures against delays that it injects and
// logs itself: constant ones, two kinds mixed, and one stall of a second, in the
// devices and in the embedded hub. It prints a table and gives no verdict.
//
// A delay is logged with its own begin and end on the monotonic clock, because a
// sleep of 20 ms on a busy machine is late by a millisecond: what was asked for
// is not what was applied. Runs that muster itself finds invalid are done again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"strings"
	"text/tabwriter"
	"time"

	"muster/fleet/paho"
	"muster/harness"
	"muster/report"
	"muster/scenarios"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	devices := flag.Int("devices", 1000, "devices, each called once")
	rate := flag.Int("rate", 250, "calls a second")
	flag.Parse()
	if err := run(ctx, os.Stdout, *devices, *rate); err != nil {
		fmt.Fprintf(os.Stderr, "truth: %v\n", err)
		os.Exit(1)
	}
}

// truthCase is one kind of delay at one place.
type truthCase struct {
	name   string
	where  string // "device" or "hub"
	phase  string // which must show it
	delays delays
}

const (
	short = 5 * time.Millisecond
	mid   = 20 * time.Millisecond
	long  = 50 * time.Millisecond
	stall = time.Second
)

func cases() []truthCase {
	var all []truthCase
	for _, place := range []struct{ where, phase string }{{"device", "device"}, {"hub", "downlink"}} {
		all = append(all,
			truthCase{"constant 20 ms", place.where, place.phase, func(uint64, time.Duration) time.Duration { return mid }},
			truthCase{"5 ms, each fifth 50 ms", place.where, place.phase, func(n uint64, _ time.Duration) time.Duration {
				if n%5 == 0 {
					return long
				}
				return short
			}},
			truthCase{"5 ms, and a stall of 1 s", place.where, place.phase, func(_ uint64, since time.Duration) time.Duration {
				if left := 2*stall - since; left > short && since >= stall {
					return left
				}
				return short
			}},
		)
	}
	return all
}

func run(ctx context.Context, w io.Writer, devices, rate int) error {
	table := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprint(table, "| delay\t| in\t| phase\t| quantile\t| applied\t| measured\t| off by\t| allowed\t|\n")
	fmt.Fprint(table, "| ---\t| ---\t| ---\t| ---\t| ---:\t| ---:\t| ---:\t| ---:\t|\n")
	for _, c := range cases() {
		applied, measured, err := c.valid(ctx, devices, rate)
		if err != nil {
			return fmt.Errorf("%s in the %s: %w", c.name, c.where, err)
		}
		c.print(table, applied, measured)
	}
	return table.Flush()
}

// tries is how often a case is run, if muster itself finds a run invalid.
const tries = 20

var errInvalid = errors.New("the generator was saturated")

// valid runs a case until muster does not say that its numbers are its own.
func (c *truthCase) valid(ctx context.Context, devices, rate int) (applied []time.Duration, measured *report.Stats, err error) {
	for range tries {
		applied, measured, err = c.run(ctx, devices, rate)
		if !errors.Is(err, errInvalid) {
			return applied, measured, err
		}
		fmt.Fprintf(os.Stderr, "%s in the %s: %v; once more\n", c.name, c.where, err)
	}
	return nil, nil, err
}

// run runs one case and returns the delays that were applied, sorted, and the
// phase that must show them.
func (c *truthCase) run(ctx context.Context, devices, rate int) ([]time.Duration, *report.Stats, error) {
	s, err := scenarios.Parse("truth", fmt.Appendf(nil, scenario, rate, devices, c.phase), scenarios.Options{})
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "muster-truth-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	log := &journal{delays: c.delays}
	opts := &harness.Options{Out: dir, Driver: paho.Driver{}, DriverName: "paho", StartHub: startHub(nil)}
	if c.where == "hub" {
		opts.StartHub = startHub(log)
	} else {
		opts.Driver = delaying{opts.Driver, log}
	}
	result, err := harness.Run(ctx, s, opts)
	if err != nil {
		return nil, nil, err
	}
	j := &result.Report.Summary.Jobs[0]
	applied := log.sorted()
	if j.Succeeded != int64(devices) || len(applied) != devices {
		return nil, nil, fmt.Errorf("%d of %d calls succeeded, %d delays were applied", j.Succeeded, devices, len(applied))
	}
	if result.Report.Summary.Verdict == report.Invalid {
		return nil, nil, fmt.Errorf("%w: %s", errInvalid, strings.Join(result.Report.Summary.Reasons, "; "))
	}
	if j.Phases[c.phase] == nil {
		return nil, nil, errors.New("the phase was not measured")
	}
	return applied, j.Phases[c.phase], nil
}

// The hub paces the calls, so that they do not wait for each other.
const scenario = `
name: truth
target: {embedded: {jobRate: %d/s}}
fleet:
  - group: doors
    devices: %d
    methods: {lockDoor: {}}
connect: {rate: 2000/s}
jobs:
  - name: lock
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor}
    queryCondition: "*"
    startTime: +2s
thresholds:
  - jobs.lock.succeeded == 100%%
  - jobs.lock.%s.p99 < 10s
`

func (c *truthCase) print(w io.Writer, applied []time.Duration, measured *report.Stats) {
	for _, q := range []struct {
		name     string
		part     float64
		measured report.Millis
	}{{"p50", 0.5, measured.P50}, {"p90", 0.9, measured.P90}, {"p99", 0.99, measured.P99}, {"p99.9", 0.999, measured.P999}} {
		truth := quantile(applied, q.part)
		off := time.Duration(q.measured) - truth
		allowed := max(truth/100, 300*time.Microsecond)
		mark := ""
		if off.Abs() > allowed {
			mark = " ✗"
		}
		fmt.Fprintf(w, "| %s\t| %s\t| `%s`\t| %s\t| %s ms\t| %s ms\t| %s ms%s\t| %s ms\t|\n",
			c.name, c.where, c.phase, q.name, millis(truth), millis(time.Duration(q.measured)), millis(off), mark, millis(allowed))
	}
}

func millis(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d)/float64(time.Millisecond)) }

// quantile returns the smallest value that a part of all do not exceed.
func quantile(sorted []time.Duration, part float64) time.Duration {
	rank := int(math.Ceil(part * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Command bench runs unpaced broadcasts with a muster binary and prints what
// they cost: round trips and connects a second, CPU a round trip of generator
// and hub apart, memory a device. It gives no verdict.
//
// Cases are interleaved, and each number is the median of the runs, so that
// what else the machine does falls on all of them alike.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// benchCase is one kind of broadcast.
type benchCase struct {
	name     string
	scenario string
	driver   string
}

const fleetPart = `
seed: 1
fleet:
  - group: doors
    devices: %d
    id: "door-{index:06d}"
    methods:
      lockDoor: {status: 200, response: {locked: true}}
connect: {rate: 1000000/s, inFlight: 500, timeout: 60s}
`

func cases(devices, repetitions int) []benchCase {
	head := fmt.Sprintf(fleetPart, devices)
	job := `
jobs:
  - name: lock
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor, payload: {lockTime: 10m}, responseTimeoutInSeconds: 60}
    queryCondition: "*"
    startTime: +1s
    repeat: {times: %d, every: 10ms}
`
	job = fmt.Sprintf(job, repetitions)
	var all []benchCase
	for _, c := range []benchCase{
		{name: "hub", scenario: "name: bench-hub\ntarget: {embedded: {}}\n" + head + job + "    via: hub\n"},
		{name: "direct", scenario: "name: bench-direct\ntarget: {embedded: {}}\n" + head + job + "    via: direct\n    inFlight: 128\n"},
		{name: "hub, memory", scenario: "name: bench-memory\ntarget: {embedded: {transport: memory}}\n" + head + job + "    via: hub\n"},
	} {
		for _, driver := range []string{"paho", "lean"} {
			all = append(all, benchCase{c.name + ", " + driver, c.scenario, driver})
		}
	}
	return all
}

func main() {
	muster := flag.String("muster", "bin/muster", "the binary to measure")
	devices := flag.Int("devices", 10_000, "devices of the fleet")
	repetitions := flag.Int("repetitions", 20, "broadcasts a run")
	runs := flag.Int("runs", 3, "runs of each case")
	only := flag.String("only", "", "measure the cases whose names begin so, such as \"hub, memory\"")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, *muster, selected(*only, cases(*devices, *repetitions)), *runs); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// selected returns the cases whose names begin with only.
func selected(only string, all []benchCase) []benchCase {
	return slices.DeleteFunc(all, func(c benchCase) bool { return !strings.HasPrefix(c.name, only) })
}

func bench(ctx context.Context, muster string, all []benchCase, runs int) error {
	if len(all) == 0 {
		return errors.New("no such case")
	}
	muster, err := filepath.Abs(muster)
	if err != nil {
		return err
	}
	measured := make([][]costs, len(all))
	for n := range runs {
		for i, c := range all {
			cost, err := runOnce(ctx, muster, c)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Fprintf(os.Stderr, "run %d of %d, %s: %.0f round trips/s\n", n+1, runs, c.name, cost.roundTrips)
			measured[i] = append(measured[i], cost)
		}
	}
	return printTable(all, measured)
}

// runOnce runs a case in a folder of its own and reads its samples. The
// verdict does not matter: an unpaced broadcast on a small machine saturates
// the generator, and is invalid as a test.
func runOnce(ctx context.Context, muster string, c benchCase) (costs, error) {
	dir, err := os.MkdirTemp("", "muster-bench-")
	if err != nil {
		return costs{}, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "scenario.yaml")
	if err := os.WriteFile(file, []byte(c.scenario), 0o666); err != nil {
		return costs{}, err
	}
	out := filepath.Join(dir, "out")
	cmd := exec.CommandContext(ctx, muster, "run", "--progress", "none", "--driver", c.driver, "--out", out, file)
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState.ExitCode() != exitInvalid && cmd.ProcessState.ExitCode() != exitThreshold {
		return costs{}, fmt.Errorf("%w\n%s", err, text)
	}
	return read(out)
}

// Statuses of muster run that still leave whole numbers to read.
const (
	exitThreshold = 99
	exitInvalid   = 110
)

func printTable(all []benchCase, measured [][]costs) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "case\tround trips/s\tgenerator µs/trip\thub µs/trip\tgenerator KB/device\thub KB/device\tconnects/s\t")
	for i, c := range all {
		row := []func(costs) float64{
			func(c costs) float64 { return c.roundTrips },
			func(c costs) float64 { return c.generatorMicros },
			func(c costs) float64 { return c.hubMicros },
			func(c costs) float64 { return c.generatorKB },
			func(c costs) float64 { return c.hubKB },
			func(c costs) float64 { return c.connects },
		}
		fmt.Fprintf(w, "%s\t", c.name)
		for _, of := range row {
			fmt.Fprintf(w, "%s\t", number(median(measured[i], of)))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func number(v float64) string {
	if v == 0 {
		return "–" // not measured: the hub in memory shares the generator's process
	}
	if v < 100 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func median(all []costs, of func(costs) float64) float64 {
	values := make([]float64, len(all))
	for i, c := range all {
		values[i] = of(c)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

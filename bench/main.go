// Command bench measures what unpaced broadcasts cost: those of a muster binary
// and, in one go with them, those of the floor programs, which exchange the same
// bytes and do nothing else. It prints round trips and connects a second,
// processor time a round trip, memory a device, and each of them as a ratio to
// the floor. It gives no verdict.
//
// Cases are interleaved, and each number is the median of the runs, so that
// what else the machine does falls on all of them alike.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"muster/bench/internal/floor"
)

// settings are the flags.
type settings struct {
	muster, floor string
	all           bool
	only          []string
	sizes         []int
	repetitions   int
	runs          int
	list          bool
	markdown      string
	profile       string
	log           string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&s.muster, "muster", "bin/muster", "the binary to measure")
	f.StringVar(&s.floor, "floor", "bin/floor", "the binary of ./bench/floor")
	f.BoolVar(&s.all, "all", false, "measure the whole matrix, which takes an hour, and 5 GB for 100,000 devices of paho")
	f.Func("only", "measure the cases of the whole matrix that have all these words, as in \"hub tcp lean\", with their floors", func(text string) error {
		s.only = strings.Fields(text)
		return nil
	})
	f.Func("sizes", "measure fleets of these sizes instead of 1000, 10000 and, in memory, 100000, as in 2000,5000", func(text string) error {
		for _, field := range strings.Split(text, ",") {
			n, err := strconv.Atoi(field)
			if err != nil || n < 1 {
				return fmt.Errorf("%q: want a number of devices", field)
			}
			s.sizes = append(s.sizes, n)
		}
		return nil
	})
	f.IntVar(&s.repetitions, "repetitions", 0, "broadcasts a run (default: 100,000 round trips, 3 to 100 broadcasts)")
	f.IntVar(&s.runs, "runs", 3, "runs of each case")
	f.BoolVar(&s.list, "list", false, "list the cases and measure nothing")
	f.StringVar(&s.markdown, "markdown", "", "write the tables between the marker comments of this `file` too")
	f.StringVar(&s.log, "log", "", "add each run to this `file`, and print the tables of all that are in it: so a matrix is measured in parts")
	f.StringVar(&s.profile, "profile", "", "with -muster bin/profiled: write CPU profiles of generator and hub to this `folder`, and where the time goes (default: of -only \"hub tcp\" -sizes 10000)")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if s.profile != "" && s.only == nil && !s.all {
		s.only = []string{"hub", "tcp"}
	}
	if s.profile != "" && s.sizes == nil {
		s.sizes = []int{large}
	}
	switch {
	case f.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case s.runs < 0 || s.runs == 0 && s.log == "":
		return s, fmt.Errorf("-runs %d: want 1 or more, or with -log 0, for its tables alone", s.runs)
	case s.repetitions < 0:
		return s, fmt.Errorf("-repetitions %d: want 1 or more", s.repetitions)
	}
	return s, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parse(args, stderr)
	if err != nil {
		return err
	}
	chosen := s.choose()
	if len(chosen) == 0 {
		return errors.New("no such case; -all -list lists them all")
	}
	if s.list {
		for _, c := range chosen {
			fmt.Fprintln(stdout, c)
		}
		return nil
	}
	mark, tables, err := s.make(ctx, chosen, stderr)
	err = errors.Join(err, tables.text(stdout))
	if s.markdown != "" && err == nil {
		return tables.into(s.markdown, mark)
	}
	return err
}

// make returns the tables, and the mark of the page's part that they belong
// to. With an error they are what there is.
func (s settings) make(ctx context.Context, chosen []benchCase, stderr io.Writer) (mark string, all tables, err error) {
	if s.profile != "" {
		all, err = profile(ctx, s, chosen)
		return "profiles", all, err
	}
	measured := results{}
	if s.log != "" {
		if measured, err = readLog(s.log); err != nil {
			return "", nil, err
		}
	}
	err = measured.measure(ctx, s, chosen, stderr)
	if len(measured) > 0 {
		all = measured.tables(measured.notIn(matrix(small, large, huge)))
	}
	return "costs", all, err
}

// measure runs all cases in turn, as often as asked, and adds what they cost. A
// case that fails is left out from then on.
func (r results) measure(ctx context.Context, s settings, chosen []benchCase, stderr io.Writer) error {
	failed := map[benchCase]error{}
	for n := range s.runs {
		for _, c := range chosen {
			if failed[c] != nil || ctx.Err() != nil {
				continue
			}
			cost, err := once(ctx, s, c)
			if err == nil && s.log != "" {
				err = c.appendTo(s.log, cost)
			}
			if err != nil {
				failed[c] = fmt.Errorf("%v: %w", c, err)
				fmt.Fprintf(stderr, "run %d of %d, %v\n", n+1, s.runs, failed[c])
				continue
			}
			fmt.Fprintf(stderr, "run %d of %d, %v: %.0f round trips/s\n", n+1, s.runs, c, cost.RoundTrips)
			r[c] = append(r[c], cost)
		}
	}
	errs := []error{context.Cause(ctx)}
	for _, c := range chosen {
		if failed[c] != nil {
			errs = append(errs, failed[c])
		}
	}
	return errors.Join(errs...)
}

// once measures a case once.
func once(ctx context.Context, s settings, c benchCase) (costs, error) {
	if !c.isFloor() {
		return runOnce(ctx, s.muster, c, s.broadcasts(c), nil)
	}
	binary, err := filepath.Abs(s.floor)
	if err != nil {
		return costs{}, err
	}
	cost, err := floor.Run(ctx, binary, floor.Case{Pair: c.pair(), Devices: c.devices, Broadcasts: s.broadcasts(c)})
	return costs{
		RoundTrips: cost.RoundTrips, GeneratorMicros: cost.ClientMicros, HubMicros: cost.ServerMicros,
		GeneratorKB: cost.ClientKB, AfterKB: cost.ClientAfterKB, HubKB: cost.ServerKB, Connects: cost.Connects,
	}, err
}

const (
	tripsARun     = 100_000
	leastRepeated = 3
	mostRepeated  = 100
)

// broadcasts returns how many a run of a case has: enough that what a process
// does beside them weighs little in what it uses.
func (s settings) broadcasts(c benchCase) int {
	if s.repetitions > 0 {
		return s.repetitions
	}
	return min(max(tripsARun/c.devices, leastRepeated), mostRepeated)
}

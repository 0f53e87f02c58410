package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/capacity"
	"muster/harness"
	"muster/report"
	"muster/scenarios"
)

type capacityFlags struct {
	run        runFlags
	find       string
	objectives []string
	from, to   int
	runs       int
	within     float64
	timeLimit  time.Duration
}

func newCapacity(stdio Stdio) *cobra.Command {
	var flags capacityFlags
	cmd := &cobra.Command{
		Use:   "capacity FILE",
		Short: "Search for the largest fleet, or rate, that still meets an objective",
		Long: `Search for the largest fleet (--find devices), or rate (--find rate), that still meets the
objectives: double from --from until a run fails, halve the distance, and repeat both sides of
the knee until each is confident. Each probe is a run of the scenario with its own results.

An objective is a threshold; it takes the place of the scenario's, which are the default. A
rate is target.embedded.jobRate for jobs via hub, a job's rate for jobs via direct, and
connect.rate for objectives on fleet.connect.

Writes capacity.json, capacity.md and capacity.svg, and the runs below probes/. After an
interrupt or --time-limit what was found until then is there.

Exit status: 0 the knee was found, or all of the range passes; 97 undecided, or the time was
over; 99 even the least value fails; 110 the generator was the limit, so the hub's capacity is
not known; 1, 2, 104 and 105 as of muster run.`,
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&flags.find, "find", "", "what to search for: devices or rate (required)")
	f.StringArrayVar(&flags.objectives, "objective", nil, "a threshold to meet, as in 'jobs.lock.total.p99 < 500ms' (repeatable; default: the scenario's)")
	f.IntVar(&flags.from, "from", 0, "the least value (default 100, or the number of groups)")
	f.IntVar(&flags.to, "to", 0, "the largest value (default: what this host allows, at most 1000000)")
	f.IntVar(&flags.runs, "runs-at-knee", 3, "how often, at least, each side of the knee is run")
	f.Float64Var(&flags.within, "within", 5, "how far the sides of the knee may be apart, in percent")
	f.DurationVar(&flags.timeLimit, "time-limit", time.Hour, "how long the search may take")
	f.StringVarP(&flags.run.out, "out", "o", "", "folder for the search (default results/<start time>-<scenario>-capacity)")
	f.StringArrayVar(&flags.run.set, "set", nil, "change a value of the scenario, as in jobs.lock.repeat.times=2 (repeatable)")
	addDriver(f, &flags.run.driver)
	f.DurationVar(&flags.run.drain, "drain", 10*time.Second, "how long an interrupted run waits for what it has begun")
	f.BoolVar(&flags.run.inProcess, "in-process", false, "run the hub in this process, not as a child process (always so with transport: memory)")
	f.BoolVarP(&flags.run.verbose, "verbose", "v", false, "log details too")
	cmd.RunE = action(func(ctx context.Context, args []string) error {
		return runCapacity(ctx, args[0], &flags, stdio)
	})
	return cmd
}

// check refuses flags that no search can have.
func (f *capacityFlags) check() error {
	var err error
	switch {
	case f.find != findDevices && f.find != findRate:
		err = fmt.Errorf("--find %q: want devices or rate", f.find)
	case f.from < 0:
		err = fmt.Errorf("--from %d: must be above 0", f.from)
	case f.to < 0:
		err = fmt.Errorf("--to %d: must be above 0", f.to)
	case f.to > 0 && f.from > f.to:
		err = fmt.Errorf("--from %d: must not be above --to %d", f.from, f.to)
	case f.runs < 1 || f.runs > 20:
		err = fmt.Errorf("--runs-at-knee %d: must be 1 to 20", f.runs)
	case !(f.within >= 0.1 && f.within <= 50):
		err = fmt.Errorf("--within %v: must be 0.1 to 50", f.within)
	case f.timeLimit <= 0:
		err = fmt.Errorf("--time-limit %v: must be above 0", f.timeLimit)
	}
	if err != nil {
		return withStatus(exitUsage, err)
	}
	return nil
}

var (
	errTimeLimit   = errors.New("the time limit is over")
	errInterrupted = errors.New("interrupted")
)

func runCapacity(ctx context.Context, file string, flags *capacityFlags, stdio Stdio) error {
	if err := flags.check(); err != nil {
		return err
	}
	p, err := newProber(file, flags, stdio)
	if err != nil {
		return err
	}
	r := p.result
	printWarnings(stdio.Err, r.Warnings)
	if err := p.open(); err != nil {
		return err
	}
	timed, cancel := context.WithTimeoutCause(ctx, flags.timeLimit, errTimeLimit)
	defer cancel()
	var fault error
	r.Knee, r.Probes, fault = capacity.Search(timed, p.options(), p.probe)
	r.Seconds = time.Since(r.StartedAt).Seconds()
	r.Why = "" // what open wrote holds no more
	if fault != nil {
		r.Why = fault.Error()
		if ctx.Err() != nil {
			r.Why, fault = errInterrupted.Error(), errInterrupted
		}
	}
	if err := r.Write(p.out); err != nil {
		return errors.Join(err, fault)
	}
	if err := printCapacity(stdio.Out, r, p.out); err != nil {
		return errors.Join(err, fault)
	}
	return capacityStatus(r.Status, fault)
}

func printCapacity(w io.Writer, r *capacity.Result, dir string) error {
	_, err := fmt.Fprintf(w, "%s  %s, %s\n\n%s\n\nresults  %s\n", strings.ToUpper(string(r.Status)), r.Scenario, r.Find, r.Sentence(), dir)
	return err
}

// capacityStatus returns the exit status of a search. What ended it before its
// time has been printed, unless it is muster's own failure.
func capacityStatus(status capacity.Status, fault error) error {
	var known *statusError
	switch {
	case errors.Is(fault, errInterrupted):
		return withStatus(exitInterrupted, nil)
	case errors.As(fault, &known), errors.Is(fault, errProbe):
		return fault
	case fault != nil: // the time limit, or too many probes
		return withStatus(exitUndecided, nil)
	}
	statuses := map[capacity.Status]int{
		capacity.Found: exitPass, capacity.AboveRange: exitPass, capacity.BelowRange: exitThreshold,
		capacity.GeneratorLimited: exitInvalid, capacity.Unsure: exitUndecided,
	}
	if exit := statuses[status]; exit != exitPass {
		return withStatus(exit, nil)
	}
	return nil
}

// prober makes the runs of a search.
type prober struct {
	file   string
	flags  *capacityFlags
	stdio  Stdio
	opts   *harness.Options
	sets   []string // paths that a rate is set at
	out    string
	result *capacity.Result
}

func newProber(file string, flags *capacityFlags, stdio Stdio) (*prober, error) {
	p := &prober{file: file, flags: flags, stdio: stdio}
	var err error
	if p.opts, err = flags.run.options(stdio); err != nil {
		return nil, err
	}
	s, err := p.load(0)
	if err != nil {
		return nil, err
	}
	if p.opts.FleetSecret, err = fleetSecret(s); err != nil {
		return nil, err
	}
	p.result = &capacity.Result{
		MusterVersion: version, Scenario: s.Name, Find: flags.find, Sets: "--devices", RunsAtKnee: flags.runs, Within: flags.within / 100,
		StartedAt: time.Now().UTC(),
	}
	if len(s.Thresholds) == 0 {
		return nil, withStatus(exitUsage, errors.New("--objective: the scenario has no thresholds, so there must be an objective, as in 'jobs.lock.total.p99 < 500ms'"))
	}
	for _, t := range s.Thresholds {
		p.result.Objectives = append(p.result.Objectives, t.Text)
	}
	line, _ := unitsOf(s.Thresholds[0].Expr.Bound)
	p.result.Line = &line
	if flags.find == findRate {
		if p.sets, err = ratePaths(s); err != nil {
			return nil, withStatus(exitUsage, err)
		}
		p.result.Sets = strings.Join(p.sets, ", ")
	}
	p.result.Warnings = blindSpots(s)
	if e := s.Target.Embedded; e != nil {
		if note := report.TransportNote(string(e.Transport)); note != "" {
			p.result.Warnings = append(p.result.Warnings, note)
		}
	}
	return p, p.bound(s)
}

// load loads the scenario at a value, or as it is at 0.
func (p *prober) load(value int) (*scenarios.Scenario, error) {
	load := scenarios.Options{
		Set: append([]string(nil), p.flags.run.set...), Thresholds: p.flags.objectives, Driver: scenarios.Driver(p.flags.run.driver),
	}
	if value > 0 && p.flags.find == findDevices {
		load.Devices = value
	}
	for _, path := range p.sets {
		if value > 0 {
			load.Set = append(load.Set, fmt.Sprintf("%s=%d/s", path, value))
		}
	}
	return loadScenario(p.file, load)
}

// defaultFrom is where a search begins: a hub that cannot do this is no hub.
const defaultFrom = 100

// bound sets the range of the search: of devices no more than the host and the
// tier allow.
func (p *prober) bound(s *scenarios.Scenario) error {
	r := p.result
	least, most, why := 1, maxSearchedRate, "the largest rate that is searched"
	if p.flags.find == findDevices {
		least = len(s.Fleet)
		most, why = harness.MostDevices(s, harness.ThisHost(), p.inside(s))
	}
	if r.From = p.flags.from; r.From == 0 {
		r.From = max(defaultFrom, least)
	}
	if r.From < least {
		return withStatus(exitUsage, fmt.Errorf("--from %d: must be at least %d, the number of groups: each has a device", r.From, least))
	}
	switch r.To, r.Bound = most, why; {
	case p.flags.to > most:
		r.Warnings = append(r.Warnings, fmt.Sprintf("--to %d is more than there can be: the search ends at %d by %s", p.flags.to, most, why))
	case p.flags.to > 0:
		r.To, r.Bound = p.flags.to, "--to"
	}
	switch {
	case r.From <= r.To:
		return nil
	case p.flags.from == 0 && p.flags.to > 0:
		r.From = max(least, r.To/8) // --to alone, below where searches begin
		return nil
	}
	return fmt.Errorf("--from %d: %d at most, by %s", r.From, r.To, r.Bound)
}

// maxSearchedRate is far above what one machine can do.
const maxSearchedRate = 1_000_000

// inside reports whether the hub will share this process.
func (p *prober) inside(s *scenarios.Scenario) bool {
	e := s.Target.Embedded
	return e != nil && (p.flags.run.inProcess || e.Transport == scenarios.Memory)
}

func (p *prober) options() capacity.Options {
	r := p.result
	return capacity.Options{From: r.From, To: r.To, RunsAtKnee: r.RunsAtKnee, Within: r.Within}
}

// open claims the folder of the search.
func (p *prober) open() error {
	r := p.result
	if p.out = p.flags.run.out; p.out == "" {
		p.out = filepath.Join("results", r.StartedAt.Format("20060102T150405Z")+"-"+r.Scenario+"-capacity")
	}
	if _, err := os.Stat(filepath.Join(p.out, "capacity.json")); err == nil {
		return fmt.Errorf("open folder %s: it holds a search already", p.out)
	}
	if err := os.MkdirAll(filepath.Join(p.out, probesDir), 0o777); err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	r.Why = "it goes on, or it died"
	r.Status = capacity.Stopped
	return r.Write(p.out) // so that a search that is killed has left what it was to do
}

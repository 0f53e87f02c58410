package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"muster/gate"
)

// judgeFlags are what compare and gate have in common.
type judgeFlags struct {
	metric    string
	tolerance string
	force     bool
	output    string
}

func (j *judgeFlags) register(f *pflag.FlagSet) {
	f.StringVar(&j.metric, "metric", "", "`path` of the latency that decides, as in jobs.lock.total.p99 (default: the first that a threshold reads, else how long the first job took)")
	f.StringVar(&j.tolerance, "tolerance", "5%", "the slowdown that is let pass")
	f.BoolVar(&j.force, "force", false, "compare runs of unlike hosts, scenarios, drivers or schema versions all the same")
	f.StringVar(&j.output, "output", "table", "what is printed: table, json or markdown")
}

// options checks the flags.
func (j *judgeFlags) options(set *pflag.FlagSet) (opts gate.Options, err error) {
	var errs []error
	opts.Force = j.force
	if j.metric != "" {
		metric, err := gate.ParseMetric(j.metric)
		if err != nil {
			errs = append(errs, fmt.Errorf("--metric %w", err))
		}
		opts.Metric = &metric
	}
	if set.Changed("tolerance") {
		part, err := percentage(j.tolerance)
		if err != nil {
			errs = append(errs, fmt.Errorf("--tolerance %w", err))
		}
		opts.Tolerance = &part
	}
	if _, err := j.writer(nil); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return opts, withStatus(exitUsage, err)
	}
	return opts, nil
}

// mostTolerance bounds what is still a tolerance, and not a unit mixed up.
const mostTolerance = 10

// percentage reads 5% as 0.05.
func percentage(text string) (float64, error) {
	number, ok := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(v >= 0 && v <= 100*mostTolerance) {
		return 0, fmt.Errorf("%s: must be a percentage from 0%% to %d%%, such as 5%%", text, 100*mostTolerance)
	}
	return v / 100, nil
}

// shown is a Comparison or a gate's Result.
type shown interface {
	Text(io.Writer) error
	Markdown(io.Writer) error
	JSON(io.Writer) error
}

// writer returns what writes s in the format that was asked for.
func (j *judgeFlags) writer(s shown) (func(io.Writer) error, error) {
	switch j.output {
	case "table":
		return func(w io.Writer) error { return s.Text(w) }, nil
	case "markdown":
		return func(w io.Writer) error { return s.Markdown(w) }, nil
	case "json":
		return func(w io.Writer) error { return s.JSON(w) }, nil
	}
	return nil, withStatus(exitUsage, fmt.Errorf("--output %s: want table, json or markdown", j.output))
}

func (j *judgeFlags) print(w io.Writer, s shown) error {
	write, err := j.writer(s)
	if err != nil {
		return err
	}
	return write(w)
}

// after is the flag --with: it takes no value, but marks a place among the
// arguments.
type after struct {
	flags *pflag.FlagSet
	at    int      // how many arguments stand before it; -1 if it was not given
	given []string // values all the same, as in --with=folder
}

const noFolder = " " // the value of --with where none is given

func (a *after) String() string { return "" }
func (a *after) Type() string   { return "folder" }

// Set is called while arguments are parsed: those before it have been counted.
func (a *after) Set(value string) error {
	if a.at < 0 {
		a.at = a.flags.NArg()
	}
	if value != noFolder {
		a.given = append(a.given, value)
	}
	return nil
}

type compareFlags struct {
	judgeFlags
	with         after
	paired, once bool
}

func newCompare(stdio Stdio) *cobra.Command {
	flags := compareFlags{with: after{at: -1}}
	cmd := &cobra.Command{
		Use:   "compare BASE... --with NEW...",
		Short: "Compare results folders and decide whether the new ones are slower",
		Long: `Compare the results folders of runs: what stands before --with is the base, what stands after
it is new. A run counts as one number, the latency that --metric names. The verdict is

  pass          the new runs are slower by less than the tolerance, or not at all
  regression    they are slower by more than that
  inconclusive  the runs leave both open; it says about how many more would decide

Every other latency is shown with its interval and decides nothing. It takes at least 5 runs
a side. Runs may be added and compared again at 8 and at 12 a side: each look is stricter, so
that all of them together seldom err. Runs that did not end well, and runs that are not alike,
are refused.

Exit status: 0 pass, 97 inconclusive, 98 regression, 1 the folders cannot be compared, 2 wrong
usage.`,
		Args: cobra.ArbitraryArgs,
	}
	f := cmd.Flags()
	flags.with.flags = f
	f.Var(&flags.with, "with", "what stands after it is new")
	f.Lookup("with").NoOptDefVal = noFolder
	if err := f.MarkHidden("with"); err != nil { // the usage line shows it as it is written
		panic("cli: " + err.Error())
	}
	flags.register(f)
	f.BoolVar(&flags.paired, "paired", false, "the first of the base ran beside the first of new, and so on, as muster gate runs them")
	f.BoolVar(&flags.once, "once", false, "the number of runs was settled beforehand: this look is the only one")
	cmd.RunE = action(func(_ context.Context, args []string) error { return compareFolders(args, &flags, f, stdio) })
	return cmd
}

func compareFolders(args []string, flags *compareFlags, set *pflag.FlagSet, stdio Stdio) error {
	opts, err := flags.options(set)
	if err != nil {
		return err
	}
	opts.Pairs, opts.Once = flags.paired, flags.once
	if flags.with.at < 0 {
		return withStatus(exitUsage, errors.New("no --with: want BASE... --with NEW..., with one folder at least of each"))
	}
	base, newer := args[:flags.with.at], append(flags.with.given, args[flags.with.at:]...)
	switch {
	case len(base) == 0 || len(newer) == 0:
		return withStatus(exitUsage, fmt.Errorf("%d folders before --with and %d after it: want one at least of each", len(base), len(newer)))
	case flags.paired && len(base) != len(newer):
		return withStatus(exitUsage, fmt.Errorf("--paired: %d folders before --with and %d after it: want as many", len(base), len(newer)))
	}
	older, err := readFolders(base)
	later, lerr := readFolders(newer)
	if err := errors.Join(err, lerr); err != nil {
		return err
	}
	c, err := gate.Compare(older, later, opts)
	if err != nil {
		return err
	}
	if err := flags.print(stdio.Out, c); err != nil {
		return err
	}
	return verdictStatus(c.Verdict)
}

// readFolders reads every folder, so that one look shows all that is wrong.
func readFolders(dirs []string) ([]*gate.Folder, error) {
	var all []*gate.Folder
	var errs []error
	for _, dir := range dirs {
		f, err := gate.ReadFolder(dir)
		errs = append(errs, err)
		all = append(all, f)
	}
	return all, errors.Join(errs...)
}

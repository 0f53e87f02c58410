package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"muster/gate"
	"muster/internal/stats"
	"muster/scenarios"
)

type gateFlags struct {
	judgeFlags
	base      string
	baseSet   []string
	set       []string
	out       string
	runs      int
	again     int
	calibrate int
	devices   int
	seed      uint64
	driver    string
	drain     time.Duration
	inProcess bool
	progress  string
	selfTest  bool
}

// defaultNulls is how many null pairs --calibrate alone runs.
const defaultNulls = "8"

func newGate(stdio Stdio) *cobra.Command {
	var flags gateFlags
	cmd := &cobra.Command{
		Use:   "gate FILE",
		Short: "Run two builds or settings in turn and decide whether the new one is slower",
		Long: `Run a scenario with a base and with what is new, in pairs (base new, new base, base new, ...),
and decide whether new is slower by more than the tolerance. It looks at the runs when 5, 8 and
12 pairs are complete and stops as soon as a look decides.

New is this muster. The base is another one (--base path/to/muster), this one with other
settings of the scenario (--base-set), or runs that are there already (--base folder).

All runs are kept in one folder, with gate.json and gate.md. The first interrupt ends the run
that goes on, keeps what is there, and decides nothing.

Exit status: 0 pass, 97 inconclusive, 98 regression, 1 the gate could not be done, 2 wrong
usage, 104 bad scenario, 105 interrupted, 110 too many of its runs were invalid.`,
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&flags.base, "base", "", "the base: another muster `binary`, or a folder of runs")
	f.StringArrayVar(&flags.baseSet, "base-set", nil, "change a value of the base's scenario alone, as in jobs.lock.via=direct (repeatable)")
	f.StringArrayVar(&flags.set, "set", nil, "change a value of the scenario of both, as in jobs.lock.repeat.times=2 (repeatable)")
	f.StringVarP(&flags.out, "out", "o", "", "folder for all runs (default results/<start time>-gate-<scenario>)")
	f.IntVar(&flags.runs, "runs", 12, "run at most this many pairs: 5, 8 or 12")
	f.IntVar(&flags.calibrate, "calibrate", 0, "first run null pairs, of the base alone, and take the tolerance from them; so many `pairs`")
	f.Lookup("calibrate").NoOptDefVal = defaultNulls
	f.IntVar(&flags.again, "again", 3, "how many invalid runs have their pair made again before the gate is invalid itself")
	f.IntVar(&flags.devices, "devices", 0, "scale the fleet to this many devices in all")
	f.Uint64Var(&flags.seed, "seed", 0, "seed of everything random (default: the scenario's)")
	addDriver(f, &flags.driver)
	f.DurationVar(&flags.drain, "drain", 10*time.Second, "how long an interrupted run waits for what it has begun")
	f.BoolVar(&flags.inProcess, "in-process", false, "run each hub in its run's process")
	f.StringVar(&flags.progress, "progress", "plain", "how progress is shown on stderr: plain or none")
	f.BoolVar(&flags.selfTest, "self-test", false, "prove on this host that the gate holds still for one build and fires at twice what it could have seen")
	flags.register(f)
	cmd.RunE = action(func(ctx context.Context, args []string) error { return runGate(ctx, args[0], &flags, f, stdio) })
	return cmd
}

func runGate(ctx context.Context, file string, flags *gateFlags, set *pflag.FlagSet, stdio Stdio) error {
	opts, err := flags.options(set)
	if err != nil {
		return err
	}
	if err := flags.check(set); err != nil {
		return withStatus(exitUsage, err)
	}
	g := &gating{file: file, flags: flags, set: set, stdio: stdio}
	if err := g.load(); err != nil {
		return err
	}
	if err := g.known(opts.Metric); err != nil {
		return withStatus(exitUsage, fmt.Errorf("--metric: %w", err))
	}
	cfg := gate.Config{
		Dir: g.dir(), Pairs: flags.runs, Again: flags.again, Nulls: flags.calibrate, Options: opts,
		Settings: g.differ, TwoTargets: anyBelow(flags.baseSet, "target"), Progress: stdio.Err,
	}
	if flags.progress == "none" {
		cfg.Progress = io.Discard
	}
	if err := g.sides(&cfg); err != nil {
		return err
	}
	if err := g.shipped(cfg.Dir); err != nil {
		return err
	}
	if flags.selfTest {
		return g.testSelf(ctx, cfg)
	}
	result, err := gate.Conduct(ctx, cfg)
	return g.finish(result, err, cfg.Dir)
}

// check checks the flags against each other.
func (f *gateFlags) check(set *pflag.FlagSet) error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !slices.Contains(stats.Sizes(), f.runs) {
		add("--runs %d: must be 5, 8 or 12", f.runs)
	}
	if set.Changed("calibrate") && f.calibrate < stats.Least {
		add("--calibrate=%d: a spread needs at least %d null pairs", f.calibrate, stats.Least)
	}
	if f.calibrate > 0 && set.Changed("tolerance") {
		add("--tolerance, --calibrate: the one gives the tolerance, the other finds it; want one of them")
	}
	if f.again < 0 {
		add("--again %d: must not be negative", f.again)
	}
	if set.Changed("devices") && f.devices <= 0 {
		add("--devices %d: must be above 0", f.devices)
	}
	if f.drain <= 0 {
		add("--drain %v: must be above 0", f.drain)
	}
	if _, err := (&runFlags{driver: f.driver, drain: time.Second}).options(Stdio{Err: io.Discard}); err != nil {
		errs = append(errs, err)
	}
	if f.progress != "plain" && f.progress != "none" {
		add("--progress %s: want plain or none", f.progress)
	}
	switch based := f.base != "" || len(f.baseSet) > 0; {
	case f.selfTest && based:
		add("--self-test: takes no --base and no --base-set: it makes its own")
	case !f.selfTest && !based:
		add("against what? want --base with another muster or a folder of runs, or --base-set")
	}
	return errors.Join(errs...)
}

// gating is one gate in the making.
type gating struct {
	file     string
	flags    *gateFlags
	set      *pflag.FlagSet
	stdio    Stdio
	self     string              // this program
	scenario *scenarios.Scenario // of the new side
	differ   []string            // where that of the base differs
}

// load checks the scenario of both sides before anything runs.
func (g *gating) load() (err error) {
	if g.self, err = os.Executable(); err != nil {
		return err
	}
	if g.scenario, err = g.variant(nil); err != nil {
		return err
	}
	printWarnings(g.stdio.Err, g.scenario.Warnings)
	g.differ, err = g.between(g.flags.baseSet)
	return err
}

// known checks what decides before anything runs.
func (g *gating) known(m *gate.Metric) error {
	if m == nil {
		return nil
	}
	var jobs []string
	for i := range g.scenario.Jobs {
		jobs = append(jobs, g.scenario.Jobs[i].Name)
	}
	if m.Group != "" && !slices.ContainsFunc(g.scenario.Fleet, func(f scenarios.Group) bool { return f.Name == m.Group }) {
		return fmt.Errorf("metric %s: no group is called %q", m, m.Group)
	}
	return m.Known(jobs)
}

// variant loads the scenario with further settings.
func (g *gating) variant(set []string) (*scenarios.Scenario, error) {
	opts := scenarios.Options{Set: slices.Concat(g.flags.set, set), Devices: g.flags.devices, Driver: scenarios.Driver(g.flags.driver)}
	if g.set.Changed("seed") {
		opts.Seed = &g.flags.seed
	}
	return loadScenario(g.file, opts)
}

// between returns the paths at which a variant of the scenario differs from it.
func (g *gating) between(set []string) ([]string, error) {
	other, err := g.variant(set)
	if err != nil {
		return nil, err
	}
	a, err := other.Resolved()
	if err != nil {
		return nil, err
	}
	b, err := g.scenario.Resolved()
	if err != nil {
		return nil, err
	}
	return gate.SettingsBetween(a, b)
}

func (g *gating) dir() string {
	if g.flags.out != "" {
		return g.flags.out
	}
	return filepath.Join("results", time.Now().UTC().Format("20060102T150405Z")+"-gate-"+g.scenario.Name)
}

// shipped writes a shipped scenario into the gate's folder, as another muster
// may not have it.
func (g *gating) shipped(dir string) error {
	if _, err := os.Stat(g.file); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	src, err := fs.ReadFile(scenarios.Shipped(), strings.TrimSuffix(g.file, ".yaml")+".yaml")
	if err != nil {
		return nil // loadScenario has read it: it has just appeared
	}
	g.file = filepath.Join(dir, g.scenario.Name+".yaml")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("open gate folder %s: %w", dir, err)
	}
	return os.WriteFile(g.file, src, 0o666)
}

// sides sets what each side is and how it is run.
func (g *gating) sides(cfg *gate.Config) (err error) {
	base, newer := side{g.self, slices.Concat(g.flags.set, g.flags.baseSet)}, side{g.self, g.flags.set}
	cfg.BaseIs, cfg.NewIs = "this muster", "this muster, "+version
	if g.flags.base != "" {
		if cfg.Stored, err = storedRuns(g.flags.base); err != nil {
			return err
		}
		cfg.BaseIs = g.flags.base
	}
	switch {
	case cfg.Stored != nil:
		if len(g.flags.baseSet) > 0 {
			cfg.BaseIs += ", which was run with other settings"
		}
	case g.flags.base != "":
		if base.binary, err = exec.LookPath(g.flags.base); err != nil {
			return withStatus(exitUsage, fmt.Errorf("--base %s: neither a muster to run nor a folder of runs: %w", g.flags.base, errors.Unwrap(err)))
		}
		cfg.TwoBuilds = true
	}
	if cfg.Stored == nil && len(g.differ) > 0 {
		cfg.BaseIs += " with other settings: " + strings.Join(g.differ, ", ")
	}
	cfg.Run = func(ctx context.Context, who gate.Who, dir string) error {
		if who == gate.Base {
			return g.run(ctx, base, dir)
		}
		return g.run(ctx, newer, dir)
	}
	return nil
}

// storedRuns reads the runs in a folder: its own, or those of the folders in
// it. It returns none if path is no folder.
func storedRuns(path string) ([]*gate.Folder, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return nil, nil // it may be a program's name
	}
	if _, err := os.Stat(filepath.Join(path, "gate.json")); err == nil {
		return nil, withStatus(exitUsage, fmt.Errorf("--base %s: it is the folder of a gate, with runs of both its sides; want a folder of runs of the base alone", path))
	}
	dirs := []string{path}
	if _, err := os.Stat(filepath.Join(path, "run.json")); err != nil {
		files, err := filepath.Glob(filepath.Join(escapeGlob(path), "*", "run.json"))
		if err != nil || len(files) == 0 {
			return nil, withStatus(exitUsage, fmt.Errorf("--base %s: there is no run in the folder", path))
		}
		dirs = dirs[:0]
		for _, file := range files {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	return readFolders(dirs)
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// anyBelow reports whether one of some path=value arguments is below a key.
func anyBelow(set []string, key string) bool {
	return slices.ContainsFunc(set, func(arg string) bool { return strings.HasPrefix(arg, key+".") })
}

// finish prints what a gate came to and returns its exit status.
func (g *gating) finish(result *gate.Result, err error, dir string) error {
	if result == nil {
		return err
	}
	if perr := g.flags.print(g.stdio.Out, result); perr != nil {
		return errors.Join(err, perr)
	}
	if g.flags.output == "table" {
		fmt.Fprintf(g.stdio.Out, "results: %s\n", dir)
	}
	if err != nil {
		return withStatus(exitFailed, err)
	}
	return verdictStatus(result.Verdict)
}

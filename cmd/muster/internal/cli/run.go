package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"muster/harness"
	"muster/report"
	"muster/scenarios"
)

type runFlags struct {
	out        string
	set        []string
	devices    int
	seed       uint64
	driver     string
	progress   string
	metrics    string
	ui         string
	uiStay     bool
	drain      time.Duration
	inProcess  bool
	generators int
	calibrate  bool
	verbose    bool
}

func newRun(stdio Stdio) *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Run a scenario and report",
		Long: `Run a scenario: bring up the embedded hub, or reach the IoT hub of target.iothub, connect the
fleet, fire the jobs, write the results folder and print the verdict.

On an IoT hub the fleet must be there (muster fleet provision), and its secret in
$` + secretVariable + `. A job that matches devices which are not of the fleet is refused,
with 104.

The first interrupt drains: nothing more is begun, what has begun is awaited for --drain,
and the results are written. A second one kills.

If GITHUB_STEP_SUMMARY names a file, the summary is appended to it.`,
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.StringVarP(&flags.out, "out", "o", "", "folder for the results (default results/<start time>-<scenario>)")
	f.StringArrayVar(&flags.set, "set", nil, "change a value of the scenario, as in jobs.lock.repeat.times=2 (repeatable)")
	f.IntVar(&flags.devices, "devices", 0, "scale the fleet to this many devices in all")
	f.Uint64Var(&flags.seed, "seed", 0, "seed of everything random (default: the scenario's)")
	addDriver(f, &flags.driver)
	f.StringVar(&flags.progress, "progress", "auto", "how progress is shown on stderr: auto, tty, plain, json or none")
	f.StringVar(&flags.metrics, "metrics", "", "serve how the run goes to Prometheus at this address until it ends, as in :9464 on loopback (default off)")
	f.StringVar(&flags.ui, "ui", "", "serve a page with the run's charts and a stop button at this address until it ends, as in :8080 on loopback (default off)")
	f.BoolVar(&flags.uiStay, "ui-stay", false, "keep serving the page, then the report, after the run until Ctrl-C")
	f.DurationVar(&flags.drain, "drain", 10*time.Second, "how long an interrupted run waits for what it has begun")
	f.BoolVar(&flags.inProcess, "in-process", false, "run the hub in this process, not as a child process (always so with transport: memory)")
	f.IntVar(&flags.generators, "generators", 0, "child processes that share the devices, each with its own open files; 1 is none (default as many as the limit on open files asks for)")
	f.BoolVar(&flags.calibrate, "calibrate", false, "measure first what the harness itself costs, which takes four seconds, and report it")
	f.BoolVarP(&flags.verbose, "verbose", "v", false, "log details too")
	cmd.RunE = action(func(ctx context.Context, args []string) error {
		return runScenario(ctx, args[0], flags, f, stdio)
	})
	return cmd
}

func runScenario(ctx context.Context, file string, flags runFlags, set *pflag.FlagSet, stdio Stdio) (returned error) {
	if set.Changed("devices") && flags.devices <= 0 {
		return withStatus(exitUsage, fmt.Errorf("--devices %d: must be above 0", flags.devices))
	}
	opts, err := flags.options(stdio)
	if err != nil {
		return err
	}
	show, err := newProgress(flags.progress, stdio.Err)
	if err != nil {
		return err
	}
	load := scenarios.Options{Set: flags.set, Devices: flags.devices, Driver: scenarios.Driver(flags.driver)}
	if set.Changed("seed") {
		load.Seed = &flags.seed
	}
	s, err := loadScenario(file, load)
	if err != nil {
		return err
	}
	printWarnings(stdio.Err, s.Warnings)
	if opts.FleetSecret, err = fleetSecret(s); err != nil {
		return err
	}
	if e := s.Target.Embedded; !flags.inProcess && e != nil && e.Transport != scenarios.Memory { // memory reaches no other process
		opts.StartHub = startSelf(stdio.Err, flags.verbose)
	}
	opts.StartGenerator, opts.Generators = startGenerator(stdio.Err, flags.verbose), flags.generators
	if err := flags.checkGenerators(s); err != nil {
		return err
	}
	opts.Args = shownArgs(file, set)
	work, interrupt := context.WithCancel(ctx)
	defer interrupt()
	w, err := flags.watch(s, opts, show, interrupt, stdio.Err)
	if err != nil {
		return err
	}
	defer func() { returned = errors.Join(returned, w.page.stop(ctx)) }()
	result, err := harness.Run(work, s, opts)
	err = errors.Join(err, w.over(result))
	show.close(result)
	return conclude(result, err, file, stdio)
}

// conclude prints what came of the run of file and returns its status.
func conclude(result *harness.Result, err error, file string, stdio Stdio) error {
	if result == nil || result.Report == nil {
		return remoteStatus(err, file)
	}
	if werr := errors.Join(printReport(result.Report, stdio), appendStepSummary(result.Dir)); werr != nil {
		return errors.Join(err, werr)
	}
	if err != nil {
		return remoteStatus(err, file)
	}
	return verdictStatus(result.Report.Summary.Verdict)
}

// watched is what is served beside a run.
type watched struct {
	page        *ui
	stopMetrics func() error
}

// watch has opts tell how the run of s goes to all who are to see it.
// interrupt ends the run.
func (f *runFlags) watch(s *scenarios.Scenario, opts *harness.Options, show progress, interrupt func(), stderr io.Writer) (*watched, error) {
	f.observe(s, opts, show)
	stopMetrics, err := f.serveMetrics(s, opts, stderr)
	if err != nil {
		return nil, err
	}
	page, err := f.serveUI(s, opts, interrupt, stderr)
	if err != nil {
		return nil, errors.Join(err, stopMetrics())
	}
	return &watched{page, stopMetrics}, nil
}

// over tells who watches that the run is over. The page is served on, until it
// is stopped.
func (w *watched) over(result *harness.Result) error {
	w.page.over(result)
	return w.stopMetrics()
}

// observe has show told how the run goes. What nobody sees is not counted.
func (f *runFlags) observe(s *scenarios.Scenario, opts *harness.Options, show progress) {
	_, silent := show.(quiet)
	if silent && f.metrics == "" && f.ui == "" {
		return
	}
	opts.Live = report.NewLive(harness.RunJobs(s))
	opts.Observe = func(harness.Progress) {}
	if !silent {
		counted := &running{live: opts.Live}
		opts.Observe = func(p harness.Progress) { show.observe(counted.of(p)) }
	}
}

// addDriver adds --driver.
func addDriver(f *pflag.FlagSet, driver *string) {
	f.StringVar(driver, "driver", "", "MQTT client under all devices: paho, or lean for large fleets (default: what fleet[].driver says, else paho)")
}

// options checks the flags that the scenario has no part in.
func (f *runFlags) options(stdio Stdio) (*harness.Options, error) {
	if f.drain <= 0 {
		return nil, withStatus(exitUsage, fmt.Errorf("--drain %v: must be above 0", f.drain))
	}
	if driver := scenarios.Driver(f.driver); driver != "" && !slices.Contains(scenarios.Drivers(), driver) {
		return nil, withStatus(exitUsage, fmt.Errorf("--driver %s: unknown driver; want paho or lean", f.driver))
	}
	opts := &harness.Options{
		Out: f.out, Drain: f.drain, Calibrate: f.calibrate, Version: version,
		Logger: newLogger(stdio.Err, f.verbose),
	}
	return opts, nil
}

// checkGenerators checks --generators against what else was asked for.
func (f *runFlags) checkGenerators(s *scenarios.Scenario) error {
	e, why := s.Target.Embedded, ""
	switch {
	case f.generators < 0:
		why = "must not be negative"
	case f.generators > s.Devices():
		why = fmt.Sprintf("the fleet has %d devices", s.Devices())
	case f.generators < 2:
	case e != nil && e.Transport == scenarios.Memory:
		why = "transport memory reaches no other process"
	case e != nil && f.inProcess:
		why = "--in-process keeps all in this one"
	}
	if why != "" {
		return withStatus(exitUsage, fmt.Errorf("--generators %d: %s", f.generators, why))
	}
	return nil
}

// shownArgs returns the arguments for run.json. The values of --set stay out:
// a scenario may hold a secret, and its resolved form masks them.
func shownArgs(file string, set *pflag.FlagSet) []string {
	args := []string{"run", file}
	set.Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		if f.Name == "set" {
			value = "(see scenario.yaml)"
		}
		args = append(args, "--"+f.Name+"="+value)
	})
	return args
}

// appendStepSummary appends the run's summary.md to the page of a CI step, if
// there is one: GitHub and those like it name its file in an environment
// variable.
func appendStepSummary(dir string) (err error) {
	path := os.Getenv("GITHUB_STEP_SUMMARY")
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(dir, "summary.md"))
	if err != nil {
		return fmt.Errorf("append the report to $GITHUB_STEP_SUMMARY: %w", err)
	}
	page, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("append the report to $GITHUB_STEP_SUMMARY: %w", err)
	}
	_, err = page.Write(append(text, '\n'))
	if err = errors.Join(err, page.Close()); err != nil {
		return fmt.Errorf("append the report to $GITHUB_STEP_SUMMARY: %w", err)
	}
	return nil
}

// verdictStatus returns nil for a pass, else the verdict's exit status. The
// report has said why.
func verdictStatus(v report.Verdict) error {
	statuses := map[report.Verdict]int{
		report.Pass: exitPass, report.Fail: exitThreshold, report.Invalid: exitInvalid,
		report.Interrupted: exitInterrupted, report.Incomplete: exitFailed,
		report.Regression: exitRegression, report.Inconclusive: exitUndecided,
	}
	status, ok := statuses[v]
	if !ok {
		status = exitThreshold // no data is never a pass
	}
	if status == exitPass {
		return nil
	}
	return withStatus(status, nil)
}

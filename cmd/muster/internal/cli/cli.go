// Package cli is muster's command line: one file a subcommand, each callable
// as a function with its own standard streams.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Stdio are the standard streams of a command.
type Stdio struct {
	In  io.Reader
	Out io.Writer // results
	Err io.Writer // progress, warnings, errors
}

// Exit statuses: the same whatever the output format. See docs/run.md.
const (
	exitPass        = 0
	exitFailed      = 1 // muster itself failed, or the run is incomplete
	exitUsage       = 2
	exitUndecided   = 97  // too few or too unsteady runs for a comparison to tell
	exitRegression  = 98  // slower than the base
	exitThreshold   = 99  // a threshold failed or had no data
	exitScenario    = 104 // the scenario is bad
	exitInterrupted = 105
	exitInvalid     = 110 // the generator was saturated, or a ledger does not balance
)

// statusError ends the program with a status. A nil err has been printed already.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

func withStatus(status int, err error) error { return &statusError{status: status, err: err} }

// Main runs one command line and returns its exit status.
func Main(ctx context.Context, args []string, stdio Stdio) int {
	root := newRoot(stdio)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitPass
	}
	// What cobra itself refuses, an unknown flag or command or a missing
	// argument, never reaches a command's function and carries no status.
	status := &statusError{status: exitUsage, err: err}
	errors.As(err, &status)
	if status.err != nil {
		fmt.Fprintf(stdio.Err, "muster: %v\n", status.err)
	}
	if status.status == exitUsage {
		fmt.Fprintln(stdio.Err, "Run 'muster --help' or 'muster COMMAND --help' for usage.")
	}
	return status.status
}

func newRoot(stdio Stdio) *cobra.Command {
	root := &cobra.Command{
		Use:   "muster",
		Short: "Fleet load tests for IoT hubs: did the job reach every device, and when",
		Long: `muster simulates a fleet of connected devices, fires jobs (a direct method, an update
of desired properties or of tags) at the devices that a twin query matches, records when
each device got, ran and finished its part, and gives a verdict.

Every flag can also be set by an environment variable: MUSTER_ and the flag's name in upper
case with _ for -. Flags win over variables, those over the scenario, that over defaults.

Exit status: 0 pass, 1 muster failed or the run is incomplete, 2 wrong usage, 97 a comparison
or search is inconclusive, 98 a regression, 99 a threshold failed or had no data, 104 bad
scenario, 105 interrupted, 110 the run is invalid.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return bindEnvironment(cmd.Flags(), os.LookupEnv) },
	}
	root.SetIn(stdio.In)
	root.SetOut(stdio.Out)
	root.SetErr(stdio.Err)
	root.AddCommand(newRun(stdio), newValidate(stdio), newPlan(stdio), newDoctor(stdio), newCapacity(stdio), newHub(stdio), newGenerator(stdio), newReport(stdio),
		newCompare(stdio), newGate(stdio), newDevice(stdio), newJob(stdio), newFleet(stdio), newSchema(stdio), newVersion(stdio))
	addCompletion(root)
	return root
}

// action wraps a command's function: an error without a status of its own is
// muster's own failure, no longer wrong usage.
func action(run func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := run(cmd.Context(), args)
		var status *statusError
		if err == nil || errors.As(err, &status) {
			return err
		}
		return withStatus(exitFailed, err)
	}
}

// bindEnvironment sets each flag that was not given from its MUSTER_ variable.
func bindEnvironment(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" {
			return
		}
		name := variableOf(f)
		if value, ok := lookup(name); ok && value != "" {
			if err := flags.Set(f.Name, value); err != nil {
				errs = append(errs, fmt.Errorf("environment variable %s: %w", name, err))
			}
		}
	})
	return errors.Join(errs...)
}

// variableOf returns the name of the variable that stands for a flag.
func variableOf(f *pflag.Flag) string {
	return "MUSTER_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}

// newLogger logs to w, plainly.
func newLogger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"muster/harness"
	"muster/scenarios"
)

// doctorDevices is the fleet that a host is checked for unless told otherwise.
const doctorDevices = 10_000

type doctorFlags struct {
	load scenarios.Options
	json bool
}

func newDoctor(stdio Stdio) *cobra.Command {
	var flags doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [FILE]",
		Short: "Check this host for a run, and tell how to mend it",
		Long: `Check this host for a run of a scenario, or of a fleet of --devices on the embedded hub: open
files, local ports, memory, limits of its control group, CPUs and their governor, the clock,
loopback. For what is not well it prints the command that mends it, and at the end which limit
comes first for a larger fleet. Nothing is changed.

Exit status: 0 a run can go, though perhaps with warnings, 1 it cannot, 2 wrong usage, 104 the
scenario is bad.`,
		Args: cobra.MaximumNArgs(1),
	}
	f := cmd.Flags()
	f.IntVar(&flags.load.Devices, "devices", 0, fmt.Sprintf("size of the fleet (default the scenario's, or %d)", doctorDevices))
	f.StringArrayVar(&flags.load.Set, "set", nil, "change a value of the scenario, as in target.embedded.transport=memory (repeatable)")
	f.BoolVar(&flags.json, "json", false, "print JSON")
	cmd.RunE = action(func(ctx context.Context, args []string) error {
		if f.Changed("devices") && flags.load.Devices <= 0 {
			return withStatus(exitUsage, fmt.Errorf("--devices %d: must be above 0", flags.load.Devices))
		}
		return runDoctor(ctx, args, flags, stdio)
	})
	return cmd
}

func runDoctor(ctx context.Context, args []string, flags doctorFlags, stdio Stdio) error {
	s, err := doctorScenario(args, flags.load)
	if err != nil {
		return err
	}
	found, err := harness.Doctor(ctx, s)
	if err != nil {
		return err
	}
	if flags.json {
		enc := json.NewEncoder(stdio.Out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		err = enc.Encode(found)
	} else {
		err = printExamination(stdio.Out, found)
	}
	if err != nil {
		return err
	}
	if !found.CanRun {
		return withStatus(exitFailed, errors.New("this host cannot run it as it is"))
	}
	return nil
}

// doctorScenario loads the scenario, or makes one of a fleet alone.
func doctorScenario(args []string, load scenarios.Options) (*scenarios.Scenario, error) {
	if len(args) > 0 {
		return loadScenario(args[0], load)
	}
	if load.Devices == 0 {
		load.Devices = doctorDevices
	}
	s, err := scenarios.Parse("fleet", []byte("name: fleet\nfleet: [{group: devices, devices: 1}]\n"), load)
	if err != nil {
		return nil, withStatus(exitUsage, err)
	}
	return s, nil
}

func printExamination(w io.Writer, e *harness.Examination) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%s: %d devices\n\n", e.Scenario, e.Devices)
	for _, f := range e.Findings {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", f.Status, f.Check, f.Found)
		if f.Fix != "" {
			fmt.Fprintf(table, "  \t\t→ %s\n", f.Fix)
		}
	}
	fmt.Fprintln(table)
	printFirst(table, e.Bounds)
	return table.Flush()
}

// printFirst tells which limit comes first, and if it can be passed the next.
func printFirst(w io.Writer, bounds []harness.Bound) {
	for i, b := range harness.First(bounds) {
		fmt.Fprintf(w, "%s limit: %v\n", [...]string{"first", "next"}[min(i, 1)], b)
	}
}

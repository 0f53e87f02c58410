package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"muster/harness"
	"muster/scenarios"
)

func newPlan(stdio Stdio) *cobra.Command {
	var load scenarios.Options
	var seed uint64
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Tell beforehand how long a scenario takes and what it needs",
		Long: `Tell beforehand how long a scenario takes by its rates and the quotas of its tier, and what
it needs of this host, and which limit comes first. Nothing is run.

Exit status: 0 it can be run, 1 this host lacks something, 2 wrong usage, 104 the scenario is
bad, or asks for what its tier does not allow.`,
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.StringArrayVar(&load.Set, "set", nil, "change a value of the scenario, as in target.embedded.tier=S1 (repeatable)")
	f.IntVar(&load.Devices, "devices", 0, "scale the fleet to this many devices in all")
	f.Uint64Var(&seed, "seed", 0, "seed of everything random (default: the scenario's)")
	cmd.RunE = action(func(_ context.Context, args []string) error {
		if load.Devices < 0 {
			return withStatus(exitUsage, fmt.Errorf("--devices %d: must not be negative", load.Devices))
		}
		if f.Changed("seed") {
			load.Seed = &seed
		}
		return runPlan(args[0], load, stdio)
	})
	return cmd
}

func runPlan(file string, load scenarios.Options, stdio Stdio) error {
	s, err := loadScenario(file, load)
	if err != nil {
		return err
	}
	printWarnings(stdio.Err, s.Warnings)
	p, err := harness.NewPlan(s, harness.ThisHost())
	if err != nil {
		return err
	}
	if err := printPlan(stdio.Out, p); err != nil {
		return err
	}
	return planStatus(p)
}

// planStatus returns what cannot be as an error: the scenario's faults come first, as no other host mends them.
func planStatus(p *harness.Plan) error {
	faults := append(append([]string(nil), p.Impossible...), p.Lacking...)
	switch {
	case len(p.Impossible) > 0:
		return withStatus(exitScenario, errors.New(strings.Join(faults, "\nmuster: ")))
	case len(p.Lacking) > 0:
		return withStatus(exitFailed, errors.New(strings.Join(faults, "\nmuster: ")))
	}
	return nil
}

func printPlan(w io.Writer, p *harness.Plan) error {
	where := "without quotas"
	if p.Tier != "" {
		where = fmt.Sprintf("on a hub of tier %s, units: %d", p.Tier, p.Units)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%s: %d devices %s\n\n", p.Scenario, p.Devices, where)
	for _, s := range p.Steps {
		fmt.Fprintf(table, "  %s\t%s\t%s\n", s.Name, atLeast(s.Takes), s.Because)
	}
	fmt.Fprintf(table, "  in all\t%s\tfrom the first connect, at least\n\n", atLeast(p.Total))
	printNeeds(table, p.Needs)
	printFirst(table, p.Bounds)
	return table.Flush()
}

func printNeeds(w io.Writer, n harness.Needs) {
	if n.Descriptors == 0 {
		fmt.Fprintf(w, "needs about %d MiB of memory, no open files and no ports for devices\n", mebibytes(n.GeneratorBytes))
		return
	}
	ports := fmt.Sprintf("%d local ports", n.Ports)
	if n.Sources > 0 {
		ports += fmt.Sprintf(" of %d source addresses", n.Sources)
	}
	if n.Generators > 1 {
		fmt.Fprintf(w, "needs %d generators with %d open files each, %s and about %d MiB of memory\n", n.Generators, n.Descriptors, ports, mebibytes(n.GeneratorBytes))
		return
	}
	if n.HubBytes == 0 {
		fmt.Fprintf(w, "needs %d open files, %s and about %d MiB of memory\n", n.Descriptors, ports, mebibytes(n.GeneratorBytes))
		return
	}
	fmt.Fprintf(w, "needs %d open files each for generator and hub, %s, about %d MiB of memory for the generator and %d MiB for the hub\n",
		n.Descriptors, ports, mebibytes(n.GeneratorBytes), mebibytes(n.HubBytes))
}

func atLeast(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return d.Round(100 * time.Millisecond).String()
}

func mebibytes(n int64) int64 { return max(1, n>>20) }

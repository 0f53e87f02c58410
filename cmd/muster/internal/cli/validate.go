package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"muster/harness"
	"muster/scenarios"
)

func newValidate(stdio Stdio) *cobra.Command {
	var set []string
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check scenario files without running them",
		Args:  cobra.MinimumNArgs(1),
		RunE: action(func(_ context.Context, files []string) error {
			return validate(files, set, stdio)
		}),
	}
	cmd.Flags().StringArrayVar(&set, "set", nil, "change a value of the scenario, as in jobs.lock.repeat.times=2 (repeatable)")
	return cmd
}

// validate checks every file, so that one look shows all that is wrong.
func validate(files, set []string, stdio Stdio) error {
	bad := 0
	for _, file := range files {
		s, err := loadScenario(file, scenarios.Options{Set: set})
		var status *statusError
		if errors.As(err, &status) && status.status == exitUsage {
			return err
		}
		if err != nil {
			fmt.Fprintf(stdio.Err, "%v\n", err)
			bad++
			continue
		}
		printWarnings(stdio.Err, s.Warnings)
		if _, err := fmt.Fprintf(stdio.Out, "%s: ok: %s\n", file, harness.Describe(s)); err != nil {
			return err
		}
	}
	if bad > 0 {
		return withStatus(exitScenario, fmt.Errorf("%d of %d scenarios are bad", bad, len(files)))
	}
	return nil
}

// loadScenario loads and checks a scenario as both run and validate do. A name
// that is no file may be that of a shipped scenario.
func loadScenario(file string, opts scenarios.Options) (*scenarios.Scenario, error) {
	s, err := load(file, opts)
	if err == nil {
		if err = harness.Check(s); err == nil {
			return s, nil
		}
		return nil, withStatus(exitScenario, fmt.Errorf("%s: %w", file, err))
	}
	var faults scenarios.Errors
	if !errors.As(err, &faults) {
		return nil, withStatus(exitScenario, err)
	}
	status := exitScenario
	if slices.ContainsFunc(faults, func(e *scenarios.Error) bool { return strings.HasPrefix(e.File, "--") }) {
		status = exitUsage // a flag is wrong, whatever else is
	}
	return nil, withStatus(status, errors.New(strings.TrimRight(faults.Detail(), "\n")))
}

func load(file string, opts scenarios.Options) (*scenarios.Scenario, error) {
	name := strings.TrimSuffix(file, ".yaml")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) || !slices.Contains(scenarios.ShippedNames(), name) {
		return scenarios.Load(file, opts)
	}
	src, err := fs.ReadFile(scenarios.Shipped(), name+".yaml")
	if err != nil {
		return nil, err
	}
	return scenarios.Parse(name+".yaml", src, opts)
}

func printWarnings(w io.Writer, warnings []string) {
	for _, text := range warnings {
		fmt.Fprintf(w, "warning: %s\n", text)
	}
}

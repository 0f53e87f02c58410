package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"muster/harness"
)

// newGenerator is what a run starts to have a part of its fleet simulated. It
// is of no use to people, and so it is hidden.
func newGenerator(stdio Stdio) *cobra.Command {
	verbose := false
	cmd := &cobra.Command{
		Use:    "generator",
		Short:  "Simulate a part of a run's fleet, as standard input says",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: action(func(ctx context.Context, _ []string) error {
			if isTerminal(stdio.In) {
				return withStatus(exitUsage, errors.New("generator: a run starts its generators itself, see muster run --generators"))
			}
			err := harness.Generate(ctx, stdio.In, stdio.Out, &harness.GeneratorOptions{Logger: newLogger(stdio.Err, verbose)})
			if errors.Is(err, harness.ErrRunGone) {
				return withStatus(exitFailed, nil) // nobody is left who should be told
			}
			return err
		}),
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log details too")
	return cmd
}

// startGenerator returns a function that starts this binary as `muster generator`.
// What it logs goes to stderr.
func startGenerator(stderr io.Writer, verbose bool) harness.StartGenerator {
	return func(context.Context) (*harness.Generator, error) {
		c, err := startProcess([]string{"generator", fmt.Sprintf("--verbose=%v", verbose)}, stderr)
		if err != nil {
			return nil, err
		}
		return &harness.Generator{In: c.stdin, Out: c.stdout, Stop: c.stop}, nil
	}
}

package cli

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"muster/report"
)

func newReport(stdio Stdio) *cobra.Command {
	var executions string
	cmd := &cobra.Command{
		Use:   "report DIR",
		Short: "Make a run's report again from its samples",
		Long: `Make everything in a results folder that is made of its run.json and samples again, and print
the report. A run that was killed is reported with what it measured until then, and the verdict
incomplete. The exit status is the verdict's.

--parquet writes the executions, one row each, to a file of their own too, in the Parquet format.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&executions, "parquet", "", "export the executions to this file (Parquet; moments in nanoseconds since the run began)")
	cmd.RunE = action(func(_ context.Context, args []string) error {
		if cmd.Flags().Changed("parquet") && executions == "" {
			return withStatus(exitUsage, errors.New("--parquet: want the name of a file"))
		}
		return remakeReport(args[0], executions, stdio)
	})
	return cmd
}

func remakeReport(dir, executions string, stdio Stdio) error {
	r, err := report.Build(dir)
	if err != nil {
		return err
	}
	if err := r.Write(); err != nil {
		return err
	}
	if executions != "" {
		if err := report.WriteParquet(dir, executions); err != nil {
			return err
		}
	}
	if err := printReport(r, stdio); err != nil {
		return err
	}
	return verdictStatus(r.Summary.Verdict)
}

func printReport(r *report.Report, stdio Stdio) error {
	return r.Console(stdio.Out, consoleOptions(stdio.Out))
}

// consoleOptions fits the report to w if it is a terminal.
func consoleOptions(w io.Writer) report.ConsoleOptions {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return report.ConsoleOptions{}
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		width = 0
	}
	_, plain := os.LookupEnv("NO_COLOR")
	return report.ConsoleOptions{Width: width, Color: !plain}
}

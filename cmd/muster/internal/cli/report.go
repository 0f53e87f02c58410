package cli

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"muster/report"
)

func newReport(stdio Stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "report DIR",
		Short: "Make a run's report again from its samples",
		Long: `Make summary.json, devices.csv and summary.md of a results folder again from its run.json
and samples, and print the report. A run that was killed is reported with what it measured
until then, and the verdict incomplete. The exit status is the verdict's.`,
		Args: cobra.ExactArgs(1),
		RunE: action(func(_ context.Context, args []string) error { return remakeReport(args[0], stdio) }),
	}
}

func remakeReport(dir string, stdio Stdio) error {
	r, err := report.Build(dir)
	if err != nil {
		return err
	}
	if err := r.Write(); err != nil {
		return err
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

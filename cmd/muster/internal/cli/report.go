package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"muster/report"
)

type reportFlags struct {
	executions string
	compare    bool
	out        string
}

func newReport(stdio Stdio) *cobra.Command {
	var flags reportFlags
	cmd := &cobra.Command{
		Use:   "report DIR...",
		Short: "Make a run's report again from its samples, or lay runs over each other",
		Long: `Make everything in a results folder that is made of its run.json and samples again, and print
the report. A run that was killed is reported with what it measured until then, and the verdict
incomplete. The exit status is the verdict's.

--parquet writes the executions, one row each, to a file of their own too, in the Parquet format.

--compare writes one page that lays the runs of two folders or more over each other: completion
curves, percentiles and how they shifted, phases. It shows and does not judge: the exit status is
0 if the page was written.`,
		Args: cobra.MinimumNArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&flags.executions, "parquet", "", "export the executions to this file (Parquet; moments in nanoseconds since the run began)")
	f.BoolVar(&flags.compare, "compare", false, "lay the runs of two folders or more over each other")
	f.StringVarP(&flags.out, "out", "o", "", "the page that --compare writes; it ends in .html")
	cmd.RunE = action(func(_ context.Context, args []string) error {
		if f.Changed("parquet") && flags.executions == "" {
			return withStatus(exitUsage, errors.New("--parquet: want the name of a file"))
		}
		if err := flags.check(args, os.LookupEnv); err != nil {
			return withStatus(exitUsage, err)
		}
		if flags.compare {
			return compareRuns(args, flags.out)
		}
		return remakeReport(args[0], flags.executions, stdio)
	})
	return cmd
}

// check reports flags and folders that do not go together. MUSTER_OUT, which
// names where runs go, is no mistake where --out means nothing.
func (f *reportFlags) check(dirs []string, lookup func(string) (string, bool)) error {
	fromEnvironment, _ := lookup("MUSTER_OUT")
	switch {
	case f.compare && len(dirs) < 2:
		return fmt.Errorf("--compare: want two results folders or more, not %d", len(dirs))
	case f.compare && f.executions != "":
		return errors.New("--parquet: exports one run, and --compare reads several")
	case f.compare && f.out == "":
		return errors.New("--compare: want --out FILE, where to write the page")
	case f.compare && filepath.Ext(f.out) != ".html":
		return fmt.Errorf("--out %s: want a name that ends in .html", f.out)
	case !f.compare && len(dirs) != 1:
		return fmt.Errorf("report: want one results folder, not %d; --compare lays several over each other", len(dirs))
	case !f.compare && f.out != "" && fromEnvironment == "":
		return fmt.Errorf("--out %s: goes with --compare; a report is written into its run's folder", f.out)
	}
	return nil
}

func compareRuns(dirs []string, out string) error {
	var runs []*report.Report
	for _, dir := range dirs {
		r, err := report.Build(dir)
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	return report.WriteComparison(out, runs)
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

package cli_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"muster/cmd/muster/internal/cli"
)

// TestCompletionKnowsOnlyFlagsAndWordsThatThereAre looks for each of them in
// the help of a flag.
func TestCompletionKnowsOnlyFlagsAndWordsThatThereAre(t *testing.T) {
	unused := slices.Clone(cli.PathFlags)
	for name, words := range cli.Words {
		for _, word := range words {
			unused = append(unused, name+" "+word)
		}
	}
	check := func(f *pflag.Flag) {
		unused = slices.DeleteFunc(unused, func(known string) bool {
			name, word, _ := strings.Cut(known, " ")
			return name == f.Name && strings.Contains(f.Usage, word)
		})
	}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(check)
		cmd.PersistentFlags().VisitAll(check)
		for _, below := range cmd.Commands() {
			walk(below)
		}
	}
	walk(cli.NewRoot(cli.Stdio{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}))
	if len(unused) > 0 {
		t.Errorf("completion knows flags, or values of theirs, that no help names: %q", unused)
	}
}

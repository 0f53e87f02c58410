package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"muster/scenarios"
)

// words are the values of flags that take one of a few, by the flag's name. A
// flag takes those that its help names.
var words = map[string][]string{
	"driver":   {"paho", "lean"},
	"progress": {"auto", "tty", "plain", "json", "none"},
	"tier":     {"F1", "S1", "S2", "S3"},
	"output":   {"table", "json"},
	"type":     {"method", "twin"},
	"status":   {"queued", "scheduled", "running", "completed", "failed", "cancelled"},
}

// Flags whose values are files or folders.
var (
	pemFlags    = []string{"ca", "cert", "key"}
	folderFlags = []string{"out", "data"}
)

// addCompletion teaches every command below root what its arguments and flags
// can be: a FILE is a scenario, a DIR a results folder.
func addCompletion(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		addCompletion(cmd)
	}
	switch argument := regexp.MustCompile(`\b[A-Z]+\b`).FindString(root.Use); {
	case root.ValidArgsFunction != nil || root.HasSubCommands():
	case argument == "FILE":
		root.ValidArgsFunction = completeScenario
	case argument == "DIR":
		root.ValidArgsFunction = completeResults
	default:
		root.ValidArgsFunction = cobra.NoFileCompletions
	}
	root.Flags().VisitAll(func(f *pflag.Flag) { completeFlag(root, f) })
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) { completeFlag(root, f) })
}

func completeFlag(cmd *cobra.Command, f *pflag.Flag) {
	complete := cobra.NoFileCompletions
	taken := slices.DeleteFunc(slices.Clone(words[f.Name]), func(word string) bool { return !strings.Contains(f.Usage, word) })
	switch {
	case len(taken) > 0:
		complete = cobra.FixedCompletions(taken, cobra.ShellCompDirectiveNoFileComp)
	case slices.Contains(pemFlags, f.Name):
		complete = cobra.FixedCompletions([]string{"pem", "crt", "key"}, cobra.ShellCompDirectiveFilterFileExt)
	case slices.Contains(folderFlags, f.Name):
		complete = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	}
	_ = cmd.RegisterFlagCompletionFunc(f.Name, complete) // fails only if there is one already, which then is the better one
}

// completeScenario offers the shipped scenarios, YAML files, and folders on
// the way to some.
func completeScenario(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if cmd.ValidateArgs(append(slices.Clone(args), begun)) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []string
	for _, name := range scenarios.ShippedNames() {
		if strings.HasPrefix(name, begun) {
			found = append(found, name+"\tshipped scenario")
		}
	}
	return completePaths(found, begun, func(path string) bool {
		return strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".yml")
	})
}

// completeResults offers results folders: those below results/, and folders
// on the way to others.
func completeResults(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if cmd.ValidateArgs(append(slices.Clone(args), begun)) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []string
	if begun == "" {
		runs, _ := filepath.Glob("results/*/run.json") // the pattern is right
		for _, run := range runs {
			found = append(found, filepath.Dir(run))
		}
		if len(found) > 0 {
			return found, cobra.ShellCompDirectiveNoFileComp
		}
	}
	return completePaths(found, begun, func(path string) bool {
		_, err := os.Stat(filepath.Join(path, "run.json"))
		return err == nil
	})
}

// completePaths adds to what was found the paths that begin as begun does and
// are wanted, and folders. A lone folder is gone on from: no blank follows.
func completePaths(found []string, begun string, wanted func(path string) bool) ([]string, cobra.ShellCompDirective) {
	folder, _ := filepath.Split(begun)
	entries, _ := os.ReadDir(filepath.Join(".", folder)) // one that cannot be read has nothing to offer
	if filepath.IsAbs(folder) {
		entries, _ = os.ReadDir(folder)
	}
	folders := 0
	for _, e := range entries {
		path := folder + e.Name()
		switch {
		case !strings.HasPrefix(path, begun) || strings.HasPrefix(e.Name(), "."):
		case wanted(path):
			found = append(found, path)
		case e.IsDir():
			found = append(found, path+string(filepath.Separator))
			folders++
		}
	}
	directive := cobra.ShellCompDirectiveNoFileComp
	if folders > 0 && folders == len(found) {
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	return found, directive
}

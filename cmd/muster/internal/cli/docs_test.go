package cli_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/scenarios"
)

// The documents that users read are checked against the program: scenarios in
// them load, commands in them exist, and what they show as output is real.

// root is the repository as seen from this package.
const root = "../../../.."

// document is a Markdown file.
type document struct {
	name string // as seen from the repository
	text string
}

// documents returns README.md and CONTRIBUTING.md, as far as they exist, and
// every page of docs.
func documents(t *testing.T) []document {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("Glob(docs/*.md) = %q, %v", pages, err)
	}
	var all []document
	for _, path := range append([]string{filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md")}, pages...) {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, document{filepath.ToSlash(name), string(text)})
	}
	return all
}

// block is a code block.
type block struct {
	info  string // what stands after the fence; "" for an indented block
	line  int    // of its first line of code, from 1
	lines []string
}

func (b *block) text() string { return strings.Join(b.lines, "\n") + "\n" }

// codeBlocks returns the fenced and the indented code blocks of a document.
func codeBlocks(text string) []block {
	var all []block
	var open *block // the block that the present line may belong to
	fence, blank := "", true
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence != "" && strings.HasPrefix(trimmed, fence):
			fence, open = "", nil
		case fence != "":
			open.lines = append(open.lines, line)
		case strings.HasPrefix(trimmed, "```") || strings.HasPrefix(trimmed, "~~~"):
			fence = trimmed[:3]
			all = append(all, block{info: strings.TrimSpace(strings.TrimLeft(trimmed, "`~")), line: i + 2})
			open = &all[len(all)-1]
		case strings.HasPrefix(line, "    ") && (blank || open != nil):
			if open == nil {
				all = append(all, block{line: i + 1})
				open = &all[len(all)-1]
			}
			open.lines = append(open.lines, line[4:])
		case trimmed == "" && open != nil:
			open.lines = append(open.lines, "")
		default:
			open = nil
		}
		blank = trimmed == ""
	}
	return all
}

// inBlocks calls check for each code block of every document.
func inBlocks(t *testing.T, check func(doc string, b *block)) {
	t.Helper()
	for _, doc := range documents(t) {
		for _, b := range codeBlocks(doc.text) {
			check(doc.name, &b)
		}
	}
}

// isWhole reports whether a YAML block is a scenario of its own: its first key is name.
func (b *block) isWhole() bool {
	for _, line := range b.lines {
		if line != "" && !strings.HasPrefix(line, "#") {
			return strings.HasPrefix(line, "name:")
		}
	}
	return false
}

// The marks in the first line of a YAML block that is no scenario that loads.
const (
	fragmentMark = "# fragment"
	refusedMark  = "# refused: " // the name that the file has in the output shown
)

func (b *block) isMarked(mark string) bool {
	return len(b.lines) > 0 && strings.HasPrefix(b.lines[0], mark)
}

// base is the scenario into which fragments are put: a key of the fragment
// replaces the same one here.
const base = `
name: fragment
target:
  embedded:
fleet:
  - group: doors
    devices: 10
    tags: {site: north}
    methods:
      lockDoor:
jobs:
  - name: lock
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor}
    queryCondition: "*"
thresholds:
  - fleet.connected == 100%
`

// whole returns the scenario that a block is, or that a fragment makes of base.
func (b *block) whole() string {
	if !b.isMarked(fragmentMark) {
		return b.text()
	}
	keys := sections(base)
	maps.Copy(keys, sections(b.text()))
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		out.WriteString(keys[key])
	}
	return out.String()
}

// sections returns the lines of each key at the top of a YAML text.
func sections(text string) map[string]string {
	all := map[string]string{}
	key := ""
	for line := range strings.Lines(text) {
		if name, _, ok := strings.Cut(line, ":"); ok && name != "" && !strings.ContainsAny(name[:1], " #-") {
			key = name
		}
		if key != "" {
			all[key] += line
		}
	}
	return all
}

var variableText = regexp.MustCompile(`\$\{([A-Z_]+)\}`)

func TestScenariosInDocsLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "scenario.yaml")
	loaded := 0
	inBlocks(t, func(doc string, b *block) {
		info, _, _ := strings.Cut(b.info, " ")
		isYAML := info == "yaml" || info == "yml"
		switch {
		case isYAML && !b.isMarked(refusedMark) && (b.isWhole() || b.isMarked(fragmentMark)):
		case isYAML && doc == "docs/scenario.md" && !b.isMarked(refusedMark):
			t.Errorf("%s:%d: a block that is neither a scenario nor marked %q or %q", doc, b.line, fragmentMark, refusedMark)
			return
		default:
			return
		}
		t.Setenv("IOTHUB_CONNECTION_STRING", "HostName=h;SharedAccessKeyName=service;SharedAccessKey=a2V5")
		for _, v := range variableText.FindAllStringSubmatch(b.text(), -1) {
			if _, set := os.LookupEnv(v[1]); !set {
				t.Setenv(v[1], "10")
			}
		}
		if err := os.WriteFile(file, []byte(b.whole()), 0o600); err != nil {
			t.Fatal(err)
		}
		loaded++
		if got := muster(t, "validate", file); got.status != 0 {
			t.Errorf("%s:%d: muster validate: exit status %d\n%s", doc, b.line, got.status, got.stderr)
		}
	})
	if loaded == 0 {
		t.Error("no scenario found in the docs")
	}
}

// TestOutputOfBadScenariosInDocsIsReal holds the scenarios that the docs mark
// as refused, and what they show of muster validate, against the program.
func TestOutputOfBadScenariosInDocsIsReal(t *testing.T) {
	bad, shown := map[string]string{}, map[string]string{} // by the file's name
	inBlocks(t, func(_ string, b *block) {
		if b.isMarked(refusedMark) {
			bad[strings.TrimPrefix(b.lines[0], refusedMark)] = b.text()
		}
		if len(b.lines) > 0 {
			if name, ok := strings.CutPrefix(b.lines[0], "$ muster validate "); ok {
				shown[name] = strings.Join(b.lines[1:], "\n") + "\n"
			}
		}
	})
	if len(bad) == 0 {
		t.Error("no refused scenario found in the docs")
	}
	t.Chdir(t.TempDir())
	for name, text := range bad {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := muster(t, "validate", name)
		if got.status != 104 {
			t.Errorf("muster validate %s: exit status %d, want 104", name, got.status)
		}
		if diff := cmp.Diff(shown[name], got.stderr); diff != "" {
			t.Errorf("muster validate %s (-docs +program):\n%s", name, diff)
		}
	}
}

func TestCommandsInDocsParse(t *testing.T) {
	found := 0
	inBlocks(t, func(doc string, b *block) {
		for _, c := range commandLines(b) {
			found++
			if err := checkLine(t, c.text); err != nil {
				t.Errorf("%s:%d: %s: %v", doc, c.line, c.text, err)
			}
		}
	})
	if found == 0 {
		t.Error("no command found in the docs")
	}
}

// TestWrongCommandsAreFound makes sure that the check of commands can fail.
func TestWrongCommandsAreFound(t *testing.T) {
	doc := "Text\n\n    $ muster run scenarios/smoke.yaml\n    muster is output here\n\n" +
		"```sh\nbin/muster run \\\n  --seed 1 smoke  # note\nmake\n```\n\n```text\nmuster hub is ready\n```\nmuster in text\n"
	var lines []string
	for _, b := range codeBlocks(doc) {
		for _, c := range commandLines(&b) {
			lines = append(lines, fmt.Sprint(c.line, " ", c.text))
		}
	}
	if want := []string{"3 muster run scenarios/smoke.yaml", "7 bin/muster run    --seed 1 smoke  # note"}; !slices.Equal(lines, want) {
		t.Errorf("commands of %q:\n got %q\nwant %q", doc, lines, want)
	}
	good := func(line string) {
		t.Helper()
		if err := checkLine(t, line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	bad := func(line, want string) {
		t.Helper()
		if err := checkLine(t, line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %q", line, err, want)
		}
	}
	good("muster run smoke")
	good("muster version && bin/muster validate scenarios/*.yaml | head -3 2>&1 >out.txt")
	good("muster run --devices 500 --set jobs.lock.repeat.times=1 -o 'a b' lockdoor-10k # comment")
	good("muster run scenario.yaml")
	good("muster report results/20300102T030405Z-smoke")
	good("muster job method lockDoor --query '*' --payload '{\"a\":1}'")
	good("muster device --mqtt localhost")
	good("muster device create ID")
	good("muster --help")
	bad("muster nosuch", "unknown command")
	bad("muster run --nosuch smoke", "unknown flag: --nosuch")
	bad("muster run -x smoke", "unknown shorthand flag")
	bad("muster run --devices many smoke", `invalid argument "many"`)
	bad("muster run smoke --out", "flag needs an argument")
	bad("muster hub --mqtt", "flag needs an argument")
	bad("muster version && muster hub --httpp :1", "unknown flag: --httpp")
	bad("muster run", "takes FILE")
	bad("muster run smoke tutorial", "takes FILE")
	good("muster doctor")
	bad("muster doctor smoke tutorial", "takes FILE")
	bad("muster version 2", "takes no arguments")
	bad("muster run scenarios/nosuch.yaml", "does not exist")
	bad("muster validate scenarios/no*.yaml", "does not exist")
	bad("muster run nosuch", "no shipped scenario")
	bad("muster run --set jobs.nosuch.via=direct smoke", `nothing here is named "nosuch"`)
	bad("muster job nosuch", "takes no arguments")
	bad("muster job method", "takes NAME")
	bad("muster job list tonight", "takes no arguments")
	bad("muster job show --nosuch", "unknown flag: --nosuch")
	bad("muster device myDeviceId", "takes no arguments")
	bad("muster run 'smoke", "quote")
}

// commandLine is a line of shell that begins with muster.
type commandLine struct {
	line int
	text string
}

// commandLines returns the commands of a block: of one that shows a prompt,
// the lines with it, else all lines that begin with muster. A fenced block of
// text is output.
func commandLines(b *block) []commandLine {
	if b.info == "text" {
		return nil
	}
	prompt := slices.ContainsFunc(b.lines, func(line string) bool { return strings.HasPrefix(strings.TrimSpace(line), "$ ") })
	var all []commandLine
	for i := 0; i < len(b.lines); i++ {
		c := commandLine{b.line + i, strings.TrimSpace(b.lines[i])}
		for strings.HasSuffix(c.text, `\`) && i+1 < len(b.lines) {
			i++
			c.text = strings.TrimSuffix(c.text, `\`) + " " + b.lines[i]
		}
		text, ok := strings.CutPrefix(c.text, "$ ")
		if ok != prompt {
			continue
		}
		if c.text = text; strings.HasPrefix(text, "muster ") || strings.HasPrefix(text, "bin/muster ") {
			all = append(all, c)
		}
	}
	return all
}

// shellCommands splits a line of shell into commands and those into words.
func shellCommands(line string) ([][]string, error) {
	s := shell{}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case s.quote != 0 && c == s.quote:
			s.quote = 0
		case c == '\\' && s.quote != '\'' && i+1 < len(line):
			i++
			s.add(line[i])
		case s.quote != 0:
			s.add(c)
		case c == '\'' || c == '"':
			s.quote, s.inWord = c, true
		case c == '#' && !s.inWord:
			i = len(line)
		case strings.IndexByte(" \t", c) >= 0:
			s.endWord()
		case strings.IndexByte(";|&", c) >= 0 && !s.redirect:
			s.endCommand()
		case c == '<' || c == '>':
			s.endWord()
			s.redirect = true
		default:
			s.add(c)
		}
	}
	if s.quote != 0 {
		return nil, fmt.Errorf("quote %c is not closed", s.quote)
	}
	s.endCommand()
	return s.commands, nil
}

// shell is a line of shell as far as it has been split.
type shell struct {
	commands [][]string
	words    []string // of the present command
	word     []byte
	inWord   bool
	quote    byte // that is open, or 0
	redirect bool // the present word is where output goes
}

func (s *shell) add(c byte) {
	s.word = append(s.word, c)
	s.inWord = true
}

func (s *shell) endWord() {
	if !s.inWord {
		return
	}
	if !s.redirect {
		s.words = append(s.words, string(s.word))
	}
	s.word, s.inWord, s.redirect = nil, false, false
}

func (s *shell) endCommand() {
	s.endWord()
	if len(s.words) > 0 {
		s.commands = append(s.commands, s.words)
	}
	s.words, s.redirect = nil, false
}

// checkLine checks every muster command of a line.
func checkLine(t *testing.T, line string) error {
	t.Helper()
	commands, err := shellCommands(line)
	for _, words := range commands {
		if words[0] == "muster" || words[0] == "bin/muster" {
			err = errors.Join(err, checkCommand(t, words[1:]))
		}
	}
	return err
}

// checkCommand checks that the command and the flags of a command line exist
// and parse, that it has as many arguments as the command takes, and that what
// it names of the repository is there.
func checkCommand(t *testing.T, args []string) error {
	t.Helper()
	// With --help flags are parsed, and nothing is run.
	at := slices.IndexFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "-") })
	if at < 0 {
		at = len(args)
	}
	help := muster(t, slices.Insert(slices.Clone(args), at, "--help")...)
	if help.status != 0 {
		return errors.New(strings.TrimSpace(help.stderr))
	}
	usage := strings.TrimPrefix(firstMatch(`(?m)^Usage:\n +(.*)$`, help.stdout), "muster")
	files, set := arguments(args, help.stdout)
	command := strings.Fields(usage)
	if len(args) == 0 || len(command) == 0 || args[0] == "help" || args[0] == "completion" {
		return nil // cobra's own
	}
	if !strings.HasPrefix(command[0], "[") {
		for len(command) > 0 && len(files) > 0 && command[0] == files[0] && command[0] == strings.ToLower(command[0]) {
			command, files = command[1:], files[1:] // the command's name, and that of a command of its own
		}
		if err := checkCount(usage, len(files)); err != nil {
			return err
		}
	}
	if slices.Contains([]string{"run", "plan", "validate", "doctor"}, args[0]) {
		return checkScenarios(t, files, set)
	}
	return nil
}

func firstMatch(pattern, text string) string {
	if m := regexp.MustCompile(pattern).FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// arguments returns the words of a command line that are no flags and no
// values of flags, which the command's help tells, and the values of --set.
func arguments(args []string, help string) (positional, set []string) {
	for i := 0; i < len(args); i++ {
		flag, value, given := strings.Cut(args[i], "=")
		if !strings.HasPrefix(flag, "-") {
			positional = append(positional, args[i])
			continue
		}
		takes := firstMatch(`(?m)^ +(?:-\w, )?`+regexp.QuoteMeta(flag)+` (\w+)  `, help) != "" ||
			firstMatch(`(?m)^ +`+regexp.QuoteMeta(flag)+`, --[\w-]+ (\w+)  `, help) != ""
		if takes && !given && i+1 < len(args) {
			i++
			value = args[i]
		}
		if flag == "--set" {
			set = append(set, "--set="+value)
		}
	}
	return positional, set
}

// checkCount holds a number of arguments against what a usage line names in
// upper case.
func checkCount(usage string, n int) error {
	takes := regexp.MustCompile(`\b[A-Z]+\b(\.\.\.)?`).FindAllString(usage, -1)
	optional := regexp.MustCompile(`\[[A-Z]+\]`).FindAllString(usage, -1)
	switch {
	case len(takes) == 0 && n > 0:
		return errors.New("takes no arguments")
	case n < len(takes)-len(optional), n > len(takes) && !strings.HasSuffix(strings.Join(takes, " "), "..."):
		return fmt.Errorf("takes %s, has %d arguments", strings.Join(takes, " "), n)
	}
	return nil
}

// checkScenarios checks that each scenario is a file of the repository that
// loads, also with what --set changes; the name of a shipped one, likewise; or
// some user's own file.
func checkScenarios(t *testing.T, files, set []string) error {
	t.Helper()
	var errs []error
	for _, file := range files {
		paths := []string{file} // muster itself knows shipped names
		switch {
		case strings.HasPrefix(strings.TrimPrefix(file, "./"), "scenarios/"):
			paths, _ = filepath.Glob(filepath.Join(root, file)) // a bad pattern matches nothing
			if len(paths) == 0 {
				errs = append(errs, fmt.Errorf("%s does not exist", file))
			}
		case strings.HasSuffix(file, ".yaml") || file == "FILE":
			continue
		case !slices.Contains(scenarios.ShippedNames(), file):
			errs = append(errs, fmt.Errorf("%s is no shipped scenario", file))
			continue
		}
		for _, path := range paths {
			if got := muster(t, append(append([]string{"validate"}, set...), path)...); got.status != 0 {
				errs = append(errs, errors.New(got.stderr))
			}
		}
	}
	return errors.Join(errs...)
}

// untold are commands that neither page tells of yet. One that they tell of
// must not stay here.
var untold []string

// TestDocsNameEveryExitStatusAndCommand reads README.md and docs/run.md
// together. Commands are looked for when there is a README.
func TestDocsNameEveryExitStatusAndCommand(t *testing.T) {
	var text string
	hasReadme := false
	for _, doc := range documents(t) {
		if doc.name == "README.md" || doc.name == "docs/run.md" {
			text += doc.text + "\n"
		}
		hasReadme = hasReadme || doc.name == "README.md"
	}
	help := muster(t, "--help").stdout
	for _, fault := range unnamed(text, help, exitStatuses(t), hasReadme) {
		t.Error(fault)
	}
	for _, status := range exitStatuses(t) {
		without := regexp.MustCompile(`(?m)^\| *`+status+` *\|.*\n`).ReplaceAllString(text, "")
		if len(unnamed(without, help, exitStatuses(t), hasReadme)) == 0 {
			t.Errorf("docs without a row for status %s are not found out", status)
		}
	}
	if len(unnamed("", help, nil, true)) != 14-len(untold) {
		t.Error("docs without commands are not found out")
	}
}

// unnamed returns what the docs' text and the help leave out: a status belongs
// into a row of a table and into the help, a command into the text as it is
// called.
func unnamed(text, help string, statuses []string, commands bool) []string {
	var faults []string
	rows := regexp.MustCompile(`(?m)^\| *(\d+) *\|`).FindAllStringSubmatch(text, -1)
	_, helped, _ := strings.Cut(help, "Exit status:")
	helped, _, _ = strings.Cut(helped, "\n\n")
	for _, status := range statuses {
		if !slices.ContainsFunc(rows, func(row []string) bool { return row[1] == status }) {
			faults = append(faults, "no table of README.md and docs/run.md has a row for exit status "+status)
		}
		if !regexp.MustCompile(`\b` + status + `\b`).MatchString(helped) {
			faults = append(faults, "muster --help does not tell of exit status "+status)
		}
	}
	if !commands {
		return faults
	}
	_, listed, _ := strings.Cut(help, "Available Commands:\n")
	listed, _, _ = strings.Cut(listed, "\n\n")
	for line := range strings.Lines(listed) {
		name := strings.Fields(line)[0]
		told := regexp.MustCompile(`\bmuster ` + name + `\b`).MatchString(text)
		switch {
		case name == "help" || name == "completion": // cobra's own
		case slices.Contains(untold, name) && told:
			faults = append(faults, "the docs mention muster "+name+": take it out of the list untold")
		case !slices.Contains(untold, name) && !told:
			faults = append(faults, "neither README.md nor docs/run.md mentions muster "+name)
		}
	}
	return faults
}

// exitStatuses returns the values of the constants exit… of package cli.
func exitStatuses(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "cli.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "exit") {
			return true
		}
		if value, ok := spec.Values[0].(*ast.BasicLit); ok {
			all = append(all, value.Value)
		}
		return true
	})
	if len(all) < 7 || !slices.Contains(all, "110") {
		t.Fatalf("cli.go has the exit statuses %q", all)
	}
	return all
}

package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// some are results with two runs of each case.
func some() results {
	pair := func(c costs) []costs {
		more := c
		more.RoundTrips *= 3
		return []costs{c, more, c}
	}
	return results{
		{bare, "tcp", "", 10_000}:           pair(costs{80_000, 10, 12, 5, 6, 4.5, 20_000}),
		{bareHTTP, "tcp", "", 10_000}:       pair(costs{20_000, 30, 20, 2, 2, 2, 0}),
		{bare, "tcp", "", 1_000}:            pair(costs{100_000, 5, 6, 15, 15, 12, 10_000}),
		{"hub", "tcp", "lean", 10_000}:      pair(costs{40_000, 12, 24, 7, 7.5, 9, 15_000}),
		{"hub", "tcp", "lean", 1_000}:       pair(costs{50_000, 10, 12, 25, 25, 18, 5_000}),
		{"direct", "tcp", "lean", 10_000}:   pair(costs{8_000, 80, 64, 7, 7.5, 9, 15_000}),
		{"hub", "memory", "lean", 10_000}:   pair(costs{90_000, 20, 0, 15, 16, 0, 0}),
		{"hub", "memory", "lean", 100_000}:  pair(costs{90_000, 22, 0, 12, 20, 0, 0}),
		{"direct", "tcp", "paho", small}:    pair(costs{6_000, 100, 80, 60, 80, 18, 3_000}),
		{bareHTTP, "tcp", "", small}:        pair(costs{20_000, 30, 20, 2, 2, 2, 0}),
		{barePaho, "tcp", "", small}:        pair(costs{20_000, 50, 12, 50, 60, 12, 3_000}),
		{"direct", "memory", "lean", 1_000}: pair(costs{1, 1, 0, 1, 1, 0, 1}),
	}
}

func TestRatios(t *testing.T) {
	r := some()
	is := func(c benchCase, q int, want float64) {
		t.Helper()
		if got := r.ratio(c, quantities[q]); fmt.Sprintf("%.4g", got) != fmt.Sprintf("%.4g", want) {
			t.Errorf("ratio of %s of %v = %.4g, want %.4g", quantities[q].name, c, got, want)
		}
	}
	lean := benchCase{"hub", "tcp", "lean", 10_000}
	is(lean, rate, 0.5)
	is(lean, generatorCPU, 1.2)
	is(lean, hubCPU, 2)
	is(lean, connects, 0.75)
	is(lean, after, 1.25)
	direct := benchCase{"direct", "tcp", "lean", 10_000}
	is(direct, rate, 8_000/16_000.) // a call and an exchange, one after the other
	is(direct, generatorCPU, 2)
	is(direct, hubCPU, 2)
	is(direct, connected, 7/5.) // of the pair that has devices
	is(benchCase{"hub", "memory", "lean", 10_000}, rate, 0)
	is(benchCase{"direct", "memory", "lean", 1_000}, rate, 0)
	is(benchCase{bare, "tcp", "", 10_000}, rate, 0)
	delete(r, benchCase{bareHTTP, "tcp", "", 10_000})
	for q := range quantities { // one floor of the two is none
		is(direct, q, 0)
	}
}

func TestTables(t *testing.T) {
	r := some()
	row := func(table table, name, want string) {
		t.Helper()
		for _, cells := range table.rows {
			if text := strings.Join(cells, " | "); strings.HasPrefix(text, name) {
				if text != name+want {
					t.Errorf("row %q\ngot  %s\nwant %s", name, text, name+want)
				}
				return
			}
		}
		t.Errorf("no row %q in %v", name, table.rows)
	}
	table := r.costTable()
	row(table, "floor, tcp | 10,000", " | 80,000 | 10.0 | 12.0 | 5.00 | 6.00 | 4.50 | 20,000")
	row(table, "hub, tcp, lean | 10,000", " | 40,000 (0.50) | 12.0 (1.20) | 24.0 (2.00) | 7.00 (1.40) | 7.50 (1.25) | 9.00 (2.00) | 15,000 (0.75)")
	row(table, "direct, tcp, lean | 10,000", " | 8,000 (0.50) | 80.0 (2.00) | 64.0 (2.00) | 7.00 (1.40) | 7.50 (1.25) | 9.00 (2.00) | 15,000 (0.75)")
	row(table, "hub, memory, lean | 10,000", " | 90,000 | 20.0 | – | 15.0 | 16.0 | – | –")
	if want := "Medians of 3 interleaved runs on "; !strings.HasPrefix(table.before, want) {
		t.Errorf("above the table: %q, want %q first", table.before, want)
	}
	growth := r.growthTable()
	row(growth, "hub, tcp, lean | 1,000 to 10,000", " | 5.00 | 8.00 | 1.20 | 2.00 | 0.80 | 3.00")
	row(growth, "hub, memory, lean | 10,000 to 100,000", " | 11.7 | – | 1.10 | – | 1.00 | –")
	goals := r.goalTable()
	row(goals, "lean, TCP, 10,000 devices: generator KB a device after the jobs", " | ≤ 8 | 7.50 | reached")
	row(goals, "lean, TCP, 10,000 devices: connects/s, of the floor's", " | ≥ 0.9 | 0.75 | not reached")
	row(goals, "lean, TCP, 10,000 devices: time of a broadcast, of the floor's", " | ≤ 1.6 | 2.00 | not reached")
	row(goals, "direct, TCP, paho: generator CPU a round trip, of net/http and paho alone", " | ≤ 1.5 | 1.25 | reached")
	row(goals, "direct, TCP, paho: time of a broadcast, of net/http and paho alone", " | ≤ 1.5 | 1.67 | not reached")
	row(goals, "lean, memory: generator KB a device of 100,000, of that of 10,000", " | ≤ 1.15 | 1.25 | not reached")
	row(goals, "lean, memory: CPU a round trip of 100,000, of that of 10,000", " | ≤ 1.15 | 1.10 | reached")
	if len(goals.rows) != 8 { // all but that of TLS, which was not measured
		t.Errorf("%d goals, want 8", len(goals.rows))
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		v    float64
		want string
	}{
		{0, "–"}, {0.961, "0.96"}, {9.999, "10.00"}, {12.34, "12.3"}, {-5, "-5.00"}, {123.4, "123"}, {1234, "1,230"}, {89_846, "89,800"}, {1_391_376, "1,390,000"}, {-123_456, "-123,000"},
	} {
		if got := number(c.v); got != c.want {
			t.Errorf("number(%v) = %q, want %q", c.v, got, c.want)
		}
	}
}

func TestWritten(t *testing.T) {
	all := tables{{before: "Above.", head: []string{"a", "b"}, rows: [][]string{{"1", "2"}}}, {before: "Left out."}}
	var text strings.Builder
	if err := all.text(&text); err != nil {
		t.Fatal(err)
	}
	if want := "Above.\na  b\n1  2\n\nLeft out.\n"; text.String() != want {
		t.Errorf("as text: %q, want %q", text.String(), want)
	}
	page := filepath.Join(t.TempDir(), "page.md")
	into := func(before, want, failure string) {
		t.Helper()
		if err := os.WriteFile(page, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		err := all.into(page, "costs")
		if failure != "" && (err == nil || !strings.Contains(err.Error(), failure)) {
			t.Errorf("into %q: got %v, want an error with %q", before, err, failure)
		}
		got, readErr := os.ReadFile(page)
		if diff := gocmp.Diff(want, string(got)); diff != "" || readErr != nil || failure == "" && err != nil {
			t.Errorf("into %q: %v, %v\n%s", before, err, readErr, diff)
		}
	}
	const begin, end = "<!-- costs, written by bench: begin -->\n", "<!-- costs, written by bench: end -->\n"
	const made = "\nAbove.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\nLeft out.\n\n"
	into("x\n"+begin+"old\n"+end+"y\n", "x\n"+begin+made+end+"y\n", "")
	into("x\n"+begin+made+end+"y\n", "x\n"+begin+made+end+"y\n", "")
	into("x\n", "x\n", "it has no line \"<!-- costs, written by bench: begin -->\"")
	into(begin, begin, "it has no line \"<!-- costs, written by bench: end -->\"")
	if err := all.into(page+".no", "costs"); err == nil {
		t.Error("into a page that is not there: no error")
	}
}

func TestAttribute(t *testing.T) {
	const traces = `File: profiled
Type: cpu
-----------+-------------------------------------------------------
      20ms   internal/runtime/syscall/linux.Syscall6
             syscall.write (inline)
             muster/fleet/lean.(*conn).write
-----------+-------------------------------------------------------
       1.5s   muster/internal/mqtt.ParsePublish
             muster/fleet/lean.(*conn).published
-----------+-------------------------------------------------------
      10ms   runtime.mallocgc
             muster/scheduler.(*window).receive
             muster/harness.(*relay).Received
             muster/fleet.(*session).call
-----------+-------------------------------------------------------
      10ms   runtime.futex
             runtime.mcall
-----------+-------------------------------------------------------
      40ms   syscall.write
             muster/fleet.(*Fleet).connect
-----------+-------------------------------------------------------
      30ms   golang.org/x/sys/unix.RawSyscall
             muster/harness.readExpiries (inline)
             muster/harness.(*wakeTimer).emit
             muster/harness.socketWakes.func1
             muster/internal/socket.(*watch).happened
             muster/internal/socket.(*loop).run
-----------+-------------------------------------------------------
      50ms   runtime.(*pageAlloc).scavengeOne
             runtime/debug.FreeOSMemory
             muster/harness.(*collector).collect
-----------+-------------------------------------------------------
`
	all, err := parseTraces(strings.NewReader(traces))
	if err != nil || len(all) != 7 {
		t.Fatalf("parseTraces: %d stacks, %v; want 7", len(all), err)
	}
	names, spent := attribute(all)
	want := map[string]time.Duration{
		"system calls: write": 20 * time.Millisecond, "codec": 1500 * time.Millisecond,
		"scheduler": 10 * time.Millisecond, "canary and accounts": 30 * time.Millisecond, rest: 10 * time.Millisecond,
	}
	if diff := gocmp.Diff(want, spent); diff != "" {
		t.Errorf("attribute:\n%s", diff)
	}
	if got, want := fmt.Sprint(names), fmt.Sprint([]string{"system calls: write", "codec", "scheduler", "canary and accounts", rest}); got != want {
		t.Errorf("attribute: names %s, want %s", got, want)
	}
	if _, err := parseTraces(strings.NewReader("----\n  much  runtime.main\n")); err == nil || !strings.Contains(err.Error(), `"much" is no time`) {
		t.Errorf("parseTraces of no time: %v, want an error that names it", err)
	}
}

// TestProfiledFunctionsExist holds the names by which stacks are told apart to
// the code: one that has gone finds nothing.
func TestProfiledFunctionsExist(t *testing.T) {
	functions := declared(t)
	for _, sh := range slices.Concat([]share{beside}, whole, inner) {
		for _, name := range sh.frames {
			begins := func(function string) bool { return strings.HasPrefix(function, name) }
			if strings.HasPrefix(name, "muster/") && !slices.ContainsFunc(functions, begins) {
				t.Errorf("%s: no function begins with %s", cmp.Or(sh.name, "beside"), name)
			}
		}
	}
}

// declared returns all functions of the module, as a profile names them.
func declared(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "node_modules" {
			return fs.SkipDir
		}
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel("..", filepath.Dir(path))
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				all = append(all, "muster/"+filepath.ToSlash(folder)+"."+named(f))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func named(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	receiver := f.Recv.List[0].Type
	star, isPointer := receiver.(*ast.StarExpr)
	if isPointer {
		receiver = star.X
	}
	of, ok := receiver.(*ast.Ident)
	switch {
	case !ok: // of a type with parameters, which no list has
		return ""
	case isPointer:
		return "(*" + of.Name + ")." + f.Name.Name
	}
	return of.Name + "." + f.Name.Name
}

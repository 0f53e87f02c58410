// Package muster_test holds the module's house rules.
package muster_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A forbidden edge: no package under from may import one under to.
type forbidden struct{ from, to, reason string }

var arrows = []forbidden{
	{"muster/hub", "muster/fleet", "hub and devices meet on the wire, so that what works here works on a real hub"},
	{"muster/hub", "muster/scheduler", "the hub runs its own jobs and knows nothing of who measures them"},
	{"muster/hub", "muster/report", "the hub's numbers reach a report only through its public side"},
	{"muster/hub", "muster/harness", "the hub is a product of its own, usable without a run"},
	{"muster/hub", "muster/internal/sample", "what the hub books is read from its rows, not from its memory"},
	{"muster/fleet", "muster/hub", "hub and devices meet on the wire"},
	{"muster/scheduler", "muster/hub", "a job must run on any hub"},
	{"muster/report", "muster/hub", "a report reads a folder"},
	{"muster/fleet", "muster/scheduler", "devices do not know of jobs: they are told nothing on a real hub either"},
	{"muster/fleet", "muster/report", "a run writes samples; a report reads them"},
	{"muster/scheduler", "muster/fleet", "scheduler declares the interfaces that it drives"},
	{"muster/scheduler", "muster/report", "a run writes samples; a report reads them"},
	{"muster/scheduler", "muster/iothub", "the harness adapts a hub's client to what scheduler needs"},
	{"muster/report", "muster/fleet", "a report is made from the folder alone"},
	{"muster/report", "muster/scheduler", "a report is made from the folder alone"},
	{"muster/report", "muster/scenarios", "a report is made from the folder alone, also by a later version"},
	{"muster/scenarios", "muster/fleet", "a scenario can be checked without anything that runs it"},
	{"muster/scenarios", "muster/scheduler", "a scenario can be checked without anything that runs it"},
	{"muster/scenarios", "muster/report", "a scenario can be checked without anything that runs it"},
	{"muster/scenarios", "muster/hub", "a scenario can be checked without anything that runs it"},
	{"muster/scenarios", "muster/iothub", "a scenario can be checked without anything that runs it"},
	{"muster/iothub", "muster/hub", "the protocol as a client sees it knows nothing of the embedded hub"},
	{"muster/iothub", "muster/internal", "the protocol is an API for other programs and stands alone"},
	{"muster/iothub", "muster/fleet", "the protocol stands alone"},
	{"muster/iothub", "muster/scheduler", "the protocol stands alone"},
	{"muster/iothub", "muster/report", "the protocol stands alone"},
	{"muster/iothub", "muster/scenarios", "the protocol stands alone"},
	{"muster/iothub", "muster/harness", "the protocol stands alone"},
	{"muster/hub", "muster/scenarios", "the hub takes options, not files"},
	{"muster/fleet", "muster/scenarios", "the harness translates a scenario into what each room takes"},
	{"muster/fleet", "muster/harness", "a run is made of rooms, not rooms of runs"},
	{"muster/scheduler", "muster/scenarios", "the harness translates a scenario into what each room takes"},
	{"muster/scheduler", "muster/harness", "a run is made of rooms, not rooms of runs"},
	{"muster/scenarios", "muster/harness", "a run is made of rooms, not rooms of runs"},
	{"muster/report", "muster/harness", "a report is made from the folder alone"},
	{"muster/report", "muster/iothub", "a report is made from the folder alone"},
	{"muster/harness", "muster/hub/hubtest", "what is for tests does not ship"},
	{"muster/cmd", "muster/hub/hubtest", "what is for tests does not ship"},
	{"muster/harness", "muster/fleet/fleettest", "what is for tests does not ship"},
	{"muster/iothub", "muster/device", "the protocol stands alone"},
	{"muster/fleet", "muster/fleet/paho", "a fleet is given its driver"},
	{"muster/fleet", "muster/fleet/lean", "a fleet is given its driver"},
	{"muster/fleet/lean", "muster/fleet/paho", "drivers share nothing but the seam"},
	{"muster/fleet/paho", "muster/fleet/lean", "drivers share nothing but the seam"},
	{"muster/fleet/paho", "muster/internal/mqtt", "a driver that is tested against our codec must not be made of it"},
	{"muster/device", "muster/hub", "hub and devices meet on the wire"},
	{"muster/device", "muster/internal", "a device is a program's own, of the protocol and a driver alone"},
	{"muster/device", "muster/fleet/paho", "a device is given its driver"},
	{"muster/device", "muster/fleet/lean", "a device is given its driver"},
	{"muster/device", "muster/harness", "a device knows of no run"},
	{"muster/fleet", "muster/device", "a simulated device shares nothing with a real one but the driver"},
	{"muster/hub", "muster/device", "hub and devices meet on the wire"},
	{"muster/internal", "muster/harness", "internal is the ground: nothing in it imports a room above"},
	{"muster/internal", "muster/hub", "internal is the ground"},
	{"muster/internal", "muster/iothub", "internal is the ground"},
	{"muster/internal", "muster/fleet", "internal is the ground"},
	{"muster/internal", "muster/device", "internal is the ground"},
	{"muster/internal", "muster/scheduler", "internal is the ground"},
	{"muster/internal", "muster/report", "internal is the ground"},
	{"muster/internal", "muster/scenarios", "internal is the ground"},
	{"muster/gate", "muster/hub", "a gate reads folders; who makes a run is a function that it is given"},
	{"muster/gate", "muster/harness", "a gate reads folders; who makes a run is a function that it is given"},
	{"muster/gate", "muster/fleet", "a gate reads folders"},
	{"muster/gate", "muster/device", "a gate reads folders"},
	{"muster/gate", "muster/scheduler", "a gate reads folders"},
	{"muster/gate", "muster/iothub", "a gate reads folders"},
	{"muster/gate", "muster/scenarios", "a gate reads folders, also of another version whose scenarios it cannot load"},
	{"muster/gate", "muster/internal/sample", "a run is one number, which its summary has"},
	{"muster/gate", "muster/cmd", "only the command knows arguments and exit statuses"},
	{"muster/report", "muster/gate", "a report is of one run"},
	{"muster/harness", "muster/gate", "a run knows of no other"},
	{"muster/scenarios", "muster/gate", "a scenario can be checked without anything that runs it"},
	{"muster/hub", "muster/gate", "the hub is a product of its own"},
	{"muster/fleet", "muster/gate", "a run knows of no other"},
	{"muster/scheduler", "muster/gate", "a run knows of no other"},
	{"muster/iothub", "muster/gate", "the protocol stands alone"},
	{"muster/device", "muster/gate", "a device knows of no run"},
	{"muster/internal", "muster/gate", "internal is the ground"},
	{"muster/internal/stats", "muster/report", "statistics are pure functions of numbers"},
	{"muster/capacity", "muster/harness", "a search is over whatever it is given to probe"},
	{"muster/capacity", "muster/scenarios", "a search is over whatever it is given to probe"},
	{"muster/capacity", "muster/report", "a search is over whatever it is given to probe"},
	{"muster/report", "muster/capacity", "a run knows nothing of the search that it is part of"},
	{"muster/harness", "muster/capacity", "a run knows nothing of the search that it is part of"},
	{"muster/harness", "muster/cmd", "only the command knows arguments and exit statuses"},
	{"muster", "html/template", "it finds methods by name, for which the linker keeps all of every package: a quarter of the program"},
	{"muster", "text/template", "it finds methods by name, for which the linker keeps all of every package: a quarter of the program"},
}

func TestImportsFollowTheArrows(t *testing.T) {
	edges := 0
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			if under(imported, "muster") {
				edges++
			}
			for _, a := range arrows {
				// fleet and fleet/paho are one room, except where a rule names the inner one.
				if under(p.ImportPath, a.from) && under(imported, a.to) && !under(p.ImportPath, a.to) {
					t.Errorf("%s imports %s: %s", p.ImportPath, imported, a.reason)
				}
			}
		}
	}
	if edges == 0 {
		t.Error("no import between packages of this module was seen")
	}
}

type listed struct {
	ImportPath string
	Imports    []string
}

// packages lists the module's packages as go list does. Imports of test files
// are not among them: a test may bring two rooms together.
func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}

// TestProductionCodeStartsNothingBare looks for go statements, whose goroutines
// nobody joins, and for sleeps, which nothing interrupts.
func TestProductionCodeStartsNothingBare(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "fleettest") {
			return err
		}
		seen++
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: a bare go statement: who stops and joins it?", files.Position(n.Pos()))
			}
			if sel, ok := n.(*ast.SelectorExpr); ok && fmt.Sprint(sel.X) == "time" && sel.Sel.Name == "Sleep" {
				t.Errorf("%s: a sleep that nothing interrupts", files.Position(n.Pos()))
			}
			return true
		})
		return nil
	})
	if err != nil || seen == 0 {
		t.Errorf("%d files read: %v", seen, err)
	}
}

func under(path, room string) bool {
	return path == room || strings.HasPrefix(path, room+"/")
}

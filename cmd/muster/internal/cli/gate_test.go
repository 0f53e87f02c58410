package cli_test

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"muster/report"
)

// record writes the results folder of a made-up run whose job lock took so
// many milliseconds: record DIR MS [CHANGE...]. A change is one of verdict=,
// schema=, cpus=, driver=, transport=, via=, name= and steal=.
func record(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: record DIR MS [CHANGE...]")
	}
	ms, err := strconv.ParseFloat(args[1], 64)
	ts.Check(err)
	changes := map[string]string{
		"verdict": "pass", "schema": "1", "cpus": "2", "driver": "paho", "transport": "tcp", "via": "hub", "name": "small", "steal": "0",
	}
	for _, change := range args[2:] {
		key, value, _ := strings.Cut(change, "=")
		if _, known := changes[key]; !known {
			ts.Fatalf("record: unknown change %s", change)
		}
		changes[key] = value
	}
	number := func(key string) int {
		n, err := strconv.Atoi(changes[key])
		ts.Check(err)
		return n
	}
	took := report.Millis(math.Round(ms * float64(time.Millisecond)))
	stats := &report.Stats{Count: 100, Min: took, Mean: took, P50: took, P90: took, P99: took, P999: took, Max: took}
	run := report.Run{
		SchemaVersion: number("schema"), MusterVersion: "v1", GoVersion: "go1.26", Scenario: changes["name"], Driver: changes["driver"],
		Host:      report.Host{OS: "linux", Arch: "amd64", CPUs: number("cpus"), MemoryBytes: 8 << 30, Kernel: "6.1", CPUModel: "some processor"},
		Target:    report.Target{Kind: "embedded", Transport: changes["transport"]},
		StartedAt: startOf(args[0]), Jobs: []report.RunJob{{Name: "lock", Via: changes["via"]}},
		HostUse: &report.HostUse{TotalSeconds: 10, BusySeconds: 2, StealSeconds: float64(number("steal"))},
	}
	summary := report.Summary{
		SchemaVersion: number("schema"), Verdict: report.Verdict(changes["verdict"]), Scenario: changes["name"],
		Jobs: []report.Job{{
			Name: "lock", Targeted: 100, Succeeded: 100, Wake: &report.Wake{P99: report.Millis(time.Millisecond)},
			Phases: map[string]*report.Stats{"total": stats, "device": stats},
		}},
		Generator: report.Generator{Valid: true, CPUSeconds: 1.9, GCPauseP99: report.Millis(100 * time.Microsecond)},
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	for name, v := range map[string]any{"run.json": run, "summary.json": summary} {
		text, err := json.Marshal(v)
		ts.Check(err)
		ts.Check(os.WriteFile(dir+"/"+name, text, 0o600))
	}
	scenario := "name: " + changes["name"] + "\ntarget: {embedded: {transport: " + changes["transport"] + "}}\njobs: [{name: lock, via: " + changes["via"] + "}]\n"
	ts.Check(os.WriteFile(dir+"/scenario.yaml", []byte(scenario), 0o600))
}

// startOf gives each folder's run a start of its own.
func startOf(name string) time.Time {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, c := range []byte(name) {
		at = at.Add(time.Duration(i+1) * time.Duration(c) * time.Millisecond)
	}
	return at
}

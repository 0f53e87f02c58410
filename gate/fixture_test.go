package gate_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"muster/gate"
	"muster/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made is a run in the making.
type made struct {
	header   report.Run
	summary  report.Summary
	scenario string
}

// clock gives each run another start.
var clock = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// run is a run whose job lock took so many milliseconds in all.
func run(ms float64) *made {
	clock = clock.Add(time.Second)
	took := func(ms float64) *report.Stats {
		m := report.Millis(ms * float64(time.Millisecond))
		return &report.Stats{Count: 100, Min: m, Mean: m, P50: m, P90: m, P99: m, P999: m, Max: m}
	}
	return &made{
		header: report.Run{
			SchemaVersion: 1, MusterVersion: "v1", GoVersion: "go1.26", Scenario: "small", Driver: "paho", StartedAt: clock,
			Host:    report.Host{OS: "linux", Arch: "amd64", CPUs: 2, MemoryBytes: 8 << 30, Kernel: "6.1", CPUModel: "some processor"},
			Target:  report.Target{Kind: "embedded", Transport: "tcp"},
			Jobs:    []report.RunJob{{Name: "lock", Via: "hub"}},
			HostUse: &report.HostUse{TotalSeconds: 10, BusySeconds: 2, StealSeconds: 0},
		},
		summary: report.Summary{
			SchemaVersion: 1, Verdict: report.Pass,
			Jobs: []report.Job{{
				Name: "lock", Targeted: 100, Succeeded: 100, Wake: &report.Wake{P99: report.Millis(time.Millisecond)},
				Phases: map[string]*report.Stats{"total": took(ms), "service": took(ms / 2)},
			}},
			Generator: report.Generator{Valid: true, CPUSeconds: 1, GCPauseP99: report.Millis(100 * time.Microsecond)},
			Hub:       &report.Hub{CPUSeconds: 0.5},
		},
		scenario: "name: small\nseed: 1\ntarget: {embedded: {transport: tcp}}\njobs:\n- {name: lock, via: hub, repeat: {times: 2}}\n",
	}
}

// groups makes it a run of two groups, of which the doors took so many
// milliseconds in all.
func (m *made) groups(doors float64) {
	m.header.Groups = []report.Group{{Name: "doors", Devices: 50}, {Name: "lamps", Devices: 50}}
	ms := report.Millis(doors * float64(time.Millisecond))
	took := &report.Stats{Count: 50, Min: ms, Mean: ms, P50: ms, P90: ms, P99: ms, P999: ms, Max: ms}
	m.summary.Jobs[0].Groups = []report.JobGroup{{Name: "doors", Targeted: 50, Phases: map[string]*report.Stats{"total": took}}}
}

// write writes the run's folder.
func (m *made) write(t testing.TB, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"run.json": m.header, "summary.json": m.summary} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		file(t, dir, name, string(text))
	}
	file(t, dir, "scenario.yaml", m.scenario)
	return dir
}

func file(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// folder writes a run into a folder of its own and reads it.
func (m *made) folder(t testing.TB) *gate.Folder {
	t.Helper()
	f, err := gate.ReadFolder(m.write(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// side is a run for each number of milliseconds.
func side(t testing.TB, ms ...float64) []*gate.Folder {
	t.Helper()
	var all []*gate.Folder
	for _, v := range ms {
		all = append(all, run(v).folder(t))
	}
	return all
}

// tree lists a folder.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

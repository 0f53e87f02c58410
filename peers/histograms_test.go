package peers_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// measured is a run of two jobs, one of which has two outcomes, over a few seconds.
const measured = `
name: measured
target: {embedded: {transport: memory}}
fleet:
- group: doors
  devices: 300
  id: "door-{index:03d}"
  methods:
    lock: {status: 200, latency: {lognormal: {median: 5ms, sigma: 0.6}}, failureRate: 0.05}
jobs:
- name: lock
  type: scheduleDeviceMethod
  cloudToDeviceMethod: {methodName: lock, payload: {}, responseTimeoutInSeconds: 10}
  queryCondition: "*"
  startTime: +100ms
  repeat: {times: 3, every: 700ms}
- name: place
  type: scheduleUpdateTwin
  updateTwin: {properties: {desired: {floor: 3}}}
  queryCondition: "*"
  startTime: +200ms
`

// stats is what summary.json has of a phase, in ms.
type stats struct {
	Count                    int64
	P50, P90, P99, P999, Max float64
}

// TestHdrHistogramJS reads a run's interval log with hdr-histogram-js: merged, its intervals have the percentiles of
// summary.json.
func TestHdrHistogramJS(t *testing.T) {
	node := needProgram(t, "node")
	needModules(t, "histograms.js", "node_modules/hdr-histogram-js")
	dir := runScenario(t, measured)
	var summary struct {
		Fleet struct{ Connect stats }
		Jobs  []struct {
			Name   string
			Phases map[string]stats
		}
	}
	readJSON(t, filepath.Join(dir, "summary.json"), &summary)
	want := map[string]stats{"fleet.connect": summary.Fleet.Connect}
	for _, j := range summary.Jobs {
		for phase, st := range j.Phases {
			want[j.Name+"."+phase] = st
		}
	}
	out, err := exec.Command(node, "histograms.js", filepath.Join(dir, "histograms.hlog")).Output()
	if err != nil {
		t.Fatalf("node histograms.js: %v\n%s", err, out)
	}
	var got struct {
		Intervals int
		Tags      map[string]stats
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("node histograms.js: %v\n%s", err, out)
	}
	if got.Intervals <= len(want) || len(got.Tags) != len(want) {
		t.Errorf("%d intervals of %d tags, want more than one for some of %d", got.Intervals, len(got.Tags), len(want))
	}
	for tag, w := range want {
		w.compare(t, tag, got.Tags[tag])
	}
}

// compare holds what the log gave, in µs, against the summary, which knows the largest value more exactly than a
// histogram.
func (s stats) compare(t *testing.T, tag string, log stats) {
	t.Helper()
	if log.Count != s.Count || s.Count == 0 {
		t.Errorf("%s: %d values, want %d", tag, log.Count, s.Count)
	}
	micros := func(ms float64) float64 { return math.Ceil(1000*ms - 1e-6) }
	for _, p := range []struct {
		name      string
		got, want float64
	}{{"p50", log.P50, s.P50}, {"p90", log.P90, s.P90}, {"p99", log.P99, s.P99}, {"p99.9", log.P999, s.P999}} {
		if got := min(p.got, micros(s.Max)); got != micros(p.want) {
			t.Errorf("%s: %s = %v µs, want %v", tag, p.name, got, micros(p.want))
		}
	}
}

// runScenario runs a scenario and returns its results folder. Its verdict is of no matter here.
func runScenario(t *testing.T, scenario string) string {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatalf("go build: %v", err)
	}
	file, dir := filepath.Join(t.TempDir(), "scenario.yaml"), filepath.Join(t.TempDir(), "results")
	if err := os.WriteFile(file, []byte(scenario), 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(bin, "run", "--progress", "none", "--out", dir, file).CombinedOutput()
	exit := (*exec.ExitError)(nil)
	if judged := []int{99, 110}; err != nil && (!errors.As(err, &exit) || !slices.Contains(judged, exit.ExitCode())) {
		t.Fatalf("muster run: %v\n%s", err, out)
	}
	return dir
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(src, v); err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
}

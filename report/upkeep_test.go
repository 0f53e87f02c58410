package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
	"muster/report"
)

func TestTheReportShowsWhatTheGeneratorUsed(t *testing.T) {
	f := small()
	f.run.Host.CPUs = 4
	f.run.Limits = report.Limits{Descriptors: 20_000, Ports: 28_232}
	f.run.Calibration = &report.Calibration{RoundTrips: 2000, CPUMicros: 31.4, P50: report.Millis(40 * time.Microsecond), P99: report.Millis(250 * time.Microsecond)}
	f.run.Jobs[0].Via = "direct"
	find[sample.Health](f, 1).CPU += 1500 * time.Millisecond // 1.75 s in the second between
	find[sample.Health](f, 2).CPU += 1500 * time.Millisecond
	find[sample.Health](f, 1).Descriptors = 210
	f.add(
		&sample.Recording{At: 1 * s, Records: 40, Waited: 250 * time.Millisecond},
		&sample.Recording{At: 3 * s, Records: 123, Late: 12, Waited: 1300 * time.Millisecond},
		&sample.Recording{At: 2 * s, Records: 90, Waited: 260 * time.Millisecond},
	)
	r := f.build(t)
	g := r.Summary.Generator
	got := report.Generator{
		ScheduleLag: g.ScheduleLag, PeakCPU: g.PeakCPU, Descriptors: g.Descriptors, Ports: g.Ports, Samples: g.Samples, Calibration: g.Calibration,
	}
	want := report.Generator{
		ScheduleLag: &report.ScheduleLag{Job: "lock", P99: report.Millis(25 * time.Millisecond), Max: report.Millis(25 * time.Millisecond)},
		PeakCPU:     0.438, // of four
		Descriptors: &report.Use{Used: 210, Limit: 20_000}, Ports: &report.Use{Used: 2, Limit: 28_232},
		Samples:     &report.Samples{Records: 123, Late: 12, LongestWait: report.Millis(1300 * time.Millisecond)},
		Calibration: f.run.Calibration,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the generator used (-want +got):\n%s", diff)
	}
	var console strings.Builder
	if err := r.Console(&console, report.ConsoleOptions{Width: 250}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"schedule lag p99 25.0 ms max 25.0 ms (job lock) · CPU at most 44 % in a second · open files 210 of 20,000 · ports 2 of 28,232",
		"samples 123, late 12, dropped 0", "harness alone 31.4 µs of CPU a round trip, p50 40 µs p99 250 µs",
		"12 samples waited more than 1s for the disk, at most 1.30 s",
	} {
		if !strings.Contains(console.String(), text) {
			t.Errorf("the console does not say %q:\n%s", text, console.String())
		}
	}
}

func TestInMemoryThereAreNoPorts(t *testing.T) {
	f := small()
	f.run.Target.Transport = "memory"
	if g := f.build(t).Summary.Generator; g.Ports != nil || g.ScheduleLag != nil {
		t.Errorf("a hub job in memory has ports %+v and schedule lag %+v", g.Ports, g.ScheduleLag)
	}
}

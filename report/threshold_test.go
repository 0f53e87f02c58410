package report_test

import (
	"slices"
	"strings"
	"testing"

	"muster/internal/sample"
	"muster/report"
)

// Every path that KnownPath knows has a value in a run in which everything
// was measured, and no other has.
func TestKnownPathsAreThoseOfAReport(t *testing.T) {
	f := small()
	f.run.Jobs[0].Type = "scheduleUpdateTwin" // a method through the hub has no uplink
	for n := range 2 {
		find[sample.Execution](f, n).Finished += ms // an uplink
	}
	sum := f.build(t).Summary
	words := append(report.Phases(), "lock", "wake", "connect", "startError", "min", "p50", "p90", "p99", "p999",
		"max", "mean", "count", "targeted", "succeeded", "failed", "timedOut", "offline", "cancelled", "notDispatched", "unknown", "duplicates",
		"unexpected", "missing", "extra", "rate", "devices", "connected", "reconnects", "nonsense")
	known := 0
	var try func(path []string)
	try = func(path []string) {
		_, found := report.Lookup(&sum, path)
		err := report.KnownPath(path, "", []string{"lock"})
		if found != (err == nil) {
			t.Errorf("%s: lookup finds it: %v, KnownPath() = %v", strings.Join(path, "."), found, err)
		}
		if found {
			known++
		}
		if len(path) == 4 || len(path) == 1 && path[0] == "nonsense" {
			return
		}
		for _, w := range words {
			try(append(slices.Clone(path), w))
		}
	}
	for _, root := range []string{"jobs", "fleet", "generator", "nonsense"} {
		try([]string{root})
	}
	if want := 12 + 8*8 + 1 + 4 + 8 + 2*8; known != want {
		t.Errorf("%d paths are known, want %d", known, want)
	}
}

func TestThresholds(t *testing.T) {
	check := func(expression string, ok, noData bool, value float64, unit string) {
		t.Helper()
		f := small()
		f.run.Thresholds = []string{expression}
		sum := f.build(t).Summary
		got := sum.Thresholds[0]
		if got.OK != ok || got.NoData != noData || got.Unit != unit || (got.Value == nil) != noData || !noData && *got.Value != value {
			t.Errorf("%s = %+v, want ok %v, no data %v, %v %s", expression, got, ok, noData, value, unit)
		}
		if want := map[bool]report.Verdict{true: report.Pass, false: report.Fail}[ok]; sum.Verdict != want {
			t.Errorf("%s: verdict %v, want %v", expression, sum.Verdict, want)
		}
	}
	check("jobs.lock.total.p99 < 100ms", false, false, 100, "ms")
	check("jobs.lock.total.p99 <= 100ms", true, false, 100, "ms")
	check("jobs.lock.total.min <= 20ms", true, false, 20, "ms")
	check("jobs.lock.total.p50 < 25ms", true, false, 20.015, "ms") // the upper end of its bucket
	check("jobs.lock.succeeded == 100%", true, false, 100, "percent")
	check("jobs.lock.succeeded == 2", true, false, 2, "count")
	check("jobs.lock.succeeded > 2", false, false, 2, "count")
	check("jobs.lock.failed == 0", true, false, 0, "count")
	check("jobs.lock.missing == 0", true, false, 0, "count")
	check("jobs.lock.startError.max < 10ms", true, false, 5, "ms")
	check("jobs.lock.uplink.p99 < 1s", false, true, 0, "")
	check("jobs.place.total.p99 < 1s", false, true, 0, "")
	check("fleet.connect.max <= 6ms", true, false, 6, "ms")
	check("fleet.connected == 100%", true, false, 100, "percent")
	check("generator.wake.max < 1ms", true, false, 0.4, "ms")
	check("jobs.lock.total.p99 <", false, true, 0, "")
}

package cli_test

import (
	"testing"

	"muster/capacity"
	"muster/cmd/muster/internal/cli"
	"muster/report"
)

// A run that fails while the generator was the limit is not the hub's failure.
func TestOutcomeTellsTheGeneratorFromTheHub(t *testing.T) {
	const ok, saturated = 1, 3
	check := func(name string, verdict report.Verdict, valid bool, lock, other int, want capacity.Outcome) {
		t.Helper()
		s := &report.Summary{
			Verdict: verdict, Ended: "completed", Generator: report.Generator{Valid: valid},
			Jobs: []report.Job{
				{Name: "lock", Wake: &report.Wake{P99: report.Millis(lock), Limit: 2}},
				{Name: "other", Wake: &report.Wake{P99: report.Millis(other), Limit: 2}},
			},
			Thresholds: []report.Threshold{{Path: []string{"jobs", "lock", "succeeded"}}},
		}
		if got := cli.OutcomeOf(s); got != want {
			t.Errorf("%s: outcome %s, want %s", name, got, want)
		}
	}
	check("it holds", report.Pass, true, ok, ok, capacity.Pass)
	check("it holds, beside a generator that is near its limit", report.Pass, true, saturated, ok, capacity.Pass)
	check("it does not hold", report.Fail, true, ok, ok, capacity.Fail)
	check("it does not hold, but the generator was saturated", report.Fail, true, saturated, ok, capacity.Saturated)
	check("it was saturated in a job that nobody asks for", report.Fail, true, ok, saturated, capacity.Fail)
	check("the run is invalid", report.Invalid, false, ok, ok, capacity.Saturated)
	check("the ledger does not balance", report.Invalid, true, ok, ok, capacity.Fail)
	check("no data", report.NoData, true, ok, ok, capacity.Fail)
}

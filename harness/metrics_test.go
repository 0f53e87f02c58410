package harness_test

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"muster/harness"
	"muster/harness/metrics"
	"muster/report"
)

// TestMetricsAreOfTheRun scrapes a run while it goes on and afterwards.
func TestMetricsAreOfTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := parse(t, doors+methodJob)
		live := report.NewLive(harness.RunJobs(s))
		m := metrics.New(metrics.Info{Scenario: s.Name, Target: "embedded", Driver: "paho", Version: "v0"}, live)
		scrape := func(series string) string {
			w := httptest.NewRecorder()
			m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindSubmatch(w.Body.Bytes())
			if found == nil {
				t.Fatalf("no %s among\n%s", series, w.Body)
			}
			return string(found[1])
		}
		var repetitions []string
		summary, _, err := run(t.Context(), t, s, harness.Options{Live: live, Observe: func(p harness.Progress) {
			m.Observe(p)
			if p.Stage == harness.Running {
				repetitions = append(repetitions, scrape(`muster_job_repetition{job="lock"}`))
				if got := scrape(`muster_run_stage{stage="running"}`); got != "1" {
					t.Errorf("muster_run_stage{stage=running} = %s, want 1", got)
				}
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		job := summary.Jobs[0]
		var want []string
		for n := range job.Repetitions {
			want = append(want, fmt.Sprint(n+1))
		}
		// Whether anybody looks before the first one begins is chance.
		got := slices.DeleteFunc(slices.Compact(repetitions), func(n string) bool { return n == "0" })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("muster_job_repetition while it ran (-want +got):\n%s", diff)
		}
		for series, want := range map[string]int64{
			`muster_executions_total{job="lock",outcome="succeeded"}`:                                 job.Succeeded,
			`muster_phase_duration_seconds_count{job="lock",outcome="succeeded",phase="total"}`:       job.Phases["total"].Count,
			`muster_connect_duration_seconds_count`:                                                   summary.Fleet.Connect.Count,
			`muster_phase_duration_seconds_bucket{job="lock",outcome="succeeded",phase="lag",le="1"}`: job.Phases["lag"].Count,
		} {
			if got := scrape(series); got != fmt.Sprint(want) {
				t.Errorf("%s = %s, want %d", series, got, want)
			}
		}
	})
}

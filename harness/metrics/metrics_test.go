package metrics_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"

	"muster/harness"
	"muster/harness/metrics"
	"muster/internal/sample"
	"muster/report"
	"muster/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// busy are the metrics of a run that has something of everything.
func busy() *metrics.Metrics {
	live := report.NewLive([]report.RunJob{{Name: "lock", Type: "scheduleDeviceMethod", Via: "direct"}, {Name: "place"}})
	for i := range uint32(100) {
		at := sample.Moment(time.Second)
		took := sample.Moment(i+1) * sample.Moment(time.Millisecond)
		live.Connect(&sample.Connect{Device: i, Due: 1, Dialed: 2, Accepted: 3, Ready: took})
		live.Execution(&sample.Execution{
			Job: i % 2, Device: i, Final: true, Outcome: sample.Outcomes[i%3], Due: at, Dispatched: at + took/4, Received: at + took/2,
			Answered: at + took, Finished: at + 2*took, Booked: at + 3*took,
		})
	}
	live.Write(&sample.Health{Wakes: []sample.Wake{{Sent: 1, Delay: 40 * time.Microsecond}}})
	live.Write(&sample.HubStats{CPU: time.Second, RSS: 1 << 20, Connections: 100})
	m := metrics.New(metrics.Info{Scenario: "busy", Target: "embedded", Driver: "paho", Version: "v0"}, live)
	m.Observe(harness.Progress{Stage: harness.Running, Elapsed: time.Second, Jobs: []scheduler.Progress{{Job: "lock"}, {Job: "place"}}})
	return m
}

// text scrapes m as Prometheus does that reads no native histograms.
func text(t *testing.T, m *metrics.Metrics) []byte {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("GET /metrics = %d\n%s", w.Code, w.Body)
	}
	return w.Body.Bytes()
}

// native scrapes m as Prometheus does that reads native histograms.
func native(t *testing.T, m *metrics.Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	m.Handler().ServeHTTP(w, r)
	format := expfmt.ResponseFormat(w.Header())
	families := map[string]*dto.MetricFamily{}
	for dec := expfmt.NewDecoder(w.Body, format); ; {
		f := new(dto.MetricFamily)
		if err := dec.Decode(f); err != nil {
			break
		}
		families[f.GetName()] = f
	}
	if format.FormatType() != expfmt.TypeProtoDelim || len(families) == 0 {
		t.Fatalf("GET /metrics answered %s with %d families", format, len(families))
	}
	return families
}

// A device would be a series of its own: labels name what there is few of.
func TestNoLabelNamesADevice(t *testing.T) {
	allowed := []string{"job", "phase", "outcome", "state", "stage", "scenario", "target", "driver", "version", "quantile"}
	series := 0
	for name, f := range native(t, busy()) {
		if !strings.HasPrefix(name, "muster_") {
			continue
		}
		for _, metric := range f.Metric {
			series++
			for _, l := range metric.Label {
				if !slices.Contains(allowed, l.GetName()) || strings.HasPrefix(l.GetValue(), "doors-") {
					t.Errorf("%s has the label %s=%q", name, l.GetName(), l.GetValue())
				}
			}
		}
	}
	if series < 30 {
		t.Errorf("%d series, want all of them", series)
	}
}

func TestPromtoolAcceptsTheMetrics(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal("promtool is not installed: run make peers")
	default:
		t.Skip("promtool is not installed: run make peers")
	}
	scraped := text(t, busy())
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = bytes.NewReader(scraped)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s\n%s", err, out, scraped)
	}
}

// Every query of the dashboard names metrics that a run has.
func TestDashboardNamesMetricsThatExist(t *testing.T) {
	src, err := os.ReadFile("../../deploy/grafana/muster.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Query any }
		}
	}
	if err := json.Unmarshal(src, &dashboard); err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	for name, f := range native(t, busy()) {
		exists[name] = true
		if f.GetType() == dto.MetricType_HISTOGRAM {
			exists[name+"_bucket"], exists[name+"_sum"], exists[name+"_count"] = true, true, true
		}
	}
	metric := regexp.MustCompile(`\b(muster|process|go)_[a-z_]+\b`)
	used := map[string]bool{}
	check := func(where, expr string) {
		names := metric.FindAllString(expr, -1)
		if len(names) == 0 {
			t.Errorf("%s: %q names no metric", where, expr)
		}
		for _, name := range names {
			used[name] = true
			if !exists[name] {
				t.Errorf("%s: %q names %s, which does not exist", where, expr, name)
			}
		}
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			check(p.Title, target.Expr)
		}
	}
	for _, v := range dashboard.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			check("variable", fmt.Sprint(q["query"]))
		}
	}
	if len(used) < 20 {
		t.Errorf("the dashboard uses %d metrics: were its queries read?", len(used))
	}
}

// The buckets of both kinds hold the values that they say.
func TestBucketsHoldTheirValues(t *testing.T) {
	live := report.NewLive(nil)
	for i, ready := range []time.Duration{time.Microsecond, 100 * time.Microsecond, 3 * time.Millisecond, 250 * time.Millisecond, time.Hour} {
		live.Connect(&sample.Connect{Device: uint32(i), Due: 1, Ready: 1 + sample.Moment(ready)})
	}
	h := native(t, metrics.New(metrics.Info{}, live))["muster_connect_duration_seconds"].Metric[0].Histogram
	var upper []string // of the buckets that are not empty
	index, count := int32(0), int64(0)
	deltas := h.PositiveDelta
	for _, span := range h.PositiveSpan {
		index += span.GetOffset()
		for range span.GetLength() {
			if count += deltas[0]; count > 0 {
				upper = append(upper, fmt.Sprintf("%d at most %.3g", count, math.Exp2(float64(index)/32)))
			}
			deltas, index = deltas[1:], index+1
		}
	}
	want := []string{"1 at most 1.02e-06", "1 at most 0.0001", "1 at most 0.00301", "1 at most 0.25", "1 at most 3.68e+03"}
	if diff := cmp.Diff(want, upper); diff != "" || h.GetSchema() != 5 {
		t.Errorf("native buckets of schema %d (-want +got):\n%s", h.GetSchema(), diff)
	}
	classic := map[float64]uint64{}
	for _, b := range h.Bucket {
		classic[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	for le, want := range map[float64]uint64{1.0 / 8192: 2, 1.0 / 512: 2, 1.0 / 256: 3, 0.25: 4, 512: 4} {
		if classic[le] != want {
			t.Errorf("%d values up to %v s, want %d", classic[le], le, want)
		}
	}
	if h.GetSampleCount() != 5 || h.GetSampleSum() < 3600 {
		t.Errorf("%d values of %v s, want 5 of an hour and more", h.GetSampleCount(), h.GetSampleSum())
	}
}

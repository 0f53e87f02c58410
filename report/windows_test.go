package report_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
	"muster/report"
)

// windows words the windows of a phase: second, count, least, p50 and largest.
func windows(r *report.Report, job, phase string) []string {
	var out []string
	for w := range r.Windows(job, phase) {
		out = append(out, fmt.Sprintf("%d: %d of %v %v %v", w.Second, w.Values.TotalCount(),
			time.Duration(w.Min), time.Duration(w.Percentiles(50)[0]), time.Duration(w.Max)))
	}
	return out
}

func TestWindowsAreOfWhenAPhaseEnded(t *testing.T) {
	f := small()
	// One is received in the second in which it was due, and done in the next.
	*find[sample.Execution](f, 1) = *execution(1, sample.Failed, 1500*ms)
	r := f.build(t)
	for _, c := range []struct {
		job, phase string
		want       []string
	}{
		{"lock", "delivery", []string{"1: 2 of 10ms 10.007ms 750ms"}},
		{"lock", "total", []string{"1: 1 of 20ms 20ms 20ms", "2: 1 of 1.5s 1.5s 1.5s"}},
		{"lock", "uplink", nil}, // a method through the hub has none
		{"", "connect", []string{"0: 2 of 4ms 4.001ms 6ms"}},
		{"unlock", "total", nil},
	} {
		if diff := cmp.Diff(c.want, windows(r, c.job, c.phase)); diff != "" {
			t.Errorf("Windows(%q, %q) (-want +got):\n%s", c.job, c.phase, diff)
		}
	}
}

func TestWindowsCanBeLeftEarly(t *testing.T) {
	f := small()
	*find[sample.Execution](f, 1) = *execution(1, sample.Succeeded, 1500*ms)
	for w := range f.build(t).Windows("lock", "total") {
		if w.Second != 1 {
			t.Errorf("Windows() yielded second %d after a break", w.Second)
		}
		break
	}
}

// Values that windows do not hold, as no histogram does, are those that the
// summary excludes; a moment before the run's epoch is of its first second.
func TestWindowsLeaveOutWhatIsExcluded(t *testing.T) {
	f := small()
	find[sample.Execution](f, 0).Dispatched = 1*s - 5*ms
	find[sample.Execution](f, 1).Due = -3 * s
	find[sample.Execution](f, 1).Received = -2 * s
	r := f.build(t)
	if got := r.Summary.Jobs[0].Excluded["lag"].Negative; got != 1 {
		t.Fatalf("lags below zero: got %d, want 1", got)
	}
	if diff := cmp.Diff([]string{"1: 1 of 4.025s 4.025s 4.025s"}, windows(r, "lock", "lag")); diff != "" {
		t.Errorf("Windows(lock, lag) (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"0: 1 of 1s 1s 1s", "1: 1 of 10ms 10ms 10ms"}, windows(r, "lock", "delivery")); diff != "" {
		t.Errorf("Windows(lock, delivery) (-want +got):\n%s", diff)
	}
}

// Merged, the windows are the histogram of which the summary was read.
func TestWindowsMergeIntoTheSummary(t *testing.T) {
	r := twoOutcomes().build(t)
	for _, job := range r.Summary.Jobs {
		for phase, st := range job.Phases {
			merged := hdrhistogram.NewPacked(1, int64(24*time.Hour/time.Microsecond), 3)
			all := &report.Window{Values: merged, Min: st.Min, Max: st.Max}
			seconds := int64(-1)
			for w := range r.Windows(job.Name, phase) {
				if w.Second <= seconds {
					t.Errorf("Windows(%s, %s): second %d after %d", job.Name, phase, w.Second, seconds)
				}
				seconds = w.Second
				merged.Merge(w.Values)
			}
			got := append([]report.Millis{report.Millis(merged.TotalCount())}, all.Percentiles(50, 90, 99, 99.9)...)
			want := []report.Millis{report.Millis(st.Count), st.P50, st.P90, st.P99, st.P999}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Windows(%s, %s) merged: count, p50, p90, p99, p99.9 (-summary +windows):\n%s", job.Name, phase, diff)
			}
		}
	}
}

func TestWindowsKeepTheHistogramsGeometry(t *testing.T) {
	values := []int64{1, 2, 2047, 2048, 2049, 2050, 4095, 4096, 4097, int64(24 * time.Hour / time.Microsecond)}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		values = append(values, 1+rng.Int64N(int64(24*time.Hour/time.Microsecond))>>rng.IntN(36)|1)
	}
	own, kept := report.Buckets(values)
	type bucket struct{ value, count int64 }
	list := func(h *hdrhistogram.PackedHistogram) (all []bucket) {
		h.ForEachBucket(func(value, count int64) bool {
			all = append(all, bucket{value, count})
			return true
		})
		return all
	}
	if diff := cmp.Diff(list(own), list(kept), cmp.AllowUnexported(bucket{})); diff != "" {
		t.Errorf("buckets of the values (-histogram +windows):\n%s", diff)
	}
}

// A run of hours holds its windows in a few bytes a value, not in histograms.
func TestWindowsAreSmall(t *testing.T) {
	f := broadcast(2000)
	r := f.build(t)
	values := int64(0)
	for _, job := range r.Summary.Jobs {
		for _, st := range job.Phases {
			values += st.Count
		}
	}
	if got, limit := r.WindowBytes(), int(3*values); got > limit {
		t.Errorf("windows of %d values take %d bytes, want at most %d", values, got, limit)
	}
}

package report_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"muster/internal/sample"
	"muster/report"
)

// twoOutcomes is a broadcast of which some executions timed out.
func twoOutcomes() *fixture {
	f := broadcast(400)
	for i := range 30 {
		e := find[sample.Execution](f, 2*i+1)
		e.Outcome, e.Code = sample.TimedOut, "GatewayTimeout"
	}
	return f
}

// written makes the report of f with all its files and returns it and the folder.
func (f *fixture) written(t testing.TB) (*report.Report, string) {
	t.Helper()
	dir := f.write(t)
	r, err := report.Build(dir)
	if err != nil {
		t.Fatalf("Build() = %v", err)
	}
	if err := r.Write(); err != nil {
		t.Fatalf("Write() = %v", err)
	}
	return r, dir
}

func readFile(t testing.TB, path ...string) []byte {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// eachInterval calls do for each interval of a log, with its tag.
func eachInterval(t *testing.T, log []byte, do func(*hdrhistogram.Histogram)) {
	t.Helper()
	in := hdrhistogram.NewHistogramLogReader(bytes.NewReader(log))
	for {
		h, err := in.NextIntervalHistogram()
		if h == nil && (err == nil || errors.Is(err, io.EOF)) {
			return
		}
		if err != nil {
			t.Fatalf("NextIntervalHistogram() = %v", err)
		}
		do(h)
	}
}

func TestIntervalLogMergesIntoTheSummary(t *testing.T) {
	r, dir := twoOutcomes().written(t)
	merged := map[string]*hdrhistogram.Histogram{}
	eachInterval(t, readFile(t, dir, "histograms.hlog"), func(h *hdrhistogram.Histogram) {
		if merged[h.Tag()] == nil {
			merged[h.Tag()] = hdrhistogram.New(1, int64(24*time.Hour/time.Microsecond), 3)
		}
		merged[h.Tag()].Merge(h)
	})
	want := map[string]*report.Stats{"fleet.connect": r.Summary.Fleet.Connect}
	for _, j := range r.Summary.Jobs {
		for phase, st := range j.Phases {
			want[j.Name+"."+phase] = st
		}
	}
	for tag, st := range want {
		h := merged[tag]
		if h == nil {
			t.Errorf("no interval has the tag %s", tag)
			continue
		}
		delete(merged, tag)
		if h.TotalCount() != st.Count {
			t.Errorf("intervals of %s: %d values, want %d", tag, h.TotalCount(), st.Count)
		}
		for p, want := range map[float64]report.Millis{50: st.P50, 90: st.P90, 99: st.P99, 99.9: st.P999} {
			if got := h.ValueAtPercentile(p); !h.ValuesAreEquivalent(got, int64((time.Duration(want)+time.Microsecond-1)/time.Microsecond)) {
				t.Errorf("intervals of %s: p%v = %d µs, want %v", tag, p, got, time.Duration(want))
			}
		}
	}
	for tag := range merged {
		t.Errorf("intervals have the tag %s, which the summary does not", tag)
	}
}

func TestIntervalLogHasTheRunsTimes(t *testing.T) {
	f := small()
	f.run.StartedAt = time.Date(2030, 1, 2, 3, 4, 5, 250e6, time.UTC)
	f.run.Jobs[0].Name = "lock, all:1/é"
	f.run.Thresholds = nil
	*find[sample.Execution](f, 1) = *execution(1, sample.Succeeded, 1500*ms)
	_, dir := f.written(t)
	log := string(readFile(t, dir, "histograms.hlog"))
	for _, want := range []string{
		"#[Histogram log format version 1.3]\n",
		"#[BaseTime: 1893553445 (seconds since epoch)]\n",
		"\nTag=lock%2C%20all%3A1%2F%C3%A9.total,1.250000,1.000000,0.020",
		"\nTag=lock%2C%20all%3A1%2F%C3%A9.total,2.250000,1.000000,1.500",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("histograms.hlog has no %q:\n%s", want, log)
		}
	}
	var starts []float64
	for line := range strings.Lines(log) {
		if fields := strings.Split(line, ","); strings.HasPrefix(line, "Tag=") {
			at, _ := strconv.ParseFloat(fields[1], 64)
			starts = append(starts, at)
		}
	}
	if !slices.IsSorted(starts) {
		t.Errorf("the intervals start at %v, want them in order", starts)
	}
}

func TestPercentileTable(t *testing.T) {
	f := small()
	*find[sample.Execution](f, 1) = *execution(1, sample.TimedOut, 100*ms)
	_, dir := f.written(t)
	golden(t, "lock.total.hgrm", readFile(t, dir, "percentiles", "lock.total.hgrm"))
	golden(t, "lock.total.timedOut.hgrm", readFile(t, dir, "percentiles", "lock.total.timedOut.hgrm"))
}

// A table has the percentiles of the summary, with the same values to the
// microsecond, and its counts are those of the values.
func TestPercentileTablesAgreeWithTheSummary(t *testing.T) {
	r, dir := twoOutcomes().written(t)
	check := func(name string, st *report.Stats) {
		want := map[string]float64{"0.500000000000": millis(st.P50), "0.900000000000": millis(st.P90), "0.990000000000": millis(st.P99), "0.999000000000": millis(st.P999)}
		var values, counts []float64
		for line := range strings.Lines(string(readFile(t, dir, "percentiles", name))) {
			fields := strings.Fields(line)
			if len(fields) < 3 || strings.HasPrefix(line, "#") || fields[0] == "Value" {
				continue
			}
			value, _ := strconv.ParseFloat(fields[0], 64)
			count, _ := strconv.ParseFloat(fields[2], 64)
			quantile, _ := strconv.ParseFloat(fields[1], 64)
			values, counts = append(values, value), append(counts, count)
			if w, ok := want[fields[1]]; ok && w != value {
				t.Errorf("%s: value at %s is %v, want %v", name, fields[1], value, w)
			}
			if count < quantile*float64(st.Count)-1e-6 {
				t.Errorf("%s: %v values up to %v, too few for %s of %d", name, count, value, fields[1], st.Count)
			}
			delete(want, fields[1])
		}
		for missing := range want {
			t.Errorf("%s has no line at %s", name, missing)
		}
		if !slices.IsSorted(values) || !slices.IsSorted(counts) || counts[len(counts)-1] != float64(st.Count) {
			t.Errorf("%s: values %v or counts %v do not rise to %d", name, values, counts, st.Count)
		}
	}
	check("fleet.connect.hgrm", r.Summary.Fleet.Connect)
	for _, j := range r.Summary.Jobs {
		for phase, st := range j.Phases {
			check(fmt.Sprintf("%s.%s.hgrm", j.Name, phase), st)
		}
		for outcome, phases := range j.PhasesByOutcome {
			for phase, st := range phases {
				check(fmt.Sprintf("%s.%s.%s.hgrm", j.Name, phase, outcome), st)
			}
		}
	}
}

// millis is a duration as the result files have it.
func millis(m report.Millis) float64 {
	text, _ := m.MarshalJSON()
	v, _ := strconv.ParseFloat(string(text), 64)
	return v
}

// What one interval costs bounds how long a report of hours takes.
func BenchmarkIntervalLog(b *testing.B) {
	_, dir := twoOutcomes().written(b)
	r, err := report.Build(dir)
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		n = 0
		if err := r.Intervals(countLines(&n)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/line")
}

type lineCounter struct{ n *int }

func countLines(n *int) io.Writer { return lineCounter{n} }

func (c lineCounter) Write(p []byte) (int, error) {
	*c.n += bytes.Count(p, []byte("\n"))
	return len(p), nil
}

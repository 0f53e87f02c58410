package report

import (
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Names for tests of what only the package itself uses.
var (
	WakeLimit = wakeLimit
	Thousands = thousands
	Lookup    = lookup
	WriteFile = writeFile
)

// Curve returns the points of the curve that sorted times make.
func Curve(sorted []time.Duration, parts int) ([]Millis, []int64) {
	c := newCurve(sorted, parts)
	return c.At, c.N
}

// CurveSteps is the parts of the curves that pages have.
const CurveSteps = curveSteps

// Web is what pages are made of, and PageScripts the scripts in their order.
var (
	Web         = web
	PageScripts = pageScripts
)

// Page writes report.html to w.
func (r *Report) Page(w io.Writer) error { return r.writePage(w) }

// Phases lists the phases' names.
func Phases() []string { return phaseNames[:] }

// Markdown writes summary.md to w.
func (r *Report) Markdown(w io.Writer) error { return r.writeMarkdown(w) }

// Percentiles returns p50, p90, p99 and p99.9 of values in microseconds.
func Percentiles(values []int64) [4]int64 {
	var s series
	for _, v := range values {
		s.record(time.Duration(v) * time.Microsecond)
	}
	st := s.stats()
	us := func(m Millis) int64 { return int64(time.Duration(m) / time.Microsecond) }
	return [4]int64{us(st.P50), us(st.P90), us(st.P99), us(st.P999)}
}

// Buckets counts values, in µs, once by themselves and once by the least
// values of their buckets as windows are kept.
func Buckets(values []int64) (own, kept *hdrhistogram.PackedHistogram) {
	own, kept = hdrhistogram.NewPacked(lowest, highest, digits), hdrhistogram.NewPacked(lowest, highest, digits)
	for _, v := range values {
		_ = own.RecordValue(v)
		_ = kept.RecordValue(bucketValue(bucketOf(uint64(v))))
	}
	return own, kept
}

// WindowBytes returns how much memory the report's windows take.
func (r *Report) WindowBytes() int {
	n := 0
	for i := range r.windows {
		n += len(r.windows[i].encoded)
	}
	return n
}

// Intervals writes histograms.hlog to w.
func (r *Report) Intervals(w io.Writer) error { return r.writeIntervals(w) }

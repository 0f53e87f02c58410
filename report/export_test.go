package report

import (
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"muster/internal/sample"
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

// Book is what reading the samples leaves behind.
type Book struct{ b *book }

// NewBook returns an empty Book of a run.
func NewBook(run *Run) Book { return Book{newBook(run)} }

// Add takes in a record.
func (b Book) Add(rec sample.Record) { b.b.add(rec) }

// Fold makes the report of what was added.
func (b Book) Fold() *Report {
	s := b.b.summary()
	rows, _, windows := b.b.foldJobs(&s)
	return &Report{Summary: s, devices: rows, windows: windows, book: b.b}
}

// Cells returns what the page has of the devices.
func (r *Report) Cells() *devicePage { return r.devicePage() }

// Places returns a function that gives devices of a fleet places, and one that
// finds them.
func Places(fleet int) (put func(device uint32, at int), find func(device uint32) (int, bool)) {
	var p places
	return func(device uint32, at int) { p.put(device, at, fleet) }, p.find
}

package report

import (
	"io"
	"time"
)

// Names for tests of what only the package itself uses.
var (
	WakeLimit = wakeLimit
	Short     = short
	Thousands = thousands
	Lookup    = lookup
	WriteFile = writeFile
)

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

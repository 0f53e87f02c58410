package report

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"muster/internal/expr"
	"muster/internal/sample"
)

// The histograms count whole microseconds from 1 µs to 24 h with three
// significant digits.
const (
	lowest  = 1
	highest = int64(24 * time.Hour / time.Microsecond)
	digits  = 3
)

// phase is one span in the life of an execution.
type phase uint8

const (
	lag      phase = iota // due → dispatched
	delivery              // due → received
	downlink              // dispatched → received
	device                // received → answered
	uplink                // answered → finished
	total                 // due → finished
	service               // dispatched → finished
	booking               // due → booked
	phases
)

// phaseNames are in the order of the constants.
var phaseNames [phases]string = expr.Phases

func (p phase) String() string { return phaseNames[p] }

// hubClock reports whether p reads a moment that is a row time when the
// execution's moments are the hub's.
func (p phase) hubClock() bool {
	switch p {
	case lag, downlink, service, booking:
		return true
	}
	return false
}

// moments are those of an execution.
type moments struct{ due, dispatched, received, answered, finished, booked sample.Moment }

func momentsOf(e *sample.Execution) moments {
	return moments{
		due: e.Due, dispatched: e.Dispatched, received: e.Received,
		answered: e.Answered, finished: e.Finished, booked: e.Booked,
	}
}

// span gives the ends of phase p.
func (m *moments) span(p phase) (from, to sample.Moment) {
	switch p {
	case lag:
		return m.due, m.dispatched
	case delivery:
		return m.due, m.received
	case downlink:
		return m.dispatched, m.received
	case device:
		return m.received, m.answered
	case uplink:
		return m.answered, m.finished
	case total:
		return m.due, m.finished
	case service:
		return m.dispatched, m.finished
	default: // booking
		return m.due, m.booked
	}
}

// took returns how long a phase of an execution of j was, if it was seen. A
// method through the hub has no moment after its answer: it finished by
// answering. That is no uplink, not one of no length.
func (j *RunJob) took(m *moments, p phase) (time.Duration, bool) {
	if p == uplink && j.finishesByAnswering() {
		return 0, false
	}
	from, to := m.span(p)
	return to.Since(from)
}

// micros returns d in whole microseconds, the histograms' unit, and whether
// they can hold it. It rounds up, so that what took any time is not nothing;
// 1 µs is the least.
func micros(d time.Duration) (int64, bool) {
	if d < 0 || d > 24*time.Hour {
		return 0, false
	}
	return max(int64((d+time.Microsecond-1)/time.Microsecond), lowest), true
}

// series is a set of durations. The zero value is empty.
type series struct {
	hist *hdrhistogram.Histogram // made at the first value
	tally
}

// tally is what is kept exactly beside a histogram: smallest, largest and
// mean, and how many values are not in it.
type tally struct {
	sum        float64 // nanoseconds
	min, max   time.Duration
	negative   int64 // below zero: two clocks met
	outOfRange int64 // above 24 h
	hubClock   bool  // some of it was measured with the hub's row times
}

func (s *series) count() int64 {
	if s.hist == nil {
		return 0
	}
	return s.hist.TotalCount()
}

func (s *series) record(d time.Duration) { s.recordTimes(d, 1) }

// recordTimes records d as often as n says.
func (s *series) recordTimes(d time.Duration, n int64) {
	us, ok := micros(d)
	if !ok {
		s.exclude(d)
		return
	}
	if s.hist == nil {
		s.hist = hdrhistogram.New(lowest, highest, digits)
	}
	s.bounds(d, d)
	s.sum += float64(d) * float64(n)
	_ = s.hist.RecordValues(us, n) // micros has checked the range, which is all it refuses
}

func (s *series) exclude(d time.Duration) {
	if d < 0 {
		s.negative++
	} else {
		s.outOfRange++
	}
}

// bounds widens min and max; the histogram does not hold the value yet.
func (s *series) bounds(low, high time.Duration) {
	if s.count() == 0 || low < s.min {
		s.min = low
	}
	s.max = max(s.max, high)
}

func (s *series) merge(o *series) {
	s.negative += o.negative
	s.outOfRange += o.outOfRange
	s.hubClock = s.hubClock || o.hubClock
	if o.count() == 0 {
		return
	}
	if s.hist == nil {
		s.hist = hdrhistogram.New(lowest, highest, digits)
	}
	s.bounds(o.min, o.max)
	s.sum += o.sum
	s.hist.Merge(o.hist) // of one geometry: nothing can be dropped
}

// reset empties the series and keeps its histogram's memory.
func (s *series) reset() {
	hist := s.hist
	if hist != nil {
		hist.Reset()
	}
	*s = series{hist: hist}
}

// stats returns what people read of the series, or nil if it is empty.
func (s *series) stats() *Stats {
	if s.count() == 0 {
		return nil
	}
	return s.read(s.hist)
}

// histogram is what percentiles are read of: a dense one or a packed one.
type histogram interface {
	TotalCount() int64
	ValueAtPercentilesSlice(percentiles []float64) []int64
}

// read returns what people read of a histogram that is not empty.
func (t *tally) read(h histogram) *Stats {
	n := h.TotalCount()
	v := h.ValueAtPercentilesSlice(ranks(n, 50, 90, 99, 99.9))
	st := &Stats{
		Count: n, Min: Millis(t.min), Max: Millis(t.max), Mean: Millis(t.sum / float64(n)),
		P50: t.within(v[0]), P90: t.within(v[1]), P99: t.within(v[2]), P999: t.within(v[3]),
	}
	if t.hubClock {
		st.Clock = "hub"
	}
	return st
}

// ranks returns the percentiles to ask a histogram of n values for, so that it
// gives the smallest value that so many percent of the values do not exceed:
// the one of rank ceil(p·n). Asked for p itself it rounds the rank to the
// nearest, and of 60 values the 99th percentile would not be the largest.
func ranks(n int64, percentiles ...float64) []float64 {
	for i, p := range percentiles {
		rank := math.Ceil(p*float64(n)/100 - 1e-9) // 99.9 % of 1,000 is 999 whatever floats say
		// A quarter below, since the histogram adds a half and cuts off.
		percentiles[i] = 100 * (max(rank, 1) - 0.25) / float64(n)
	}
	return percentiles
}

// within turns a histogram's value, the upper end of a bucket, into a duration
// that is not outside what was seen.
func (t *tally) within(us int64) Millis {
	return Millis(min(max(time.Duration(us)*time.Microsecond, t.min), t.max))
}

package report

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"muster/internal/sample"
)

// Window is what a phase was like in one second of a run. A value belongs to
// the second in which its phase ended, as its later moment tells: a total to
// when the execution finished, a delivery to when the device received it.
type Window struct {
	// Second is how many whole seconds of the run went before.
	Second int64
	// Min and Max are exact to the microsecond, in which they are rounded up.
	Min, Max Millis
	// Values holds the window's values, in µs. Merged over all windows of a
	// phase they are the histogram that the phase's Stats were read of. It is
	// valid until the next window is asked for.
	Values *hdrhistogram.PackedHistogram
}

// Start returns when the window of a run that began at startedAt begins.
func (w *Window) Start(startedAt time.Time) time.Time {
	return startedAt.Add(time.Duration(w.Second) * time.Second)
}

// Percentiles returns the values that so many percent of the window's values
// do not exceed, by the rule of Stats.
func (w *Window) Percentiles(percentiles ...float64) []Millis {
	values := w.Values.ValueAtPercentilesSlice(ranks(w.Values.TotalCount(), percentiles...))
	out := make([]Millis, len(values))
	for i, us := range values {
		out[i] = min(max(Millis(us*1e3), w.Min), w.Max)
	}
	return out
}

// anyOutcome asks for the windows of all outcomes together.
const anyOutcome = sample.Open

// windowSeries are the windows of one phase of one job, or of the fleet's
// connects. Seconds without a value have none.
//
// They are kept encoded, since a run of hours has tens of thousands of them: a
// window takes a few bytes and a distinct value of it about two.
type windowSeries struct {
	job     string // "" for the fleet
	phase   string
	stats   *Stats // of all windows together
	encoded []byte // see encodeWindows
}

// each yields the windows in the order of time: those of one outcome, or of
// anyOutcome. The one that it yields is the same each time, with other values.
func (s *windowSeries) each(outcome sample.Outcome) iter.Seq[*Window] {
	return func(yield func(*Window) bool) {
		w := &Window{Second: -1, Values: hdrhistogram.NewPacked(lowest, highest, digits)}
		for d := (windowDecoder{src: s.encoded}); d.next(); {
			if outcome != anyOutcome && d.outcome != outcome {
				d.skip()
				continue
			}
			if d.second != w.Second && w.Values.TotalCount() > 0 {
				if !yield(w) {
					return
				}
				w.Values.Reset()
			}
			d.mergeInto(w)
		}
		if w.Values.TotalCount() > 0 {
			yield(w)
		}
	}
}

// The windows of one phase are gathered as one number a value: the second, the
// outcome and the value in µs, so that sorting them brings the windows in
// order. 24 bits are half a year of seconds; 37 bits hold 24 hours in µs.
const (
	valueBits   = 37
	outcomeBits = 3
	maxSecond   = 1<<(64-valueBits-outcomeBits) - 2 // one is left, so that the next can be asked for
)

// appendWindowValue packs a value that ended at end, unless no histogram can
// hold it.
func appendWindowValue(dst []uint64, end sample.Moment, outcome sample.Outcome, took time.Duration) []uint64 {
	us, ok := micros(took)
	if !ok {
		return dst
	}
	// The hub's row times can be from before the run, if clocks met.
	second := min(max(int64(end)/int64(time.Second), 0), maxSecond)
	return append(dst, uint64(second)<<(valueBits+outcomeBits)|uint64(outcome)<<valueBits|uint64(us))
}

// encodeWindows sorts values and encodes them, in unsigned varints: for each
// second and outcome the seconds since the one before, the outcome, the number
// of buckets, the least value, how far the largest is above it, and for each
// bucket its index, counted from the one before, and its count.
func encodeWindows(values []uint64) []byte {
	slices.Sort(values)
	var out, buckets []byte
	second := uint64(0)
	for len(values) > 0 {
		key := values[0] >> valueBits
		n, _ := slices.BinarySearch(values, (key+1)<<valueBits)
		var count uint64
		buckets, count = encodeBuckets(buckets[:0], values[:n])
		least, largest := values[0]&(1<<valueBits-1), values[n-1]&(1<<valueBits-1)
		now := key >> outcomeBits
		for _, v := range []uint64{now - second, key & (1<<outcomeBits - 1), count, least, largest - least} {
			out = binary.AppendUvarint(out, v)
		}
		out = append(out, buckets...)
		second, values = now, values[n:]
	}
	return slices.Clip(out)
}

func encodeBuckets(dst []byte, sorted []uint64) (encoded []byte, buckets uint64) {
	before := uint64(0)
	for i := 0; i < len(sorted); {
		bucket := bucketOf(sorted[i] & (1<<valueBits - 1))
		n := i
		for n < len(sorted) && bucketOf(sorted[n]&(1<<valueBits-1)) == bucket {
			n++
		}
		dst = binary.AppendUvarint(dst, bucket-before)
		dst = binary.AppendUvarint(dst, uint64(n-i))
		before, i = bucket, n
		buckets++
	}
	return dst, buckets
}

// precision is how many bits of a value three significant digits keep, as in
// the histograms: below 2,048 all, above the first eleven.
const precision = 11

// bucketOf returns the index of the histogram's bucket that us falls in,
// counted without gaps.
func bucketOf(us uint64) uint64 {
	shift := max(bits.Len64(us)-precision, 0)
	return uint64(shift)<<(precision-1) + us>>shift
}

// bucketValue returns the least value of a bucket.
func bucketValue(bucket uint64) int64 {
	shift := max(int(bucket>>(precision-1))-1, 0)
	return int64(bucket-uint64(shift)<<(precision-1)) << shift
}

// windowDecoder reads what encodeWindows wrote.
type windowDecoder struct {
	src     []byte
	second  int64
	outcome sample.Outcome
	buckets uint64
	min     time.Duration
	max     time.Duration
}

func (d *windowDecoder) next() bool {
	if len(d.src) == 0 {
		return false
	}
	d.second += int64(d.uvarint())
	d.outcome = sample.Outcome(d.uvarint())
	d.buckets = d.uvarint()
	d.min = time.Duration(d.uvarint()) * time.Microsecond
	d.max = d.min + time.Duration(d.uvarint())*time.Microsecond
	return true
}

func (d *windowDecoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.src)
	d.src = d.src[n:]
	return v
}

func (d *windowDecoder) skip() {
	for range 2 * d.buckets {
		d.uvarint()
	}
}

func (d *windowDecoder) mergeInto(w *Window) {
	if w.Values.TotalCount() == 0 {
		w.Min, w.Max = Millis(d.min), Millis(d.max)
	}
	w.Second = d.second
	w.Min, w.Max = min(w.Min, Millis(d.min)), max(w.Max, Millis(d.max))
	bucket := uint64(0)
	for range d.buckets {
		bucket += d.uvarint()
		_ = w.Values.RecordValues(bucketValue(bucket), int64(d.uvarint())) // of the histogram's own geometry
	}
}

// addWindows keeps the windows of the job that was folded into j, phase by
// phase: one pass over the rows for each, so that no more than eight bytes a
// row are held at a time.
func (f *folder) addWindows(b *jobBook, j *Job) {
	for p := range phases {
		st := j.Phases[p.String()]
		if st == nil {
			continue
		}
		values := f.values[:0]
		for _, rep := range b.reps {
			for i := range rep.rows {
				e := &rep.rows[i]
				if took, ok := b.spec.took(&e.moments, p); ok {
					_, end := e.span(p)
					values = appendWindowValue(values, end, e.outcome, took)
				}
			}
		}
		f.values = values
		f.windows = append(f.windows, windowSeries{job: j.Name, phase: p.String(), stats: st, encoded: encodeWindows(values)})
	}
}

// connectWindows returns the windows of how long devices took to be ready.
func (b *book) connectWindows(f *Fleet) windowSeries {
	return windowSeries{phase: "connect", stats: f.Connect, encoded: encodeWindows(b.connectAt)}
}

// Windows yields the seconds of a phase in which there was something to
// measure, in order; phase "connect" of job "" is how long devices took to be
// ready for the first time. The Window that it yields is valid until the next.
func (r *Report) Windows(job, phase string) iter.Seq[*Window] {
	if s := r.series(job, phase); s != nil {
		return s.each(anyOutcome)
	}
	return func(func(*Window) bool) {}
}

// series returns the windows of a job's phase, or nil.
func (r *Report) series(job, phase string) *windowSeries {
	i := slices.IndexFunc(r.windows, func(s windowSeries) bool { return s.job == job && s.phase == phase })
	if i < 0 {
		return nil
	}
	return &r.windows[i]
}

package metrics

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"muster/report"
)

// A histogram has native buckets, 32 to each doubling, and for those who do
// not read native ones classic buckets at powers of two of a second, which
// are borders of native ones: from 122 µs to 512 s.
const (
	schema      = 5 // 2^schema buckets to a doubling: 2.2 % wide
	perDoubling = 1 << schema
	leastPower  = -13
	mostPower   = 9
)

func (s sink) histogram(d *prometheus.Desc, series *report.LiveSeries, labels ...string) {
	h := &histogram{desc: d, labels: labels, created: s.created, sum: series.Sum.Seconds(), buckets: map[int]int64{}}
	if series.Values != nil {
		h.count = uint64(series.Values.TotalCount())
		series.Values.ForEachBucket(func(us, n int64) bool {
			h.buckets[bucketOf(time.Duration(us)*time.Microsecond)] += n
			return true
		})
	}
	s.ch <- h
}

// bucketOf returns the index of the native bucket that holds v: the first
// whose upper border, 2^(index/32) seconds, v does not exceed.
func bucketOf(v time.Duration) int { return int(math.Ceil(math.Log2(v.Seconds()) * perDoubling)) }

// histogram is a prometheus.Metric with both kinds of buckets.
type histogram struct {
	desc    *prometheus.Desc
	labels  []string
	count   uint64
	sum     float64
	buckets map[int]int64 // native, by index
	created time.Time
}

// Desc implements prometheus.Metric.
func (h *histogram) Desc() *prometheus.Desc { return h.desc }

// Write implements prometheus.Metric.
func (h *histogram) Write(out *dto.Metric) error {
	native, err := prometheus.NewConstNativeHistogram(h.desc, h.count, h.sum, h.buckets, nil, 0, schema,
		prometheus.DefNativeHistogramZeroThreshold, h.created, h.labels...)
	if err != nil {
		return err
	}
	if err := native.Write(out); err != nil {
		return err
	}
	classic, err := prometheus.NewConstHistogram(h.desc, h.count, h.sum, h.classic(), h.labels...)
	if err != nil {
		return err
	}
	var both dto.Metric
	if err := classic.Write(&both); err != nil {
		return err
	}
	out.Histogram.Bucket = both.Histogram.Bucket
	return nil
}

// classic returns how many values are within each classic border.
func (h *histogram) classic() map[float64]uint64 {
	within := map[float64]uint64{}
	for power := leastPower; power <= mostPower; power++ {
		n := int64(0)
		for index, count := range h.buckets {
			if index <= power*perDoubling {
				n += count
			}
		}
		within[math.Exp2(float64(power))] = uint64(n)
	}
	return within
}

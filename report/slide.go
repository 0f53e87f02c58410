package report

import (
	"maps"
	"math"
	"time"

	"muster/internal/expr"
)

// slide holds the values of a stretch of seconds that moves on through a run,
// so that each stretch costs what enters and what leaves it. Values may come in
// any order, as long as they are not of seconds that have left.
type slide struct {
	length int64                // of the stretch, in seconds; 0 is all of the run
	cells  map[int64]*oneSecond // by second: what is in the stretch, or beyond its end
	begun  bool
	end    int64 // the last second of the stretch

	counts []int64 // the stretch's values by bucket
	n      int64
	sum    float64 // µs
}

// oneSecond holds the values of one second, or of all of a run.
type oneSecond struct {
	n        int64
	sum      float64 // µs
	min, max int64   // µs
	buckets  map[uint32]int64
}

// whole is the second under which a slide over all of a run keeps its values.
const whole = 0

// add takes in a value of so many microseconds.
func (s *slide) add(second, us int64) {
	if s.length == 0 {
		second = whole
		s.begun, s.end = true, whole
	}
	if s.begun && s.length > 0 && second <= s.end-s.length {
		return // it has left: too late
	}
	if s.cells == nil {
		s.cells = map[int64]*oneSecond{}
	}
	c := s.cells[second]
	if c == nil {
		c = &oneSecond{min: us, buckets: map[uint32]int64{}}
		s.cells[second] = c
	}
	bucket := uint32(bucketOf(uint64(us)))
	c.n++
	c.sum += float64(us)
	c.min, c.max = min(c.min, us), max(c.max, us)
	if s.length > 0 { // what is not to leave is in counts alone
		c.buckets[bucket]++
	}
	if s.begun && second <= s.end {
		s.count(bucket, 1)
		s.n++
		s.sum += float64(us)
	}
}

func (s *slide) count(bucket uint32, n int64) {
	if int(bucket) >= len(s.counts) {
		s.counts = append(s.counts, make([]int64, int(bucket)+1-len(s.counts))...)
	}
	s.counts[bucket] += n
}

// moveTo makes end the last second of the stretch. It only moves on.
func (s *slide) moveTo(end int64) {
	if s.length == 0 || s.begun && end <= s.end {
		return
	}
	if !s.begun {
		s.begun, s.end = true, end-s.length
		maps.DeleteFunc(s.cells, func(second int64, _ *oneSecond) bool { return second <= s.end })
	}
	for s.end < end {
		s.end++
		s.take(s.cells[s.end], 1)
		s.take(s.cells[s.end-s.length], -1)
		delete(s.cells, s.end-s.length)
	}
}

// take adds a cell to the stretch, or takes it out.
func (s *slide) take(c *oneSecond, sign int64) {
	if c == nil {
		return
	}
	for bucket, n := range c.buckets {
		s.count(bucket, sign*n)
	}
	s.n += sign * c.n
	s.sum += float64(sign) * c.sum
}

// bounds returns the least and the largest value of the stretch.
func (s *slide) bounds() (least, most int64) {
	least = math.MaxInt64
	for second, c := range s.cells {
		if second <= s.end {
			least, most = min(least, c.min), max(most, c.max)
		}
	}
	return least, most
}

// percentiles are the statistics that are one.
var percentiles = map[string]float64{"p50": 50, "p90": 90, "p99": 99, "p999": 99.9}

// measure returns a statistic of the stretch, by the rules of Stats.
func (s *slide) measure(statistic string) expr.Measure {
	m := expr.Measure{Unit: expr.Duration, Samples: s.n}
	if s.n == 0 {
		return m
	}
	least, most := s.bounds()
	us := float64(least)
	switch statistic {
	case "count":
		return expr.Measure{Unit: expr.Count, Value: float64(s.n), Samples: s.n}
	case "max":
		us = float64(most)
	case "mean":
		us = s.sum / float64(s.n)
	case "min":
	default:
		us = float64(min(max(s.percentile(percentiles[statistic]), least), most))
	}
	m.Value = us * float64(time.Microsecond)
	return m
}

// percentile returns the upper end of the bucket that holds the value of rank
// ceil(p·n).
func (s *slide) percentile(p float64) int64 {
	rank := max(int64(math.Ceil(p*float64(s.n)/100-1e-9)), 1) // as in ranks
	seen := int64(0)
	for bucket, n := range s.counts {
		if seen += n; seen >= rank {
			return bucketValue(uint64(bucket)+1) - 1
		}
	}
	return 0
}

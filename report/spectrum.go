package report

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"muster/internal/sample"
)

// percentilesDir is the folder of the percentile tables in a results folder.
const percentilesDir = "percentiles"

// point is a place on a percentile curve.
type point struct {
	quantile float64 // 0 to 1
	value    Millis  // the smallest that so many of the values do not exceed
	count    int64   // of values up to it
}

// spectrum returns the percentile curve of s for an outcome or anyOutcome,
// where st are its statistics: five points in each halving of the distance to
// 1, and those that st has, with the same values.
func (s *windowSeries) spectrum(outcome sample.Outcome, st *Stats) ([]point, *hdrhistogram.PackedHistogram) {
	all := hdrhistogram.NewPacked(lowest, highest, digits)
	for w := range s.each(outcome) {
		all.Merge(w.Values) // of one geometry: nothing can be dropped
	}
	points := ladder(all.TotalCount())
	percentiles := make([]float64, len(points))
	for i, p := range points {
		percentiles[i] = 100 * p.quantile
	}
	values := all.ValueAtPercentilesSlice(ranks(all.TotalCount(), percentiles...))
	for i, us := range values {
		points[i].value = min(max(Millis(us*1e3), st.Min), st.Max)
	}
	countUpTo(points, values, all)
	return points, all
}

const ticksPerHalving = 5

// ladder returns the quantiles at which a curve of n values is drawn: those
// that Stats has, 1, and in between up to the first whose value is the largest.
func ladder(n int64) []point {
	quantiles := []float64{0.5, 0.9, 0.99, 0.999, 1}
	for tick := 0; ; tick++ {
		half := math.Exp2(-float64(tick / ticksPerHalving)) // what is left at the last halving
		q := 1 - half + half/2*float64(tick%ticksPerHalving)/ticksPerHalving
		if math.Ceil(q*float64(n)-1e-9) >= float64(n) {
			break
		}
		quantiles = append(quantiles, q)
	}
	slices.Sort(quantiles)
	var points []point
	for _, q := range slices.CompactFunc(quantiles, func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }) {
		points = append(points, point{quantile: q})
	}
	return points
}

// countUpTo fills in how many of all's values are within each point's, which
// rise.
func countUpTo(points []point, values []int64, all *hdrhistogram.PackedHistogram) {
	i, n := 0, int64(0)
	all.ForEachBucket(func(value, count int64) bool {
		for ; i < len(points) && values[i] < value; i++ {
			points[i].count = n
		}
		n += count
		return i < len(points)
	})
	for ; i < len(points); i++ {
		points[i].count = n
	}
}

// writePercentiles writes the percentile tables: one for each phase, and where
// a job's executions ended in more than one way, one for each outcome too.
func (r *Report) writePercentiles() error {
	dir := filepath.Join(r.dir, percentilesDir)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("write percentile tables: %w", err)
	}
	for i := range r.windows {
		s := &r.windows[i]
		if err := s.writeTables(dir, r.byOutcome(s), r.Summary.Target.Note); err != nil {
			return err
		}
	}
	return nil
}

// byOutcome returns the statistics of s for each outcome, if the outcomes of
// its job are told apart.
func (r *Report) byOutcome(s *windowSeries) map[sample.Outcome]*Stats {
	stats := map[sample.Outcome]*Stats{}
	for i := range r.Summary.Jobs {
		j := &r.Summary.Jobs[i]
		if j.Name != s.job {
			continue
		}
		for _, o := range sample.Outcomes {
			if st := j.PhasesByOutcome[o.String()][s.phase]; st != nil {
				stats[o] = st
			}
		}
	}
	return stats
}

func (s *windowSeries) writeTables(dir string, byOutcome map[sample.Outcome]*Stats, note string) error {
	if s.stats == nil {
		return nil
	}
	write := func(name string, o sample.Outcome, st *Stats) error {
		return writeFile(dir, name+".hgrm", func(w io.Writer) error { return s.writeTable(w, o, st, note) })
	}
	if err := write(s.tag(), anyOutcome, s.stats); err != nil {
		return err
	}
	for _, o := range sample.Outcomes {
		if st := byOutcome[o]; st != nil {
			if err := write(s.tag()+"."+o.String(), o, st); err != nil {
				return err
			}
		}
	}
	return nil
}

// The geometry of the histograms, as the foot of a percentile table has it.
const (
	subBuckets = 1 << precision
	doublings  = 27 // of subBuckets, to hold 24 hours in µs
)

// writeTable writes a percentile table as HdrHistogram's plotters read it, in
// milliseconds. Its foot, which they skip, ends with the note if there is one.
func (s *windowSeries) writeTable(w io.Writer, outcome sample.Outcome, st *Stats, note string) error {
	points, all := s.spectrum(outcome, st)
	buf := bufio.NewWriter(w)
	fmt.Fprintf(buf, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")
	for _, p := range points {
		fmt.Fprintf(buf, "%12.6f %2.12f %10d", p.value.number(), p.quantile, p.count)
		if p.quantile < 1 {
			fmt.Fprintf(buf, " %14.2f", 1/(1-p.quantile))
		}
		fmt.Fprintln(buf)
	}
	fmt.Fprintf(buf, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", st.Mean.number(), all.StdDev()/1e3)
	fmt.Fprintf(buf, "#[Max     = %12.3f, Total count    = %12d]\n", st.Max.number(), st.Count)
	fmt.Fprintf(buf, "#[Buckets = %12d, SubBuckets     = %12d]\n", doublings, subBuckets)
	if note != "" {
		fmt.Fprintf(buf, "#[%s]\n", note)
	}
	return buf.Flush()
}

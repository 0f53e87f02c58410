package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"muster/internal/expr"
	"muster/internal/sample"
)

// gauge measures what one threshold reads where a summary does not have it: a
// rate, or a part of the run. A report feeds it with all there is, a Guard with
// what there is so far; both are judged by the same rules.
type gauge struct {
	t  *expr.Threshold
	r  expr.Reading
	at slide

	first, last int64            // seconds of the values; first is above last if there is none
	n           int64            // values
	spans       map[uint32]*span // of a rate: when each repetition was under way
	took        time.Duration    // of repetitions that are not in spans any more
	next        int64            // the first end of a part that was not judged yet
}

// span is a stretch of time.
type span struct{ from, to sample.Moment }

func newGauge(t *expr.Threshold, r expr.Reading) *gauge {
	return &gauge{
		t: t, r: r, at: slide{length: int64(t.Over.Length / time.Second)},
		first: math.MaxInt64, last: -1, spans: map[uint32]*span{},
	}
}

// needsGauge reports whether a summary does not have what t reads.
func needsGauge(t *expr.Threshold, r *expr.Reading) bool { return t.Over.Length > 0 || r.IsRate() }

// add takes in a value that ended at end. due is when its execution was.
func (g *gauge) add(repetition uint32, due, end sample.Moment, took time.Duration) {
	us, ok := micros(took)
	if !ok {
		return
	}
	second := secondOf(end)
	g.n++
	g.first, g.last = min(g.first, second), max(g.last, second)
	g.at.add(second, us)
	if !g.r.IsRate() {
		return
	}
	one := g.spans[repetition]
	if one == nil {
		one = &span{due, end}
		g.spans[repetition] = one
	}
	one.from, one.to = min(one.from, due), max(one.to, end)
}

// part is a stretch of the run with what was measured in it. One without an
// end is all of the run.
type part struct {
	from, to int64 // seconds; to is the first after it
	m        expr.Measure
}

// parts calls judge for what the threshold is to be held against. With every
// these are the parts that have ended before second upTo and were not judged
// before; else it is one.
func (g *gauge) parts(upTo int64, judge func(part)) {
	switch {
	case g.n == 0:
	case g.r.IsRate():
		g.rates(upTo, judge)
	case g.at.length == 0:
		judge(part{m: g.at.measure(g.r.Statistic)})
	case !g.t.Over.Every:
		g.judge(g.last, judge)
	default:
		for end := max(g.next, g.first+g.at.length-1); end < upTo; end++ {
			g.judge(end, judge)
			g.next = end + 1
		}
	}
}

// judge has the part that ends with a second judged, if there is anything in it.
func (g *gauge) judge(end int64, judge func(part)) {
	g.at.moveTo(end)
	if g.at.n == 0 && !g.r.IsRate() {
		return
	}
	p := part{from: max(end-g.at.length+1, 0), to: end + 1}
	if g.r.IsRate() {
		p.m = expr.Measure{Unit: expr.Rate, Value: float64(g.at.n) / float64(g.at.length), Samples: g.n}
	} else {
		p.m = g.at.measure(g.r.Statistic)
	}
	judge(p)
}

// rates judges how many ended a second. A part counts if the job was under way
// in all of it: a pause between repetitions is not slow.
func (g *gauge) rates(upTo int64, judge func(part)) {
	busy := g.busy()
	defer g.settle(busy)
	if g.at.length == 0 {
		took := g.took
		for _, b := range busy {
			took += time.Duration(b.to - b.from)
		}
		if took > 0 {
			judge(part{m: expr.Measure{Unit: expr.Rate, Value: float64(g.n) / took.Seconds(), Samples: g.n}})
		}
		return
	}
	last := int64(-1)
	for _, b := range busy {
		from, to := fullSeconds(b)
		for end := max(g.next, from+g.at.length-1); end < min(to, upTo); end++ {
			if last = end; g.t.Over.Every {
				g.judge(end, judge)
				g.next = end + 1
			}
		}
	}
	if !g.t.Over.Every && last >= 0 {
		g.judge(last, judge)
		g.next = last
	}
}

const (
	// manySpans is how many are kept before old ones are settled, so that a look
	// at a job of very many repetitions costs no more than that.
	manySpans = 256
	// late is how long, in seconds, after its end something may still be told of
	// a repetition.
	late = 10
)

// settle lets go of stretches that no part to come can be in.
func (g *gauge) settle(busy []span) {
	before := g.next
	if g.at.length == 0 {
		before = g.last - late
	}
	if len(g.spans) <= manySpans {
		return
	}
	end := sample.Moment(0)
	for _, b := range busy {
		if secondOf(b.to) < before {
			g.took += time.Duration(b.to - b.from)
			end = b.to
		}
	}
	maps.DeleteFunc(g.spans, func(_ uint32, s *span) bool { return s.to <= end })
}

// fullSeconds returns the first second that is all in b, and the first after it
// that is not.
func fullSeconds(b span) (from, to int64) {
	return secondOf(b.from + sample.Moment(time.Second) - 1), secondOf(b.to)
}

func secondOf(m sample.Moment) int64 { return min(max(int64(m)/int64(time.Second), 0), maxSecond) }

// busy returns when the job was under way, in order: repetitions that overlap
// are one.
func (g *gauge) busy() []span {
	all := make([]span, 0, len(g.spans))
	for _, s := range g.spans {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var merged []span
	for _, s := range all {
		if n := len(merged); n > 0 && s.from <= merged[n-1].to {
			merged[n-1].to = max(merged[n-1].to, s.to)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// result holds the threshold against all that was added, of which nothing was
// judged before. It is asked for once.
func (g *gauge) result() (expr.Result, expr.Measure) {
	w := worst{t: g.t}
	g.parts(max(g.last, g.first+g.at.length-1)+1, w.judge)
	return w.result(g)
}

// worst keeps the part that is furthest from what a threshold asks for.
type worst struct {
	t        *expr.Threshold
	part     part
	n, fails int
}

func (w *worst) judge(p part) {
	if !w.t.Eval(p.m, true).OK {
		w.fails++
	}
	if w.n == 0 || badness(w.t, p.m) > badness(w.t, w.part.m) {
		w.part = p
	}
	w.n++
}

// badness is larger the further m is on the wrong side of the bound.
func badness(t *expr.Threshold, m expr.Measure) float64 {
	apart := math.Abs(m.Value - t.Bound.Value)
	switch t.Op {
	case expr.Less, expr.LessEqual:
		return m.Value
	case expr.Greater, expr.GreaterEqual:
		return -m.Value
	case expr.Equal:
		return apart
	}
	return -apart
}

func (w *worst) result(g *gauge) (expr.Result, expr.Measure) {
	if w.n == 0 {
		r := expr.Result{NoData: true, Note: "there are no samples"}
		if g.n > 0 {
			r.Note = fmt.Sprintf("it was never under way for %v on end", g.t.Over.Length)
			if g.at.length == 0 {
				r.Note = "it took no time"
			}
		}
		return r, expr.Measure{}
	}
	r := w.t.Eval(w.part.m, true)
	if p := w.part; p.to > 0 {
		where := fmt.Sprintf("from %d s to %d s", p.from, p.to)
		if w.t.Over.Every {
			where = fmt.Sprintf("the worst of %s, %s", count(int64(w.n), "part"), where)
		}
		if w.fails > 1 {
			where += fmt.Sprintf("; %d failed", w.fails)
		}
		r.Note = join(where, r.Note)
	}
	return r, w.part.m
}

// newGauges makes the gauges of the run's thresholds, each at the threshold's
// place. It is nil where none is needed.
func newGauges(expressions []string) []*gauge {
	all := make([]*gauge, len(expressions))
	for i, text := range expressions {
		t, err := expr.Parse(text)
		if err != nil {
			continue // evaluate says so
		}
		if r, err := t.Read(nil); err == nil && needsGauge(t, &r) {
			all[i] = newGauge(t, r)
		}
	}
	return all
}

// gaugeJob feeds the gauges that read a job. It needs the rows, which the
// folder lets go of.
func (b *book) gaugeJob(j *jobBook) {
	for _, g := range b.gauges {
		if g == nil || g.r.Of != "jobs" || g.r.Job != j.spec.Name {
			continue
		}
		_, ended := j.ends()
		for n, rep := range j.reps {
			for i := range rep.rows {
				if e := &rep.rows[i]; b.inGroup(g.t.Group, e.device) {
					g.addRow(j, n, e, ended(e))
				}
			}
		}
	}
}

// addRow takes in what the gauge reads of an execution that ended at a moment,
// if that was seen.
func (g *gauge) addRow(j *jobBook, repetition uint32, e *row, ended sample.Moment) {
	if g.r.IsRate() {
		if e.outcome == sample.Succeeded && ended.Seen() {
			g.add(repetition, e.due, ended, 0)
		}
		return
	}
	p := phase(slices.Index(expr.Phases[:], g.r.Series))
	if took, ok := j.spec.took(&e.moments, p); ok {
		_, end := e.span(p)
		g.add(repetition, e.due, end, took)
	}
}

// inGroup reports whether a device is of a group, of which "" is all.
func (b *book) inGroup(group string, device uint32) bool {
	return group == "" || int(device) < len(b.devices) && b.group(device) == group
}

// gaugeFleet feeds the gauges that read the connects.
func (b *book) gaugeFleet() {
	for _, g := range b.gauges {
		if g == nil || g.r.Of != "fleet" {
			continue
		}
		for i := range b.devices {
			d := &b.devices[i]
			if d.ready && b.inGroup(g.t.Group, uint32(i)) {
				g.add(0, d.due, d.due.Add(d.took), d.took)
			}
		}
	}
}

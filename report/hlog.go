package report

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// tag names the series in an interval log, where a tag has no comma and no
// blank, and in file names: job and phase, and fleet.connect. What is not a
// letter, a digit or one of ._- in a job's name becomes its bytes in
// hexadecimal, as in a URL.
func (s *windowSeries) tag() string {
	if s.job == "" {
		return "fleet." + s.phase
	}
	return slug(s.job) + "." + s.phase
}

func slug(name string) string {
	var out strings.Builder
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}

// writeIntervals writes histograms.hlog: an HdrHistogram interval log of
// version 1.3 with a line for each second of each phase, in the order of time.
// The values are in µs.
func (r *Report) writeIntervals(w io.Writer) error {
	buf := bufio.NewWriter(w)
	log := hdrhistogram.NewHistogramLogWriter(buf)
	if err := r.writeLogHead(log); err != nil {
		return err
	}
	for tag, win := range inOrder(r.windows) {
		start := win.Start(r.Summary.StartedAt)
		win.Values.SetTag(tag)
		win.Values.SetStartTimeMs(start.UnixMilli())
		win.Values.SetEndTimeMs(start.Add(time.Second).UnixMilli())
		if err := log.OutputIntervalPackedHistogram(win.Values); err != nil {
			return fmt.Errorf("second %d of %s: %w", win.Second, tag, err)
		}
	}
	return buf.Flush()
}

// writeLogHead writes what is above the intervals. The log's base time is in
// whole seconds, and the intervals' starts are counted from it.
func (r *Report) writeLogHead(log *hdrhistogram.HistogramLogWriter) error {
	base := r.Summary.StartedAt.Truncate(time.Second).UnixMilli()
	log.SetBaseTime(base)
	for _, write := range []func() error{
		func() error {
			return log.OutputComment(" muster: values in microseconds, Interval_Max in seconds; Tag=job.phase")
		},
		func() error {
			if r.Summary.Target.Note == "" {
				return nil
			}
			return log.OutputComment(" " + r.Summary.Target.Note)
		},
		log.OutputLogFormatVersion,
		func() error { return log.OutputBaseTime(base) },
		func() error { return log.OutputStartTime(r.Summary.StartedAt.UnixMilli()) },
		log.OutputLegend,
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

// inOrder yields the windows of all series by second, with the series' tag.
func inOrder(all []windowSeries) iter.Seq2[string, *Window] {
	return func(yield func(string, *Window) bool) {
		var cursors []*cursor
		for i := range all {
			c := &cursor{tag: all[i].tag()}
			next, stop := iter.Pull(all[i].each(anyOutcome))
			defer stop()
			c.next = next
			if c.advance() {
				cursors = append(cursors, c)
			}
		}
		for c := earliestOf(cursors); c != nil; c = earliestOf(cursors) {
			if !yield(c.tag, c.window) {
				return
			}
			c.advance()
		}
	}
}

// cursor is a place in a series' windows; nil after the last.
type cursor struct {
	tag    string
	window *Window
	next   func() (*Window, bool)
}

func (c *cursor) advance() (ok bool) {
	c.window, ok = c.next()
	return ok
}

func earliestOf(cursors []*cursor) *cursor {
	var first *cursor
	for _, c := range cursors {
		if c.window != nil && (first == nil || c.window.Second < first.window.Second) {
			first = c
		}
	}
	return first
}

package harness

import (
	"net/http"
	"testing"
	"time"

	"muster/report"
)

type dated string

func (d dated) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{Header: http.Header{"Date": {string(d)}}}, nil
}

// TestClockWatchNarrowsItsBounds holds one answer on each line: the hub's Date,
// and when this host asked and had it.
func TestClockWatchNarrowsItsBounds(t *testing.T) {
	w := &clockWatch{}
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		date, asked, answered time.Duration // from at
		min, max              time.Duration
	}{
		{0, 500 * time.Millisecond, 600 * time.Millisecond, -600 * time.Millisecond, 500 * time.Millisecond},
		{2 * time.Second, 2 * time.Second, 2050 * time.Millisecond, -50 * time.Millisecond, 500 * time.Millisecond},
		{3 * time.Second, 3700 * time.Millisecond, 3950 * time.Millisecond, -50 * time.Millisecond, 300 * time.Millisecond},
		{9 * time.Second, 9 * time.Second, 15 * time.Second, -50 * time.Millisecond, 300 * time.Millisecond}, // slow: it adds nothing
		{60 * time.Second, 10 * time.Second, 10 * time.Second, 50 * time.Second, 51 * time.Second},           // a clock was set
	} {
		w.see(at.Add(c.date), at.Add(c.asked), at.Add(c.answered))
		if got, want := *w.ahead(), (report.ClockAhead{Min: report.Millis(c.min), Max: report.Millis(c.max)}); got != want {
			t.Errorf("after %+v the hub is ahead by %+v, want %+v", c, got, want)
		}
	}
	for _, date := range []dated{"", "yesterday"} {
		w := &clockWatch{below: date}
		if _, err := w.RoundTrip(nil); err != nil || w.ahead() != nil {
			t.Errorf("an answer of Date %q: %v, ahead by %+v; want nothing known", date, err, w.ahead())
		}
	}
}

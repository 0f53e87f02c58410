package harness

import (
	"net/http"
	"sync"
	"time"

	"muster/report"
)

// clockWatch finds out how far the clock of a hub elsewhere is from this
// host's, by the Date of its answers. Each gives a second and the time that the
// request took as bounds; all of them together give narrow ones.
type clockWatch struct {
	below http.RoundTripper

	mu       sync.Mutex // guards the fields below
	min, max time.Duration
	seen     bool
}

// RoundTrip implements http.RoundTripper.
func (w *clockWatch) RoundTrip(r *http.Request) (*http.Response, error) {
	asked := time.Now()
	answer, err := w.below.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		w.see(date, asked, time.Now())
	}
	return answer, nil
}

// see takes in one answer. A Date is cut to its second.
func (w *clockWatch) see(date, asked, answered time.Time) {
	low, high := date.Sub(answered.Round(0)), date.Add(time.Second).Sub(asked.Round(0))
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen && low <= w.max && high >= w.min {
		low, high = max(low, w.min), min(high, w.max)
	} // else one of the clocks was set, and what was known is void
	w.seen, w.min, w.max = true, low, high
}

// ahead returns how far the hub's clock is ahead of this host's, nil if no
// answer told.
func (w *clockWatch) ahead() *report.ClockAhead {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.seen {
		return nil
	}
	return &report.ClockAhead{Min: report.Millis(w.min), Max: report.Millis(w.max)}
}

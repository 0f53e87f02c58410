package quota

import (
	"errors"
	"sync"
	"time"
)

// Why a meter refuses.
var (
	ErrBacklogFull    = errors.New("the backlog is full")
	ErrBacklogTimeout = errors.New("the wait in the backlog would be too long")
)

// Shape is what a meter does with operations over its limit.
type Shape struct {
	Burst    float64       // operations that pass at once after a quiet time; at least 1
	Backlog  float64       // operations that may wait; 0 = any number
	Patience time.Duration // how long one may wait; 0 = for ever
}

// Patience is how long an operation waits for its turn at most.
const Patience = 30 * time.Second

// Shaped lets what a limit allows in its period pass at once, and ten times as much wait.
func Shaped(l Limit) Shape { return Shape{Burst: l.Count, Backlog: 10 * l.Count, Patience: Patience} }

// Steady has no burst and refuses nothing: whoever takes goes on at the limit's rate.
func Steady() Shape { return Shape{Burst: 1} }

// Meter is a token bucket with a backlog. It counts in time: drained is when all that was taken so far will have been
// done at the limit's rate. A burst may run ahead of that, and the rest waits.
type Meter struct {
	limit    Limit
	burst    time.Duration // that the burst takes
	backlog  time.Duration // that the backlog takes; 0 = no end
	patience time.Duration

	mu      sync.Mutex // guards drained
	drained time.Time
}

// NewMeter returns a meter with a full bucket.
func NewMeter(l Limit, s Shape) *Meter {
	takes := func(n float64) time.Duration { return time.Duration(n / l.Count * float64(l.Per)) }
	return &Meter{limit: l, burst: takes(s.Burst), backlog: takes(s.Backlog), patience: s.Patience}
}

// Take takes n operations at a time and returns how long they must wait for their turn, zero for at once; or why they
// are refused, which takes nothing. Turns come in the order of the calls.
func (m *Meter) Take(now time.Time, n int) (wait time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	drained := m.drained
	if drained.Before(now) {
		drained = now
	}
	drained = drained.Add(m.limit.Takes(n))
	wait = max(0, drained.Sub(now)-m.burst)
	switch {
	case m.backlog > 0 && wait > m.backlog:
		return 0, ErrBacklogFull
	case m.patience > 0 && wait > m.patience:
		return 0, ErrBacklogTimeout
	}
	m.drained = drained
	return wait, nil
}

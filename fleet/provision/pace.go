package provision

import (
	"context"
	"sync/atomic"
	"time"

	"muster/internal/quota"
)

// meters pace requests by what a hub's tier takes; without one they wait for
// nothing.
type meters struct{ registry, queries, reads, updates meter }

type meter struct{ *quota.Meter }

func newMeters(l *quota.Limits) meters {
	if l == nil {
		return meters{}
	}
	of := func(l quota.Limit) meter { return meter{quota.NewMeter(l, quota.Shape{Burst: l.Count})} }
	return meters{registry: of(l.Registry), queries: of(l.Queries), reads: of(l.TwinReads), updates: of(l.TwinUpdates)}
}

// wait waits for the turn of n operations.
func (m meter) wait(ctx context.Context, n int) error {
	if m.Meter == nil {
		return ctx.Err()
	}
	turn, err := m.Take(time.Now(), n)
	if err != nil {
		return err // never: there is no bound
	}
	return sleep(ctx, turn)
}

// sleep waits, and returns why if not for the whole time.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// counter counts what a step has done, and tells of it.
type counter struct {
	observe func(step string, done, total int)
	step    string
	total   int
	n       atomic.Int64
}

func newCounter(p *provisioner, step string, total int) *counter {
	c := &counter{observe: p.Observe, step: step, total: total}
	if total > 0 {
		c.observe(step, 0, total)
	}
	return c
}

func (c *counter) add(n int) {
	if n > 0 {
		c.observe(c.step, int(c.n.Add(int64(n))), c.total)
	}
}

func (c *counter) done() int { return int(c.n.Load()) }

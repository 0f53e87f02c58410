package provision

import (
	"context"
	"sync/atomic"
	"time"

	"muster/internal/quota"
)

// meters pace requests by what a hub's tier takes; those that are nil wait for
// nothing.
type meters struct{ registry, queries, reads, updates *quota.Meter }

func newMeters(l *quota.Limits) meters {
	if l == nil {
		return meters{}
	}
	return meters{
		registry: quota.Paced(l.Registry), queries: quota.Paced(l.Queries),
		reads: quota.Paced(l.TwinReads), updates: quota.Paced(l.TwinUpdates),
	}
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

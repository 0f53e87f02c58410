package hub

import (
	"context"
	"sync/atomic"
	"time"
)

// gate is what Hub.Pause closes for a while: requests and dispatches pass through it.
type gate struct {
	until atomic.Pointer[time.Time] // nil or past = open
}

// shut closes the gate for d from now, or leaves it as it is if it stays shut for longer.
func (g *gate) shut(d time.Duration) {
	until := time.Now().Add(d)
	for {
		old := g.until.Load()
		if old != nil && old.After(until) {
			return
		}
		if g.until.CompareAndSwap(old, &until) {
			return
		}
	}
}

func (g *gate) open() bool {
	until := g.until.Load()
	return until == nil || !until.After(time.Now())
}

// wait returns nil once the gate is open, or the context's error.
func (g *gate) wait(ctx context.Context) error {
	for {
		until := g.until.Load()
		if until == nil {
			return nil
		}
		d := time.Until(*until)
		if d <= 0 {
			return nil
		}
		if err := sleep(ctx, d); err != nil {
			return err
		}
	}
}

// sleep waits for d, or less if the context ends; then it returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

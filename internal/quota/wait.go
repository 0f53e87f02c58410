package quota

import (
	"context"
	"time"
)

// Paced returns a meter for who keeps to a limit of his own accord: one
// period's worth at once, the rest at the limit's rate, and nothing refused.
func Paced(l Limit) *Meter { return NewMeter(l, Shape{Burst: l.Count}) }

// Wait takes n operations and waits for their turn. A nil meter limits
// nothing. An error says why the wait ended before it, or that the meter refuses.
func (m *Meter) Wait(ctx context.Context, n int) error {
	if m == nil {
		return ctx.Err()
	}
	turn, err := m.Take(time.Now(), n)
	if err != nil || turn <= 0 {
		return err
	}
	timer := time.NewTimer(turn)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

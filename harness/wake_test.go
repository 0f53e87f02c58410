package harness_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"muster/harness"
	"muster/internal/sample"
)

// stall is for how long a test holds its process's reader of wakes.
const stall = 50 * time.Millisecond

// wakesAround returns the wakes of a canary whose reader stands still from
// begun to over, up to the first one of after that.
func wakesAround(t *testing.T, canary harness.WakeSource) (wakes []sample.Wake, begun, over sample.Moment) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	clock := sample.NewClock()
	err := canary(ctx, clock, func(w sample.Wake) {
		now := clock.Now()
		if ended := w.Sent.Add(w.Delay); w.Delay < 0 || ended > now {
			t.Errorf("a wake at %v that waited %v was emitted at %v: want it later than sent and not after that", w.Sent, w.Delay, now)
		}
		wakes = append(wakes, w)
		switch {
		case begun == 0:
			begun = now
			<-time.After(stall)
			over = clock.Now()
		case w.Sent > over:
			cancel()
		}
	})
	if err != nil {
		t.Fatalf("canary() = %v, want nil at the context's end", err)
	}
	return wakes, begun, over
}

// A stall weighs as much as it lasted: there is a wake for each millisecond of
// it, and each waited to its end.
func TestWakesOfAStallAreOneAMillisecond(t *testing.T) {
	for name, canary := range harness.Canaries() {
		t.Run(name, func(t *testing.T) {
			wakes, begun, over := wakesAround(t, canary)
			if !slices.IsSortedFunc(wakes, func(a, b sample.Wake) int { return int(a.Sent - b.Sent) }) {
				t.Errorf("wakes were sent at %v, want them in order", wakes)
			}
			var during int
			for _, w := range wakes[1:] {
				if w.Sent < begun || w.Sent > over {
					continue
				}
				during++
				if ended := w.Sent.Add(w.Delay); ended < over {
					t.Errorf("a wake sent %v into a stall of %v waited %v, want to its end", time.Duration(w.Sent-begun), time.Duration(over-begun), w.Delay)
				}
			}
			lasted := int(time.Duration(over-begun) / time.Millisecond)
			if during < lasted-1 || during > lasted+1 {
				t.Errorf("%d wakes in a stall of %v, want one a millisecond", during, time.Duration(over-begun))
			}
		})
	}
}

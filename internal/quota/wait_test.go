package quota_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"muster/internal/quota"
)

// TestWaitKeepsToTheRate waits for the turn of each of 25 operations at 10/s.
func TestWaitKeepsToTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := quota.Paced(quota.Limit{Count: 10, Per: time.Second})
		began := time.Now()
		for n := range 25 {
			if err := m.Wait(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if got, want := time.Since(began), max(0, time.Duration(n-9)*100*time.Millisecond); got != want {
				t.Errorf("operation %d had its turn after %v, want %v", n, got, want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.Wait(ctx, 100); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait() for ten seconds = %v, want its context to end it after one", err)
		}
		var none *quota.Meter
		if err := none.Wait(t.Context(), 1e9); err != nil {
			t.Errorf("Wait() without a limit = %v", err)
		}
		if err := none.Wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait() after the end of its context = %v", err)
		}
	})
}

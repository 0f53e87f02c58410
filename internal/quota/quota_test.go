package quota_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"muster/internal/quota"
)

func TestLimits(t *testing.T) {
	tests := func(tier quota.Tier, units int, want string) {
		t.Helper()
		l, err := quota.For(tier, units)
		if err != nil {
			t.Errorf("For(%s, %d): %v", tier, units, err)
			return
		}
		got := fmt.Sprint(l.Registry, l.Connects, l.Queries, l.Methods, l.TwinReads, l.TwinUpdates, l.Jobs, l.JobDevices, l.ActiveJobs, l.Devices)
		if got != want {
			t.Errorf("For(%s, %d): %s, want %s", tier, units, got, want)
		}
	}
	tests("F1", 1, "100/min 100/s 20/min 40/s 100/s 50/s 100/min 10/s 1 500")
	tests("S1", 1, "100/min 100/s 20/min 40/s 100/s 50/s 100/min 10/s 1 1000000")
	tests("S1", 9, "900/min 108/s 180/min 360/s 100/s 50/s 900/min 10/s 1 1000000")
	tests("S2", 1, "100/min 120/s 20/min 120/s 100/s 50/s 100/min 10/s 5 1000000")
	tests("S2", 20, "2000/min 2400/s 400/min 2400/s 200/s 100/s 2000/min 20/s 5 1000000")
	tests("S3", 2, "10000/min 12000/s 2000/min 12288/s 1000/s 500/s 10000/min 100/s 10 1000000")
}

func TestImpossibleTiers(t *testing.T) {
	tests := func(tier quota.Tier, units int, want string) {
		t.Helper()
		if _, err := quota.For(tier, units); err == nil || err.Error() != want {
			t.Errorf("For(%s, %d): %v, want %s", tier, units, err, want)
		}
	}
	tests("", 1, `unknown tier ""; expected F1, S1, S2 or S3`)
	tests("s1", 1, `unknown tier "s1"; expected F1, S1, S2 or S3`)
	tests("F1", 2, "a hub of tier F1 has 1 unit, not 2")
	tests("S1", 0, "units must be 1 to 200, is 0")
	tests("S3", 201, "units must be 1 to 200, is 201")
}

func TestMethodBlocks(t *testing.T) {
	for bytes, want := range map[int]int{0: 1, 1: 1, 4096: 1, 4097: 2, 128 << 10: 32} {
		if got := quota.MethodBlocks(bytes); got != want {
			t.Errorf("MethodBlocks(%d): %d, want %d", bytes, got, want)
		}
	}
}

func TestLeastTimes(t *testing.T) {
	tests := func(l quota.Limit, n int, all, least time.Duration) {
		t.Helper()
		if got := l.Takes(n); got != all {
			t.Errorf("%v Takes(%d): %v, want %v", l, n, got, all)
		}
		if got := l.TakesAtLeast(n); got != least {
			t.Errorf("%v TakesAtLeast(%d): %v, want %v", l, n, got, least)
		}
	}
	tests(quota.Limit{Count: 10, Per: time.Second}, 10_000, 1000*time.Second, 999*time.Second)
	tests(quota.Limit{Count: 100, Per: time.Minute}, 50, 30*time.Second, 0)
	tests(quota.Limit{Count: 100, Per: time.Minute}, 0, 0, 0)
}

// start is any time: a meter has no clock.
var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// take takes n from a meter at a time and checks how long it makes wait, or why it refuses.
func take(t *testing.T, m *quota.Meter, at time.Duration, n int, want time.Duration, wantErr error) {
	t.Helper()
	wait, err := m.Take(start.Add(at), n)
	if wait != want || !errors.Is(err, wantErr) {
		t.Errorf("Take(%v, %d): %v, %v; want %v, %v", at, n, wait, err, want, wantErr)
	}
}

// The first burst passes, what comes next is drained at the limit's rate, and when the backlog is full the rest is refused.
func TestBurstBacklogRefusal(t *testing.T) {
	m := quota.NewMeter(quota.Limit{Count: 10, Per: time.Second}, quota.Shape{Burst: 3, Backlog: 4})
	for range 3 {
		take(t, m, 0, 1, 0, nil)
	}
	for i := range 4 {
		take(t, m, 0, 1, time.Duration(i+1)*100*time.Millisecond, nil)
	}
	take(t, m, 0, 1, 0, quota.ErrBacklogFull)
	take(t, m, 0, 1, 0, quota.ErrBacklogFull) // a refusal takes nothing
	take(t, m, 100*time.Millisecond, 1, 400*time.Millisecond, nil)
	take(t, m, 100*time.Millisecond, 1, 0, quota.ErrBacklogFull)
	take(t, m, 500*time.Millisecond, 1, 100*time.Millisecond, nil) // its turn is right after the last one's, at 500 ms
	take(t, m, 900*time.Millisecond, 3, 0, nil)                    // all of the burst is back
	take(t, m, 900*time.Millisecond, 1, 100*time.Millisecond, nil)
	take(t, m, time.Hour, 3, 0, nil) // and never more than the burst
	take(t, m, time.Hour, 1, 100*time.Millisecond, nil)
}

func TestPatience(t *testing.T) {
	m := quota.NewMeter(quota.Limit{Count: 60, Per: time.Minute}, quota.Shape{Burst: 1, Backlog: 100, Patience: 2 * time.Second})
	take(t, m, 0, 1, 0, nil)
	take(t, m, 0, 3, 0, quota.ErrBacklogTimeout)
	take(t, m, 0, 2, 2*time.Second, nil)
	take(t, m, 0, 1, 0, quota.ErrBacklogTimeout)
	take(t, m, 0, 101, 0, quota.ErrBacklogFull) // the one that comes first
}

// A number of operations at once waits for all of them.
func TestManyAtOnce(t *testing.T) {
	m := quota.NewMeter(quota.Limit{Count: 40, Per: time.Second}, quota.Shaped(quota.Limit{Count: 40, Per: time.Second}))
	take(t, m, 0, 32, 0, nil)
	take(t, m, 0, 32, 600*time.Millisecond, nil)
	take(t, m, 0, 1, 625*time.Millisecond, nil)
}

// A steady meter refuses nobody and begins without a burst. Who takes at the time of its last turn, whatever the time is
// by then, makes up for what it was late.
func TestSteady(t *testing.T) {
	limit := quota.Limit{Count: 10, Per: time.Second}
	crowd := quota.NewMeter(limit, quota.Steady())
	for i := range 10_000 {
		take(t, crowd, 0, 1, time.Duration(i)*100*time.Millisecond, nil)
	}
	one := quota.NewMeter(limit, quota.Steady())
	turn := time.Duration(0)
	for i := range 100 {
		wait, _ := one.Take(start.Add(turn), 1)
		if turn += wait; turn != time.Duration(i)*100*time.Millisecond {
			t.Fatalf("turn %d is at %v", i, turn)
		}
	}
}

// Many goroutines together get what the limit allows, no more.
func TestConcurrentTakes(t *testing.T) {
	limit := quota.Limit{Count: 100, Per: time.Second}
	m := quota.NewMeter(limit, quota.Shaped(limit))
	var mu sync.Mutex
	passed, waited, refused := 0, 0, 0
	var takers sync.WaitGroup
	for range 20 {
		takers.Go(func() {
			for range 100 {
				wait, err := m.Take(start, 1)
				mu.Lock()
				switch {
				case err != nil:
					refused++
				case wait > 0:
					waited++
				default:
					passed++
				}
				mu.Unlock()
			}
		})
	}
	takers.Wait()
	if passed != 100 || waited != 1000 || refused != 900 {
		t.Errorf("%d passed, %d waited, %d refused; want 100, 1000, 900", passed, waited, refused)
	}
}

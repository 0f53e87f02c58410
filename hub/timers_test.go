package hub_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/hub"
)

// TestTimersTellInOrder arms, puts off and takes out deadlines of all kinds, and wants each to be told at its time and once.
func TestTimersTellInOrder(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			ts := hub.NewTimers()
			start := time.Now()
			var got []string
			stop := make(chan struct{})
			var running sync.WaitGroup
			running.Go(func() { ts.Run(stop) })

			// Some are the same time ahead of when they are armed, others are anywhere.
			ahead := func() time.Duration {
				if rng.IntN(3) == 0 {
					return time.Duration(rng.Int64N(int64(100 * time.Second)))
				}
				return []time.Duration{time.Second, 30 * time.Second, time.Minute, time.Hour, 1000 * time.Hour, -time.Second}[rng.IntN(6)]
			}
			alarms := make([]*hub.Alarm, 50)
			names := map[*hub.Alarm]string{}
			for i := range alarms {
				name := fmt.Sprint(i)
				alarms[i] = &hub.Alarm{Told: func() { got = append(got, fmt.Sprintf("%s %v", name, time.Since(start))) }}
				names[alarms[i]] = name
			}
			due := map[string]time.Duration{} // of those that are armed
			var want []string
			pass := func(d time.Duration) {
				time.Sleep(d)
				synctest.Wait()
				now := time.Since(start)
				for name, at := range due {
					if at <= now {
						want = append(want, fmt.Sprintf("%s %v", name, at))
						delete(due, name)
					}
				}
			}
			for range 500 {
				a := alarms[rng.IntN(len(alarms))]
				switch rng.IntN(4) {
				case 0:
					ts.Disarm(a)
					delete(due, names[a])
				case 1:
					pass(time.Duration(rng.Int64N(int64(5 * time.Second))))
				default:
					wait := ahead()
					ts.Arm(a, time.Now().Add(wait))
					due[names[a]] = time.Since(start) + max(wait, 0)
					pass(0)
				}
			}
			pass(2000 * time.Hour)
			close(stop)
			running.Wait()
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("seed %d: told (-want +got):\n%s", seed, diff)
			}
			if _, left := ts.Fire(); left {
				t.Errorf("seed %d: a deadline is left", seed)
			}
		})
	}
}

// TestTimersTakeFarDeadlines wants a deadline that is farther ahead than a duration can say not to be one that has passed.
func TestTimersTakeFarDeadlines(t *testing.T) {
	ts := hub.NewTimers()
	ts.Arm(&hub.Alarm{Told: func() { t.Error("told") }}, time.Now().AddDate(400, 0, 0))
	if wait, ok := ts.Fire(); !ok || wait < 100*365*24*time.Hour {
		t.Errorf("fire = %v, %t; want to wait for long", wait, ok)
	}
}

package harness_test

import (
	"testing"
	"testing/synctest"
	"time"

	"muster/harness"
	"muster/internal/sample"
)

// What jobs use can be told apart from what waiting and closing does: there are
// accounts just before the first repetition and between the last and the end.
func TestAccountsAreMadeAroundTheJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dir, err := run(t.Context(), t, parse(t, doors+methodJob, "jobs.lock.startTime=+3500ms"), harness.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var generator, hub []sample.Moment
		var due, ended sample.Moment
		for _, rec := range records(t, dir) {
			switch r := rec.(type) {
			case *sample.Health:
				generator = append(generator, r.At)
			case *sample.HubStats:
				hub = append(hub, r.At)
			case *sample.Repetition:
				if due == 0 {
					due = r.Due
				}
				ended = r.Ended
			}
		}
		closing := map[string]int{"generator": 2, "hub": 1} // before the connections are closed and, of the generator, after it
		for of, accounts := range map[string][]sample.Moment{"generator": generator, "hub": hub} {
			if n := within(accounts, due.Add(-250*time.Millisecond), due); n != 1 {
				t.Errorf("%d accounts of the %s shortly before the first repetition is due at %v, want 1: %v", n, of, due, accounts)
			}
			if n := within(accounts, ended, ended.Add(50*time.Millisecond)); n < closing[of] {
				t.Errorf("%d accounts of the %s when the jobs were over at %v, want %d: %v", n, of, ended, closing[of], accounts)
			}
		}
	})
}

func within(moments []sample.Moment, from, to sample.Moment) (n int) {
	for _, m := range moments {
		if m >= from && m <= to {
			n++
		}
	}
	return n
}

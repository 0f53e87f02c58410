package report_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
	"muster/report"
)

func after(d time.Duration) *report.Millis {
	m := report.Millis(d)
	return &m
}

func TestRepetitionsAreToldAgainstTheirAskedStart(t *testing.T) {
	due := 1.0
	want := []report.Repetition{{
		Number: 1, ID: "lock-1", DueSeconds: &due, Clock: "hub", Targeted: 2, Succeeded: 2,
		FirstDispatched: after(5 * time.Millisecond), LastDispatched: after(25 * time.Millisecond),
		FirstReceived: after(10 * time.Millisecond), LastReceived: after(50 * time.Millisecond), Ended: after(100 * time.Millisecond),
		Completion: &report.Completion{
			By: "finished", P50: after(20 * time.Millisecond), P90: after(100 * time.Millisecond),
			P99: after(100 * time.Millisecond), P100: after(100 * time.Millisecond),
		},
	}}
	j := small().build(t).Summary.Jobs[0]
	if diff := cmp.Diff(want, j.ByRepetition); diff != "" {
		t.Errorf("byRepetition (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[0].Completion, j.Completion); diff != "" {
		t.Errorf("completion (-want +got):\n%s", diff)
	}
}

// Completion counts what succeeded against what was targeted, so that a failure is never a completion.
func TestCompletion(t *testing.T) {
	check := func(name string, change func(f *fixture), want string) {
		t.Helper()
		f := small()
		change(f)
		got := "none"
		if c := f.build(t).Summary.Jobs[0].Completion; c != nil {
			got = c.By
			for _, m := range []*report.Millis{c.P50, c.P90, c.P99, c.P100} {
				if m == nil {
					got += " never"
				} else {
					got += " " + time.Duration(*m).String()
				}
			}
		}
		if got != want {
			t.Errorf("%s: completion %s, want %s", name, got, want)
		}
	}
	check("all", func(*fixture) {}, "finished 20ms 100ms 100ms 100ms")
	check("one failed", func(f *fixture) { find[sample.Execution](f, 1).Outcome = sample.Failed }, "finished 20ms never never never")
	check("both failed", func(f *fixture) {
		find[sample.Execution](f, 0).Outcome = sample.Offline
		find[sample.Execution](f, 1).Outcome = sample.Failed
	}, "finished never never never never")
	check("only booked", func(f *fixture) {
		for n := range 2 {
			e := find[sample.Execution](f, n)
			e.Received, e.Answered, e.Finished = 0, 0, 0
		}
	}, "booked 21ms 101ms 101ms 101ms")
	check("nobody", func(f *fixture) {
		drop[sample.Execution](f)
		find[sample.Targets](f, 0).Devices = nil
	}, "none")
}

func TestASkippedRepetitionHasNoEnd(t *testing.T) {
	f := small()
	drop[sample.Execution](f)
	find[sample.Targets](f, 0).Devices = nil
	find[sample.Repetition](f, 0).Skipped = true
	got := f.build(t).Summary.Jobs[0].ByRepetition
	if len(got) != 1 || !got[0].Skipped || got[0].Ended != nil || got[0].FirstDispatched != nil || got[0].Completion != nil {
		t.Errorf("byRepetition = %+v, want one that was skipped, without moments", got)
	}
}

func TestGroupsApart(t *testing.T) {
	f := small()
	f.run.Groups = []report.Group{{Name: "doors", Devices: 1}, {Name: "lamps", Devices: 1}, {Name: "idle"}}
	find[sample.Device](f, 1).Group = "lamps"
	find[sample.Execution](f, 1).Outcome = sample.Failed
	got := f.build(t).Summary.Jobs[0].Groups
	if len(got) != 2 || got[0].Name != "doors" || got[1].Name != "lamps" {
		t.Fatalf("groups = %+v, want doors and lamps: the job has reached no other", got)
	}
	for i, want := range []struct {
		outcome string
		took    time.Duration
	}{{"succeeded", 20 * time.Millisecond}, {"failed", 100 * time.Millisecond}} {
		g := got[i]
		total, service := g.Phases["total"], g.Phases["service"]
		if g.Targeted != 1 || len(g.Outcomes) != 1 || g.Outcomes[want.outcome] != 1 {
			t.Errorf("%s: outcomes %v of %d, want one %s", g.Name, g.Outcomes, g.Targeted, want.outcome)
		}
		if total == nil || time.Duration(total.Max) != want.took || time.Duration(total.P50) != want.took || total.Clock != "" {
			t.Errorf("%s: total %+v, want %v", g.Name, total, want.took)
		}
		if service == nil || time.Duration(service.Mean) != want.took*3/4 || service.Clock != "hub" {
			t.Errorf("%s: service %+v, want %v on the hub's clock", g.Name, service, want.took*3/4)
		}
		if g.Phases["uplink"] != nil {
			t.Errorf("%s has an uplink, which a method of the hub's has not", g.Name)
		}
	}
	if groups := small().build(t).Summary.Jobs[0].Groups; groups != nil {
		t.Errorf("groups = %+v of a fleet of one group, want none", groups)
	}
}

func TestTheSlowestSayWhen(t *testing.T) {
	r := broadcast(300).build(t)
	slow := r.Summary.Jobs[0].Slowest
	if len(slow) != 10 {
		t.Fatalf("%d of the slowest are named, want 10", len(slow))
	}
	for i, d := range slow {
		if d.Repetition < 1 || d.Repetition > 5 || d.Service == nil || *d.Service > d.Max || i > 0 && d.Max > slow[i-1].Max {
			t.Errorf("the slowest, number %d: %+v; want a repetition of 5, a service within its total, the longest first", i, d)
		}
	}
}

// What a thinned curve keeps is exact, what it leaves out is nearer than a part, and a pause has both its ends.
func TestThinnedCurvesDoNotLie(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 3, 199, 200, 201, 5000, 100_000} {
		times := make([]time.Duration, n)
		for i := range times {
			times[i] = time.Duration(rng.Int64N(int64(time.Second)))
			if i%3 == 0 { // a stall in the middle, and many at one time
				times[i] = 3*time.Second + times[i].Truncate(10*time.Millisecond)
			}
		}
		slices.Sort(times)
		at, count := report.Curve(times, report.CurveSteps)
		if len(at) > 3*report.CurveSteps+2 {
			t.Errorf("n %d: %d points, want at most three a part", n, len(at))
		}
		if err := lies(times, at, count); err != nil {
			t.Errorf("n %d: %v", n, err)
		}
	}
}

func lies(times []time.Duration, at []report.Millis, count []int64) error {
	for i := range at {
		upTo, _ := slices.BinarySearch(times, time.Duration(at[i])+1)
		if int64(upTo) != count[i] {
			return fmt.Errorf("at %v the curve has %d, want %d", time.Duration(at[i]), count[i], upTo)
		}
	}
	if len(times) > 0 && (len(at) == 0 || count[len(count)-1] != int64(len(times))) {
		return fmt.Errorf("the curve ends at %v, want %d", count, len(times))
	}
	kept := map[time.Duration]bool{}
	for _, m := range at {
		kept[time.Duration(m)] = true
	}
	within := max(len(times)/report.CurveSteps, 1)
	shown, next := 0, 0
	for i, time := range times {
		for next < len(at) && report.Millis(time) >= at[next] {
			shown, next = int(count[next]), next+1
		}
		if last := i+1 == len(times) || times[i+1] != time; last && (i+1-shown > within) {
			return fmt.Errorf("at %v the curve shows %d, want %d or at most %d less", time, shown, i+1, within)
		}
		if i > 0 && time-times[i-1] > (times[len(times)-1]-times[0])/report.CurveSteps && (!kept[time] || !kept[times[i-1]]) {
			return fmt.Errorf("the pause from %v to %v does not have both ends", times[i-1], time)
		}
	}
	return nil
}

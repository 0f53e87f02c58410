package report_test

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
	"muster/report"
)

// watched gives l the records of f, as a run does.
func watched(f *fixture, l *report.Live) {
	for _, rec := range f.records {
		switch r := rec.(type) {
		case *sample.Execution:
			l.Execution(r)
		case *sample.Connect:
			l.Connect(r)
		default:
			l.Write(r)
		}
	}
}

// What was counted during a run is what the report has of it afterwards.
func TestLiveAgreesWithTheReport(t *testing.T) {
	f := twoOutcomes()
	f.add(
		&sample.Connect{Device: 3, Attempt: 1, Reconnect: true, Due: 20 * s, Dialed: 20 * s, Error: "refused"},
		&sample.Connect{Device: 3, Attempt: 2, Reconnect: true, Due: 21 * s, Dialed: 21 * s, Ready: 22 * s},
	)
	late := find[sample.Connect](f, 7) // its first attempt failed
	f.records = append([]sample.Record{&sample.Connect{Device: 7, Attempt: 1, Due: 1, Dialed: 2, Error: "refused"}}, f.records...)
	late.Attempt, late.Due = 2, late.Dialed
	summary := f.build(t).Summary
	l := report.NewLive(f.run.Jobs)
	watched(f, l)
	got := l.Snapshot()

	same := func(what string, st *report.Stats, values report.LiveSeries) {
		t.Helper()
		if values.Values.TotalCount() != st.Count || report.Millis(values.Max) != st.Max {
			t.Errorf("%s: %d values up to %v, want %d up to %v", what, values.Values.TotalCount(), values.Max, st.Count, st.Max)
		}
		w := report.Window{Values: values.Values, Min: st.Min, Max: st.Max}
		if diff := cmp.Diff([]report.Millis{st.P50, st.P99}, w.Percentiles(50, 99)); diff != "" {
			t.Errorf("%s: p50 and p99 (-report +live):\n%s", what, diff)
		}
	}
	same("connects", summary.Fleet.Connect, got.Connects)
	outcomes := map[string]int64{}
	for _, c := range got.Jobs {
		outcomes[c.Job+"."+c.Outcome] = c.Executions
		for phase, values := range c.Phases {
			for _, j := range summary.Jobs {
				if j.Name != c.Job {
					continue
				}
				st := j.Phases[phase]
				if j.PhasesByOutcome != nil {
					st = j.PhasesByOutcome[c.Outcome][phase]
				}
				same(c.Job+"."+phase+" "+c.Outcome, st, values)
			}
		}
	}
	if diff := cmp.Diff(map[string]int64{"lock.succeeded": 1970, "lock.timedOut": 30, "place.succeeded": 40}, outcomes); diff != "" {
		t.Errorf("executions (-want +got):\n%s", diff)
	}
	if got.Wakes.Values.TotalCount() != summary.Generator.Wake.Count || got.Health.MaxRSS != 100<<20 || got.Hub.Connections != 400 {
		t.Errorf("%d wakes, health %+v, hub %+v; want what was written", got.Wakes.Values.TotalCount(), got.Health, got.Hub)
	}
}

func TestLiveCountsEveryWriter(t *testing.T) {
	const writers, each = 8, 500
	l := report.NewLive(small().run.Jobs)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				e := execution(uint32(i), sample.Succeeded, sample.Moment(1+w)*ms)
				l.Execution(e)
				e.Final = false
				l.Execution(e)
			}
		})
	}
	for range 20 {
		l.Snapshot()
	}
	group.Wait()
	l.Execution(&sample.Execution{Job: 99, Final: true})
	l.Execution(&sample.Execution{Device: sample.NoDevice, Final: true, Due: 1 * s}) // its end is not known
	jobs := l.Snapshot().Jobs
	if len(jobs) != 2 || jobs[0].Executions != writers*each || jobs[1].Outcome != "unknown" || jobs[1].Executions != 1 {
		t.Errorf("Snapshot().Jobs = %+v, want %d that succeeded and one unknown", jobs, writers*each)
	}
	if n := jobs[0].Phases["total"].Values.TotalCount(); n != writers*each {
		t.Errorf("%d totals, want %d", n, writers*each)
	}
}

// What watching a run adds to each execution.
func BenchmarkLiveExecution(b *testing.B) {
	l := report.NewLive(small().run.Jobs)
	var all [1024]*sample.Execution
	for i := range all {
		all[i] = execution(uint32(i), sample.Succeeded, sample.Moment(i+1)*ms/16)
		l.Execution(all[i])
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.Execution(all[i%len(all)])
	}
}

func BenchmarkLiveExecutionParallel(b *testing.B) {
	l := report.NewLive(small().run.Jobs)
	b.RunParallel(func(pb *testing.PB) {
		e := execution(0, sample.Succeeded, 20*ms)
		for pb.Next() {
			e.Device++
			l.Execution(e)
		}
	})
}

func BenchmarkLiveSnapshot(b *testing.B) {
	f := broadcast(2000)
	l := report.NewLive(f.run.Jobs)
	watched(f, l)
	for b.Loop() {
		l.Snapshot()
	}
}

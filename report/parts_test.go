package report_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"muster/internal/sample"
	"muster/report"
)

// paced is a run of one job on so many devices of two groups, doors and lamps
// by turns: device n is due at 1 s, ends n·every later, and took so long.
func paced(devices int, every time.Duration, took func(n int) time.Duration) *fixture {
	f := small()
	f.records = nil
	f.run.Groups = []report.Group{{Name: "doors", Devices: devices / 2}, {Name: "lamps", Devices: devices - devices/2}}
	targets := &sample.Targets{ID: "lock-1", Due: 1 * s, Checkable: true}
	f.add(targets)
	for n := range devices {
		d := uint32(n)
		group := "doors"
		if n >= devices/2 {
			group = "lamps"
		}
		targets.Devices = append(targets.Devices, d)
		end := 1*s + sample.Moment(n+1)*sample.Moment(every)
		f.add(&sample.Device{Index: d, ID: group + string(rune('a'+n%26)) + time.Duration(n).String(), Group: group})
		f.add(&sample.Connect{Device: d, Attempt: 1, Due: ms, Dialed: 2 * ms, Accepted: 3 * ms, Ready: sample.Moment(n+2) * ms})
		f.add(&sample.Execution{
			Device: d, Outcome: sample.Succeeded, Final: true, Due: end - sample.Moment(took(n)),
			Dispatched: end - sample.Moment(took(n)), Received: end, Answered: end, Finished: end, Booked: end, Status: 200,
		})
	}
	stats := sample.Statistics{Devices: int64(devices), Succeeded: int64(devices)}
	ended := 1*s + sample.Moment(devices)*sample.Moment(every)
	f.add(&sample.Repetition{
		ID: "lock-1", Status: "completed", Due: 1 * s, Ended: ended, Targeted: int64(devices), Checked: true, HubBooks: true, Rows: stats, Stats: stats,
	})
	f.end.At = ended + s
	f.wakes(0, ended+s, 100*time.Microsecond)
	return f
}

func judged(t testing.TB, f *fixture, expression string) (report.Threshold, report.Verdict) {
	t.Helper()
	f.run.Thresholds = []string{expression}
	sum := f.build(t).Summary
	return sum.Thresholds[0], sum.Verdict
}

func TestThresholdsOnRatesGroupsAndParts(t *testing.T) {
	// 100 a second for 10 s; what ends from 5 s to 6 s took 80 ms, everything else 20 ms.
	slow := func(n int) time.Duration {
		if n >= 400 && n < 500 {
			return 80 * time.Millisecond
		}
		return 20 * time.Millisecond
	}
	f := paced(1000, 10*time.Millisecond, slow)
	check := func(expression string, ok, noData bool, value float64, unit, note string) {
		t.Helper()
		got, verdict := judged(t, f, expression)
		if got.OK != ok || got.NoData != noData || got.Unit != unit || (got.Value == nil) != noData || !noData && math.Abs(*got.Value-value) > value/1000 {
			t.Errorf("%s = %+v, want ok %v, no data %v, %v %s", expression, got, ok, noData, value, unit)
		}
		if !strings.Contains(got.Note, note) || note == "" && got.Note != "" {
			t.Errorf("%s: note %q, want %q", expression, got.Note, note)
		}
		if want := map[bool]report.Verdict{true: report.Pass, false: report.Fail}[ok]; verdict != want {
			t.Errorf("%s: verdict %v, want %v", expression, verdict, want)
		}
	}
	check("jobs.lock.rate > 99/s", true, false, 99.9, "perSecond", "") // from the first due on
	check("jobs.lock.rate > 101/s", false, false, 99.9, "perSecond", "")
	check("jobs.lock.rate > 6000/m", false, false, 99.9, "perSecond", "")
	check("jobs.lock.rate >= 99/s over every 2s", true, false, 99.5, "perSecond", "the worst of 9 parts, from 1 s to 3 s")
	check("jobs.lock.rate >= 100/s over last 3s", true, false, 100, "perSecond", "from 8 s to 11 s")
	check("jobs.lock.rate >= 1/s over every 20s", false, true, 0, "", "never under way for 20s on end")
	check("jobs.lock.total.max < 50ms", false, false, 80, "ms", "")
	check("jobs.lock.total.max < 50ms over last 3s", true, false, 20, "ms", "from 9 s to 12 s")
	check("jobs.lock.total.p99 < 50ms over every 1s", false, false, 80, "ms", "the worst of 11 parts, from 5 s to 6 s")
	check("jobs.lock.total.p99 < 50ms over every 2s", false, false, 80, "ms", "2 failed")
	check("jobs.lock.total.p50 < 50ms over every 3s", true, false, 20, "ms", "the worst of 9 parts")
	check("jobs.lock.total.mean < 40.1ms over every 3s", true, false, 40, "ms", "of 9 parts")
	check("jobs.lock.total.min >= 20ms over every 1m", true, false, 20, "ms", "the worst of 1 part")
	check("jobs.lock.total.count == 100 over every 1s", false, false, 1, "count", "of 11 parts")
	check("jobs.lock{group=doors}.total.max < 50ms", false, false, 80, "ms", "")
	check("jobs.lock{group=lamps}.total.max < 50ms", true, false, 20, "ms", "")
	check("jobs.lock{group=lamps}.total.max < 50ms over every 2s", true, false, 20, "ms", "of 5 parts")
	check("jobs.lock{group=doors}.total.max < 50ms over last 2s", false, false, 80, "ms", "from 5 s to 7 s")
	check("jobs.lock{group=doors}.rate > 99/s over every 2s", true, false, 99.5, "perSecond", "of 4 parts")
	check("jobs.lock{group=lamps}.succeeded == 100%", true, false, 100, "percent", "500 of 500")
	check("jobs.lock{group=lamps}.targeted == 500", true, false, 500, "count", "")
	check("fleet{group=lamps}.connected == 500", true, false, 500, "count", "")
	check("fleet{group=doors}.connect.max < 502ms", true, false, 500, "ms", "")
	check("fleet.connect.rate > 990/s", true, false, 1000, "perSecond", "")
	check("fleet{group=doors}.connect.max < 502ms over last 5s", true, false, 500, "ms", "from 0 s to 1 s")
	check("jobs.lock{group=gates}.total.p99 < 5s", false, true, 0, "", "no such measure")
	check("jobs.lock{group=gates}.total.p99 < 5s over last 1s", false, true, 0, "", "no samples")
	check("jobs.lock.booking.p99 < 5s over any 1s", false, true, 0, "", "expected last or every")
	check("jobs.lock.failed < 5 over last 1s", false, true, 0, "", "not known by parts")
}

// A count of one group says nothing of the others: the device that never
// connected is told all the same.
func TestACountOfOneGroupAsksNothingOfTheOthers(t *testing.T) {
	f := paced(10, 10*time.Millisecond, func(int) time.Duration { return 5 * time.Millisecond })
	find[sample.Connect](f, 9).Error = "refused"
	f.run.Thresholds = []string{"fleet{group=doors}.connected == 100%", "fleet.connect.p99 < 5s"}
	if sum := f.build(t).Summary; sum.Verdict != report.Fail || !strings.Contains(strings.Join(sum.Reasons, "\n"), "1 of 10 devices never connected") {
		t.Errorf("verdict %v %q, want fail: 1 of 10 never connected", sum.Verdict, sum.Reasons)
	}
}

// A part's percentile is that of its values, whatever their order.
func TestPartsAgreeWithSortedValues(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(20, 200).Draw(rt, "devices")
		length := rapid.IntRange(1, 5).Draw(rt, "length")
		step := time.Duration(rapid.IntRange(5, 90).Draw(rt, "step")) * time.Millisecond
		took := rapid.SliceOfN(rapid.IntRange(1, 900_000), n, n).Draw(rt, "took")
		f := paced(n, step, func(i int) time.Duration { return time.Duration(took[i]) * time.Microsecond })
		got, _ := judged(t, f, "jobs.lock.total.p90 < 1us over every "+(time.Duration(length)*time.Second).String())
		worst := time.Duration(0)
		ends := make([]int, n)
		for i := range ends {
			ends[i] = int((time.Second + time.Duration(i+1)*step) / time.Second)
		}
		for from := ends[0]; from == ends[0] || from+length <= ends[n-1]+1; from++ {
			var in []time.Duration
			for i, at := range ends {
				if at >= from && at < from+length {
					in = append(in, time.Duration(took[i])*time.Microsecond)
				}
			}
			if slices.Sort(in); len(in) > 0 {
				worst = max(worst, in[int(math.Ceil(0.9*float64(len(in))-1e-9))-1])
			}
		}
		if want := float64(worst) / 1e6; got.Value == nil || math.Abs(*got.Value-want) > want/1000+0.001 {
			rt.Fatalf("p90 over every %d s = %+v, want %v ms", length, got, want)
		}
	})
}

func TestARunThatAThresholdAborted(t *testing.T) {
	f := small()
	f.end.Reason, f.end.Error = "aborted", "threshold jobs.lock.total.p99 < 10ms failed: measured 100 ms"
	drop[sample.Repetition](f)
	sum := f.build(t).Summary
	if sum.Verdict != report.Fail || sum.Reasons[0] != "aborted: "+f.end.Error {
		t.Errorf("verdict %v %q, want fail, aborted", sum.Verdict, sum.Reasons)
	}
	drop[sample.Health](f)
	f.wakes(0, 3*s, 50*time.Millisecond)
	if sum := f.build(t).Summary; sum.Verdict != report.Invalid || !strings.Contains(sum.Reasons[0], "saturated") {
		t.Errorf("verdict %v %q, want invalid: a saturated generator's numbers abort nothing", sum.Verdict, sum.Reasons)
	}
}

// A guard that was told what a run recorded, in its order, finds what the
// report finds, and not before it can be known.
func TestGuardAgreesWithTheReport(t *testing.T) {
	slow := func(n int) time.Duration {
		if n >= 400 && n < 500 {
			return 80 * time.Millisecond
		}
		return 20 * time.Millisecond
	}
	check := func(expression string, grace time.Duration, at sample.Moment, why string) {
		t.Helper()
		f := paced(1000, 10*time.Millisecond, slow)
		g, err := report.NewGuard(&f.run, []report.Rule{{Expression: expression, Grace: grace}})
		if err != nil {
			t.Errorf("NewGuard(%s) = %v", expression, err)
			return
		}
		rest := f.records
		for now := s; now <= 14*s; now += s {
			rest = slices.DeleteFunc(slices.Clone(rest), func(rec sample.Record) bool {
				switch r := rec.(type) {
				case *sample.Connect:
					if r.Ready <= now {
						g.Connect(r)
						return true
					}
				case *sample.Execution:
					if r.Finished <= now {
						first := *r
						first.Final, first.Finished, first.Answered, first.Outcome = false, 0, 0, sample.Open
						g.Execution(&first)
						g.Execution(r)
						g.Execution(r) // as a fan-out may
						return true
					}
				case *sample.Repetition:
					if r.Ended <= now {
						g.Write(r)
					}
				}
				return false
			})
			if got := g.Check(now); got != "" {
				if now != at || !strings.Contains(got, why) {
					t.Errorf("%s after %v: Check(%v) = %q, want …%s… at %v", expression, grace, time.Duration(now), got, why, time.Duration(at))
				}
				return
			}
		}
		if at != 0 {
			t.Errorf("%s after %v: holds, want …%s… at %v", expression, grace, why, time.Duration(at))
		}
	}
	check("jobs.lock.total.max < 50ms", 0, 6*s, "threshold jobs.lock.total.max < 50ms failed: measured 80 ms")
	check("jobs.lock.total.max < 50ms", 8*time.Second, 9*s, "measured 80 ms")
	check("jobs.lock.total.max < 90ms", 0, 0, "")
	check("jobs.lock.total.max < 50ms over every 1s", 0, 7*s, "from 5 s to 6 s")
	check("jobs.lock.total.max < 50ms over every 1s", 8*time.Second, 0, "")
	check("jobs.lock.total.max < 50ms over last 2s", 7*time.Second, 0, "")
	check("jobs.lock{group=lamps}.total.max < 50ms", 0, 0, "")
	check("jobs.lock{group=doors}.total.max < 50ms", 0, 6*s, "measured 80 ms")
	check("jobs.lock.rate > 50/s over every 2s", 0, 0, "")
	check("jobs.lock.rate > 150/s over every 2s", 0, 4*s, "from 1 s to 3 s")
	check("jobs.lock.rate > 150/s", 3*time.Second, 4*s, "measured 9")
	check("jobs.lock.succeeded > 99%", 0, 0, "")
	check("jobs.lock.succeeded < 50", 0, 2*s, "measured 100")
	check("fleet.connect.max < 500ms", 0, 1*s, "fleet.connect.max < 500ms failed: measured 999 ms")

	refuse := func(expression, want string) {
		t.Helper()
		if _, err := report.NewGuard(&small().run, []report.Rule{{Expression: expression}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewGuard(%s) = %v, want an error with %q", expression, err, want)
		}
	}
	refuse("jobs.lock.total.p99 <", "expected a duration")
	refuse("jobs.place.total.p99 < 1s", `no job is called "place"`)
	refuse("generator.wake.p99 < 1s", "known at the run's end only")
}

// A job of very many repetitions costs a guard no more than one of a few, and
// what it lets go of changes nothing.
func TestGuardLetsGoOfOldRepetitions(t *testing.T) {
	check := func(expression string, wantAt uint32, why string) {
		t.Helper()
		f := small()
		g, err := report.NewGuard(&f.run, []report.Rule{{Expression: expression}})
		if err != nil {
			t.Fatal(err)
		}
		for rep := range uint32(2000) {
			// Each second a repetition that is under way for half of it, with ten ends: twenty a second. From the
			// 1,500th on there are five.
			due := sample.Moment(rep+1) * s
			for d := range uint32(10) {
				if d < 5 || rep < 1500 || d == 9 {
					e := execution(d, sample.Succeeded, 0)
					e.Repetition, e.Due, e.Finished = rep, due, due+sample.Moment(d+1)*50*ms
					g.Execution(e)
				}
			}
			g.Write(&sample.Repetition{Repetition: rep})
			if got := g.Check(due + s); got != "" {
				if rep != wantAt || !strings.Contains(got, why) {
					t.Errorf("%s: Check after repetition %d = %q, want …%s… after %d", expression, rep, got, why, wantAt)
				}
				return
			}
		}
		if wantAt != 0 {
			t.Errorf("%s: holds, want …%s… after %d", expression, why, wantAt)
		}
	}
	check("jobs.lock.rate > 17.5/s", 0, "")
	check("jobs.lock.rate > 19/s", 1714, "measured 18.997/s")
	check("jobs.lock.rate < 20.001/s", 0, "")
}

func BenchmarkGuardExecution(b *testing.B) {
	f := small()
	g, err := report.NewGuard(&f.run, []report.Rule{{Expression: "jobs.lock.total.p99 < 2s"}})
	if err != nil {
		b.Fatal(err)
	}
	e := execution(0, sample.Succeeded, 20*ms)
	b.ReportAllocs()
	for i := range b.N {
		e.Device, e.Repetition = uint32(i%10_000), uint32(i/10_000)
		if g.Execution(e); i%10_000 == 9_999 {
			g.Check(1)
			g.Write(&sample.Repetition{Repetition: e.Repetition})
		}
	}
}

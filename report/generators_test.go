package report_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/internal/sample"
	"muster/report"
)

// shared is small with its two devices in a generator each, whose wakes take so
// long. A negative delay is a generator that says nothing.
func shared(own, first, second time.Duration) *fixture {
	f := small()
	drop[sample.Health](f)
	f.run.Generators = []report.Part{{From: 0, To: 1}, {From: 1, To: 2}}
	for number, delay := range []time.Duration{own, first, second} {
		if delay < 0 {
			continue
		}
		before := len(f.records)
		f.wakes(0, 3*s, delay)
		for _, rec := range f.records[before:] {
			rec.(*sample.Health).Generator = uint32(number)
		}
	}
	return f
}

func TestTheWorstGeneratorDecides(t *testing.T) {
	const well, slow, silent = 100 * time.Microsecond, 2600 * time.Microsecond, -1 // slow: one in ten waits 10.4 ms, above a tenth of total
	check := func(own, first, second time.Duration, want report.Verdict, worst int, reason string) {
		t.Helper()
		got := shared(own, first, second).build(t).Summary
		if got.Verdict != want || !strings.Contains(strings.Join(got.Generator.Reasons, "\n"), reason) {
			t.Errorf("wakes of %v, %v, %v: %v %q, want %v with %q", own, first, second, got.Verdict, got.Generator.Reasons, want, reason)
		}
		if w := got.Jobs[0].Wake; (w != nil) != (worst >= 0) || w != nil && w.Generator != worst {
			t.Errorf("wakes of %v, %v, %v: the job has %+v, want that of generator %d", own, first, second, w, worst)
		}
	}
	check(well, well, well, report.Pass, 0, "")
	check(well, well, slow, report.Invalid, 2, "job lock: generator 2 was saturated: wake p99 10.4 ms is above 10.0 ms")
	check(well, slow, well, report.Invalid, 1, "job lock: generator 1 was saturated")
	check(slow, well, well, report.Invalid, 0, "job lock: the run's own process was saturated")
	check(well, silent, well, report.Invalid, 0, "job lock: no wake of generator 1 in the 94.0 ms that it lasted")
}

// In a job that is too short for a wake of every generator, those that there are
// count all the same.
func TestAGeneratorWithoutAWakeHidesNoOther(t *testing.T) {
	const slow, silent = 10 * time.Millisecond, -1
	f := shared(silent, slow, silent)
	for device := range 2 {
		*find[sample.Execution](f, device) = *execution(uint32(device), sample.Succeeded, 2*ms)
	}
	find[sample.Repetition](f, 0).Ended = s + 2*ms
	got := f.build(t).Summary
	if want := "job lock: generator 1 was saturated"; got.Verdict != report.Invalid || !strings.Contains(strings.Join(got.Generator.Reasons, "\n"), want) {
		t.Errorf("verdict %v, %q; want %v with %q", got.Verdict, got.Generator.Reasons, report.Invalid, want)
	}
	if w := got.Jobs[0].Wake; w == nil || w.Generator != 1 {
		t.Errorf("the job has %+v, want that of generator 1", w)
	}
}

func TestGeneratorsAreSummedUpAndTold(t *testing.T) {
	f := shared(100*time.Microsecond, 100*time.Microsecond, 200*time.Microsecond)
	for _, rec := range f.records { // the second's numbers are its own
		if h, ok := rec.(*sample.Health); ok && h.Generator == 2 {
			h.CPU, h.MaxRSS, h.Descriptors = h.CPU*2, 50<<20, 70
		}
	}
	got := f.build(t)
	g := got.Summary.Generator
	if g.CPUSeconds != 0.75+0.75+1.5 || g.MaxRSS != 250<<20 || g.Descriptors.Used != 70 || g.PeakCPU != 0 && g.PeakCPU > 1 {
		t.Errorf("CPU %v s, %d bytes, open files %+v; want 3 s, 250 MiB and 70", g.CPUSeconds, g.MaxRSS, g.Descriptors)
	}
	if len(g.Parts) != 3 || g.Wake.P99 != g.Parts[2].Wake.P99 || g.Wake.P99 <= g.Parts[1].Wake.P99 {
		t.Fatalf("wake p99 %v of %+v, want that of the worst of three", g.Wake.P99, g.Parts)
	}
	if p := g.Parts[2]; p.Number != 2 || p.From != 1 || p.To != 2 || p.CPUSeconds != 1.5 || p.MaxRSS != 50<<20 || p.Descriptors != 70 {
		t.Errorf("the second generator is %+v", p)
	}
	var console bytes.Buffer
	if err := got.Console(&console, report.ConsoleOptions{Width: 200}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the run's own process · wake p99 400 µs", "generator 1 · devices 0 to 0 · wake p99 400 µs", "generator 2 · devices 1 to 1 · wake p99 800 µs max 800 µs · CPU 1.50 s · 50 MiB"} {
		if !strings.Contains(console.String(), want) {
			t.Errorf("the console does not say %q:\n%s", want, console.String())
		}
	}
}

// A generator that keeps a processor busy does so whenever it gives its account,
// though there are two of them between two of the run's own process.
func TestThePeakOfGeneratorsIsOfEachOnesOwnSeconds(t *testing.T) {
	f := shared(-1, -1, -1)
	f.run.Host.CPUs = 2
	for _, h := range []sample.Health{
		{At: 10 * ms, Generator: 1},
		{At: 1000 * ms},
		{At: 1010 * ms, Generator: 1},
		{At: 1990 * ms, Generator: 1},
		{At: 2000 * ms},
		{At: 2990 * ms, Generator: 1},
		{At: 3000 * ms},
		{At: 9000 * ms}, // the other is over
	} {
		h.CPU = time.Duration(h.At)
		if h.Generator == 0 {
			h.CPU /= 4
		}
		f.add(&h)
	}
	if got, want := f.build(t).Summary.Generator.PeakCPU, (1+0.25)/2; got != want {
		t.Errorf("peak of %v of all processors, want %v", got, want)
	}
}

// Accounts are made once a second, and some between: what is said of seconds is
// the same with them, and nothing that they say is lost.
func TestAccountsBetweenTheSecondsMakeNoSecondsOfTheirOwn(t *testing.T) {
	check := func(what string, lags int64, latest time.Duration, points int, at ...sample.Moment) {
		t.Helper()
		f := small()
		for _, m := range at {
			f.add(&sample.Health{At: m, TimerLate: 30 * time.Millisecond, CPU: time.Duration(m) / 4}, &sample.HubStats{At: m, CPU: time.Duration(m) / 4})
		}
		r := f.build(t)
		if lag := r.Summary.Generator.Lag; lag.Count != lags || time.Duration(lag.Max) != latest {
			t.Errorf("%s: lag of %d seconds, %v at most, want %d and %v", what, lag.Count, time.Duration(lag.Max), lags, latest)
		}
		var data struct {
			Health struct {
				At   []float64
				Late []int64
			}
		}
		if err := json.Unmarshal(unpack(t, page(t, r)), &data); err != nil {
			t.Fatal(err)
		}
		if h := data.Health; len(h.At) != points || slices.Max(h.Late) != latest.Microseconds() {
			t.Errorf("%s: %d points, late by at most %d µs, want %d and %v", what, len(h.At), slices.Max(h.Late), points, latest)
		}
	}
	check("no other", 3, 100*time.Microsecond, 3)
	check("one between", 4, 30*time.Millisecond, 4, 3*s+300*ms, 4*s)
	check("some between", 4, 30*time.Millisecond, 4, 3*s+100*ms, 3*s+200*ms, 4*s)
	check("the last one", 4, 30*time.Millisecond, 3, 3*s+ms)
}

// Where accounts are made oftener than they are points, there are points still.
func TestAccountsThatAllComeSoonAreNoSinglePoint(t *testing.T) {
	f := small()
	for at := 3 * s; at <= 23*s; at += 400 * ms {
		f.add(&sample.Health{At: at, CPU: time.Duration(at) / 4}, &sample.HubStats{At: at, CPU: time.Duration(at) / 4})
	}
	var data struct {
		Health, Hub struct{ At []float64 }
	}
	if err := json.Unmarshal(unpack(t, page(t, f.build(t))), &data); err != nil {
		t.Fatal(err)
	}
	for what, at := range map[string][]float64{"generator": data.Health.At, "hub": data.Hub.At} {
		if len(at) < 10 || len(at) > 22 {
			t.Errorf("%s: accounts of 23 s every 400 ms are the points %v, want one each second or two", what, at)
		}
	}
}

func TestAnAccountOfAGeneratorThatTheRunDoesNotHaveIsLeftOut(t *testing.T) {
	f := small()
	find[sample.Health](f, 1).Generator = 7
	got := f.build(t).Summary
	if !strings.Contains(strings.Join(got.Warnings, "\n"), "1 record of jobs or devices that the run does not have") || got.Generator.Parts != nil {
		t.Errorf("warnings %q, parts %v", got.Warnings, got.Generator.Parts)
	}
}

func TestLiveShowsAllGeneratorsTogether(t *testing.T) {
	l := report.NewLive(small().run.Jobs)
	for _, rec := range shared(100*time.Microsecond, 100*time.Microsecond, 100*time.Microsecond).records {
		l.Write(rec)
	}
	for number := range uint32(3) { // the run's own account comes last
		l.Write(&sample.Health{At: 4 * s, Generator: 2 - number, RSS: 10, CPU: time.Second, Goroutines: 1, Descriptors: int64(number)})
	}
	h := l.Snapshot().Health
	if h == nil || h.RSS != 30 || h.CPU != 3*time.Second || h.Goroutines != 3 || h.Descriptors != 2 || h.Wakes != nil {
		t.Errorf("Snapshot().Health = %+v, want the sum of three", h)
	}
}

package report_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
	"muster/report"
)

// fed is what a page gets of a run, as far as tests look at it; report.html carries the same.
type fed struct {
	Standing struct{ Stage string }
	Summary  struct {
		Fleet struct{ Connect report.Stats }
		Jobs  []struct {
			Name      string
			Targeted  int64
			Succeeded int64
			TimedOut  int64
			Phases    map[string]report.Stats
		}
		Faults []report.Fault
	}
	Jobs []struct {
		Curves  []fedCurve
		Left    int
		Seconds *struct {
			Phase             string
			Each              int64
			At                []int64
			Succeeded, Others []int64
			Response, Service struct{ P50, P99, Max []int64 }
		}
	}
	Ramp        struct{ Due, Ready fedCurve }
	Health, Hub json.RawMessage
}

type fedCurve struct {
	Number   int
	Targeted int64
	At       []report.Millis
	N        []int64
}

func (c *fedCurve) last() (report.Millis, int64) {
	if len(c.N) == 0 {
		return 0, 0
	}
	return c.At[len(c.At)-1], c.N[len(c.N)-1]
}

func decode(t *testing.T, src []byte) *fed {
	t.Helper()
	out := new(fed)
	if err := json.Unmarshal(src, out); err != nil {
		t.Fatalf("%v in\n%s", err, src)
	}
	return out
}

func (f *fixture) feed() (*report.Feed, *report.Live) {
	live := report.NewLive(f.run.Jobs)
	return report.NewFeed(report.FeedOf{Scenario: f.run.Scenario, Thresholds: f.run.Thresholds, CPUs: 2}, live), live
}

func shown(t *testing.T, f *report.Feed, st *report.Standing) *fed {
	t.Helper()
	src, err := f.JSON(st, report.Watching{Pages: 1})
	if err != nil {
		t.Fatalf("JSON() = %v", err)
	}
	return decode(t, src)
}

// When all is over, the page of the running run shows what report.html does.
func TestTheFeedOfAWholeRunIsTheReports(t *testing.T) {
	f := twoOutcomes()
	f.add(&sample.HubStats{At: 2 * s, CPU: time.Second, RSS: 1 << 20, Connections: 400}, &sample.Fault{What: "drop", At: "+1s", Begun: 4 * s, Ended: 5 * s, Struck: 3})
	want := decode(t, unpack(t, page(t, f.build(t))))
	feed, live := f.feed()
	for i, rec := range f.records {
		watched(&fixture{records: []sample.Record{rec}}, live)
		if i%500 == 0 {
			feed.Take() // as happens once a second
		}
	}
	got := shown(t, feed, &report.Standing{Stage: "reporting", Jobs: []report.JobStanding{
		{Repetition: 5, Outcomes: map[sample.Outcome]int64{sample.Succeeded: 1970, sample.TimedOut: 30}}, {Repetition: 1, Outcomes: map[sample.Outcome]int64{sample.Succeeded: 40}},
	}})
	for i := range want.Jobs {
		name := want.Summary.Jobs[i].Name
		if diff := cmp.Diff(want.Jobs[i].Seconds, got.Jobs[i].Seconds); diff != "" {
			t.Errorf("%s over time (-report +feed):\n%s", name, diff)
		}
		if len(got.Jobs[i].Curves) != len(want.Jobs[i].Curves) || len(want.Jobs[i].Curves) == 0 {
			t.Errorf("%s: %d curves, want %d", name, len(got.Jobs[i].Curves), len(want.Jobs[i].Curves))
			continue
		}
		for n := range want.Jobs[i].Curves {
			a, b := &want.Jobs[i].Curves[n], &got.Jobs[i].Curves[n]
			wantAt, wantN := a.last()
			gotAt, gotN := b.last()
			if a.Number != b.Number || a.Targeted != b.Targeted || wantN != gotN || (gotAt-wantAt) > wantAt/500+1000 || (wantAt-gotAt) > wantAt/500+1000 {
				t.Errorf("%s: curve %d of %d ends at %d after %v, want %d of %d, %d after %v", name, b.Number, b.Targeted, gotN, gotAt, a.Number, a.Targeted, wantN, wantAt)
			}
		}
		a, b := want.Summary.Jobs[i], got.Summary.Jobs[i]
		if a.Targeted != b.Targeted || a.Succeeded != b.Succeeded || a.TimedOut != b.TimedOut {
			t.Errorf("%s: ledger %+v, want %+v", name, b, a)
		}
		for _, p := range []string{"total", "service"} {
			if a.Phases[p].Count != b.Phases[p].Count || a.Phases[p].P50 != b.Phases[p].P50 || a.Phases[p].P99 != b.Phases[p].P99 || a.Phases[p].Max != b.Phases[p].Max {
				t.Errorf("%s.%s: %+v, want %+v", name, p, b.Phases[p], a.Phases[p])
			}
		}
	}
	if diff := cmp.Diff(string(want.Health), string(got.Health)); diff != "" {
		t.Errorf("health (-report +feed):\n%s", diff)
	}
	if diff := cmp.Diff(string(want.Hub), string(got.Hub)); diff != "" {
		t.Errorf("hub (-report +feed):\n%s", diff)
	}
	if diff := cmp.Diff(want.Summary.Faults, got.Summary.Faults); diff != "" {
		t.Errorf("faults (-report +feed):\n%s", diff)
	}
	for _, ramp := range []struct{ want, got *fedCurve }{{&want.Ramp.Due, &got.Ramp.Due}, {&want.Ramp.Ready, &got.Ramp.Ready}} {
		wantAt, n := ramp.want.last()
		gotAt, m := ramp.got.last()
		if n != m || gotAt < wantAt || gotAt > wantAt+report.Millis(200*time.Millisecond) {
			t.Errorf("the ramp ends with %d at %v, want %d at %v or up to a step later", m, gotAt, n, wantAt)
		}
	}
}

// An execution is counted when it ends, and not again when its book is closed.
func TestExecutionsAreCountedWhenTheyEnd(t *testing.T) {
	f := small()
	feed, live := f.feed()
	live.Write(&sample.Targets{Due: 1 * s})
	received := execution(0, sample.Open, 1*ms)
	received.Final, received.Answered, received.Finished, received.Booked = false, 0, 0, 0
	ended := execution(0, sample.Succeeded, 1*ms)
	ended.Final, ended.Dispatched, ended.Booked = false, 0, 0
	st := &report.Standing{Jobs: []report.JobStanding{{Repetition: 1, Targeted: 2}}}
	at := func(what string, count int64, p50 time.Duration, curve fedCurve, seconds bool) {
		t.Helper()
		r := live.Running()[0]
		if r.Count != count || r.P50 != p50 {
			t.Errorf("%s: Running() = %+v, want %d with a median of %v", what, r, count, p50)
		}
		got := shown(t, feed, st)
		if diff := cmp.Diff([]fedCurve{curve}, got.Jobs[0].Curves); diff != "" {
			t.Errorf("%s: completion (-want +got):\n%s", what, diff)
		}
		if w := got.Jobs[0].Seconds; (w != nil) != seconds || seconds && (w.At[0] != 1 || w.Succeeded[0] != count) {
			t.Errorf("%s: over time %+v, want %d in second 1", what, w, count)
		}
	}
	none := fedCurve{Number: 1, Targeted: 2, At: []report.Millis{}, N: []int64{}}
	one := fedCurve{Number: 1, Targeted: 2, At: []report.Millis{report.Millis(1 * ms)}, N: []int64{1}}
	live.Execution(received)
	at("received", 0, 0, none, false)
	live.Execution(ended)
	at("ended", 1, time.Millisecond, one, true)
	live.Execution(ended)
	at("told again", 1, time.Millisecond, one, true)
	live.Execution(execution(0, sample.Succeeded, 1*ms))
	at("final", 1, time.Millisecond, one, true)
	live.Execution(execution(1, sample.Succeeded, 2*ms))
	both := fedCurve{Number: 1, Targeted: 2, At: []report.Millis{report.Millis(1 * ms), report.Millis(2 * ms)}, N: []int64{1, 2}}
	at("the other", 2, time.Millisecond, both, true)
	live.Write(&sample.Repetition{Targeted: 2})
	at("closed", 2, time.Millisecond, both, true)

	if got, want := live.Running()[0].String(), "p50 1.00 ms, p99 2.00 ms"; got != want {
		t.Errorf("Running()[0].String() = %q, want %q", got, want)
	}
	if got := (&report.Running{}).String(); got != "" {
		t.Errorf("Running{}.String() = %q, want nothing", got)
	}
}

// What a page is sent has a bound, however long a run is.
func TestALongFeedGetsCoarser(t *testing.T) {
	f := small()
	feed, live := f.feed()
	const hours = 3 * 3600
	for second := range uint32(hours) {
		e := execution(second%2, sample.Succeeded, 20*ms)
		e.Repetition = second
		for _, m := range []*sample.Moment{&e.Due, &e.Dispatched, &e.Received, &e.Answered, &e.Finished, &e.Booked} {
			*m += sample.Moment(second) * s
		}
		live.Execution(e)
		live.Write(&sample.Repetition{Repetition: second, Targeted: 1})
		live.Connect(&sample.Connect{Device: second, Due: sample.Moment(second)*s + 1, Ready: sample.Moment(second)*s + 5*ms})
		live.Write(&sample.Health{At: sample.Moment(second+1) * s})
		feed.Take()
	}
	src, err := feed.JSON(&report.Standing{Jobs: []report.JobStanding{{Repetition: hours}}}, report.Watching{})
	if err != nil || len(src) > 120<<10 {
		t.Errorf("JSON() = %d bytes, %v; want 120 KiB at most", len(src), err)
	}
	got := decode(t, src)
	w, n := got.Jobs[0].Seconds, int64(0)
	for _, m := range w.Succeeded {
		n += m
	}
	if len(w.At) > 300 || w.Each != 64 || n != hours {
		t.Errorf("%d points of %d s with %d executions, want at most 300 of 64 s with %d", len(w.At), w.Each, n, hours)
	}
	if _, n := got.Ramp.Ready.last(); n != hours || len(got.Ramp.Ready.N) > 300 {
		t.Errorf("the ramp has %d devices in %d points, want %d in at most 300", n, len(got.Ramp.Ready.N), hours)
	}
	if c := got.Jobs[0].Curves; len(c) > 8 || c[len(c)-1].Number != hours || got.Jobs[0].Left != hours-len(c) {
		t.Errorf("%d curves up to number %d, %d left out; want the last eight", len(c), c[len(c)-1].Number, got.Jobs[0].Left)
	}
}

func TestTheLivePageKeepsNamesText(t *testing.T) {
	var out bytes.Buffer
	of := report.LivePage{Scenario: markup, Version: markup, Stop: markup}
	if err := of.Write(&out); err != nil {
		t.Fatal(err)
	}
	if page := out.String(); strings.Contains(page, markup) || strings.Contains(page, "{{") || strings.Contains(page, "<img") || !strings.Contains(page, "&lt;img") {
		t.Errorf("a name got into the page as markup, or a place is not filled:\n%s", page)
	}
	for _, name := range []string{"live.js", "style.css", "uplot/LICENSE"} {
		if body, ok := report.LiveFile(name); !ok || body == "" {
			t.Errorf("LiveFile(%q) = %d bytes, %v", name, len(body), ok)
		}
	}
	for _, name := range []string{"", "live.html", "../report.go", "page.html", "main.js"} {
		if _, ok := report.LiveFile(name); ok {
			t.Errorf("LiveFile(%q) is served", name)
		}
	}
}

// What drawing a run adds to each execution.
func BenchmarkLiveDrawn(b *testing.B) {
	f := small()
	feed, live := f.feed()
	var all [1024]*sample.Execution
	for i := range all {
		all[i] = execution(uint32(i), sample.Succeeded, sample.Moment(i+1)*ms/16)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := all[i%len(all)]
		e.Final = i/len(all)%2 == 1
		if i%len(all) == 0 {
			live.Write(&sample.Repetition{})
			feed.Take()
		}
		live.Execution(e)
	}
}

// What a second costs that somebody watches, after many.
func BenchmarkFeedJSON(b *testing.B) {
	f := broadcast(2000)
	feed, live := f.feed()
	watched(f, live)
	st := &report.Standing{Jobs: make([]report.JobStanding, 2)}
	for b.Loop() {
		if _, err := feed.JSON(st, report.Watching{}); err != nil {
			b.Fatal(err)
		}
	}
}

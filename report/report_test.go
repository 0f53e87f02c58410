package report_test

import (
	"encoding/csv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
	"muster/report"
)

func TestSmallRunPasses(t *testing.T) {
	got := small().build(t).Summary
	if got.Verdict != report.Pass || len(got.Reasons) > 0 || len(got.Warnings) > 0 || len(got.Jobs[0].Warnings) > 0 {
		t.Errorf("verdict %v, reasons %q, warnings %q %q; want pass without any", got.Verdict, got.Reasons, got.Warnings, got.Jobs[0].Warnings)
	}
}

// The phases of two executions whose moments are known.
func TestPhasesAreDifferencesOfMoments(t *testing.T) {
	got := small().build(t).Summary.Jobs[0]
	want := map[string][2]time.Duration{ // the shorter and the longer
		"lag":      {5 * time.Millisecond, 25 * time.Millisecond},
		"delivery": {10 * time.Millisecond, 50 * time.Millisecond},
		"downlink": {5 * time.Millisecond, 25 * time.Millisecond},
		"device":   {10 * time.Millisecond, 50 * time.Millisecond},
		"total":    {20 * time.Millisecond, 100 * time.Millisecond},
		"service":  {15 * time.Millisecond, 75 * time.Millisecond},
		"booking":  {21 * time.Millisecond, 101 * time.Millisecond},
		// No uplink: a method through the hub has finished by answering.
	}
	for _, phase := range report.Phases() {
		st, ends := got.Phases[phase], want[phase]
		if st == nil {
			if _, wanted := want[phase]; wanted {
				t.Errorf("%s is absent", phase)
			}
			continue
		}
		onHub := phase != "delivery" && phase != "device" && phase != "total"
		mean := (ends[0] + ends[1]) / 2
		if time.Duration(st.Min) != ends[0] || time.Duration(st.Max) != ends[1] || time.Duration(st.Mean) != mean || st.Count != 2 || (st.Clock == "hub") != onHub {
			t.Errorf("%s = %+v, want 2 from %v to %v, mean %v, on the hub's clock: %v", phase, *st, ends[0], ends[1], mean, onHub)
		}
	}
	if late := got.StartError; late == nil || time.Duration(late.Max) != 5*time.Millisecond {
		t.Errorf("startError = %v, want 5ms: the first dispatch", late)
	}
}

func TestAbsentMomentsAreAbsent(t *testing.T) {
	f := small()
	for n := range 2 {
		e := find[sample.Execution](f, n)
		e.Dispatched, e.Booked, e.HubClock = 0, 0, false
	}
	j := f.build(t).Summary.Jobs[0]
	for _, phase := range []string{"lag", "downlink", "service", "booking", "uplink"} {
		if j.Phases[phase] != nil {
			t.Errorf("%s = %+v, want none: one of its moments was not seen", phase, j.Phases[phase])
		}
	}
	if j.StartError == nil || time.Duration(j.StartError.Max) != 10*time.Millisecond {
		t.Errorf("startError = %v, want 10ms: the first receipt, as no dispatch was seen", j.StartError)
	}
}

func TestValuesNoHistogramHoldsAreCountedApart(t *testing.T) {
	f := small()
	find[sample.Execution](f, 0).Dispatched = 1*s + 15*ms // after it was received: the hub's clock is ahead
	find[sample.Execution](f, 1).Booked = 25 * 3600 * s
	j := f.build(t).Summary.Jobs[0]
	want := map[string]report.Excluded{"downlink": {Negative: 1}, "booking": {OutOfRange: 1}}
	if diff := cmp.Diff(want, j.Excluded); diff != "" {
		t.Errorf("excluded (-want +got):\n%s", diff)
	}
	if d := j.Phases["downlink"]; d.Count != 1 || time.Duration(d.Min) != 25*time.Millisecond {
		t.Errorf("downlink = %+v, want the other execution's 25ms alone", *d)
	}
	if len(j.Warnings) != 2 {
		t.Errorf("warnings = %q, want one for each", j.Warnings)
	}
}

func TestTheLastRecordOfAnExecutionCounts(t *testing.T) {
	f := small()
	first := *find[sample.Execution](f, 0)
	first.Final, first.Outcome, first.Finished = false, sample.Open, 0
	last := first
	last.Final, last.Outcome, last.Code, last.Duplicates = true, sample.TimedOut, "GatewayTimeout", 2
	f.add(&first, &last)
	find[sample.Repetition](f, 0).Rows = sample.Statistics{Devices: 2, Succeeded: 1, Failed: 1}
	find[sample.Repetition](f, 0).Stats = find[sample.Repetition](f, 0).Rows
	j := f.build(t).Summary.Jobs[0]
	if j.Targeted != 2 || j.Succeeded != 1 || j.TimedOut != 1 || j.Duplicates != 2 || j.Causes["GatewayTimeout"] != 1 {
		t.Errorf("ledger = %+v, want 2 targeted, 1 succeeded, 1 timed out by GatewayTimeout, 2 duplicates", j)
	}
	if got := j.Phases["total"].Count; got != 1 {
		t.Errorf("total has %d samples, want 1: the last record has no end", got)
	}
}

func TestARunThatDiedIsIncomplete(t *testing.T) {
	f := small()
	f.end = nil
	drop[sample.Repetition](f)
	open := find[sample.Execution](f, 0)
	open.Final, open.Outcome, open.Finished = false, sample.Open, 0
	f.records = append(f.records[:6], f.records[7:]...) // nothing was recorded of the second device
	got := f.build(t).Summary
	j := got.Jobs[0]
	if got.Verdict != report.Incomplete || len(got.Reasons) != 1 || !strings.Contains(got.Reasons[0], "died") {
		t.Errorf("verdict %v %q, want incomplete: it died", got.Verdict, got.Reasons)
	}
	if j.Targeted != 2 || j.Unknown != 2 || j.LedgerBalanced || j.Missing != nil {
		t.Errorf("ledger = %+v, want 2 targeted and unknown, not balanced, missing not checked", j)
	}
	if d := j.Phases["device"]; d == nil || d.Count != 1 {
		t.Errorf("device = %v, want what was measured before the end", d)
	}
}

func TestTornSamplesAreReadToTheirEnd(t *testing.T) {
	f := small()
	dir := f.write(t)
	path := sample.Path(dir)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)-3], 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := report.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.Summary.Verdict != report.Incomplete || len(r.Summary.Warnings) != 1 || r.Summary.Jobs[0].Succeeded != 2 {
		t.Errorf("verdict %v, warnings %q, succeeded %d; want incomplete, one warning, 2", r.Summary.Verdict, r.Summary.Warnings, r.Summary.Jobs[0].Succeeded)
	}
}

func TestARunWithoutSamplesIsIncomplete(t *testing.T) {
	dir := t.TempDir()
	if err := report.WriteRun(dir, &small().run); err != nil {
		t.Fatal(err)
	}
	r, err := report.Build(dir)
	if err != nil || r.Summary.Verdict != report.Incomplete {
		t.Fatalf("Build() = %v, %v, want incomplete", r, err)
	}
	if err := r.Write(); err != nil {
		t.Error(err)
	}
}

func TestBuildRefusesWhatItCannotRead(t *testing.T) {
	refuse := func(what, want string, spoil func(dir string) error) {
		t.Helper()
		dir := small().write(t)
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := report.Build(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Build() = %v, want an error with %q", what, err, want)
		}
	}
	write := func(name, text string) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666) }
	}
	refuse("no run.json", "read run", func(dir string) error { return os.Remove(filepath.Join(dir, "run.json")) })
	refuse("run.json is no JSON", "run.json", write("run.json", "{"))
	refuse("a later schema", "schema version 9", write("run.json", `{"schemaVersion": 9}`))
	refuse("samples of something else", "not a samples file", write("samples/records", "something else entirely"))
}

func TestOrderOfRecordsDoesNotMatter(t *testing.T) {
	want := broadcast(60)
	got := broadcast(60)
	// Records of one device keep their order: each device's go to one end or
	// the other, as from the writer's stripes.
	rng := rand.New(rand.NewPCG(1, 2))
	var front, back []sample.Record
	late := map[uint32]bool{}
	for i := range uint32(60) {
		late[i] = rng.IntN(2) == 0
	}
	for _, rec := range got.records {
		e, ok := rec.(*sample.Execution)
		if ok && late[e.Device] {
			back = append(back, rec)
			continue
		}
		front = append(front, rec)
	}
	got.records = append(back, front...)
	a, b := want.build(t).Summary, got.build(t).Summary
	// The sum of floating-point numbers alone depends on their order.
	near := cmp.Comparer(func(a, b report.Millis) bool { return time.Duration(a-b).Abs() <= time.Microsecond })
	if diff := cmp.Diff(a, b, near); diff != "" {
		t.Errorf("summary of the same records in another order (-want +got):\n%s", diff)
	}
}

func TestBuildingTwiceGivesTheSameBytes(t *testing.T) {
	dir := broadcast(200).write(t)
	build := func() map[string]string {
		r, err := report.Build(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Write(); err != nil {
			t.Fatal(err)
		}
		files := map[string]string{}
		for _, name := range []string{"summary.json", "devices.csv", "summary.md"} {
			src, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			files[name] = string(src)
		}
		return files
	}
	if diff := cmp.Diff(build(), build()); diff != "" {
		t.Errorf("the second build differs:\n%s", diff)
	}
}

func TestPercentilesAgreeWithTheExactOnes(t *testing.T) {
	f := broadcast(500)
	j := f.build(t).Summary.Jobs[0]
	var exact []time.Duration
	for _, rec := range f.records {
		if e, ok := rec.(*sample.Execution); ok && e.Final && e.Job == 0 {
			d, _ := e.Answered.Since(e.Received)
			exact = append(exact, d)
		}
	}
	check := func(name string, got report.Millis, want time.Duration) {
		t.Helper()
		if diff := (time.Duration(got) - want).Abs(); diff > want/1000+time.Microsecond {
			t.Errorf("device.%s = %v, want %v within a thousandth", name, time.Duration(got), want)
		}
	}
	at := sorted(exact)
	st := j.Phases["device"]
	check("min", st.Min, at(0))
	check("p50", st.P50, at(50))
	check("p90", st.P90, at(90))
	check("p99", st.P99, at(99))
	check("p999", st.P999, at(99.9))
	check("max", st.Max, at(100))
}

func TestConnectCountsFromWhenTheFirstAttemptWasDue(t *testing.T) {
	f := small()
	first := find[sample.Connect](f, 0)
	first.Ready, first.Error = 0, "refused: server unavailable"
	f.add(
		&sample.Connect{Device: 0, Attempt: 2, Due: 500 * ms, Dialed: 500 * ms, Accepted: 600 * ms, Ready: 700 * ms},
		&sample.Connect{Device: 1, Attempt: 1, Reconnect: true, Due: 800 * ms, Dialed: 800 * ms, Ready: 900 * ms},
	)
	got := f.build(t).Summary.Fleet
	if got.Connected != 2 || got.Failed != 0 || got.Reconnects != 1 || got.Errors["refused: server unavailable"] != 1 {
		t.Errorf("fleet = %+v, want 2 connected, 1 reconnect, 1 refusal", got)
	}
	if got.Connect.Count != 2 || time.Duration(got.Connect.Max) != 699*time.Millisecond {
		t.Errorf("connect = %+v, want 2 and at most 699ms: from the ramp's place, not from the end of the backoff", *got.Connect)
	}
}

func TestAFaultStruckNothingOnlyIfItsEndWasSeen(t *testing.T) {
	f := small()
	f.add(
		&sample.Fault{Index: 0, What: "restart", At: "+1s", Begun: s},
		&sample.Fault{Index: 1, What: "drop on connect", At: "+2s", Begun: 2 * s, Ended: 3 * s},
	)
	got := f.build(t).Summary
	var about []string
	for _, w := range got.Warnings {
		if strings.Contains(w, "fault") {
			about = append(about, w)
		}
	}
	if want := []string{"the fault drop on connect at +2s struck nothing"}; !cmp.Equal(about, want) {
		t.Errorf("warnings of faults: %q, want %q", about, want)
	}
	for i, want := range []string{"+1s restart: begun, its end was not seen, struck 0 or more", "+2s drop on connect: for 1.00 s, struck 0"} {
		if text := got.Faults[i].String(); text != want {
			t.Errorf("fault %d is shown as %q, want %q", i, text, want)
		}
	}
}

func TestDevicesFile(t *testing.T) {
	f := broadcast(200)
	dir := f.write(t)
	r, err := report.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Write(); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(dir, "devices.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1+200+4 {
		t.Errorf("%d lines, want a head, 200 of lock and 4 of place", len(rows))
	}
	want := []string{"id", "group", "job", "succeeded", "failed", "timedOut", "offline", "cancelled", "notDispatched", "unknown", "duplicates", "samples", "p50Ms", "p99Ms", "maxMs"}
	if diff := cmp.Diff(want, rows[0]); diff != "" {
		t.Errorf("head (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"door-00007", "doors", "lock", "5", "0", "0", "0", "0", "0", "0", "0", "5"}, rows[8][:12]); diff != "" {
		t.Errorf("line of door-00007 (-want +got):\n%s", diff)
	}
	p50, p99, most := number(t, rows[8][12]), number(t, rows[8][13]), number(t, rows[8][14])
	if p50 <= 0 || p50 > p99 || p99 > most {
		t.Errorf("p50 %v, p99 %v, max %v, want them in order", p50, p99, most)
	}
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func BenchmarkBuild(b *testing.B) {
	dir := broadcast(10000).write(b)
	b.ReportAllocs()
	for b.Loop() {
		r, err := report.Build(dir)
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Write(); err != nil {
			b.Fatal(err)
		}
	}
}

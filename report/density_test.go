package report_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
	"muster/report"
)

// dense is a run of very many devices, of which it makes the records one by
// one: a method and a twin update on all, once each. Every so-manieth device is
// offline.
type dense struct {
	devices, unlucky int
	run              report.Run
}

func newDense(devices, unlucky int) *dense {
	return &dense{devices, unlucky, report.Run{
		Scenario: "dense", Target: report.Target{Kind: "embedded", Transport: "memory"}, StartedAt: time.Unix(1e9, 0),
		Groups: []report.Group{{Name: "doors", Devices: devices}},
		Jobs: []report.RunJob{
			{Name: "lock", Type: "scheduleDeviceMethod", Via: "hub", QueryCondition: "*", Repetitions: 1},
			{Name: "place", Type: "scheduleUpdateTwin", Via: "hub", QueryCondition: "*", Repetitions: 1},
		},
	}}
}

// each makes the records, each valid until the next.
func (d *dense) each(do func(sample.Record)) {
	rng := rand.New(rand.NewPCG(1, 2))
	near := func(of sample.Moment) sample.Moment { return of/2 + sample.Moment(rng.Int64N(int64(of))) }
	for i := range uint32(d.devices) {
		due := 1 + sample.Moment(i)*20_000
		do(&sample.Device{Index: i, ID: fmt.Sprintf("door-%07d", i), Group: "doors"})
		do(&sample.Connect{Device: i, Attempt: 1, Due: due, Dialed: due, Ready: due + near(2*ms)})
	}
	for job := range uint32(2) {
		due := sample.Moment(30+30*job) * s
		targets := &sample.Targets{Job: job, ID: "a job", Due: due, Checkable: true}
		stats := sample.Statistics{Devices: int64(d.devices)}
		for i := range uint32(d.devices) {
			targets.Devices = append(targets.Devices, i)
		}
		do(targets)
		var e sample.Execution
		for i := range uint32(d.devices) {
			e = sample.Execution{Job: job, Device: i, Due: due, Dispatched: due + sample.Moment(i)*10_000, Outcome: sample.Offline, Final: true, HubClock: true}
			e.Booked = e.Dispatched + 1
			if int(i)%d.unlucky != d.unlucky-1 {
				e.Received = e.Dispatched + near(ms)
				e.Answered = e.Received + near(2*ms)
				e.Outcome, e.Finished, e.Booked = sample.Succeeded, e.Answered, e.Answered+near(ms)
				stats.Succeeded++
			}
			do(&e)
		}
		stats.Failed = stats.Devices - stats.Succeeded
		do(&sample.Repetition{
			Job: job, ID: "a job", Status: "completed", Due: due, Started: due, Ended: e.Booked, Targeted: stats.Devices, Checked: true, HubBooks: true, Rows: stats, Stats: stats,
		})
	}
}

func (d *dense) book() report.Book {
	b := report.NewBook(&d.run)
	d.each(b.Add)
	return b
}

// heap returns the bytes that are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first has finalized
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What a report holds for each device, by heap accounting, which is the same
// on any machine: between two fleets, so that what is of no device does not
// count.
func TestAReportsBudgetOfADevice(t *testing.T) {
	measure := func(devices int) (read, folded int64) {
		t.Helper()
		before := heap()
		b := newDense(devices, 100).book()
		read = heap() - before
		r := b.Fold()
		folded = heap() - before
		runtime.KeepAlive(r)
		runtime.KeepAlive(b)
		return read, folded
	}
	fewRead, fewFolded := measure(10_000)
	manyRead, manyFolded := measure(40_000)
	check := func(what string, few, many, most int64) {
		t.Helper()
		got := (many - few) / 30_000
		t.Logf("%s: %d bytes a device", what, got)
		if got > most {
			t.Errorf("%s: %d bytes a device, want %d at most", what, got, most)
		}
	}
	check("two executions of each that were read", fewRead, manyRead, 290)
	check("a report of them", fewFolded, manyFolded, 300)
}

// Reading the samples into the book does not allocate for what came before.
func TestTakingInARecordAgainDoesNotAllocate(t *testing.T) {
	d := newDense(5000, 100)
	b := d.book()
	var again []sample.Execution
	d.each(func(rec sample.Record) {
		if e, ok := rec.(*sample.Execution); ok {
			again = append(again, *e)
		}
	})
	n := 0
	if got := testing.AllocsPerRun(5000, func() { b.Add(&again[n%len(again)]); n++ }); got != 0 {
		t.Errorf("taking in an execution allocates %v times, want 0", got)
	}
}

// Counting what goes on does not allocate once the buckets are there.
func TestLiveDoesNotAllocate(t *testing.T) {
	d := newDense(2000, 100)
	live := report.NewLive(d.run.Jobs)
	guard, err := report.NewGuard(&d.run, []report.Rule{{Expression: "jobs.place.total.p99 < 1h"}})
	if err != nil {
		t.Fatal(err)
	}
	var executions []sample.Execution
	var connects []sample.Connect
	d.each(func(rec sample.Record) {
		switch r := rec.(type) {
		case *sample.Execution:
			executions = append(executions, *r)
		case *sample.Connect:
			connects = append(connects, *r)
		case *sample.Targets:
			live.Write(r)
		}
	})
	n := 0
	count := func() {
		e := &executions[n%len(executions)]
		live.Execution(e)
		guard.Execution(e)
		live.Connect(&connects[n%len(connects)])
		n++
	}
	for range 2 * len(executions) {
		count()
	}
	if got := testing.AllocsPerRun(len(executions), count); got != 0 {
		t.Errorf("counting an execution and a connect allocates %v times, want 0", got)
	}
}

// The page of a million devices has cells of many, in which one that failed is
// seen and named.
func TestThePageOfAMillionDevicesIsSmall(t *testing.T) {
	devices, unlucky := 1_000_000, 50_003
	if raceEnabled { // one goroutine does it all, ten times slower
		devices = 120_000
	}
	r := newDense(devices, unlucky).book().Fold()
	var html bytes.Buffer
	if err := r.Page(&html); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", html.Len())
	if html.Len() > 5_000_000 {
		t.Errorf("report.html of 1,000,000 devices has %d bytes, want less than 5,000,000", html.Len())
	}
	p := r.Cells()
	if len(p.IDs) > 20_000 || p.Each*len(p.IDs) < devices || p.Devices != devices {
		t.Fatalf("%d cells of %d devices, %d in all", len(p.IDs), p.Each, p.Devices)
	}
	for job, j := range r.Summary.Jobs {
		c := p.Jobs[job]
		sum := uint32(0)
		for i := unlucky - 1; i < devices; i += unlucky {
			cell := i / p.Each
			sum += c.Outcomes["offline"][cell]
			if name := fmt.Sprintf("door-%07d", i); c.Outcomes["offline"][cell] != 1 || !slices.Equal(c.Named[cell], []string{name}) {
				t.Errorf("%s: cell %d has %d offline and names %q, want %s", j.Name, cell, c.Outcomes["offline"][cell], c.Named[cell], name)
			}
			if p.IDs[cell] > fmt.Sprintf("door-%07d", i) || p.Last[cell] < fmt.Sprintf("door-%07d", i) {
				t.Errorf("cell %d is from %s to %s, want door-%07d in it", cell, p.IDs[cell], p.Last[cell], i)
			}
		}
		if int64(sum) != j.Offline {
			t.Errorf("%s: the cells have %d offline, the summary %d", j.Name, sum, j.Offline)
		}
		if got, want := slices.Max(c.Max), ceilMicros(j.Phases["total"].Max); got != want || c.Slowest[slices.Index(c.Max, got)] != j.Slowest[0].ID {
			t.Errorf("%s: the longest is %d µs of %s, want %d of %s", j.Name, got, c.Slowest[slices.Index(c.Max, got)], want, j.Slowest[0].ID)
		}
	}
}

// However many there are, and whether a job targets all of them or a few.
func TestCellsOfAnyFleet(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine does it all, ten times slower")
	}
	check := func(devices, step, wantEach int) {
		t.Helper()
		d := newDense(devices, 10)
		b := report.NewBook(&d.run)
		d.each(func(rec sample.Record) {
			if e, ok := rec.(*sample.Execution); !ok || int(e.Device)%step == 0 {
				b.Add(rec)
			}
		})
		p := b.Fold().Cells()
		cells, places := (devices+wantEach-1)/wantEach, (devices+max(step, wantEach)-1)/max(step, wantEach)
		if p.Each != wantEach || len(p.IDs) != cells || len(p.Connect) != cells || len(p.Returns) != cells || len(p.Group) != cells {
			t.Errorf("%d devices: %d cells of %d, want %d of %d", devices, len(p.IDs), p.Each, cells, wantEach)
		}
		for _, j := range p.Jobs {
			if len(j.Max) != places || len(j.Median) != places || len(j.Outcomes["succeeded"]) != places || (j.Cells == nil) != (places == cells) {
				t.Errorf("%d devices, every %d. targeted: a job has %d places, %d in cells, want %d", devices, step, len(j.Max), len(j.Cells), places)
			}
		}
	}
	check(100_000, 1, 1)
	check(100_001, 1, 6)
	check(100_001, 20, 1)
	check(250_000, 1, 13)
	check(250_000, 40, 1)
}

func TestADeviceIsFoundWhereItWasPut(t *testing.T) {
	const fleet = 1000
	for _, n := range []int{3, 249, 250, 251, fleet} {
		put, find := report.Places(fleet)
		for i := range n {
			put(uint32(fleet-1-i), i)
		}
		put(fleet+5, 77777)
		for i := range fleet {
			at, ok := find(uint32(fleet - 1 - i))
			if ok != (i < n) || ok && at != i {
				t.Errorf("%d of %d put: find(%d) = %d, %v, want %d, %v", n, fleet, fleet-1-i, at, ok, i, i < n)
			}
		}
		if at, ok := find(fleet + 5); at != 77777 || !ok {
			t.Errorf("%d of %d put: one that is not of the fleet is at %d, %v", n, fleet, at, ok)
		}
		if _, ok := find(fleet + 6); ok {
			t.Errorf("%d of %d put: one that was not put was found", n, fleet)
		}
	}
}

// Nobody shall take the latencies of a process for a network's.
func TestEveryReportNamesTheMemoryTransport(t *testing.T) {
	const note = "the latencies are of this process, not of a network"
	written := func(transport string) (dir string, r *report.Report) {
		t.Helper()
		f := broadcast(20)
		f.run.Target.Transport = transport
		dir = f.write(t)
		r, err := report.Build(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Write(); err != nil {
			t.Fatal(err)
		}
		return dir, r
	}
	memory, r := written("memory")
	tcp, other := written("tcp")
	check := func(file string, want ...string) {
		t.Helper()
		got := strings.Join(strings.Fields(string(readFile(t, memory, file))), " ")
		for _, text := range want {
			if !strings.Contains(got, text) {
				t.Errorf("%s of a run in memory does not say %q", file, text)
			}
		}
		if strings.Contains(string(readFile(t, tcp, file)), "memory transport") {
			t.Errorf("%s of a run over TCP names the memory transport", file)
		}
	}
	check("summary.json", `"transport": "memory"`, note)
	check("report.html", "embedded over memory", "Memory transport: ", note)
	check("summary.md", "embedded over memory", "> **Memory transport: ", note)
	check("junit.xml", `<property name="transport" value="memory">`, note)
	check("bench.txt", "target: embedded", "transport: memory")
	check("histograms.hlog", note)
	check(filepath.Join("percentiles", "lock.total.hgrm"), note)
	for _, run := range []struct {
		r    *report.Report
		want bool
	}{{r, true}, {other, false}} {
		text := strings.Join(strings.Fields(string(console(t, run.r, report.ConsoleOptions{Width: 70}))), " ")
		if strings.Contains(text, note) != run.want {
			t.Errorf("the console says of a run over %s:\n%s", run.r.Summary.Target.Transport, text)
		}
		path := filepath.Join(t.TempDir(), "compare.html")
		if err := report.WriteComparison(path, []*report.Report{run.r, run.r}); err != nil {
			t.Fatal(err)
		}
		page, err := os.ReadFile(path)
		if err != nil || bytes.Contains(page, []byte(note)) != run.want {
			t.Errorf("the comparison of runs over %s says %q: %v, %v", run.r.Summary.Target.Transport, note, !run.want, err)
		}
		var live bytes.Buffer
		if err := (&report.LivePage{Transport: run.r.Summary.Target.Transport}).Write(&live); err != nil || strings.Contains(live.String(), note) != run.want {
			t.Errorf("the page of a run over %s that goes on says %q: %v, %v", run.r.Summary.Target.Transport, note, !run.want, err)
		}
	}
}

// testdata/version1 was written by the muster whose samples had the first
// version of their format: runs of then are baselines of now.
func TestARunOfTheFirstFormatGivesTheSameReport(t *testing.T) {
	of := func(dir string) (files []string) {
		t.Helper()
		r, err := report.Build(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Write(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"summary.json", "devices.csv", "histograms.hlog"} {
			files = append(files, string(readFile(t, dir, name)))
		}
		return files
	}
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS("testdata/version1")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(of(small().write(t)), of(old)); diff != "" {
		t.Errorf("the report of now (-) and of samples of then (+):\n%s", diff)
	}
}

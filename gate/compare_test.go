package gate_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"muster/gate"
	"muster/report"
)

func TestReadFolderSaysWhatIsWrong(t *testing.T) {
	fails := func(prepare func(dir string), want string) {
		t.Helper()
		dir := filepath.Join(run(100).write(t, filepath.Join(t.TempDir(), "run")))
		prepare(dir)
		_, err := gate.ReadFolder(dir)
		if err == nil || !strings.HasSuffix(err.Error(), want) || !strings.HasPrefix(err.Error(), "read results folder "+dir+": ") {
			t.Errorf("ReadFolder: got error %v, want %s", err, want)
		}
	}
	remove := func(names ...string) func(string) {
		return func(dir string) {
			for _, name := range names {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	holds := func(name, text string) func(string) { return func(dir string) { file(t, dir, name, text) } }
	fails(func(dir string) { _ = os.RemoveAll(dir) }, "no such file or directory")
	fails(func(dir string) { _ = os.RemoveAll(dir); file(t, filepath.Dir(dir), "run", "") }, "it is a file, not a folder")
	fails(remove("run.json", "summary.json", "scenario.yaml"), "it holds no run: there is no run.json")
	fails(func(dir string) { remove("summary.json")(dir) }, "tells what it measured)")
	fails(remove("scenario.yaml"), "scenario.yaml: no such file or directory")
	fails(holds("run.json", ""), "run.json is truncated: it ends after 0 bytes in the middle of a value")
	fails(holds("summary.json", `{"schemaVersion": 1, "jobs": [`), "summary.json is truncated: it ends after 30 bytes in the middle of a value")
	fails(holds("summary.json", `{"jobs": 1}`), "cannot unmarshal number into Go struct field Summary.jobs of type []report.Job")
	fails(holds("summary.json", `nonsense`), "invalid character 'o' in literal null (expecting 'u')")
}

func TestCompareDecides(t *testing.T) {
	check := func(base, newer []float64, opts gate.Options, want report.Verdict, reasons ...string) {
		t.Helper()
		got, err := gate.Compare(side(t, base...), side(t, newer...), opts)
		if err != nil {
			t.Fatalf("Compare(%v, %v): %v", base, newer, err)
		}
		text := strings.Join(got.Reasons, "\n")
		ok := got.Verdict == want && (len(reasons) > 0 || text == "")
		for _, r := range reasons {
			ok = ok && strings.Contains(text, r)
		}
		if !ok {
			t.Errorf("Compare(%v, %v, %+v) = %s, %q; want %s, %q", base, newer, opts, got.Verdict, got.Reasons, want, reasons)
		}
	}
	part := func(p float64) gate.Options { return gate.Options{Tolerance: &p} }
	five := []float64{100, 101, 99, 100.5, 99.5}
	more := func(by float64) []float64 {
		var all []float64
		for _, v := range five {
			all = append(all, v*by)
		}
		return all
	}
	check(five, five, gate.Options{}, report.Pass)
	check(five, more(0.5), gate.Options{}, report.Pass)
	check(five, more(1.1), gate.Options{}, report.Regression, "jobs.lock.total.p99 is 10.0 % slower, between +8.4 % and +11.6 %: all of that is beyond the tolerance of 5 %")
	check(five, more(1.1), part(0.2), report.Pass)
	check(five, more(1.05), gate.Options{}, report.Inconclusive, "the tolerance of 5 % lies in between", "a thousand runs would not decide it")
	check(five, more(1.04), gate.Options{}, report.Inconclusive, "about 4 more runs a side would decide it")
	check(five, more(1.036), gate.Options{}, report.Inconclusive, "about 1 more runs a side")
	check(five, more(1.036), gate.Options{Once: true}, report.Pass)

	// Pairs see through a machine that grows slower.
	drifting := []float64{100, 110, 120, 130, 140}
	check(drifting, []float64{100.5, 110, 120.5, 129.5, 140.2}, gate.Options{}, report.Inconclusive, "the tolerance of 5 % lies in between")
	check(drifting, []float64{100.5, 110, 120.5, 129.5, 140.2}, gate.Options{Pairs: true}, report.Pass)

	// Too few decide nothing, whatever they show.
	check(five[:4], more(3)[:4], gate.Options{}, report.Inconclusive,
		"it takes at least 5 runs a side to decide anything, and here are 4", "so far jobs.lock.total.p99 is 200.0 % slower, between +19")
	check(five, more(3)[:1], gate.Options{}, report.Inconclusive, "and here is 1", "one run says nothing of its spread")
}

func TestComparisonSaysWhatItCouldHaveSeen(t *testing.T) {
	got, err := gate.Compare(side(t, 100, 102, 98, 101, 99), side(t, 100, 102, 98, 101, 99), gate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// Each side's CV is 1.58 %, the standard error 1 %, and t of 8 degrees 2.87 at the first look and 1.40 for nine of ten.
	if want := math.Expm1(math.Log(1.05) + (2.865+1.397)*0.01); math.Abs(*got.Detectable-want) > 0.0005 {
		t.Errorf("detectable = %v, want %v", *got.Detectable, want)
	}
	if s := got.Base.Spread; math.Abs(s-0.0158) > 0.0001 {
		t.Errorf("spread = %v, want 0.0158", s)
	}
	if got.Look.Runs != 5 || got.Method != "welch" || got.MoreRuns != nil {
		t.Errorf("look %+v, method %s, more runs %v; want the look at 5, welch, none", got.Look, got.Method, got.MoreRuns)
	}
	few, err := gate.Compare(side(t, 100), side(t, 100), gate.Options{})
	if err != nil || few.Detectable != nil || few.Ratio.Low != nil || *few.MoreRuns != 4 {
		t.Errorf("of one run a side: detectable %v, ratio %+v, %v; want neither it nor an interval, and 4 more runs", few.Detectable, few.Ratio, err)
	}
}

// Whoever looks after every run errs more often than the looks' shares say.
func TestRunsBetweenLooksAreAWarning(t *testing.T) {
	check := func(runs int, opts gate.Options, want bool) {
		t.Helper()
		ms := make([]float64, runs)
		for i := range ms {
			ms[i] = 100 + float64(i%3)
		}
		got, err := gate.Compare(side(t, ms...), side(t, ms...), opts)
		if err != nil {
			t.Fatal(err)
		}
		if warned := strings.Contains(strings.Join(got.Warnings, "\n"), "none of the looks, which are at 5, 8 and 12"); warned != want {
			t.Errorf("%d runs a side, %+v: warned %v, want %v: %q", runs, opts, warned, want, got.Warnings)
		}
	}
	for runs, want := range map[int]bool{4: false, 5: false, 6: true, 7: true, 8: false, 11: true, 12: false, 13: true} {
		check(runs, gate.Options{}, want)
		check(runs, gate.Options{Once: true}, false)
	}
}

func TestMetricThatDecides(t *testing.T) {
	check := func(prepare func(*made), ask, want, why string) {
		t.Helper()
		m := run(100)
		prepare(m)
		var opts gate.Options
		if ask != "" {
			metric, err := gate.ParseMetric(ask)
			if err != nil {
				t.Fatal(err)
			}
			opts.Metric = &metric
		}
		newer := run(100)
		prepare(newer)
		got, err := gate.Compare([]*gate.Folder{m.folder(t)}, []*gate.Folder{newer.folder(t)}, opts)
		if err != nil || got.Metric != want || got.MetricWhy != why {
			t.Errorf("metric for %q: %+v, %v; want %s, %s", ask, got, err, want, why)
		}
	}
	threshold := func(path ...string) func(*made) {
		return func(m *made) { m.summary.Thresholds = append(m.summary.Thresholds, report.Threshold{Path: path}) }
	}
	none := func(*made) {}
	check(none, "", "jobs.lock.total.p99", "no threshold reads a latency of a job")
	check(threshold("jobs", "lock", "service", "p50"), "", "jobs.lock.service.p50", "the first latency of a job that a threshold reads")
	check(threshold("jobs", "lock", "succeeded"), "", "jobs.lock.total.p99", "no threshold reads a latency of a job")
	check(threshold("jobs", "lock", "service", "count"), "", "jobs.lock.total.p99", "no threshold reads a latency of a job")
	check(none, "jobs['lock'].service.mean", "jobs.lock.service.mean", "as asked for")
	ofDoors := func(m *made) {
		m.groups(50)
		m.summary.Thresholds = []report.Threshold{{Path: []string{"jobs", "lock", "total", "p99"}, Group: "doors"}}
	}
	check(ofDoors, "", "jobs.lock{group=doors}.total.p99", "the first latency of a job that a threshold reads")

	fails := func(ask, want string) {
		t.Helper()
		metric, err := gate.ParseMetric(ask)
		if err == nil {
			_, err = gate.Compare(side(t, 100), side(t, 100), gate.Options{Metric: &metric})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("metric %q: got error %v, want %s", ask, err, want)
		}
	}
	fails("jobs.lock <", "column 11: expected the end of the path, found '<'")
	fails("", "expected a name, found the end")
	fails("jobs.open.total.p99", `no job is called "open"`)
	fails("jobs.lock.total.p75", "no report has a value at")
	fails("jobs.lock.succeeded", "it is a count, and a gate compares latencies")
	fails("jobs.lock{group=doors}.total.p99", "it has no value at jobs.lock{group=doors}.total.p99")
	fails("fleet{group=doors}.connect.p99", "no summary has a value at fleet{group=doors}.connect.p99: of groups it has jobs alone")
	fails("jobs.lock.delivery.p99", "it has no value at jobs.lock.delivery.p99")
}

// A metric of one group compares that group, whatever the rest of the job does.
func TestMetricOfAGroup(t *testing.T) {
	group := func(all float64, doors ...float64) (runs []*gate.Folder) {
		for _, ms := range doors {
			m := run(all)
			m.groups(ms)
			runs = append(runs, m.folder(t))
		}
		return runs
	}
	metric, err := gate.ParseMetric("jobs.lock{group=doors}.total.p99")
	if err != nil {
		t.Fatal(err)
	}
	base, slower := group(100, 10, 10.1, 9.9, 10, 10), group(100, 20, 20.1, 19.9, 20, 20)
	got, err := gate.Compare(base, slower, gate.Options{Metric: &metric})
	if err != nil {
		t.Fatal(err)
	}
	if got.Verdict != report.Regression || math.Abs(got.Ratio.Value-2) > 0.01 {
		t.Errorf("doors that are twice as slow: %s, new/base %.3f; want a regression, 2", got.Verdict, got.Ratio.Value)
	}
	if !slices.ContainsFunc(got.Rows, func(r gate.Row) bool { return r.Metric == "jobs.lock.total.p99" && r.Ratio.Value == 1 }) {
		t.Errorf("rows %+v: want the whole job's total.p99 among them, unchanged", got.Rows)
	}
}

// Runs in memory are compared with each other, and it is said what was compared.
func TestRunsInMemoryAreNamed(t *testing.T) {
	sides := func(transport string) []*gate.Folder {
		var runs []*gate.Folder
		for _, ms := range []float64{10, 10.1, 9.9, 10, 10} {
			m := run(ms)
			m.header.Target.Transport, m.scenario = transport, strings.Replace(m.scenario, "tcp", transport, 1)
			runs = append(runs, m.folder(t))
		}
		return runs
	}
	for transport, want := range map[string]bool{"memory": true, "tcp": false} {
		got, err := gate.Compare(sides(transport), sides(transport), gate.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var text, markdown strings.Builder
		if err := errors.Join(got.Text(&text), got.Markdown(&markdown)); err != nil {
			t.Fatal(err)
		}
		for what, said := range map[string]string{"warnings": strings.Join(got.Warnings, "\n"), "text": text.String(), "markdown": markdown.String()} {
			if said = strings.Join(strings.Fields(said), " "); strings.Contains(said, "not of a network") != want {
				t.Errorf("%s of runs over %s name the memory transport: %v, want %v: %q", what, transport, !want, want, said)
			}
		}
	}
}

func TestUnlikeRunsAreRefused(t *testing.T) {
	fails := func(prepare func(*made), want ...string) {
		t.Helper()
		m := run(100)
		prepare(m)
		base, newer := side(t, 100), []*gate.Folder{m.folder(t)}
		_, err := gate.Compare(base, newer, gate.Options{})
		for _, text := range want {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("got error %v, want one with %s", err, text)
			}
		}
		forced, err := gate.Compare(base, newer, gate.Options{Force: true})
		if err != nil || len(forced.Forced) == 0 || !strings.Contains(strings.Join(forced.Warnings, "\n"), "compared by force: ") {
			t.Errorf("by force: %+v, %v; want the difference named", forced, err)
		}
	}
	fails(func(m *made) { m.header.Host.CPUs = 4 }, "host.cpus: 2, but 4 in ", "--force")
	fails(func(m *made) { m.header.Host.MemoryBytes = 4 << 30 }, "host.memoryBytes: 8589934592, but 4294967296 in ")
	fails(func(m *made) { m.header.Host.Kernel = "6.2" }, "host.kernel: 6.1, but 6.2 in ")
	fails(func(m *made) { m.header.Host.CPUModel = "another" }, "host.cpu: some processor, but another in ")
	fails(func(m *made) { m.header.Driver = "lean" }, "driver: paho, but lean in ")
	fails(func(m *made) { m.header.Target.Transport = "memory" }, "scenario target.embedded.transport: tcp, but memory in ")
	fails(func(m *made) { m.header.Jobs[0].Via = "direct" }, "scenario jobs.lock.via: hub, but direct in ")
	fails(func(m *made) { m.scenario = strings.Replace(m.scenario, "times: 2", "times: 3", 1) }, "scenario jobs.lock.repeat.times: 2, but 3 in ")
	fails(func(m *made) {
		m.header.Driver, m.scenario = "paho+lean", m.scenario+"fleet: [{group: doors, driver: lean}]\n"
	}, "driver: paho, but paho+lean in ", "scenario fleet.doors.driver: absent, but lean in ")
	fails(func(m *made) { m.scenario += "extra: 1\n" }, "scenario extra: absent, but 1 in ")
	fails(func(m *made) { m.summary.SchemaVersion, m.header.SchemaVersion = 2, 2 }, "schema version 2, this muster reads 1")
	fails(func(m *made) { m.summary.SchemaVersion = 2 }, "schemaVersion: 1, but 1, and 2 of summary.json in ")
	fails(func(m *made) {
		m.header.Driver, m.header.Host.CPUs = "lean", 4
	}, "driver: paho, but lean", "host.cpus: 2, but 4")

	like := func(prepare func(*made)) {
		t.Helper()
		m := run(100)
		prepare(m)
		if _, err := gate.Compare(side(t, 100), []*gate.Folder{m.folder(t)}, gate.Options{}); err != nil {
			t.Errorf("got error %v, want none", err)
		}
	}
	like(func(m *made) { m.header.MusterVersion = "v2" })
	like(func(m *made) { m.scenario = strings.Replace(m.scenario, "jobs:", "fleet: [{driver: paho}]\njobs:", 1) }) // an older muster has no such key
	like(func(m *made) { m.header.GoVersion = "go1.27" })
	like(func(m *made) { m.header.Host.CPUModel, m.header.Host.Kernel = "", "" }) // written by an older muster
	like(func(m *made) { m.header.Host.MemoryBytes += 20 << 20 })
}

func TestRunsThatDoNotCountAreRefusedEvenByForce(t *testing.T) {
	fails := func(prepare func(*made), want string) {
		t.Helper()
		m := run(100)
		prepare(m)
		f := m.folder(t)
		if _, err := gate.Compare(side(t, 100), []*gate.Folder{f}, gate.Options{Force: true}); err == nil || !strings.Contains(err.Error(), f.Dir+": "+want) {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
	fails(func(m *made) { m.summary.Verdict = report.Invalid; m.summary.Reasons = []string{"saturated"} }, "its verdict is invalid: saturated")
	fails(func(m *made) { m.summary.Verdict = report.Incomplete }, "its verdict is incomplete")
	fails(func(m *made) { m.summary.Verdict = report.Interrupted }, "its verdict is interrupted")
	fails(func(m *made) { m.summary.Verdict = report.NoData }, "its verdict is noData")

	base := side(t, 100, 101)
	if _, err := gate.Compare(base, base[1:], gate.Options{}); err == nil || !strings.Contains(err.Error(), "it is the same run as") {
		t.Errorf("one run on both sides: got error %v", err)
	}
	if _, err := gate.Compare(base, side(t, 1), gate.Options{Pairs: true}); err == nil || !strings.Contains(err.Error(), "pairs need as many runs") {
		t.Errorf("pairs of two and one: got error %v", err)
	}
}

func TestWarnings(t *testing.T) {
	check := func(prepare func(*made), want string) {
		t.Helper()
		m := run(100)
		prepare(m)
		got, err := gate.Compare(side(t, 100), []*gate.Folder{m.folder(t)}, gate.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(got.Warnings, "\n"); !strings.Contains(text, want) || want == "" && text != "" {
			t.Errorf("warnings %q, want %q", got.Warnings, want)
		}
	}
	check(func(*made) {}, "")
	check(func(m *made) { m.header.HostUse.StealSeconds = 0.3 }, "new: the hypervisor gave up to 3 % of the processors to others")
	check(func(m *made) { m.header.HostUse.BusySeconds = 6.5 }, "new: other processes took up to 50 % of the host's processors")
	check(func(m *made) { m.summary.Jobs[0].Wake.P99 *= 11 }, "new: the generator's wake p99 11.0 ms is above a tenth of what is measured")
	check(func(m *made) { m.summary.Verdict = report.Fail }, "1 of the 1 new runs failed a threshold of the scenario")
	check(func(m *made) { m.header.GoVersion = "go1.27" }, "the two are built with go1.26 and go1.27")
}

func TestNoPassForRunsThatAloneFailThresholds(t *testing.T) {
	sideThatFails := func(n int) []*gate.Folder {
		all := side(t, 100, 101, 99, 100.5, 99.5)
		for _, f := range all[:n] {
			f.Summary.Verdict = report.Fail
		}
		return all
	}
	check := func(base, newer int, want report.Verdict, reason string) {
		t.Helper()
		got, err := gate.Compare(sideThatFails(base), sideThatFails(newer), gate.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(got.Reasons, "\n"); got.Verdict != want || text != reason {
			t.Errorf("Compare(%d failed, %d failed) = %s, %q; want %s, %q", base, newer, got.Verdict, text, want, reason)
		}
	}
	check(0, 0, report.Pass, "")
	check(0, 1, report.Inconclusive, "1 of the 5 new runs failed a threshold of the scenario, and no run of the base did")
	check(0, 5, report.Regression, "5 of the 5 new runs failed a threshold of the scenario, and no run of the base did")
	check(1, 5, report.Pass, "")
	check(5, 0, report.Pass, "")
}

func TestFormatsAgree(t *testing.T) {
	got, err := gate.Compare(side(t, 100, 101, 99, 100, 100), side(t, 120, 121, 119, 120, 120), gate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"text":     func(b *bytes.Buffer) error { return got.Text(b) },
		"markdown": func(b *bytes.Buffer) error { return got.Markdown(b) },
		"json":     func(b *bytes.Buffer) error { return got.JSON(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"regression", "20.0 % slower", "jobs.lock.service.p99", "small"} {
			if !strings.Contains(strings.ToLower(b.String()), want) {
				t.Errorf("%s does not hold %q:\n%s", name, want, b.String())
			}
		}
	}
}

package gate_test

import (
	"bytes"
	"context"
	"encoding/json"
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

// conducted is what a gate of made-up runs came to.
type conducted struct {
	result *gate.Result
	err    error
	dir    string
	order  []string // the sides in the order in which they ran
	log    string
}

// conduct runs a gate whose n-th run takes what took says, as prepare changes it.
func conduct(t *testing.T, cfg gate.Config, took func(n int, side gate.Who) float64, prepare func(n int, m *made)) conducted {
	t.Helper()
	out := conducted{dir: filepath.Join(t.TempDir(), "gate")}
	var log bytes.Buffer
	if cfg.Run == nil {
		cfg.Run = func(_ context.Context, side gate.Who, dir string) error {
			n := len(out.order)
			out.order = append(out.order, string(side[0]))
			m := run(took(n, side))
			if prepare != nil {
				prepare(n, m)
			}
			m.write(t, dir)
			return nil
		}
	}
	cfg.Dir, cfg.Progress = out.dir, &log
	out.result, out.err = gate.Conduct(t.Context(), cfg)
	out.log = log.String()
	return out
}

// slower returns what a side takes that is slower by a part, each run off by cv
// in one direction or the other.
func slower(by, cv float64) func(int, gate.Who) float64 {
	return func(n int, side gate.Who) float64 {
		ms := 100 * (1 + cv*math.Sin(float64(7*n)))
		if side == gate.New {
			ms *= 1 + by
		}
		return ms
	}
}

func (c conducted) is(t *testing.T, want report.Verdict, order string) {
	t.Helper()
	if c.err != nil || c.result.Verdict != want || strings.Join(c.order, "") != order {
		t.Errorf("verdict %s, error %v, order %s; want %s, %s\n%s", c.result.Verdict, c.err, strings.Join(c.order, ""), want, order, c.log)
	}
	var kept gate.Result
	text, err := os.ReadFile(filepath.Join(c.dir, "gate.json"))
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err != nil || kept.Verdict != want || len(kept.Runs) != len(c.order) {
		t.Errorf("gate.json: verdict %s, %d runs, %v; want %s, %d", kept.Verdict, len(kept.Runs), err, want, len(c.order))
	}
	if page, err := os.ReadFile(filepath.Join(c.dir, "gate.md")); err != nil || !strings.Contains(string(page), strings.ToUpper(string(want))) {
		t.Errorf("gate.md: %v\n%s", err, page)
	}
}

const (
	five   = "bnnbbnnbbn"
	eight  = five + "nbbnnb"
	twelve = eight + "bnnbbnnb"
)

func TestGateStopsWhenALookDecides(t *testing.T) {
	conduct(t, gate.Config{Pairs: 12}, slower(0, 0.001), nil).is(t, report.Pass, five)
	conduct(t, gate.Config{Pairs: 12}, slower(0.2, 0.001), nil).is(t, report.Regression, five)
	conduct(t, gate.Config{Pairs: 12}, slower(0.05, 0.01), nil).is(t, report.Inconclusive, twelve)
	conduct(t, gate.Config{Pairs: 8}, slower(0.05, 0.01), nil).is(t, report.Inconclusive, eight)
	conduct(t, gate.Config{Pairs: 5}, slower(0.05, 0.01), nil).is(t, report.Inconclusive, five)

	got := conduct(t, gate.Config{Pairs: 12}, slower(0.05, 0.01), nil)
	if n := len(got.result.Looks); n != 3 || got.result.Comparison.Detectable == nil || got.result.Comparison.Method != "pairs" {
		t.Errorf("%d looks, comparison %+v; want 3, over pairs, with what it could have seen", n, got.result.Comparison)
	}
	if want := "look at 12: inconclusive, new/base 1.05"; !strings.Contains(got.log, want) {
		t.Errorf("progress does not hold %q:\n%s", want, got.log)
	}
}

func TestGateAgainstStoredRunsMakesNewOnesOnly(t *testing.T) {
	stored := side(t, 100, 100.5, 99.5, 100.2, 99.8)
	conduct(t, gate.Config{Pairs: 12, Stored: stored}, slower(0, 0.001), nil).is(t, report.Pass, "nnnnn")
	conduct(t, gate.Config{Pairs: 12, Stored: stored}, slower(0.2, 0.001), nil).is(t, report.Regression, "nnnnn")

	unlike := conduct(t, gate.Config{Pairs: 12, Stored: stored}, slower(0, 0.001), func(_ int, m *made) { m.header.Host.CPUs = 16 })
	if unlike.err == nil || !strings.Contains(unlike.err.Error(), "host.cpus: 2, but 16 in ") || len(unlike.order) != 1 {
		t.Errorf("on another host: error %v after %d runs; want it after one", unlike.err, len(unlike.order))
	}
	few := conduct(t, gate.Config{Pairs: 12, Stored: stored[:4]}, slower(0, 0), nil)
	if few.err == nil || few.err.Error() != "gate: the base has 4 runs, and it takes at least 5 to decide" || len(few.order) != 0 {
		t.Errorf("against four runs: %v after %d runs", few.err, len(few.order))
	}
}

func TestCalibrationSetsTheTolerance(t *testing.T) {
	got := conduct(t, gate.Config{Pairs: 5, Nulls: 5}, slower(0.03, 0.001), nil)
	got.is(t, report.Regression, "bbbbbbbbbb"+five) // 3 % are within 5 %, and beyond what so quiet a machine allows
	if c := got.result.Calibration; c == nil || c.Pairs != 5 || c.Tolerance != 0.01 || got.result.Comparison.ToleranceFrom != "calibrated with null runs" {
		t.Errorf("calibration %+v, from %s; want five pairs and the least tolerance", c, got.result.Comparison.ToleranceFrom)
	}
	if dirs := tree(t, got.dir); !slices.Contains(dirs, "null-05-a") || !slices.Contains(dirs, "null-05-b") || !slices.Contains(dirs, "new-05") {
		t.Errorf("the gate's folder holds %q", dirs)
	}
	noisy := conduct(t, gate.Config{Pairs: 5, Nulls: 5}, slower(0, 0.05), nil)
	if c := noisy.result.Calibration; c.Tolerance < 0.05 {
		t.Errorf("on a noisy machine: tolerance %v, want more", c.Tolerance)
	}
}

func TestInvalidRunsAreMadeAgain(t *testing.T) {
	spoil := func(runs ...int) func(int, *made) {
		return func(n int, m *made) {
			if slices.Contains(runs, n) {
				m.summary.Verdict, m.summary.Reasons = report.Invalid, []string{"saturated"}
			}
		}
	}
	// The second run, which is new, spoils its pair: both are made again.
	got := conduct(t, gate.Config{Pairs: 5, Again: 3}, slower(0, 0.001), spoil(1))
	got.is(t, report.Pass, "bn"+five)
	if n := got.result.Runs; n[0].Discarded == "" || n[1].Discarded == "" || n[2].Discarded != "" {
		t.Errorf("discarded: %q, %q, %q; want the first two", n[0].Discarded, n[1].Discarded, n[2].Discarded)
	}
	// One more than may be.
	end := conduct(t, gate.Config{Pairs: 5, Again: 3}, slower(0, 0.001), spoil(0, 1, 2, 3))
	end.is(t, report.Invalid, "bbbb")
	if want := "4 runs were invalid, the last "; !strings.HasPrefix(end.result.Reasons[0], want) {
		t.Errorf("reasons %q, want %q", end.result.Reasons, want)
	}
}

func TestInterruptedGateKeepsWhatIsThere(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := filepath.Join(t.TempDir(), "gate")
	n := 0
	result, err := gate.Conduct(ctx, gate.Config{Dir: dir, Pairs: 5, Run: func(_ context.Context, _ gate.Who, dir string) error {
		m := run(100)
		if n++; n == 5 {
			cancel()
			m.summary.Verdict = report.Interrupted
		}
		m.write(t, dir)
		return nil
	}})
	if err != nil || result.Verdict != report.Interrupted || result.Comparison.Verdict != report.Interrupted {
		t.Fatalf("verdict %s, %v; want interrupted", result.Verdict, err)
	}
	if want := "interrupted after 2 complete pairs: nothing is decided"; result.Reasons[0] != want {
		t.Errorf("reasons %q, want %q", result.Reasons, want)
	}
	want := []string{"base-01", "base-02", "base-03", "gate.json", "gate.md", "new-01", "new-02"}
	if got := tree(t, dir); !slices.Equal(got, want) {
		t.Errorf("the gate's folder holds %q, want %q", got, want)
	}
	if _, err := gate.Conduct(t.Context(), gate.Config{Dir: dir, Pairs: 5}); err == nil || !strings.HasSuffix(err.Error(), "it holds a gate already") {
		t.Errorf("a second gate in the folder: got error %v", err)
	}
}

// A gate that is killed has left what it had made until then.
func TestGateKeepsItsBookAsItGoes(t *testing.T) {
	var kept []int
	made := func(ms float64, dir string) { run(ms).write(t, dir) }
	dir := filepath.Join(t.TempDir(), "gate")
	_, err := gate.Conduct(t.Context(), gate.Config{Dir: dir, Pairs: 5, Run: func(_ context.Context, _ gate.Who, run string) error {
		var book gate.Result
		text, err := os.ReadFile(filepath.Join(dir, "gate.json"))
		if err == nil {
			err = json.Unmarshal(text, &book)
		}
		kept = append(kept, len(book.Runs))
		made(100, run)
		return err
	}})
	if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; err != nil || !slices.Equal(kept, want) {
		t.Errorf("runs in gate.json as each began: %v, %v; want %v", kept, err, want)
	}
}

// What a run or a scenario says is text, whatever it looks like.
func TestHostileTextInAGate(t *testing.T) {
	const hostile = "x\x1b[2J [a](b) <img src=y> # `z`\n- q"
	broken := conduct(t, gate.Config{Pairs: 5, Run: func(context.Context, gate.Who, string) error { return errors.New(hostile) }}, nil, nil)
	done := conduct(t, gate.Config{Pairs: 5, BaseIs: hostile, NewIs: hostile}, slower(0, 0.001), func(_ int, m *made) { m.header.Scenario = hostile })
	for _, r := range []*gate.Result{broken.result, done.result} {
		var text, page strings.Builder
		if err := errors.Join(r.Text(&text), r.Markdown(&page)); err != nil {
			t.Fatal(err)
		}
		if s := text.String() + page.String(); strings.Contains(s, "\x1b") || strings.Contains(s, "\n- q") {
			t.Errorf("it has what a terminal obeys, or a line of its own:\n%q", s)
		}
		if s := page.String(); strings.Contains(s, "<img") || strings.Contains(s, " [a]") {
			t.Errorf("it has markup:\n%s", s)
		}
	}
}

func TestGateThatCannotBeDoneIsIncomplete(t *testing.T) {
	broken := errors.New("exit status 104: bad scenario")
	got := conduct(t, gate.Config{Pairs: 5, Run: func(context.Context, gate.Who, string) error { return broken }}, nil, nil)
	if !errors.Is(got.err, broken) || got.err.Error() != "run base-01: exit status 104: bad scenario" || got.result.Verdict != report.Incomplete {
		t.Errorf("verdict %s, error %v; want incomplete, %v", got.result.Verdict, got.err, broken)
	}
	lost := conduct(t, gate.Config{Pairs: 5}, slower(0, 0), func(n int, m *made) {
		if n == 3 {
			m.summary.Verdict, m.summary.Reasons = report.Incomplete, []string{"the hub died"}
		}
	})
	if lost.err == nil || !strings.HasSuffix(lost.err.Error(), "base-02: its verdict is incomplete: the hub died") || lost.result.Verdict != report.Incomplete {
		t.Errorf("verdict %s, error %v", lost.result.Verdict, lost.err)
	}
	if _, err := gate.Conduct(t.Context(), gate.Config{Dir: t.TempDir(), Pairs: 6}); err == nil || err.Error() != "gate: 6 pairs: must be one of [5 8 12]" {
		t.Errorf("six pairs: got error %v", err)
	}
}

func TestSettingsMayDiffer(t *testing.T) {
	// The new side, every second run, has another number of repetitions.
	other := func(n int, m *made) {
		if strings.Index(twelve[n:], "n") == 0 {
			m.scenario = strings.Replace(m.scenario, "times: 2", "times: 3", 1)
		}
	}
	settings, err := gate.SettingsBetween([]byte(run(1).scenario), []byte(strings.Replace(run(1).scenario, "times: 2", "times: 3", 1)))
	if want := []string{"jobs.lock.repeat.times"}; err != nil || !slices.Equal(settings, want) {
		t.Fatalf("SettingsBetween = %q, %v, want %q", settings, err, want)
	}
	conduct(t, gate.Config{Pairs: 5, Settings: settings}, slower(0, 0.001), other).is(t, report.Pass, five)
	if got := conduct(t, gate.Config{Pairs: 5}, slower(0, 0.001), other); got.err == nil || !strings.Contains(got.err.Error(), "repeat.times: 2, but 3 in") {
		t.Errorf("not meant: got error %v", got.err)
	}
	// A newer build writes a key that the older does not know.
	newer := func(n int, m *made) {
		if strings.Index(twelve[n:], "n") == 0 {
			m.scenario += "extra: 1\n"
		}
	}
	got := conduct(t, gate.Config{Pairs: 5, TwoBuilds: true}, slower(0, 0.001), newer)
	got.is(t, report.Pass, five)
	if text := strings.Join(got.result.Comparison.Warnings, "\n"); !strings.Contains(text, "only one of the two builds writes into its resolved scenario: extra") {
		t.Errorf("warnings %q", text)
	}
}

func TestTargetsMayDiffer(t *testing.T) {
	other := func(n int, m *made) {
		if strings.Index(twelve[n:], "n") == 0 {
			m.header.Target.HostName = "other.hub"
		}
	}
	conduct(t, gate.Config{Pairs: 5, TwoTargets: true}, slower(0, 0.001), other).is(t, report.Pass, five)
	if got := conduct(t, gate.Config{Pairs: 5}, slower(0, 0.001), other); got.err == nil || !strings.Contains(got.err.Error(), "target.host: absent, but other.hub in") {
		t.Errorf("not meant: got error %v", got.err)
	}
}

package report_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"muster/internal/sample"
	"muster/report"
)

// troubled is a run in which much went wrong.
func troubled() *fixture {
	f := broadcast(100)
	f.run.Scenario = "lockdoor-trouble"
	f.run.Thresholds = []string{"jobs.lock.total.p99 < 10ms", "jobs.lock.succeeded == 100%", "jobs.lock.unexpected == 0", "jobs.nobody.total.p99 < 1s"}
	f.run.Warnings = []string{"the scenario's seed is the default one"}
	n := 0
	for _, rec := range f.records {
		e, ok := rec.(*sample.Execution)
		if !ok || !e.Final || e.Job != 0 {
			continue
		}
		switch n++; {
		case n%40 == 0:
			e.Outcome, e.Code, e.Status = sample.Offline, "DeviceNotOnline", 0
			e.Received, e.Answered, e.Finished = 0, 0, 0
		case n%60 == 0:
			e.Outcome, e.Status = sample.Failed, 503
		case n%90 == 0:
			e.Duplicates = 1
		case n == 111:
			e.Dispatched = e.Received + ms
		}
	}
	f.add(
		&sample.Unexpected{Device: 3, At: 9 * s, Kind: "method", Name: "lockDoor", Job: 0, TooEarly: true},
		&sample.Unexpected{Device: 3, At: 9 * s, Kind: "method", Name: "unlockDoor", Job: sample.NoJob},
		&sample.Connect{Device: 5, Attempt: 1, Reconnect: true, Due: 20 * s, Dialed: 20 * s, Error: "refused: server unavailable"},
		&sample.Connect{Device: 5, Attempt: 2, Reconnect: true, Due: 21 * s, Dialed: 21 * s, Ready: 21*s + 4*ms},
	)
	for n := range 5 {
		r := find[sample.Repetition](f, 2*n)
		failed := int64(2)
		if n%2 == 1 {
			failed = 3
		}
		r.Rows = sample.Statistics{Devices: 100, Succeeded: 100 - failed, Failed: failed}
		r.Stats = r.Rows
	}
	return f
}

func TestGolden(t *testing.T) {
	runs := map[string]func() *fixture{
		"pass":    func() *fixture { return broadcast(300) },
		"trouble": troubled,
		"died": func() *fixture {
			f := broadcast(100)
			f.end = nil
			f.records = f.records[:len(f.records)*3/5]
			return f
		},
		"saturated": func() *fixture {
			f := broadcast(100)
			drop[sample.Health](f)
			f.wakes(0, 40*s, 3*time.Millisecond)
			return f
		},
		"direct": func() *fixture {
			f := small()
			f.run.Jobs[0].Via = "direct"
			f.run.Target.Tier, f.run.Target.Units = "S1", 2
			r := find[sample.Repetition](f, 0)
			r.HubBooks, r.Rows, r.Stats = false, sample.Statistics{}, sample.Statistics{}
			for n := range 2 {
				e := find[sample.Execution](f, n)
				e.HubClock, e.Booked, e.Attempts, e.Finished = false, 0, 2, e.Finished+3*ms
			}
			return f
		},
	}
	for name, run := range runs {
		t.Run(name, func(t *testing.T) {
			dir := run().write(t)
			r, err := report.Build(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Write(); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"summary.json", "summary.md", "junit.xml", "bench.txt"} {
				got, err := os.ReadFile(filepath.Join(dir, file))
				if err != nil {
					t.Fatal(err)
				}
				golden(t, name+"."+file, got)
			}
			golden(t, name+".console.txt", console(t, r, report.ConsoleOptions{}))
			golden(t, name+".narrow.txt", console(t, r, report.ConsoleOptions{Width: 60}))
		})
	}
}

// console returns the console report with the folder's name made the same
// everywhere.
func console(t *testing.T, r *report.Report, opts report.ConsoleOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := r.Console(&out, opts); err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^(\S*results\S*\s+).*$`).ReplaceAll(out.Bytes(), []byte("${1}DIR"))
}

func TestConsoleFitsItsWidth(t *testing.T) {
	r := troubled().build(t)
	for _, width := range []int{60, 70, 80, 100, 160} {
		for line := range strings.Lines(string(console(t, r, report.ConsoleOptions{Width: width}))) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("width %d: a line of %d columns: %q", width, n, line)
			}
		}
	}
}

func TestColorOnlyIfAsked(t *testing.T) {
	r := troubled().build(t)
	plain, colored := console(t, r, report.ConsoleOptions{}), console(t, r, report.ConsoleOptions{Color: true})
	if bytes.ContainsRune(plain, '\x1b') || !bytes.ContainsRune(colored, '\x1b') {
		t.Error("escapes without colour, or none with it")
	}
	if got := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAll(colored, nil); string(got) != string(plain) {
		t.Errorf("colour changes more than colour:\n%s\n%s", got, plain)
	}
}

func TestNamesCannotDriveTheTerminalOrTheTable(t *testing.T) {
	f := small()
	f.run.Jobs[0].Name = "lo\x1b[31mck|<b>"
	find[sample.Device](f, 0).ID = "door\x1b]0;owned\x07"
	f.run.Warnings = []string{"a\nb"}
	r := f.build(t)
	if out := console(t, r, report.ConsoleOptions{}); bytes.ContainsAny(out, "\x1b\x07") {
		t.Errorf("the console report passes control characters on:\n%q", out)
	}
	dir := t.TempDir()
	if err := report.WriteFile(dir, "md", r.Markdown); err != nil {
		t.Fatal(err)
	}
	md, err := os.ReadFile(filepath.Join(dir, "md"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(md, []byte("<b>")) || bytes.Contains(md, []byte("ck|")) {
		t.Errorf("summary.md passes markup on:\n%s", md)
	}
}

func TestMillisAsWords(t *testing.T) {
	short := func(d time.Duration, want string) {
		t.Helper()
		if got := report.Millis(d).String(); got != want {
			t.Errorf("Millis(%v) = %q, want %q", d, got, want)
		}
	}
	short(0, "0 µs")
	short(400, "0.40 µs")
	short(95*time.Microsecond, "95 µs")
	short(999499, "999 µs")
	short(999500, "1.00 ms")
	short(time.Millisecond, "1.00 ms")
	short(9994*time.Microsecond, "9.99 ms")
	short(9996*time.Microsecond, "10.0 ms")
	short(99960*time.Microsecond, "100 ms")
	short(999500*time.Microsecond, "1.00 s")
	short(1234*time.Millisecond, "1.23 s")
	short(300*time.Second, "300 s")
	short(24*time.Hour, "1440 min")
	short(-1500*time.Microsecond, "-1.50 ms")
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := report.Thousands(n); got != want {
			t.Errorf("thousands(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestAFailedWriteLeavesTheFileAsItWas(t *testing.T) {
	dir := t.TempDir()
	write := func(text string, err error) error {
		return report.WriteFile(dir, "f", func(w io.Writer) error {
			_, werr := io.WriteString(w, text)
			return errors.Join(werr, err)
		})
	}
	if err := write("old", nil); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	if err := write("ne", full); !errors.Is(err, full) || !strings.Contains(err.Error(), "write "+filepath.Join(dir, "f")) {
		t.Errorf("writeFile() = %v, want disk full and the file's name", err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "f"))
	if err != nil || string(got) != "old" {
		t.Errorf("the file holds %q, %v, want what it held", got, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v, want the file alone", left, err)
	}
}

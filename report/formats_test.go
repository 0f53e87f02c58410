package report_test

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
)

// need ends the test if a program that it needs is missing: in CI by failing.
func need(t *testing.T, ok bool, what string) {
	t.Helper()
	switch {
	case ok:
	case os.Getenv("CI") == "true":
		t.Fatal(what)
	default:
		t.Skip(what)
	}
}

// hostile is a run whose names have what XML, tables and file names do not take.
func hostile() *fixture {
	f := small()
	f.run.Scenario = "sm<al>l"
	f.run.Jobs[0].Name = "lock & \x01key / 2-1"
	f.run.Thresholds = []string{`jobs.lock.total.p99 < 1ms`, `jobs."]]>".p99`}
	f.run.Warnings = []string{"a\x00b <c> ]]> é"}
	return f
}

// idle is a run whose job targeted nobody, as it may.
func idle() *fixture {
	f := small()
	drop[sample.Execution](f)
	find[sample.Targets](f, 0).Devices = nil
	r := find[sample.Repetition](f, 0)
	r.Targeted, r.Rows, r.Stats = 0, sample.Statistics{}, sample.Statistics{}
	f.run.Thresholds = []string{"jobs.lock.targeted == 0"}
	return f
}

func died() *fixture {
	f := small()
	f.end = nil
	return f
}

func unbalanced() *fixture {
	f := small()
	find[sample.Repetition](f, 0).Stats.Failed = 1
	return f
}

func interrupted() *fixture {
	f := small()
	f.end.Reason = "interrupted"
	return f
}

func TestJUnitXMLValidates(t *testing.T) {
	xmllint, err := exec.LookPath("xmllint")
	need(t, err == nil, "xmllint is not installed: run make peers")
	for name, run := range map[string]func() *fixture{
		"small": small, "trouble": troubled, "hostile": hostile, "idle": idle, "died": died, "unbalanced": unbalanced, "interrupted": interrupted,
	} {
		_, dir := run().written(t)
		out, err := exec.Command(xmllint, "--noout", "--schema", "testdata/junit.xsd", filepath.Join(dir, "junit.xml")).CombinedOutput()
		if err != nil {
			t.Errorf("junit.xml of %s: %v\n%s%s", name, err, out, readFile(t, dir, "junit.xml"))
		}
	}
	bad := filepath.Join(t.TempDir(), "bad.xml")
	if err := os.WriteFile(bad, []byte(`<testsuites name="muster" tests="one" failures="0" errors="0"/>`), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(xmllint, "--noout", "--schema", "testdata/junit.xsd", bad).Run(); err == nil {
		t.Error("the schema takes a count that is no number")
	}
}

// junitNote is why a case did not pass.
type junitNote struct {
	Message string `xml:"message,attr"`
}

func TestJUnitCases(t *testing.T) {
	cases := func(f *fixture) []string {
		_, dir := f.written(t)
		var doc struct {
			Suites []struct {
				Tests    int `xml:"tests,attr"`
				Failures int `xml:"failures,attr"`
				Errors   int `xml:"errors,attr"`
				Skipped  int `xml:"skipped,attr"`
				Cases    []struct {
					Name    string     `xml:"name,attr"`
					Failure *junitNote `xml:"failure"`
					Error   *junitNote `xml:"error"`
					Skipped *junitNote `xml:"skipped"`
				} `xml:"testcase"`
			} `xml:"testsuite"`
		}
		if err := xml.Unmarshal(readFile(t, dir, "junit.xml"), &doc); err != nil {
			t.Fatal(err)
		}
		var out []string
		suite, n := doc.Suites[0], [3]int{}
		for _, c := range suite.Cases {
			line := c.Name + ": passed"
			switch {
			case c.Failure != nil:
				line = c.Name + ": failure: " + c.Failure.Message
				n[0]++
			case c.Error != nil:
				line = c.Name + ": error: " + c.Error.Message
				n[1]++
			case c.Skipped != nil:
				line = c.Name + ": skipped: " + c.Skipped.Message
				n[2]++
			}
			out = append(out, line)
		}
		if n != [3]int{suite.Failures, suite.Errors, suite.Skipped} || len(out) != suite.Tests {
			t.Errorf("the suite counts %d tests, %d failures, %d errors, %d skipped; want %d and %v", suite.Tests, suite.Failures, suite.Errors, suite.Skipped, len(out), n)
		}
		return out
	}
	slow, strict := small(), small()
	slow.run.Thresholds = []string{"jobs.lock.total.p99 < 50ms", "jobs.lock.uplink.p99 < 1s"}
	strict.run.Thresholds = nil
	find[sample.Execution](strict, 1).Outcome = sample.Failed
	find[sample.Repetition](strict, 0).Rows = sample.Statistics{Devices: 2, Succeeded: 1, Failed: 1}
	find[sample.Repetition](strict, 0).Stats = sample.Statistics{Devices: 2, Succeeded: 1, Failed: 1}
	for _, c := range []struct {
		name string
		run  *fixture
		want []string
	}{
		{"pass", small(), []string{"run: passed", "jobs.lock.total.p99 < 2s: passed", "lock: passed"}},
		{"slow", slow, []string{
			"run: failure: the verdict is fail",
			"jobs.lock.total.p99 < 50ms: failure: threshold jobs.lock.total.p99 < 50ms failed: measured 100 ms",
			"jobs.lock.uplink.p99 < 1s: failure: threshold jobs.lock.uplink.p99 < 1s had no data (there is no such measure)", "lock: passed",
		}},
		{"strict", strict, []string{
			"run: failure: the verdict is fail",
			"lock: failure: job lock: 1 execution did not succeed, and no threshold says how many may",
		}},
		{"idle", idle(), []string{"run: passed", "jobs.lock.targeted == 0: passed", "lock: skipped: the job targeted no device"}},
		{"died", died(), []string{
			"run: error: the verdict is incomplete",
			"jobs.lock.total.p99 < 2s: skipped: not judged: the run is incomplete", "lock: skipped: not judged: the run is incomplete",
		}},
		{"unbalanced", unbalanced(), []string{
			"run: error: the verdict is invalid",
			"jobs.lock.total.p99 < 2s: skipped: not judged: the run is invalid", "lock: error: the ledger does not balance",
		}},
		{"interrupted", interrupted(), []string{
			"run: error: the verdict is interrupted",
			"jobs.lock.total.p99 < 2s: skipped: not judged: the run is interrupted", "lock: skipped: not judged: the run is interrupted",
		}},
	} {
		if diff := cmp.Diff(c.want, cases(c.run)); diff != "" {
			t.Errorf("junit.xml of %s (-want +got):\n%s", c.name, diff)
		}
	}
}

// bench returns bench.txt of runs whose executions take so long.
func bench(t *testing.T, tooks ...sample.Moment) []byte {
	t.Helper()
	var all []byte
	for i, took := range tooks {
		f := small()
		f.run.Seed, f.run.Jobs[0].Name = uint64(i), "lock all-2"
		f.run.Thresholds = nil
		for n := range 2 {
			*find[sample.Execution](f, n) = *execution(uint32(n), sample.Succeeded, took)
		}
		_, dir := f.written(t)
		all = append(all, readFile(t, dir, "bench.txt")...)
	}
	return all
}

// TestBenchstat has benchstat compare six runs with six that are twice as slow.
func TestBenchstat(t *testing.T) {
	tool := []string{"tool", "-modfile=../tools/go.mod", "golang.org/x/perf/cmd/benchstat"}
	_, err := exec.Command("go", append(tool, "-h")...).Output()
	_, ran := err.(*exec.ExitError) // it prints its usage and leaves with 2
	need(t, err == nil || ran, "benchstat cannot be run")
	dir := t.TempDir()
	for name, runs := range map[string][]byte{
		"base": bench(t, 20*ms, 21*ms, 20*ms, 22*ms, 21*ms, 20*ms), "new": bench(t, 40*ms, 42*ms, 41*ms, 40*ms, 43*ms, 41*ms),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), runs, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", append(tool, "base="+filepath.Join(dir, "base"), "new="+filepath.Join(dir, "new"))...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("benchstat: %v\n%s", err, stderr.String())
	}
	for _, want := range []string{
		`(?m)^ +│ +base +│ +new +│$`,
		`(?m)^ +│ +p99-sec +│ +p99-sec +vs base +│$`,
		`(?m)^Muster/scenario=small/devices=2/job=lock%20all-2/phase=total +20\.50m ± 7% +41\.00m ± 5% +\+100\.00% \(p=0\.002 n=6\)$`,
		`(?m)^Muster/scenario=small/devices=2/job=lock%20all-2/phase=all +1\.000 ± 0% .* ~ \(p=1\.000 n=6\)`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("benchstat printed nothing like %s:\n%s", want, out)
		}
	}
}

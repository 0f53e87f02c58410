package capacity_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/capacity"
)

// searched is a result of a search on a synthetic hub.
func searched(t *testing.T, h *hub, o capacity.Options) *capacity.Result {
	t.Helper()
	knee, probes, err := capacity.Search(t.Context(), o, h.probe)
	if err != nil {
		t.Fatal(err)
	}
	for i := range probes {
		probes[i].Dir, probes[i].Reasons, probes[i].Text = "probes/x", []string{"threshold a|b failed"}, "5 ms"
	}
	line := 500.0
	return &capacity.Result{
		Scenario: `a "b" <c>`, Find: "devices", Sets: "--devices", Objectives: []string{"jobs.lock.total.p99 < 500ms"},
		From: o.From, To: o.To, Bound: "--to", RunsAtKnee: 3, Within: 0.05, Knee: knee, Probes: probes, Line: &line, Warnings: []string{"a doubt"},
	}
}

func TestResultFiles(t *testing.T) {
	o := capacity.Options{From: 100, To: 5000}
	check := func(name string, h *hub, status capacity.Status, sentence string, marks ...string) {
		t.Helper()
		r, dir := searched(t, h, o), t.TempDir()
		if err := r.Write(dir); err != nil {
			t.Fatal(err)
		}
		read := func(name string) string {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		var back capacity.Result
		if err := json.Unmarshal([]byte(read("capacity.json")), &back); err != nil || back.Status != status || back.SchemaVersion != 1 || len(back.Probes) != h.runs {
			t.Errorf("%s: capacity.json = %v, %s, %d probes; want %s, %d", name, err, back.Status, len(back.Probes), status, h.runs)
		}
		if !strings.Contains(back.Text, sentence) || !strings.Contains(read("capacity.md"), back.Text) {
			t.Errorf("%s: %q, want …%s…, in capacity.md too", name, back.Text, sentence)
		}
		if rows := strings.Count(read("capacity.md"), `threshold a\|b failed |`); rows != h.runs {
			t.Errorf("%s: capacity.md has %d rows, want %d", name, rows, h.runs)
		}
		svg := read("capacity.svg")
		for dec := xml.NewDecoder(strings.NewReader(svg)); ; {
			if _, err := dec.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: capacity.svg: %v", name, err)
			}
		}
		for _, mark := range marks {
			if !strings.Contains(svg, mark) {
				t.Errorf("%s: capacity.svg has no %s", name, mark)
			}
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || strings.Contains(strings.ReplaceAll(svg, "http://www.w3.org/2000/svg", ""), "http") {
			t.Errorf("%s: capacity.svg has a number that is none, or asks for something", name)
		}
	}
	limited := newHub(1, 1e6)
	limited.generator = 1000
	check("found", newHub(1, 2000), capacity.Found, "do not", `class="pass"`, `class="fail"`, `class="knee"`, `class="line"`, "knee: 1,9")
	check("limited", limited, capacity.GeneratorLimited, "no capacity of the hub: at 1,037 devices the generator was the limit; the hub's is above 993 devices (3 of 3 runs, confidence 94 %)", `class="saturated"`)
	check("above", newHub(1, 1e6), capacity.AboveRange, "5,000 devices (3 of 3 runs, confidence 94 %); the capacity is above it, and the search was bounded by --to")
	check("below", newHub(1, 50), capacity.BelowRange, "100 devices (0 of 3 runs, confidence 94 %)")
}

// Names of jobs and what a hub answered are text, whatever they look like.
func TestHostileTextIsNoMarkdown(t *testing.T) {
	const hostile = "x` [a](b) <img src=y> | *z*\n# head"
	r := &capacity.Result{
		Scenario: "doors", Find: "devices", Knee: capacity.Knee{Status: capacity.Stopped}, Why: hostile, Warnings: []string{hostile},
		Objectives: []string{hostile}, Probes: []capacity.Probe{{Value: 1, Outcome: capacity.Fail, Reasons: []string{hostile}}},
	}
	var b strings.Builder
	if err := r.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	const escaped = "x\\` \\[a](b) &lt;img src=y> \\| \\*z\\* # head"
	if n := strings.Count(text, escaped); n != 3 {
		t.Errorf("%d of three texts are escaped as %s:\n%s", n, escaped, text)
	}
	if want := "`x' [a](b) <img src=y> | *z* # head`"; !strings.Contains(text, want) {
		t.Errorf("the objective is not %s:\n%s", want, text)
	}
}

func TestAResultWithoutProbes(t *testing.T) {
	r := &capacity.Result{Scenario: "x", Find: "rate", Knee: capacity.Knee{Status: capacity.Stopped}, Why: "interrupted"}
	if err := r.Write(t.TempDir()); err != nil || r.Sentence() != "the search was stopped: interrupted" {
		t.Errorf("Write() = %v, %q", err, r.Sentence())
	}
	if err := r.Write(filepath.Join(t.TempDir(), "gone")); err == nil {
		t.Error("Write() into a folder that is not there: no error")
	}
}

package capacity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// SchemaVersion is the version of capacity.json. It changes when a field's
// meaning does, not when one is added.
const SchemaVersion = 1

// Result is capacity.json: what was searched, and what was found.
type Result struct {
	SchemaVersion int       `json:"schemaVersion"`
	MusterVersion string    `json:"musterVersion"`
	Scenario      string    `json:"scenario"`
	Find          string    `json:"find"` // "devices" or "rate"
	Sets          string    `json:"sets"` // what of the scenario a value is: "--devices", "target.embedded.jobRate"
	Objectives    []string  `json:"objectives"`
	From          int       `json:"from"`
	To            int       `json:"to"`
	Bound         string    `json:"bound"` // why To is not larger
	RunsAtKnee    int       `json:"runsAtKnee"`
	Within        float64   `json:"within"`
	StartedAt     time.Time `json:"startedAt"`
	Seconds       float64   `json:"seconds"`
	Knee
	Text     string   `json:"text"`           // the finding in one sentence
	Why      string   `json:"why,omitempty"`  // the search was stopped
	Line     *float64 `json:"line,omitempty"` // what the first objective allows, in the probes' Unit
	Probes   []Probe  `json:"probes"`
	Warnings []string `json:"warnings,omitempty"`
}

// unit names what a value counts: "8,000 devices", "8,000/s".
func (r *Result) unit(value int) string {
	if r.Find == "rate" {
		return thousands(value) + "/s"
	}
	if value == 1 {
		return "1 device"
	}
	return thousands(value) + " devices"
}

func (r *Result) side(s *Side) string {
	return fmt.Sprintf("%s (%d of %d runs, confidence %.0f %%)", r.unit(s.Value), s.Passed, s.runs(), 100*s.Confidence)
}

// Sentence says what was found.
func (r *Result) Sentence() string {
	passes, above := r.Passes, r.Above
	switch r.Status {
	case Found:
		text := fmt.Sprintf("%s pass, %s do not", r.side(passes), r.side(above))
		if n := len(r.Tosses); n > 0 {
			text += fmt.Sprintf("; between them %s passed about as often as not", r.unit(r.Tosses[0].Value))
		}
		return text
	case AboveRange:
		return fmt.Sprintf("the largest value of the search passes: %s; the capacity is above it, and the search was bounded by %s", r.side(passes), r.Bound)
	case BelowRange:
		return fmt.Sprintf("the least value of the search does not pass: %s", r.side(above))
	case GeneratorLimited:
		text := fmt.Sprintf("no capacity of the hub: at %s the generator was the limit", r.unit(above.Value))
		if passes == nil {
			return text + ", and nothing below was tried"
		}
		return text + "; the hub's is above " + r.side(passes)
	case Unsure:
		return fmt.Sprintf("undecided: at %s runs pass about as often as they fail, and there is no value beside it that is sure", r.side(r.Tosses[0]))
	}
	text := "the search was stopped: " + r.Why
	switch {
	case passes != nil && above != nil:
		text += fmt.Sprintf("; until then %s passed and %s did not", r.side(passes), r.side(above))
	case passes != nil:
		text += fmt.Sprintf("; until then %s passed", r.side(passes))
	}
	return text
}

// Write writes capacity.json, capacity.md and capacity.svg into dir. Each file
// appears whole or not at all.
func (r *Result) Write(dir string) error {
	r.SchemaVersion, r.Text = SchemaVersion, r.Sentence()
	return errors.Join(
		write(dir, "capacity.json", r.writeJSON),
		write(dir, "capacity.md", r.Markdown),
		write(dir, "capacity.svg", r.Plot),
	)
}

func (r *Result) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// write makes dir/name under another name first.
func write(dir, name string, content func(io.Writer) error) error {
	var b bytes.Buffer
	if err := content(&b); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".part", b.Bytes(), 0o666); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(path+".part", path)
}

// Markdown writes the search for people: the finding, the plot, the probes.
func (r *Result) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Capacity of %s: %s\n\n**%s**: %s.\n\n", escape(r.Scenario), r.Find, r.Status, escape(r.Sentence()))
	fmt.Fprintf(&b, "Objective: `%s`. A value is `%s`; searched from %s to %s (bounded by %s), sides at most %.3g %% apart, at least %d runs each, %s in %.0f s.\n\n",
		strings.Join(quotable(r.Objectives), "`, `"), r.Sets, r.unit(r.From), r.unit(r.To), r.Bound, 100*r.Within, r.RunsAtKnee, probes(len(r.Probes)), r.Seconds)
	for _, warning := range r.Warnings {
		fmt.Fprintf(&b, "- Warning: %s\n", escape(warning))
	}
	if len(r.Warnings) > 0 {
		b.WriteString("\n")
	}
	b.WriteString("![The objective over the values that were probed](capacity.svg)\n\n")
	b.WriteString("| probe | value | outcome | measured | took | folder | why |\n| ---: | ---: | --- | ---: | ---: | --- | --- |\n")
	for i, p := range r.Probes {
		why := ""
		if len(p.Reasons) > 0 {
			why = p.Reasons[0]
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %.1f s | [%s](%s) | %s |\n",
			i+1, thousands(p.Value), p.Outcome, p.Text, p.Seconds, p.Dir, p.Dir, escape(why))
	}
	b.WriteString("\nConfidence is how sure it is that a value passes, or does not, more often than not: three of three runs are 94 %.\n")
	if r.Status == GeneratorLimited {
		b.WriteString("`saturated` probes measured the generator, not the hub: no number of theirs is the hub's.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// escaper takes their meaning from the characters that have one in a line of
// Markdown or in a table. Names of jobs and what a hub answered are in it.
var escaper = strings.NewReplacer("\n", " ", `\`, `\\`, "|", `\|`, "`", "\\`", "*", `\*`, "_", `\_`, "<", "&lt;", "[", `\[`)

func escape(s string) string { return escaper.Replace(s) }

// quotable returns texts that can stand between backticks.
func quotable(texts []string) []string {
	var all []string
	for _, text := range texts {
		all = append(all, strings.NewReplacer("`", "'", "\n", " ").Replace(text))
	}
	return all
}

func probes(n int) string {
	if n == 1 {
		return "1 probe"
	}
	return fmt.Sprintf("%d probes", n)
}

// thousands writes n in groups of three digits.
func thousands(n int) string {
	text := fmt.Sprint(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

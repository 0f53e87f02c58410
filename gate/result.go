package gate

import (
	"fmt"
	"io"
	"strings"

	"muster/report"
)

// JSON writes gate.json.
func (r *Result) JSON(w io.Writer) error { return encodeJSON(w, r) }

// Text writes the result for people at a terminal.
func (r *Result) Text(w io.Writer) error {
	if r.Comparison == nil {
		_, err := io.WriteString(w, strings.ToUpper(r.Verdict.String())+"\n"+r.list("→ ", plain))
		return err
	}
	if err := r.Comparison.Text(w); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n"+strings.Join(plainAll(r.steps()), "\n")+"\n")
	return err
}

// Markdown writes gate.md.
func (r *Result) Markdown(w io.Writer) error {
	if r.Comparison == nil {
		_, err := io.WriteString(w, "# "+strings.ToUpper(r.Verdict.String())+"\n\n"+r.list("- ", escape))
		return err
	}
	if err := r.Comparison.Markdown(w); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("\n## Steps\n\n")
	for _, step := range r.steps() {
		fmt.Fprintf(&b, "- %s\n", escape(step))
	}
	b.WriteString("\n| run | value | verdict | wake p99 | GC pause p99 | steal | |\n| --- | ---: | --- | ---: | ---: | ---: | --- |\n")
	for _, m := range r.Runs {
		steal := "-"
		if m.Use != nil && m.Use.TotalSeconds > 0 {
			steal = part(m.Use.StealSeconds / m.Use.TotalSeconds)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", escape(m.Dir), valueWords(m.Value), m.Verdict, m.Wake.String(), m.GCPause.String(), steal, escape(m.Discarded))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// valueWords words a run's value; a run that was discarded may have none.
func valueWords(v report.Millis) string {
	if v == 0 {
		return "-"
	}
	return v.String()
}

func (r *Result) list(mark string, word func(string) string) string {
	var b strings.Builder
	for _, why := range r.Reasons {
		b.WriteString(mark + word(why) + "\n")
	}
	return b.String()
}

// steps lists what the gate did.
func (r *Result) steps() []string {
	steps := []string{"base: " + r.BaseIs, "new: " + r.NewIs}
	if c := r.Calibration; c != nil {
		steps = append(steps, fmt.Sprintf("calibrated with %d null pairs that differ by %s: tolerance %s", c.Pairs, part(c.Spread), part(c.Tolerance)))
	}
	for _, t := range r.Looks {
		steps = append(steps, fmt.Sprintf("look at %d runs a side: %s, new/base %.3f, %s", t.Runs, t.Verdict, t.Ratio.Value, between(t.Ratio)))
	}
	if n := r.discarded(); n > 0 {
		steps = append(steps, fmt.Sprintf("%d runs were discarded, as their pair was invalid", n))
	}
	return steps
}

func (r *Result) discarded() int {
	n := 0
	for _, m := range r.Runs {
		if m.Discarded != "" {
			n++
		}
	}
	return n
}

package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"muster/internal/sample"
)

// writeMarkdown writes summary.md, for $GITHUB_STEP_SUMMARY.
func (r *Report) writeMarkdown(w io.Writer) error {
	s := &r.Summary
	m := new(markdown)
	m.f("## muster: %s — %s\n\n", s.Verdict, escape(s.Scenario))
	m.list(s.Reasons)
	m.f("%s on %s, driver %s, seed %d, %s s. Connected: %s of %s.\n\n", count(s.Fleet.Devices, "device"), escape(s.Target.text()),
		escape(s.Driver), s.Seed, digits3(s.DurationSeconds), thousands(s.Fleet.Connected), thousands(s.Fleet.Devices))
	if s.Target.Note != "" {
		m.f("> **%s**\n\n", escape(sentence(s.Target.Note)))
	}
	m.thresholds(s.Thresholds)
	m.ledgers(s.Jobs)
	m.causes(s.Jobs)
	m.faults(s.Faults)
	m.phases(s)
	m.generator(&s.Generator)
	m.warnings(s)
	_, err := io.WriteString(w, m.String())
	return err
}

type markdown struct{ strings.Builder }

func (m *markdown) f(format string, args ...any) { fmt.Fprintf(m, format, args...) }

// row writes a table row; head one and the rule below it, whose columns after
// the first text ones are numbers.
func (m *markdown) row(cells ...string) { m.f("| %s |\n", strings.Join(cells, " | ")) }

func (m *markdown) head(text int, cells ...string) {
	m.row(cells...)
	rule := make([]string, len(cells))
	for i := range rule {
		rule[i] = "---:"
		if i < text {
			rule[i] = "---"
		}
	}
	m.row(rule...)
}

func (m *markdown) list(items []string) {
	for _, item := range items {
		m.f("- %s\n", escape(item))
	}
	if len(items) > 0 {
		m.f("\n")
	}
}

func (m *markdown) thresholds(all []Threshold) {
	if len(all) == 0 {
		return
	}
	m.head(2, "", "threshold", "measured")
	for _, t := range all {
		mark, measured := "✓", t.Measured
		if !t.OK {
			mark = "✗"
		}
		if t.NoData {
			measured = "no data"
		}
		m.row(mark, code(t.Expression), escape(join(measured, t.Note)))
	}
	m.f("\n")
}

func (m *markdown) ledgers(jobs []Job) {
	if len(jobs) == 0 {
		return
	}
	head := []string{"job", "ledger", "targeted"}
	for _, o := range sample.Outcomes {
		head = append(head, o.String())
	}
	m.head(2, append(head, "duplicates", "unexpected", "missing", "extra")...)
	for i := range jobs {
		j := &jobs[i]
		row := []string{escape(j.Name), "balanced", thousands(j.Targeted)}
		if !j.LedgerBalanced {
			row[1] = "**not balanced**"
		}
		for _, o := range sample.Outcomes {
			row = append(row, thousands(*j.outcome(o)))
		}
		m.row(append(row, thousands(j.Duplicates), thousands(j.Unexpected), optional(j.Missing), optional(j.Extra))...)
	}
	m.f("\n")
}

// causes lists why executions did not succeed.
func (m *markdown) causes(jobs []Job) {
	var rows [][]string
	for i := range jobs {
		for _, o := range unsuccessful {
			by := jobs[i].CausesByOutcome[o.String()]
			for _, cause := range byCount(by) {
				rows = append(rows, []string{escape(jobs[i].Name), o.String(), escape(cause), thousands(by[cause])})
			}
		}
	}
	if len(rows) == 0 {
		return
	}
	m.head(3, "job", "outcome", "cause", "executions")
	for _, row := range rows {
		m.row(row...)
	}
	m.f("\n")
}

func (m *markdown) faults(all []Fault) {
	if len(all) == 0 {
		return
	}
	m.f("Faults on purpose:\n\n")
	for i := range all {
		m.f("- %s\n", escape(all[i].String()))
	}
	m.f("\n")
}

func optional(n *int64) string {
	if n == nil {
		return "–"
	}
	return thousands(*n)
}

func (m *markdown) phases(s *Summary) {
	m.head(2, "job", "phase", "count", "p50", "p90", "p99", "p99.9", "max")
	for i := range s.Jobs {
		for p := range phases {
			if st := s.Jobs[i].Phases[p.String()]; st != nil {
				m.stats(escape(s.Jobs[i].Name), p.String(), st)
			}
		}
	}
	if st := s.Fleet.Connect; st != nil {
		m.stats("", "connect", st)
	}
	m.f("\n")
}

func (m *markdown) stats(job, phase string, st *Stats) {
	if st.Clock != "" {
		phase += " †"
	}
	m.row(job, phase, thousands(st.Count), st.P50.String(), st.P90.String(), st.P99.String(), st.P999.String(), st.Max.String())
}

func (m *markdown) generator(g *Generator) {
	if g.Wake != nil {
		m.f("Generator: wake p99 %s, max %s; CPU %s s, %s.\n\n", g.Wake.P99.String(), g.Wake.Max.String(), digits3(g.CPUSeconds), size(g.MaxRSS))
	}
	if more := g.upkeep(); len(more) > 0 {
		m.f("Generator: %s.\n\n", escape(strings.Join(more, "; ")))
	}
	for i := range g.Parts {
		m.f("- %s\n", escape(strings.Join(g.Parts[i].text(len(g.Parts)-1), "; ")))
	}
	if len(g.Parts) > 0 {
		m.f("\n")
	}
}

func (m *markdown) warnings(s *Summary) {
	all := append([]string{}, s.Warnings...)
	clock := false
	for i := range s.Jobs {
		for _, w := range slices.Concat(s.Jobs[i].NotRun, s.Jobs[i].LedgerFaults, s.Jobs[i].Warnings) {
			all = append(all, "job "+s.Jobs[i].Name+": "+w)
		}
		clock = clock || s.Jobs[i].onHubClock()
	}
	if clock {
		m.f("† One end is a row time of the hub.\n\n")
	}
	if len(all) > 0 {
		m.f("Warnings:\n\n")
		m.list(all)
	}
}

// escaper takes their meaning from the characters that have one in a line of
// Markdown or in a table.
var escaper = strings.NewReplacer(`\`, `\\`, "|", `\|`, "`", "\\`", "*", `\*`, "_", `\_`, "<", "&lt;", "[", `\[`, "#", `\#`, "~", `\~`)

func escape(s string) string { return escaper.Replace(plain(s)) }

// code quotes s as code, inside a table too.
func code(s string) string {
	s = strings.ReplaceAll(plain(s), "|", `\|`)
	return "`` " + strings.ReplaceAll(s, "``", "` `") + " ``"
}

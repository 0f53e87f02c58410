package gate

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Markdown writes the comparison for a CI's summary page.
func (c *Comparison) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n\n", strings.ToUpper(c.Verdict.String()), escape(c.Scenario))
	for _, r := range c.Reasons {
		fmt.Fprintf(&b, "- %s\n", escape(r))
	}
	if len(c.Reasons) > 0 {
		b.WriteByte('\n')
	}
	b.WriteString("| | |\n| --- | --- |\n")
	row := func(label, text string) { fmt.Fprintf(&b, "| %s | %s |\n", label, escape(text)) }
	row("decides", c.Metric+": "+c.MetricWhy)
	row("base", c.Base.words())
	row("new", c.New.words())
	row("new/base", fmt.Sprintf("%.3f: %s, %s", c.Ratio.Value, change(c.Ratio.Value), between(c.Ratio)))
	how, errs := c.how()
	row("how", how+"; "+errs)
	row("tolerance", part(c.Tolerance)+": "+c.ToleranceFrom)
	row("could see", c.couldSee())
	row("conditions, base", c.Base.Conditions.words())
	row("conditions, new", c.New.Conditions.words())
	row("host", hostWords(c))
	if len(c.Warnings) > 0 {
		b.WriteByte('\n')
	}
	for _, warning := range c.Warnings {
		fmt.Fprintf(&b, "- ⚠ %s\n", escape(warning))
	}
	if len(c.Rows) > 0 {
		fmt.Fprintf(&b, "\n%s\n\n| metric | base | new | new/base | between |\n| --- | ---: | ---: | ---: | ---: |\n", informing)
	}
	for _, r := range c.Rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", escape(r.Metric), r.Base.String(), r.New.String(), signed(r.Ratio.Value), interval(r.Ratio))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// hostWords describes the host that the base ran on.
func hostWords(c *Comparison) string {
	h := c.Host
	words := []string{fmt.Sprintf("%s/%s, %d processors", h.OS, h.Arch, h.CPUs)}
	for _, f := range []struct{ name, value string }{{"", h.CPUModel}, {"kernel ", h.Kernel}, {"governor ", h.Governor}, {"on ", h.Hypervisor}} {
		if f.value != "" {
			words = append(words, f.name+f.value)
		}
	}
	if h.Hypervisor == "unnamed" {
		words[len(words)-1] = "on a hypervisor"
	}
	return strings.Join(words, ", ")
}

// escaper takes their meaning from the characters that have one in a line of
// Markdown or in a table.
var escaper = strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`, "`", "'", "[", `\[`, "#", `\#`, "~", `\~`)

// escape keeps a text from being read as Markdown or HTML.
func escape(s string) string { return escaper.Replace(plain(s)) }

// JSON writes the comparison for programs.
func (c *Comparison) JSON(w io.Writer) error { return encodeJSON(w, c) }

func encodeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

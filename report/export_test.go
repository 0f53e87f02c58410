package report

import "io"

// Names for tests of what only the package itself uses.
var (
	WakeLimit = wakeLimit
	Short     = short
	Thousands = thousands
	Lookup    = lookup
	WriteFile = writeFile
)

// Phases lists the phases' names.
func Phases() []string { return phaseNames[:] }

// Markdown writes summary.md to w.
func (r *Report) Markdown(w io.Writer) error { return r.writeMarkdown(w) }

package report

import "muster/internal/expr"

// Measure returns what a threshold would read at path, and false if the run
// has no such value.
func (s *Summary) Measure(path []string) (expr.Measure, bool) { return lookup(s, path) }

// PhaseNames returns the names of the phases in the order in which reports
// list them.
func PhaseNames() []string { return append([]string(nil), phaseNames[:]...) }

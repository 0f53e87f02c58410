package report

import (
	"slices"

	"muster/internal/expr"
)

// Measure returns what a threshold would read at path of one group of the
// fleet, of which "" is all, and false if the summary has no such value. run is
// the summary's run.
func (s *Summary) Measure(run *Run, path []string, group string) (expr.Measure, bool) {
	switch known := slices.ContainsFunc(run.Groups, func(g Group) bool { return g.Name == group }); {
	case group == "":
		return lookup(s, path)
	case known && path[0] == "jobs": // of the fleet, no summary tells groups apart
		return s.lookupGroup(&expr.Threshold{Path: path, Group: group}, len(run.Groups))
	}
	return expr.Measure{}, false
}

// PhaseNames returns the names of the phases in the order in which reports
// list them.
func PhaseNames() []string { return append([]string(nil), phaseNames[:]...) }

package harness

import (
	"errors"
	"fmt"

	"muster/scenarios"
)

// generatorFiles is what a run's own process has open for each generator: two
// pipes, and on Linux what it waits with for the process to end.
const generatorFiles = 3

// layout is which processes a run is made of.
type layout struct {
	inside     bool // an embedded hub shares the generator's process
	generators int  // that share the devices; 0 is as many as it takes
}

// layoutOf is the layout of s where the command line runs it.
func layoutOf(s *scenarios.Scenario, inside bool) layout {
	if inside && !isRemote(s) || inMemory(s) {
		return layout{inside: inside && !isRemote(s), generators: 1}
	}
	return layout{}
}

// count returns how many generators share the devices of s: 1 where the run's
// own process may have all.
func (l layout) count(limits Limits, s *scenarios.Scenario) int {
	switch {
	case l.generators > 0:
		return l.generators
	case limits.Descriptors == 0 || s.Devices()+spareFor(s) <= limits.Descriptors:
		return 1 // which makes the direct calls too
	}
	most := max(1, limits.Descriptors-spareDescriptors)
	return max(2, (s.Devices()+most-1)/most)
}

// layout returns which processes a run of s is to have. inside is as for Bounds.
func (o *Options) layout(s *scenarios.Scenario, inside bool) (layout, error) {
	all := layoutOf(s, inside)
	if o.StartGenerator == nil || o.Driver != nil {
		all.generators = 1
	}
	switch n := o.Generators; {
	case n < 0 || n > s.Devices():
		return all, fmt.Errorf("divide the fleet: %d generators for %s", n, count(s.Devices(), "device"))
	case n > 1 && all.generators == 1:
		return all, errors.New("divide the fleet: the hub, or the driver that is given, is in this process")
	case n > 0:
		all.generators = n
	}
	return all, nil
}

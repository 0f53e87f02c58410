package harness

import (
	"errors"
	"fmt"

	"muster/scenarios"
)

// GeneratorsFor returns how many processes must share the devices of a fleet
// over TCP, so that each may open its connections: 1 where one may have all.
func GeneratorsFor(l Limits, devices int) int {
	most := l.Descriptors - spareDescriptors
	if l.Descriptors == 0 || devices <= most {
		return 1
	}
	most = max(most, 1)
	return (devices + most - 1) / most
}

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

// count returns how many generators share the devices of s.
func (l layout) count(limits Limits, s *scenarios.Scenario) int {
	if l.generators > 0 {
		return l.generators
	}
	if limits.Descriptors > 0 { // one that is alone makes the direct calls too
		limits.Descriptors = max(1, limits.Descriptors-spareFor(s)+spareDescriptors)
	}
	return GeneratorsFor(limits, s.Devices())
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

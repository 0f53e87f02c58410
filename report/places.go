package report

import "maps"

// places finds where something about a device is kept. A table of the whole
// fleet takes the least memory and time where most of the fleet is in it, a map
// where few are: a job may target 400 devices of a million, a thousand times.
type places struct {
	few map[uint32]int32
	all []int32 // place + 1, by device; nil while the map has all
	n   int     // devices that have a place
}

// denseFrom is from which part of the fleet on a table is smaller than a map,
// which takes some 16 bytes a device.
const denseFrom = 4

// find returns the place of a device, and whether it has one.
func (p *places) find(device uint32) (int, bool) {
	if int(device) < len(p.all) {
		at := p.all[device]
		return int(at) - 1, at > 0
	}
	at, ok := p.few[device]
	return int(at), ok
}

// put gives a device a place. Those that are not among the fleet's so many
// devices stay in the map.
func (p *places) put(device uint32, at, fleet int) {
	if p.n++; p.all == nil && p.n*denseFrom > fleet {
		p.all = make([]int32, fleet)
		for d, at := range p.few {
			if int(d) < fleet {
				p.all[d] = at + 1
			}
		}
		maps.DeleteFunc(p.few, func(d uint32, _ int32) bool { return int(d) < fleet })
	}
	if int(device) < len(p.all) {
		p.all[device] = int32(at) + 1
		return
	}
	if p.few == nil {
		p.few = map[uint32]int32{}
	}
	p.few[device] = int32(at)
}

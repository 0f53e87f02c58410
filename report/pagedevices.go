package report

import (
	"time"

	"muster/internal/sample"
)

const (
	// mostValues is how many devices, those of each job counted again, a page
	// has one by one: 100,000 in two jobs.
	mostValues = 300_000
	// mostCells is how many cells a page of more has, counted likewise: 20,000
	// in two jobs, which are large enough on a screen for one of another colour
	// to be seen. A page of any fleet then stays far below five megabytes.
	mostCells = 60_000
	// mostNamed is how many devices of a cell that did not succeed are named.
	mostNamed = 3
)

// devicePage has a column a quantity and a place a cell of the map. A cell is a
// device, in the order of the fleet, or as many as Each says: then it has the
// worst of theirs, and whose that is. Latencies are whole µs; -1 stands for
// none.
type devicePage struct {
	Each    int           `json:"each"`           // devices in a cell; the last may have fewer
	Devices int           `json:"devices"`        // of the fleet
	IDs     []string      `json:"ids"`            // of the cell's first device
	Last    []string      `json:"last,omitempty"` // and of its last; absent if it has one only
	Group   []int         `json:"group"`          // place in Run.Groups; -1 if it is none of them, or several
	Connect []int64       `json:"connect"`        // how long the device took to connect
	Slowest []string      `json:"slowest"`        // which device that was, in a cell of several
	Without []uint32      `json:"without"`        // how many never connected, in a cell of several
	Returns []uint32      `json:"returns"`        // how often it came back
	Jobs    []*deviceJobs `json:"jobs"`           // by their place in Summary.Jobs
}

// deviceJobs is what devices had of one job.
type deviceJobs struct {
	Cells    []uint32            `json:"cells,omitempty"` // which the places are of; absent if they are all
	Outcomes map[string][]uint32 `json:"outcomes"`        // how many executions ended so, of those outcomes that occurred
	Median   []int64             `json:"median"`          // of total
	Max      []int64             `json:"max"`
	MaxIn    []uint32            `json:"maxIn"`   // the repetition of max, from 1
	Service  []int64             `json:"service"` // the longest
	Slowest  []string            `json:"slowest"` // whose max that is, in a cell of several
	Named    map[int][]string    `json:"named"`   // by place: the first devices that did not succeed, in a cell of several
}

func (r *Report) devicePage() *devicePage {
	b := r.book
	values := len(b.devices)
	for i := range r.devices {
		values += len(r.devices[i].rows)
	}
	p := &devicePage{Each: 1, Devices: len(b.devices)}
	if values > mostValues {
		cells := max(mostCells/(1+len(r.devices)), 1)
		p.Each = (len(b.devices) + cells - 1) / cells
	}
	p.addDevices(b)
	p.Jobs = []*deviceJobs{}
	for i := range r.devices {
		p.Jobs = append(p.Jobs, newDeviceJobs(b, r.devices[i].rows, p.Each))
	}
	return p
}

func (p *devicePage) addDevices(b *book) {
	n := (len(b.devices) + p.Each - 1) / p.Each
	// Without nil, which a page would read as null.
	p.IDs, p.Group, p.Connect, p.Returns = make([]string, 0, n), make([]int, 0, n), make([]int64, 0, n), make([]uint32, 0, n)
	p.Slowest, p.Without = []string{}, []uint32{}
	place := map[string]int{}
	for i, g := range b.run.Groups {
		place[g.Name] = i
	}
	for from := 0; from < len(b.devices); from += p.Each {
		p.addCell(b, uint32(from), uint32(min(from+p.Each, len(b.devices))), place)
	}
}

// addCell adds the devices from one index up to another.
func (p *devicePage) addCell(b *book, from, to uint32, place map[string]int) {
	group, ok := place[b.group(from)]
	took, returns, without, slowest := time.Duration(none), uint32(0), uint32(0), from
	for i := from; i < to; i++ {
		d := &b.devices[i]
		ok = ok && d.group == b.devices[from].group
		returns += d.returns
		switch {
		case !d.ready:
			without++
		case d.took > took:
			took, slowest = d.took, i
		}
	}
	if !ok {
		group = none
	}
	p.IDs, p.Group = append(p.IDs, b.name(from)), append(p.Group, group)
	p.Connect, p.Returns = append(p.Connect, microsOr(took)), append(p.Returns, returns)
	if p.Each > 1 {
		p.Last, p.Slowest, p.Without = append(p.Last, b.name(to-1)), append(p.Slowest, b.name(slowest)), append(p.Without, without)
	}
}

func newDeviceJobs(b *book, rows []deviceRow, each int) *deviceJobs {
	n := min(len(rows), (len(b.devices)+each-1)/each)
	p := &deviceJobs{
		Outcomes: map[string][]uint32{}, Median: make([]int64, 0, n), Max: make([]int64, 0, n), MaxIn: make([]uint32, 0, n), Service: make([]int64, 0, n),
		Slowest: []string{}, Named: map[int][]string{},
	}
	for len(rows) > 0 {
		cell, n := int(rows[0].device)/each, 1
		for n < len(rows) && int(rows[n].device)/each == cell {
			n++
		}
		p.Cells = append(p.Cells, uint32(cell))
		p.addCell(b, rows[:n], each)
		rows = rows[n:]
	}
	if len(p.Cells) == (len(b.devices)+each-1)/each {
		p.Cells = nil
	}
	return p
}

// addCell adds the devices of a cell.
func (p *deviceJobs) addCell(b *book, rows []deviceRow, each int) {
	place := len(p.Max)
	var outcomes [outcomeCount]uint32
	median, longest, service, in, slowest := int64(none), int64(none), int64(none), uint32(0), rows[0].device
	for i := range rows {
		d := &rows[i]
		succeeded, all := d.outcomes[sample.Succeeded], uint32(0)
		for o, n := range d.outcomes {
			outcomes[o] += n
			all += n
		}
		if each > 1 && succeeded < all && len(p.Named[place]) < mostNamed {
			p.Named[place] = append(p.Named[place], b.name(d.device))
		}
		service = max(service, microsOr(d.service))
		if d.samples == 0 {
			continue
		}
		us := microsOr(d.max)
		median = max(median, min(d.p50, us))
		if us > longest {
			longest, in, slowest = us, d.maxIn+1, d.device
		}
	}
	p.addOutcomes(place, &outcomes)
	p.Median, p.Max, p.MaxIn, p.Service = append(p.Median, median), append(p.Max, longest), append(p.MaxIn, in), append(p.Service, service)
	if each > 1 {
		p.Slowest = append(p.Slowest, b.name(slowest))
	}
}

// addOutcomes adds a cell to the columns of the outcomes that occurred. Those
// of an outcome that occurs for the first time did not before.
func (p *deviceJobs) addOutcomes(place int, outcomes *[outcomeCount]uint32) {
	for o, n := range outcomes {
		name := sample.Outcome(o).String()
		if column, ok := p.Outcomes[name]; ok || n > 0 {
			p.Outcomes[name] = append(append(column, make([]uint32, place-len(column))...), n)
		}
	}
}

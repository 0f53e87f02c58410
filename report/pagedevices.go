package report

import (
	"time"

	"muster/internal/sample"
)

// devicePage has a column a quantity and a place a device, in the order of the
// fleet. Latencies are whole µs; -1 stands for none.
type devicePage struct {
	IDs     []string      `json:"ids"`
	Group   []int         `json:"group"`   // place in Run.Groups; -1 if it is none of them
	Connect []int64       `json:"connect"` // how long the device took to connect
	Returns []uint32      `json:"returns"` // how often it came back
	Jobs    []*deviceJobs `json:"jobs"`    // by their place in Summary.Jobs
}

// deviceJobs is what devices had of one job.
type deviceJobs struct {
	Devices  []uint32            `json:"devices,omitempty"` // which the places are of; absent if they are all
	Outcomes map[string][]uint32 `json:"outcomes"`          // how many executions ended so, of those outcomes that occurred
	Median   []int64             `json:"median"`            // of total
	Max      []int64             `json:"max"`
	MaxIn    []uint32            `json:"maxIn"`   // the repetition of max, from 1
	Service  []int64             `json:"service"` // the longest
}

func (r *Report) devicePage() *devicePage {
	b := r.book
	n := len(b.devices)
	p := &devicePage{ // without nil, which a page would read as null
		IDs: make([]string, 0, n), Group: make([]int, 0, n), Connect: make([]int64, 0, n), Returns: make([]uint32, 0, n), Jobs: []*deviceJobs{},
	}
	place := map[string]int{}
	for i, g := range b.run.Groups {
		place[g.Name] = i
	}
	for i := range b.devices {
		d := &b.devices[i]
		group, ok := place[d.group]
		if !ok {
			group = none
		}
		took := time.Duration(none)
		if d.ready {
			took = d.took
		}
		p.IDs, p.Group = append(p.IDs, (&deviceRow{deviceBook: d, device: uint32(i)}).name()), append(p.Group, group)
		p.Connect, p.Returns = append(p.Connect, microsOr(took)), append(p.Returns, d.returns)
	}
	rows := r.devices
	for i := range b.run.Jobs {
		n := 0
		for n < len(rows) && rows[n].job == b.run.Jobs[i].Name {
			n++
		}
		p.Jobs = append(p.Jobs, newDeviceJobs(rows[:n], len(b.devices)))
		rows = rows[n:]
	}
	return p
}

func newDeviceJobs(rows []deviceRow, devices int) *deviceJobs {
	n := len(rows)
	p := &deviceJobs{
		Outcomes: map[string][]uint32{}, Median: make([]int64, 0, n), Max: make([]int64, 0, n), MaxIn: make([]uint32, 0, n), Service: make([]int64, 0, n),
	}
	for i := range rows {
		d := &rows[i]
		if len(rows) != devices {
			p.Devices = append(p.Devices, d.device)
		}
		for o, n := range d.outcomes {
			if name := sample.Outcome(o).String(); n > 0 {
				if p.Outcomes[name] == nil {
					p.Outcomes[name] = make([]uint32, len(rows))
				}
				p.Outcomes[name][i] = n
			}
		}
		median, longest, in := int64(none), int64(none), uint32(0)
		if d.total != nil {
			median = d.total.ValueAtPercentilesSlice(ranks(d.total.TotalCount(), 50))[0]
			longest, in = microsOr(d.max), d.maxIn+1
		}
		p.Median, p.Max = append(p.Median, min(median, longest)), append(p.Max, longest)
		p.MaxIn, p.Service = append(p.MaxIn, in), append(p.Service, microsOr(d.service))
	}
	return p
}

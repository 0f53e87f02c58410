package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"muster/internal/sample"
)

// Use is how much of what a limit allows was used at most.
type Use struct {
	Used  int64 `json:"used"`
	Limit int64 `json:"limit,omitempty"` // absent if it is not known
}

// Samples is how the recording of samples went.
type Samples struct {
	Records     int64  `json:"records"`
	Dropped     int64  `json:"dropped"` // not recorded, because too much waited for the disk: the run has failed
	Late        int64  `json:"late"`    // on disk more than a second after they were recorded
	LongestWait Millis `json:"longestWait"`
}

// ScheduleLag is how late muster began executions that it dispatches itself:
// of the direct job with the largest p99.
type ScheduleLag struct {
	Job string `json:"job"`
	P99 Millis `json:"p99"`
	Max Millis `json:"max"`
}

// Calibration is what the harness itself costs a round trip: a direct method
// job over a device path that costs nothing, in the same process before the run.
type Calibration struct {
	RoundTrips int64   `json:"roundTrips"`
	CPUMicros  float64 `json:"cpuMicros"` // a round trip
	P50        Millis  `json:"p50"`       // of service
	P99        Millis  `json:"p99"`
	Max        Millis  `json:"max"`
}

// upkeep gathers what the generator used of its host.
type upkeep struct {
	busy        map[uint32]*busy // by generator
	peakCPU     float64          // processors busy, in the busiest time between two records of the run's own process
	descriptors int64
	recording   *sample.Recording
}

// busy is how many processors a generator kept busy between its last two records.
type busy struct {
	at         sample.Moment // of the last
	cpu        time.Duration
	processors float64
}

const (
	// shortestAccount is the least time between two health records that tells a share of
	// a processor: CPU is accounted in steps of up to 10 ms.
	shortestAccount = 500 * time.Millisecond
	// oldAccount is how old a record may be and still tell of now: each generator
	// makes one a second, at times of its own.
	oldAccount = 2 * time.Second
)

// addHealth adds up what generators do by each one's own records: between two of
// the run's own process there may be none of another, or two.
func (u *upkeep) addHealth(h *sample.Health) {
	of := u.busy[h.Generator]
	if of == nil {
		if u.busy == nil {
			u.busy = map[uint32]*busy{}
		}
		of = new(busy)
		u.busy[h.Generator] = of
	}
	took, ok := h.At.Since(of.at)
	if ok && took < shortestAccount {
		return
	}
	if ok {
		of.processors = float64(h.CPU-of.cpu) / float64(took)
	}
	of.at, of.cpu = h.At, h.CPU
	if h.Generator > 0 {
		return
	}
	var all float64
	for _, of := range u.busy {
		if age, ok := h.At.Since(of.at); ok && age <= oldAccount {
			all += of.processors
		}
	}
	u.peakCPU = max(u.peakCPU, all)
}

func (u *upkeep) addRecording(r *sample.Recording) {
	if u.recording == nil || r.At >= u.recording.At {
		u.recording = r
	}
}

// describe fills in what the generator used and how its recording went.
func (u *upkeep) describe(s *Summary, run *Run) {
	g := &s.Generator
	if cpus := run.Host.CPUs; cpus > 0 {
		g.PeakCPU = math.Round(u.peakCPU/float64(cpus)*1e3) / 1e3
	}
	if u.descriptors > 0 {
		g.Descriptors = &Use{u.descriptors, run.Limits.Descriptors}
	}
	if ports := portsOf(s); ports > 0 {
		g.Ports = &Use{ports, run.Limits.Ports}
	}
	if r := u.recording; r != nil {
		g.Samples = &Samples{Records: r.Records, Dropped: r.Dropped, Late: r.Late, LongestWait: Millis(r.Waited)}
	}
	if g.Samples != nil && g.Samples.Late > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%s waited more than %v for the disk, at most %s: a kill would have lost them",
			count(g.Samples.Late, "sample"), sample.LateAfter, g.Samples.LongestWait.String()))
	}
	g.Calibration = run.Calibration
	for i := range s.Jobs {
		j := &s.Jobs[i]
		if st := j.Phases[lag.String()]; st != nil && j.Via == "direct" && (g.ScheduleLag == nil || st.P99 > g.ScheduleLag.P99) {
			g.ScheduleLag = &ScheduleLag{Job: j.Name, P99: st.P99, Max: st.Max}
		}
	}
}

// portsOf returns how many local ports the devices' connections had at most:
// as the hub counted them, else one a device that connected.
func portsOf(s *Summary) int64 {
	switch {
	case s.Target.Transport == "memory":
		return 0
	case s.Hub != nil && s.Hub.Connections > 0:
		return s.Hub.Connections
	}
	return s.Fleet.Connected
}

func (u *Use) text() string {
	if u.Limit == 0 {
		return thousands(u.Used)
	}
	return thousands(u.Used) + " of " + thousands(u.Limit)
}

// upkeep returns what the generator used, for a person.
func (g *Generator) upkeep() []string {
	var items []string
	if g.ScheduleLag != nil {
		items = append(items, "schedule lag p99 "+g.ScheduleLag.P99.String()+" max "+g.ScheduleLag.Max.String()+" (job "+plain(g.ScheduleLag.Job)+")")
	}
	if g.PeakCPU > 0 {
		items = append(items, "CPU at most "+strconv.Itoa(int(math.Round(100*g.PeakCPU)))+" % in a second")
	}
	if g.Descriptors != nil {
		items = append(items, "open files "+g.Descriptors.text())
	}
	if g.Ports != nil {
		items = append(items, "ports "+g.Ports.text())
	}
	if s := g.Samples; s != nil {
		items = append(items, "samples "+thousands(s.Records)+", late "+thousands(s.Late)+", dropped "+thousands(s.Dropped))
	}
	if c := g.Calibration; c != nil {
		items = append(items, "harness alone "+digits3(c.CPUMicros)+" µs of CPU a round trip, p50 "+c.P50.String()+" p99 "+c.P99.String())
	}
	return items
}

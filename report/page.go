package report

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"muster/internal/sample"
)

// mostPoints is how many points of a quantity over time a page shows. Of a
// longer run some seconds each make one, which is the worst of them.
const mostPoints = 600

// runPage is what report.html knows of a run. web/model.js reads it.
type runPage struct {
	Label    string      `json:"label"` // the folder's name
	Summary  *Summary    `json:"summary"`
	Run      *Run        `json:"run"`
	Scenario string      `json:"scenarioFile"` // scenario.yaml; "" if the folder has none
	Jobs     []*jobPage  `json:"jobs"`         // by their place in Summary.Jobs
	Devices  *devicePage `json:"devices,omitempty"`
	Ramp     rampPage    `json:"ramp"`
	Health   healthPage  `json:"health"`
	Hub      hubPage     `json:"hub"`
}

// page gathers what the page shows; with devices or, to compare runs, without.
func (r *Report) page(devices bool) (*runPage, error) {
	scenario, err := os.ReadFile(filepath.Join(r.dir, "scenario.yaml"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	dir, err := filepath.Abs(r.dir)
	if err != nil {
		return nil, fmt.Errorf("name of the results folder: %w", err)
	}
	d := &r.book.detail
	p := &runPage{
		Label: filepath.Base(dir), Summary: &r.Summary, Run: r.book.run, Scenario: string(scenario), Jobs: r.jobPages(),
		Ramp: d.ramp.page(), Health: healthColumns(d.health), Hub: hubColumns(d.hub),
	}
	if devices {
		p.Devices = r.devicePage()
	}
	return p, nil
}

// rampPage is the connect ramp: of the devices that became ready, when they
// were due to connect and when they were ready, in ms since the run began.
type rampPage struct {
	Due   curve `json:"due"`
	Ready curve `json:"ready"`
}

func (r *ramp) page() rampPage {
	return rampPage{Due: curveOf(r.due), Ready: curveOf(r.ready)}
}

func curveOf(moments []sample.Moment) curve {
	all := make([]time.Duration, len(moments))
	for i, m := range moments {
		all[i] = time.Duration(m)
	}
	slices.Sort(all)
	return newCurve(all, curveSteps)
}

// none stands in a column of whole numbers for what was not seen.
const none = -1

// healthPage is the generator's account of itself, a column a quantity. Times
// are whole µs.
type healthPage struct {
	Each        int       `json:"each"`    // how many records one point is of
	At          []float64 `json:"at"`      // seconds since the run began
	WakeP99     []int64   `json:"wakeP99"` // -1 without a wake
	WakeMax     []int64   `json:"wakeMax"`
	Late        []int64   `json:"late"`
	GC          []int64   `json:"gc"`
	CPU         []float64 `json:"cpu"` // processors in use since the point before
	RSS         []int64   `json:"rss"`
	Goroutines  []int64   `json:"goroutines"`
	Descriptors []int64   `json:"descriptors"`
}

func healthColumns(points []healthPoint) healthPage {
	p := healthPage{Each: max((len(points)+mostPoints-1)/mostPoints, 1)}
	var before healthPoint
	for some := range slices.Chunk(points, p.Each) {
		last, worst := some[len(some)-1], some[0]
		for _, h := range some[1:] {
			worst.wakeP99, worst.wakeMax = max(worst.wakeP99, h.wakeP99), max(worst.wakeMax, h.wakeMax)
			worst.late, worst.rss = max(worst.late, h.late), max(worst.rss, h.rss)
			worst.goroutines, worst.descriptors = max(worst.goroutines, h.goroutines), max(worst.descriptors, h.descriptors)
		}
		p.At = append(p.At, seconds(time.Duration(last.at)))
		p.WakeP99, p.WakeMax = append(p.WakeP99, microsOr(worst.wakeP99)), append(p.WakeMax, microsOr(worst.wakeMax))
		p.Late, p.GC = append(p.Late, microsOr(worst.late)), append(p.GC, microsOr(last.gc))
		p.CPU = append(p.CPU, share(last.cpu-before.cpu, last.at-before.at))
		p.RSS, p.Goroutines, p.Descriptors = append(p.RSS, worst.rss), append(p.Goroutines, worst.goroutines), append(p.Descriptors, worst.descriptors)
		before = last
	}
	return p
}

// hubPage is the hub's account of itself.
type hubPage struct {
	At          []float64 `json:"at"`
	CPU         []float64 `json:"cpu"`
	RSS         []int64   `json:"rss"`
	Connections []int64   `json:"connections"`
}

func hubColumns(points []hubPoint) hubPage {
	var p hubPage
	var before hubPoint
	for some := range slices.Chunk(points, max((len(points)+mostPoints-1)/mostPoints, 1)) {
		last := some[len(some)-1]
		p.At = append(p.At, seconds(time.Duration(last.at)))
		p.CPU = append(p.CPU, share(last.cpu-before.cpu, last.at-before.at))
		p.RSS, p.Connections = append(p.RSS, last.rss), append(p.Connections, last.connections)
		before = last
	}
	return p
}

// share returns how much of a processor was in use.
func share(cpu time.Duration, during sample.Moment) float64 {
	if during <= 0 {
		return 0
	}
	return float64(int64(1000*float64(cpu)/float64(during))) / 1000
}

// microsOr returns d in whole microseconds, or none if it is below zero.
func microsOr(d time.Duration) int64 {
	if us, ok := micros(d); ok {
		return us
	}
	return none
}

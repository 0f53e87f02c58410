package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"muster/internal/sample"
)

// costs are what one run cost.
type costs struct {
	RoundTrips      float64 // a second, from a repetition's first dispatch to its last end, as the hub booked it; the median repetition
	GeneratorMicros float64 // CPU a round trip, between the health records around all repetitions
	HubMicros       float64
	GeneratorKB     float64 // resident a device when all are connected, the process's own share included
	AfterKB         float64 // the same after the last broadcast, with its histograms
	HubKB           float64
	Connects        float64 // a second, from the first due to the last ready
}

// account is a process's account of itself at a moment.
type account struct {
	at  sample.Moment
	cpu time.Duration
	rss int64
}

func (a account) kb(devices int) float64 { return float64(a.rss) / 1024 / float64(devices) }

// reading gathers what costs are computed from.
type reading struct {
	devices     int
	firstDue    sample.Moment
	lastReady   sample.Moment
	generator   []account
	hub         []account
	repetitions map[uint32]*span
}

// span is a repetition's busy time.
type span struct {
	from, to sample.Moment
	ended    int
}

func read(dir string) (costs, error) {
	in, err := sample.OpenDir(dir)
	if err != nil {
		return costs{}, err
	}
	defer in.Close()
	r := reading{repetitions: map[uint32]*span{}}
	for {
		rec, err := in.Next()
		if errors.Is(err, io.EOF) {
			return r.costs()
		}
		if err != nil {
			return costs{}, err
		}
		r.add(rec)
	}
}

func (r *reading) add(rec sample.Record) {
	switch rec := rec.(type) {
	case *sample.Device:
		r.devices++
	case *sample.Connect:
		if r.firstDue == 0 || rec.Due < r.firstDue {
			r.firstDue = rec.Due
		}
		r.lastReady = max(r.lastReady, rec.Ready)
	case *sample.Health:
		r.generator = append(r.generator, account{rec.At, rec.CPU, rec.RSS})
	case *sample.HubStats:
		r.hub = append(r.hub, account{rec.At, rec.CPU, rec.RSS})
	case *sample.Execution:
		if rec.Final && rec.Outcome == sample.Succeeded {
			r.execution(rec)
		}
	}
}

func (r *reading) execution(e *sample.Execution) {
	s := r.repetitions[e.Repetition]
	if s == nil {
		s = &span{from: e.Dispatched, to: e.Finished}
		r.repetitions[e.Repetition] = s
	}
	s.from, s.to = min(s.from, e.Dispatched), max(s.to, e.Finished, e.Booked)
	s.ended++
}

func (r *reading) costs() (costs, error) {
	if len(r.repetitions) == 0 || r.devices == 0 {
		return costs{}, errors.New("no execution succeeded")
	}
	var rates []float64
	var busy span
	for _, s := range r.repetitions {
		rates = append(rates, float64(s.ended)/time.Duration(s.to-s.from).Seconds())
		if busy.from == 0 || s.from < busy.from {
			busy.from = s.from
		}
		busy.to = max(busy.to, s.to)
		busy.ended += s.ended
	}
	slices.Sort(rates)
	c := costs{RoundTrips: rates[len(rates)/2]}
	if d, ok := r.lastReady.Since(r.firstDue); ok {
		c.Connects = float64(r.devices) / d.Seconds()
	}
	var err error
	if c.GeneratorMicros, c.GeneratorKB, c.AfterKB, err = perTrip(r.generator, busy, r.lastReady, r.devices); err != nil {
		return costs{}, err
	}
	if len(r.hub) > 0 && r.hub[0].cpu > 0 {
		c.HubMicros, c.HubKB, _, err = perTrip(r.hub, busy, r.lastReady, r.devices)
	}
	return c, err
}

// perTrip returns the CPU a round trip between the accounts around busy, and
// the memory a device at the first account after all were connected, and at the
// one after the broadcasts.
func perTrip(accounts []account, busy span, connected sample.Moment, devices int) (micros, kb, AfterKB float64, err error) {
	var before, after *account
	for i := range accounts {
		a := &accounts[i]
		if a.at <= busy.from {
			before = a
		}
		if a.at >= busy.to && after == nil {
			after = a
		}
		if a.at >= connected && kb == 0 {
			kb = a.kb(devices)
		}
	}
	if before == nil || after == nil {
		return 0, 0, 0, fmt.Errorf("no account of a process around the broadcasts, which took %v", time.Duration(busy.to-busy.from))
	}
	return float64((after.cpu - before.cpu).Microseconds()) / float64(busy.ended), kb, after.kb(devices), nil
}

package main

import (
	"cmp"
	"fmt"
	"slices"

	"muster/bench/internal/floor"
)

// benchCase is one kind of broadcast to a fleet of a size.
type benchCase struct {
	via       string // hub or direct; of a floor what it is
	transport string // tcp, tls or memory
	driver    string // paho or lean; none of a floor
	devices   int
}

// The floors, in the place of via. Those of a transport are two bare programs,
// or one in memory.
const (
	bare     = "floor"
	barePaho = "paho pair"
	bareHTTP = "net/http pair"
)

var (
	transports = []string{"tcp", "tls", "memory"}
	vias       = []string{"hub", "direct"}
	drivers    = []string{"paho", "lean"}
)

const (
	small = 1_000
	large = 10_000
	huge  = 100_000 // in memory alone

	// mostSockets is how many devices have a descriptor each where a process may
	// hold 20,000.
	mostSockets = 19_000
)

func (c benchCase) isFloor() bool { return c.driver == "" }

// words are what a case is called by: in the flag -only, and in a line of
// progress.
func (c benchCase) words() []string {
	if c.isFloor() {
		return []string{c.via, c.transport}
	}
	return []string{c.via, c.transport, c.driver}
}

func (c benchCase) String() string {
	text := c.via + ", " + c.transport
	if !c.isFloor() {
		text += ", " + c.driver
	}
	return fmt.Sprintf("%s, %d devices", text, c.devices)
}

// pair returns the floor programs of a floor.
func (c benchCase) pair() floor.Pair {
	return map[[2]string]floor.Pair{
		{bare, "tcp"}: floor.TCP, {bare, "tls"}: floor.TLS, {bare, "memory"}: floor.Memory,
		{barePaho, "tcp"}: floor.Paho, {barePaho, "tls"}: floor.PahoTLS, {barePaho, "memory"}: floor.PahoMemory,
		// Calls go over plain HTTP, whatever the devices connect by.
		{bareHTTP, "tcp"}: floor.HTTP, {bareHTTP, "tls"}: floor.HTTP, {bareHTTP, "memory"}: floor.HTTPMemory,
	}[[2]string{c.via, c.transport}]
}

// floors returns what a case is measured against: one after the other, where
// there are two. A hub job is measured against the bare programs; a direct one
// makes a call over HTTP for each device, beside an exchange with its driver.
func (c benchCase) floors() []benchCase {
	of := func(what string) benchCase { return benchCase{via: what, transport: c.transport, devices: c.devices} }
	switch {
	case c.isFloor():
		return nil
	case c.via == "hub":
		return []benchCase{of(bare)}
	case c.driver == "paho":
		return []benchCase{of(bareHTTP), of(barePaho)}
	}
	return []benchCase{of(bareHTTP), of(bare)}
}

// matrix returns all cases of muster with fleets of these sizes.
func matrix(sizes ...int) []benchCase {
	var all []benchCase
	for _, transport := range transports {
		for _, devices := range sizes {
			if transport != "memory" && devices > mostSockets {
				continue
			}
			for _, via := range vias {
				for _, driver := range drivers {
					all = append(all, benchCase{via, transport, driver, devices})
				}
			}
		}
	}
	return all
}

// usual says whether a case is measured without being asked for: what the
// goals are of, and what a reader looks for first, in ten minutes.
func (c benchCase) usual() bool {
	switch {
	case c.via == "direct":
		return c.transport == "tcp" && c.devices < large
	case c.transport == "tcp":
		return true
	}
	return c.driver == "lean"
}

// choose returns the cases to measure with their floors, in the order of the
// tables.
func (s settings) choose() []benchCase {
	var chosen []benchCase
	wanted := map[benchCase]bool{}
	sizes := s.sizes
	if sizes == nil {
		sizes = []int{small, large, huge}
	}
	for _, c := range matrix(sizes...) {
		if !s.wants(c) {
			continue
		}
		for _, c := range append(c.floors(), c) {
			if !wanted[c] {
				wanted[c] = true
				chosen = append(chosen, c)
			}
		}
		if paho := (benchCase{via: barePaho, transport: c.transport, devices: c.devices}); c.driver == "paho" && !wanted[paho] {
			wanted[paho] = true // a hub job with paho is read beside it
			chosen = append(chosen, paho)
		}
	}
	slices.SortFunc(chosen, order)
	return chosen
}

func (s settings) wants(c benchCase) bool {
	for _, word := range s.only {
		if !slices.Contains(c.words(), word) {
			return false
		}
	}
	return s.all || s.only != nil || c.usual()
}

// order puts what is compared side by side: a transport's cases by size, the
// floors first.
func order(a, b benchCase) int {
	kinds := []string{bare, barePaho, bareHTTP, "hub", "direct"}
	return cmp.Or(
		cmp.Compare(slices.Index(transports, a.transport), slices.Index(transports, b.transport)),
		cmp.Compare(a.devices, b.devices),
		cmp.Compare(slices.Index(kinds, a.via), slices.Index(kinds, b.via)),
		cmp.Compare(slices.Index(drivers, a.driver), slices.Index(drivers, b.driver)),
	)
}

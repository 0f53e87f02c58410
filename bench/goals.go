package main

import "fmt"

// goal is what a number is to be. It decides nothing: one run on a shared
// machine is no proof, of either.
type goal struct {
	text  string
	value func(results) float64 // 0: not measured
	most  float64               // as large as it may be; 0: there is no such bound
	least float64               // as small as it may be
}

// goals are those of lean at the sizes that they are for, and of direct jobs.
var goals = []goal{
	{"lean, TCP, 10,000 devices: generator KB a device after the jobs", absolute(leanHub("tcp", large), after), 8, 0},
	{"lean, TLS, 10,000 devices: generator KB a device after the jobs", absolute(leanHub("tls", large), after), 20, 0},
	{"lean, TCP, 10,000 devices: generator CPU a round trip, of the floor's", multiple(leanHub("tcp", large), generatorCPU), 1.25, 0},
	{"lean, TCP, 10,000 devices: connects/s, of the floor's", multiple(leanHub("tcp", large), connects), 0, 0.9},
	{"lean, TCP, 10,000 devices: time of a broadcast, of the floor's", inverse(multiple(leanHub("tcp", large), rate)), 1.6, 0},
	{"direct, TCP, paho: generator CPU a round trip, of net/http and paho alone", multiple(direct, generatorCPU), 1.5, 0},
	{"direct, TCP, paho: time of a broadcast, of net/http and paho alone", inverse(multiple(direct, rate)), 1.5, 0},
	{"lean, memory: generator KB a device of 100,000, of that of 10,000", growth(after), 1.15, 0},
	{"lean, memory: CPU a round trip of 100,000, of that of 10,000", growth(generatorCPU), 1.15, 0},
}

func leanHub(transport string, devices int) benchCase {
	return benchCase{"hub", transport, "lean", devices}
}

var direct = benchCase{"direct", "tcp", "paho", small}

func absolute(c benchCase, q int) func(results) float64 {
	return func(r results) float64 { return r.of(c, quantities[q].of) }
}

func multiple(c benchCase, q int) func(results) float64 {
	return func(r results) float64 { return r.ratio(c, quantities[q]) }
}

func growth(q int) func(results) float64 {
	of := quantities[q].of
	return func(r results) float64 {
		smaller := r.of(leanHub("memory", large), of)
		if smaller == 0 {
			return 0
		}
		return r.of(leanHub("memory", huge), of) / smaller
	}
}

// inverse turns a ratio of rates into one of times.
func inverse(value func(results) float64) func(results) float64 {
	return func(r results) float64 {
		if v := value(r); v != 0 {
			return 1 / v
		}
		return 0
	}
}

func (r results) goalTable() table {
	t := table{
		before: "What is aimed at, and no verdict: what else a machine does decides too.",
		head:   []string{"goal", "aimed at", "measured", ""},
	}
	for _, g := range goals {
		v := g.value(r)
		if v == 0 {
			continue
		}
		bound, reached := fmt.Sprintf("≤ %g", g.most), v <= g.most
		if g.most == 0 {
			bound, reached = fmt.Sprintf("≥ %g", g.least), v >= g.least
		}
		word := "reached"
		if !reached {
			word = "not reached"
		}
		t.rows = append(t.rows, []string{g.text, bound, number(v), word})
	}
	return t
}

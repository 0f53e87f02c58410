package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// results are the runs of each case.
type results map[benchCase][]costs

// cases returns those that were measured, in the order of the tables.
func (r results) cases() []benchCase {
	var all []benchCase
	for c := range r {
		all = append(all, c)
	}
	slices.SortFunc(all, order)
	return all
}

// of returns the median of a number over the runs of a case; 0 if there is
// none.
func (r results) of(c benchCase, number func(costs) float64) float64 {
	if len(r[c]) == 0 {
		return 0
	}
	return median(r[c], number)
}

// quantity is what a column shows.
type quantity struct {
	name string
	of   func(costs) float64
	add  func(each []float64) float64 // what two floors come to, of which one is done after the other
}

// quantities are the columns, in order.
var quantities = []quantity{
	{"round trips/s", func(c costs) float64 { return c.RoundTrips }, inTurn},
	{"generator µs/trip", func(c costs) float64 { return c.GeneratorMicros }, sum},
	{"hub µs/trip", func(c costs) float64 { return c.HubMicros }, sum},
	{"generator KB/device", func(c costs) float64 { return c.GeneratorKB }, last},
	{"after the jobs", func(c costs) float64 { return c.AfterKB }, last},
	{"hub KB/device", func(c costs) float64 { return c.HubKB }, last},
	{"connects/s", func(c costs) float64 { return c.Connects }, last},
}

// The quantities by name.
const (
	rate = iota
	generatorCPU
	hubCPU
	connected
	after
	hubMemory
	connects
)

// inTurn is the rate of things that are done one after the other.
func inTurn(rates []float64) float64 {
	var seconds float64
	for _, r := range rates {
		seconds += 1 / r
	}
	return 1 / seconds
}

func sum(each []float64) (total float64) {
	for _, v := range each {
		total += v
	}
	return total
}

// last is of the pair that has devices.
func last(each []float64) float64 { return each[len(each)-1] }

// ratio returns a quantity of a case as a multiple of its floors'; 0 if one
// was not measured.
func (r results) ratio(c benchCase, q quantity) float64 {
	var each []float64
	for _, f := range c.floors() {
		if len(r[f]) == 0 {
			return 0
		}
		each = append(each, r.of(f, q.of))
	}
	value := r.of(c, q.of)
	if len(each) == 0 || value == 0 || last(each) == 0 { // callers alone have no devices, and a pair in memory no server
		return 0
	}
	return value / q.add(each)
}

// table is what is printed, as text or Markdown.
type table struct {
	before string // a paragraph
	head   []string
	rows   [][]string
}

type tables []table

func (r results) tables(left []benchCase) tables {
	all := tables{r.costTable(), r.growthTable(), r.goalTable()}
	all = slices.DeleteFunc(all, func(t table) bool { return len(t.rows) == 0 })
	if len(left) > 0 {
		all = append(all, table{before: leftOut(left)})
	}
	return all
}

func (r results) costTable() table {
	t := table{head: []string{"case", "devices"}}
	t.before = fmt.Sprintf("Medians of %s on %d processors, %s. In brackets: as a multiple of the floor's.", r.runs(), runtime.NumCPU(), runtime.Version())
	for _, q := range quantities {
		t.head = append(t.head, q.name)
	}
	for _, c := range r.cases() {
		row := []string{strings.Join(c.words(), ", "), thousands(float64(c.devices))}
		for _, q := range quantities {
			cell := number(r.of(c, q.of))
			if ratio := r.ratio(c, q); ratio > 0 {
				cell += fmt.Sprintf(" (%.2f)", ratio)
			}
			row = append(row, cell)
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// runs says how many runs there were of each case.
func (r results) runs() string {
	least, most := math.MaxInt, 0
	for _, all := range r {
		least, most = min(least, len(all)), max(most, len(all))
	}
	if least == most {
		return counted(most, "interleaved run")
	}
	return fmt.Sprintf("%d to %s", least, counted(most, "interleaved run"))
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// growthTable shows how what a device costs grows from one size to the next.
func (r results) growthTable() table {
	t := table{
		before: "How cost grows with the fleet: what each further device takes, and each quantity as a multiple of the smaller fleet's.",
		head:   []string{"case", "devices", "generator KB for each further", "hub KB for each further", "generator µs/trip", "hub µs/trip", "round trips/s", "connects/s"},
	}
	for _, big := range r.cases() {
		small, ok := r.smaller(big)
		if !ok {
			continue
		}
		further := func(q int) float64 {
			of := func(c benchCase) float64 { return r.of(c, quantities[q].of) * float64(c.devices) }
			if of(big) == 0 {
				return 0
			}
			return (of(big) - of(small)) / float64(big.devices-small.devices)
		}
		row := []string{
			strings.Join(big.words(), ", "), thousands(float64(small.devices)) + " to " + thousands(float64(big.devices)),
			number(further(connected)), number(further(hubMemory)),
		}
		for _, q := range []int{generatorCPU, hubCPU, rate, connects} {
			row = append(row, times(r.of(big, quantities[q].of), r.of(small, quantities[q].of)))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// smaller returns the same case with the next smaller fleet that was measured.
func (r results) smaller(than benchCase) (benchCase, bool) {
	var found benchCase
	for c := range r {
		like := c
		like.devices = than.devices
		if like == than && c.devices < than.devices && c.devices > found.devices {
			found = c
		}
	}
	return found, found.devices > 0
}

func times(a, b float64) string {
	if a == 0 || b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// leftOut says which part of the matrix was not measured.
func leftOut(left []benchCase) string {
	sizes := map[string][]string{}
	var names []string
	slices.SortFunc(left, order)
	for _, c := range left {
		name := strings.Join(c.words(), ", ")
		if sizes[name] == nil {
			names = append(names, name)
		}
		sizes[name] = append(sizes[name], thousands(float64(c.devices)))
	}
	for i, name := range names {
		names[i] = name + " (" + strings.Join(sizes[name], " and ") + ")"
	}
	return "Not measured, -all does: " + strings.Join(names, "; ") + "."
}

// text writes the tables for a terminal.
func (all tables) text(w io.Writer) error {
	for i, t := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, t.before)
		columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, row := range append([][]string{t.head}, t.rows...) {
			if len(row) > 0 {
				fmt.Fprintln(columns, strings.Join(row, "\t"))
			}
		}
		if err := columns.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// markdown returns the tables as a part of a page.
func (all tables) markdown() string {
	var b strings.Builder
	for i, t := range all {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(t.before + "\n")
		if len(t.head) == 0 {
			continue
		}
		b.WriteString("\n| " + strings.Join(t.head, " | ") + " |\n" + strings.Repeat("| --- ", len(t.head)) + "|\n")
		for _, row := range t.rows {
			b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		}
	}
	return b.String()
}

// number writes a value with three digits. What was not measured is a dash: a
// hub in memory shares the generator's process.
func number(v float64) string {
	switch {
	case v == 0 || math.IsNaN(v):
		return "–"
	case math.Abs(v) < 10:
		return fmt.Sprintf("%.2f", v)
	case math.Abs(v) < 100:
		return fmt.Sprintf("%.1f", v)
	}
	scale := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-2)
	return thousands(math.Round(v/scale) * scale)
}

// thousands writes a whole number with commas.
func thousands(v float64) string {
	text := strconv.FormatFloat(v, 'f', 0, 64)
	for at := len(text) - 3; at > 0 && text[at-1] != '-'; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// median returns the middle value, of two the larger one.
func median(all []costs, of func(costs) float64) float64 {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b costs) int { return cmp.Compare(of(a), of(b)) })
	return of(sorted[len(sorted)/2])
}

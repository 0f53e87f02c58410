package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ConsoleOptions are the settings of Console. The zero value is valid.
type ConsoleOptions struct {
	// Width is how many columns there are. Default 100; no less than 60.
	Width int
	// Color adds ANSI colours.
	Color bool
}

func (o ConsoleOptions) width() int {
	if o.Width == 0 {
		return 100
	}
	return max(o.Width, 60)
}

// Console writes the report for a person at a terminal: the verdict and why,
// then what it rests on.
func (r *Report) Console(w io.Writer, opts ConsoleOptions) error {
	c := console{width: opts.width(), color: opts.Color}
	s := &r.Summary
	c.head(s)
	c.thresholds(s.Thresholds)
	for i := range s.Jobs {
		c.job(&s.Jobs[i])
	}
	c.line("")
	c.faults(s.Faults)
	c.fleet(&s.Fleet)
	c.generator(&s.Generator)
	c.hub(s.Hub)
	c.notes("!", yellow, s.Warnings, "")
	c.labelled("results", []string{plain(r.dir)})
	_, err := io.WriteString(w, c.out.String())
	return err
}

type color string

const (
	red    color = "31"
	green  color = "32"
	yellow color = "33"
	bold   color = "1"
	dim    color = "2"
)

// console gathers the lines of a console report.
type console struct {
	out   strings.Builder
	width int
	color bool
}

func (c *console) line(s string) {
	c.out.WriteString(strings.TrimRight(s, " "))
	c.out.WriteByte('\n')
}

func (c *console) paint(s string, color color) string {
	if !c.color || s == "" {
		return s
	}
	return "\x1b[" + string(color) + "m" + s + "\x1b[0m"
}

// labels is the column at which what follows a label begins.
const labels = 11

// labelled writes items after a label, in as many lines as they need.
func (c *console) labelled(label string, items []string) {
	for i, line := range wrap(items, " · ", c.width-labels) {
		if i > 0 {
			label = ""
		}
		c.line(c.paint(pad(label, labels), dim) + line)
	}
}

// notes writes each text after a mark, wrapped.
func (c *console) notes(mark string, color color, texts []string, indent string) {
	for _, text := range texts {
		head := c.paint(mark, color)
		for _, line := range wrap(strings.Fields(plain(text)), " ", c.width-width(indent)-2) {
			c.line(indent + head + " " + line)
			head = " "
		}
	}
}

func (c *console) head(s *Summary) {
	col := red
	switch s.Verdict {
	case Pass:
		col = green
	case Invalid, Interrupted, Inconclusive:
		col = yellow
	}
	title := strings.ToUpper(s.Verdict.String())
	if c.color {
		title = c.paint(title, bold+";"+col)
	}
	c.line(title + "  " + c.paint(plain(s.Scenario), bold))
	c.notes("→", col, s.Reasons, "")
	items := s.facts()
	for i := range items {
		items[i] = plain(items[i])
	}
	for _, line := range wrap(items, " · ", c.width) {
		c.line(c.paint(line, dim))
	}
	if s.Target.Note != "" {
		c.notes("·", yellow, []string{s.Target.Note}, "")
	}
}

// facts returns what a run was, for a line below its name.
func (s *Summary) facts() []string {
	facts := []string{s.Target.text(), "driver " + s.Driver, count(s.Fleet.Devices, "device"), "seed " + strconv.FormatUint(s.Seed, 10), digits3(s.DurationSeconds) + " s"}
	if s.Target.JobRate > 0 {
		facts = append(facts, "job rate "+digits3(s.Target.JobRate)+"/s")
	}
	if s.Target.Tier != "" {
		facts = append(facts, fmt.Sprintf("tier %s, units %d", s.Target.Tier, s.Target.Units))
	}
	return facts
}

func (c *console) thresholds(all []Threshold) {
	if len(all) == 0 {
		return
	}
	c.line("")
	column := 0
	for _, t := range all {
		column = max(column, width(t.Expression))
	}
	column = min(column, c.width*2/3)
	for _, t := range all {
		mark, measured := c.paint("✓", green), t.Measured
		if !t.OK {
			mark = c.paint("✗", red)
		}
		if t.NoData {
			measured = "no data"
		}
		start := mark + " " + pad(cut(plain(t.Expression), column), column) + "  "
		if all := join(measured, t.Note); width(all) <= c.width-column-4 {
			c.line(start + all)
			continue
		}
		c.line(start + measured)
		c.notes(" ", dim, []string{t.Note}, "  ")
	}
}

func (c *console) job(j *Job) {
	c.line("")
	title := []string{plain(j.Type) + " via " + plain(j.Via)}
	if j.Repetitions != 1 {
		title = append(title, fmt.Sprintf("%d times", j.Repetitions))
	}
	title = append(title, plain(j.QueryCondition))
	name := plain(j.Name)
	c.line(c.paint(name, bold) + "  " + c.paint(cut(strings.Join(title, " · "), c.width-width(name)-2), dim))
	c.labelled("ledger", j.ledger())
	if len(j.Causes) > 0 {
		c.labelled("causes", j.causes())
	}
	c.notes("!", yellow, slices.Concat(j.NotRun, j.LedgerFaults), "")
	if items := j.started(); len(items) > 0 {
		c.labelled("start", items)
	}
	c.table(j)
	if len(j.Slowest) > 0 {
		var names []string
		for _, d := range j.Slowest[:min(len(j.Slowest), namedOnConsole)] {
			names = append(names, plain(d.ID)+" "+d.Max.String())
		}
		c.labelled("slowest", names)
	}
	c.notes("!", yellow, j.Warnings, "")
}

// namedOnConsole is how many of a job's slowest devices a terminal shows.
const namedOnConsole = 3

// ledger returns what the job targeted and every outcome that occurred.
func (j *Job) ledger() []string {
	items := []string{"balanced", "targeted " + thousands(j.Targeted), "succeeded " + thousands(j.Succeeded)}
	if !j.LedgerBalanced {
		items[0] = "NOT BALANCED"
	}
	if j.Targeted > 0 {
		items[2] += " (" + percent(j.Succeeded, j.Targeted) + ")"
	}
	for _, o := range unsuccessful {
		if n := *j.outcome(o); n > 0 {
			items = append(items, o.String()+" "+thousands(n))
		}
	}
	for _, c := range []struct {
		name string
		n    int64
	}{{"missing", deref(j.Missing)}, {"extra", deref(j.Extra)}, {"duplicates", j.Duplicates}, {"unexpected", j.Unexpected}} {
		if c.n > 0 {
			items = append(items, c.name+" "+thousands(c.n))
		}
	}
	return items
}

// causes returns for each outcome why: "offline: DeviceNotOnline 12".
func (j *Job) causes() []string {
	var items []string
	for _, o := range unsuccessful {
		if by := j.CausesByOutcome[o.String()]; len(by) > 0 {
			items = append(items, o.String()+": "+strings.Join(causes(by), ", "))
		}
	}
	return items
}

// percent prints n as a part of all. Only all of them are 100 %.
func percent(n, all int64) string {
	hundredths := math.Floor(1e4 * float64(n) / float64(all)) // down, so that 99.999 % do not read as all
	return strconv.FormatFloat(hundredths/100, 'f', -1, 64) + " %"
}

// started returns how exactly the job began, and how the generator did meanwhile.
func (j *Job) started() []string {
	var items []string
	if j.StartError != nil {
		items = append(items, "off by "+j.StartError.Max.String()+" at most")
	}
	if j.Wake != nil {
		items = append(items, "generator wake p99 "+j.Wake.P99.String()+" (limit "+j.Wake.Limit.String()+")")
	}
	if j.Attempts > j.Targeted {
		items = append(items, thousands(j.Attempts)+" requests")
	}
	return items
}

// column is a column of the phase table. Narrow terminals do without some.
type column struct {
	head string
	from int // the least width that shows it
	of   func(*Stats) Millis
}

var columns = []column{
	{"p50", 0, func(s *Stats) Millis { return s.P50 }},
	{"p90", 75, func(s *Stats) Millis { return s.P90 }},
	{"p99", 0, func(s *Stats) Millis { return s.P99 }},
	{"p99.9", 65, func(s *Stats) Millis { return s.P999 }},
	{"max", 0, func(s *Stats) Millis { return s.Max }},
}

// counts holds "99,999,999".
const counts = 10

// cellWidth holds "-123 min" and a gap of two.
const cellWidth = 10

func (c *console) table(j *Job) {
	if len(j.Phases) == 0 {
		return
	}
	head := pad("phase", labels) + lead("count", counts)
	for _, col := range columns {
		if c.width >= col.from {
			head += lead(col.head, cellWidth-1) + " "
		}
	}
	c.line(c.paint(strings.TrimRight(head, " "), dim))
	for p := range phases {
		if st := j.Phases[p.String()]; st != nil {
			c.line(c.row(p.String(), st))
		}
	}
	if j.onHubClock() {
		c.line(c.paint(pad("", labels)+"† one end is a row time of the hub", dim))
	}
}

func (c *console) row(name string, st *Stats) string {
	row := pad(name, labels) + lead(thousands(st.Count), counts)
	for _, col := range columns {
		if c.width >= col.from {
			row += lead(cell(col.of(st)), cellWidth)
		}
	}
	if st.Clock != "" {
		row += c.paint(" †", dim)
	}
	return row
}

// faults writes a line for each fault.
func (c *console) faults(all []Fault) {
	label := "faults"
	for i := range all {
		c.labelled(label, []string{plain(all[i].String())})
		label = ""
	}
}

func (c *console) fleet(f *Fleet) {
	items := []string{thousands(f.Connected) + " of " + thousands(f.Devices)}
	if st := f.Connect; st != nil {
		items = append(items, "p50 "+st.P50.String(), "p90 "+st.P90.String(), "p99 "+st.P99.String(), "p99.9 "+st.P999.String(), "max "+st.Max.String())
	}
	if f.Failed > 0 {
		items = append(items, "failed "+thousands(f.Failed))
	}
	if f.Reconnects > 0 {
		items = append(items, "reconnects "+thousands(f.Reconnects))
	}
	c.labelled("connect", items)
	if len(f.Errors) > 0 {
		c.labelled("", []string{"failed attempts: " + strings.Join(causes(f.Errors), ", ")})
	}
	if len(f.ReconnectErrors) > 0 {
		c.labelled("", []string{"of them reconnects: " + strings.Join(causes(f.ReconnectErrors), ", ")})
	}
	if f.Lost > 0 {
		c.labelled("", []string{"lost " + thousands(f.Lost) + ": " + strings.Join(causes(f.LostBy), ", ")})
	}
}

func (c *console) generator(g *Generator) {
	items := []string{"valid"}
	if !g.Valid {
		items[0] = "NOT VALID"
	}
	if g.Wake != nil {
		items = append(items, "wake over the whole run p99 "+g.Wake.P99.String()+" max "+g.Wake.Max.String())
	}
	if g.Lag != nil {
		items = append(items, "timer late p99 "+g.Lag.P99.String()+" max "+g.Lag.Max.String())
	}
	if g.MaxRSS > 0 { // else it gave no account of itself
		items = append(items, "CPU "+digits3(g.CPUSeconds)+" s", size(g.MaxRSS), "GC pause p99 "+g.GCPauseP99.String())
	}
	c.labelled("generator", items)
	if more := g.upkeep(); len(more) > 0 {
		c.labelled("", more)
	}
	for i := range g.Parts {
		c.labelled("", g.Parts[i].text(len(g.Parts)-1))
	}
}

func (c *console) hub(h *Hub) {
	if h == nil {
		return
	}
	items := []string{"in the generator's process", count(h.Connections, "connection")}
	if h.MaxRSS > 0 {
		items = []string{"CPU " + digits3(h.CPUSeconds) + " s", size(h.MaxRSS), count(h.Connections, "connection")}
	}
	if h.SlowClosed > 0 {
		items = append(items, "closed as too slow "+thousands(h.SlowClosed))
	}
	c.labelled("hub", items)
}

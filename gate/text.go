package gate

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"muster/internal/stats"
)

// part words a part of a whole, such as 0.05, as a percentage of two digits.
func part(p float64) string {
	percent := 100 * p
	switch a := math.Abs(percent); {
	case a >= 9.95 || a == math.Trunc(a):
		return strconv.FormatFloat(percent, 'f', 0, 64) + " %"
	case a >= 0.095:
		return strconv.FormatFloat(percent, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(percent, 'g', 2, 64) + " %"
}

// change words a ratio.
func change(ratio float64) string {
	percent := 100 * (ratio - 1)
	switch {
	case math.Abs(percent) < 0.05:
		return "unchanged"
	case percent > 0:
		return strconv.FormatFloat(percent, 'f', 1, 64) + " % slower"
	}
	return strconv.FormatFloat(-percent, 'f', 1, 64) + " % faster"
}

// signed writes a ratio as a signed percentage.
func signed(ratio float64) string {
	percent := math.Round(1000*(ratio-1)) / 10
	switch {
	case ratio >= 10:
		return "×" + digits3(ratio)
	case percent == 0:
		return "±0.0 %" // and not -0.0 %
	}
	return fmt.Sprintf("%+.1f %%", percent)
}

// between words the interval of a ratio.
func between(r Ratio) string {
	if r.Low == nil {
		return "without an interval"
	}
	return "between " + signed(*r.Low) + " and " + signed(*r.High)
}

// digits3 prints v with three significant digits.
func digits3(v float64) string {
	decimals := 0
	switch {
	case v < 9.995:
		decimals = 2
	case v < 99.95:
		decimals = 1
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// plain returns s on one line and without what a terminal would obey: names of
// jobs, and what a hub answered, may hold anything.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}

func plainAll(texts []string) []string {
	var all []string
	for _, text := range texts {
		all = append(all, plain(text))
	}
	return all
}

// labels is the column at which what follows a label begins.
const labels = 12

// Text writes the comparison for people at a terminal.
func (c *Comparison) Text(w io.Writer) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-*s%s\n", labels, label, plain(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(&b, "%s  %s\n", strings.ToUpper(c.Verdict.String()), plain(c.Scenario))
	for _, r := range c.Reasons {
		fmt.Fprintf(&b, "→ %s\n", plain(r))
	}
	b.WriteByte('\n')
	line("decides", "%s: %s", c.Metric, c.MetricWhy)
	line("base", "%s", c.Base.words())
	line("new", "%s", c.New.words())
	line("new/base", "%.3f: %s, %s", c.Ratio.Value, change(c.Ratio.Value), between(c.Ratio))
	how, errs := c.how()
	line("how", "%s", how)
	line("", "%s", errs)
	line("tolerance", "%s: %s", part(c.Tolerance), c.ToleranceFrom)
	line("could see", "%s", c.couldSee())
	line("conditions", "base: %s", c.Base.Conditions.words())
	line("", "new: %s", c.New.Conditions.words())
	for _, warning := range c.Warnings {
		fmt.Fprintf(&b, "! %s\n", plain(warning))
	}
	c.table(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *Side) words() string {
	text := fmt.Sprintf("%s, %s", runs(s.Runs), s.Mean.String())
	if s.Runs > 1 {
		text += fmt.Sprintf(", run-to-run CV %s", part(s.Spread))
	}
	if len(s.Versions) > 0 {
		text += ", muster " + strings.Join(s.Versions, " and ")
	}
	return text
}

func runs(n int) string {
	if n == 1 {
		return "1 run"
	}
	return strconv.Itoa(n) + " runs"
}

// how says by which method and at which look the interval came about, and how
// often such a one errs.
func (c *Comparison) how() (method, errs string) {
	method = "Welch's t"
	if c.Method == "pairs" {
		method = "t over pairs of runs beside each other"
	}
	if n := min(c.Base.Runs, c.New.Runs); n < stats.Least {
		return method + " with fewer runs than any look needs", fmt.Sprintf("each bound would err in at most %s", part(c.Look.Tail))
	}
	if c.Look.Once {
		return fmt.Sprintf("%s, the one look at %d runs a side", method, c.Look.Runs), fmt.Sprintf("each bound errs in at most %s", part(c.Look.Tail))
	}
	return fmt.Sprintf("%s, the look at %d runs a side", method, c.Look.Runs),
		fmt.Sprintf("each bound errs in at most %s, those of all looks together in at most %s", part(c.Look.Tail), part(stats.Tail))
}

func (c *Comparison) couldSee() string {
	if c.Detectable == nil {
		return "nothing: it takes two runs a side to know a spread"
	}
	return fmt.Sprintf("a slowdown of %s or more, nine times of ten", part(*c.Detectable))
}

func (c Conditions) words() string {
	text := fmt.Sprintf("wake p99 %s, GC pause p99 %s", c.Wake.String(), c.GCPause.String())
	if c.Steal != nil {
		text += fmt.Sprintf(", steal %s, other processes %s", part(*c.Steal), part(*c.Others))
	}
	return text + " (the worst run)"
}

// informing heads the metrics that decide nothing.
const informing = "For information, no verdict. Each interval holds for its metric alone:\nof twenty that did not change, one looks as if it had."

func (c *Comparison) table(b *strings.Builder) {
	if len(c.Rows) == 0 {
		return
	}
	rows := [][5]string{{"metric", "base", "new", "new/base", "between"}}
	for _, r := range c.Rows {
		rows = append(rows, [5]string{plain(r.Metric), r.Base.String(), r.New.String(), signed(r.Ratio.Value), interval(r.Ratio)})
	}
	var columns [5]int
	for _, row := range rows {
		for i, cell := range row {
			columns[i] = max(columns[i], utf8.RuneCountInString(cell))
		}
	}
	fmt.Fprintf(b, "\n%s\n", informing)
	for _, row := range rows {
		text := pad(row[0], columns[0])
		for i, cell := range row[1:] {
			text += "  " + strings.Repeat(" ", columns[i+1]-utf8.RuneCountInString(cell)) + cell
		}
		b.WriteString(text + "\n")
	}
}

func interval(r Ratio) string {
	if r.Low == nil {
		return "-"
	}
	return signed(*r.Low) + " … " + signed(*r.High)
}

func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s)))
}

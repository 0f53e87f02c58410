package capacity

import (
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"
)

// The plot's size and margins, in pixels.
const (
	plotWidth, plotHeight = 760, 440
	plotLeft, plotRight   = 84, 24
	plotTop, plotBottom   = 56, 64
)

// axis places values of one direction.
type axis struct {
	low, high float64 // of the values
	from, to  float64 // of the pixels
	log       bool
}

// newAxis holds all values, with some room. It is logarithmic where they are
// far apart.
func newAxis(values []float64, from, to float64) axis {
	a := axis{low: math.Inf(1), high: math.Inf(-1), from: from, to: to}
	for _, v := range values {
		a.low, a.high = min(a.low, v), max(a.high, v)
	}
	if len(values) == 0 {
		a.low, a.high = 0, 1
	}
	if a.log = a.low > 0 && a.high > 3*a.low; a.log {
		room := math.Pow(a.high/a.low, 0.06)
		a.low, a.high = a.low/room, a.high*room
		return a
	}
	room := max((a.high-a.low)*0.06, a.high*0.05, 1e-9)
	a.low, a.high = a.low-room, a.high+room
	return a
}

func (a axis) at(v float64) float64 {
	part := (v - a.low) / (a.high - a.low)
	if a.log {
		part = math.Log(max(v, a.low)/a.low) / math.Log(a.high/a.low)
	}
	return a.from + part*(a.to-a.from)
}

// ticks returns round values within the axis: 1, 2 and 5 times powers of ten.
func (a axis) ticks() []float64 {
	var all []float64
	if !a.log {
		step := math.Pow(10, math.Floor(math.Log10((a.high-a.low)/2)))
		for _, by := range []float64{1, 2, 5, 10} {
			if (a.high-a.low)/(step*by) <= 6 {
				step *= by
				break
			}
		}
		for v := math.Ceil(a.low/step) * step; v <= a.high; v += step {
			all = append(all, v)
		}
		return all
	}
	factors := []float64{1, 2, 5}
	if a.high/a.low > 1e3 {
		factors = factors[:1]
	}
	for power := math.Pow(10, math.Floor(math.Log10(a.low))); power <= a.high; power *= 10 {
		for _, f := range factors {
			if v := f * power; v >= a.low && v <= a.high {
				all = append(all, v)
			}
		}
	}
	return all
}

// styles are the plot's colours in light and dark. Outcomes differ in shape as
// well.
const styles = `<style>
.back{fill:#fff}.ink{fill:#1f2328}.faint{stroke:#d0d7de}.soft{fill:#57606a}.line{stroke:#8250df}.lineText{fill:#8250df}.knee{fill:#8250df;opacity:.14}
.pass{fill:#1a7f37;stroke:#1a7f37}.fail{stroke:#cf222e;fill:none}.saturated{stroke:#9a6700;fill:none}
@media(prefers-color-scheme:dark){.back{fill:#0d1117}.ink{fill:#e6edf3}.faint{stroke:#30363d}.soft{fill:#9198a1}.line{stroke:#d2a8ff}.lineText{fill:#d2a8ff}
.knee{fill:#d2a8ff;opacity:.18}.pass{fill:#3fb950;stroke:#3fb950}.fail{stroke:#ff7b72}.saturated{stroke:#d29922}}
</style>
`

// Plot writes the knee as an SVG that needs nothing else: each probe's measure
// over its value, the objective's line, and where the knee is.
func (r *Result) Plot(w io.Writer) error {
	var xs, ys []float64
	for _, p := range r.Probes {
		xs = append(xs, float64(p.Value))
		if p.Measured != nil {
			ys = append(ys, *p.Measured)
		}
	}
	if r.Line != nil {
		ys = append(ys, *r.Line)
	}
	d := drawing{x: newAxis(xs, plotLeft, plotWidth-plotRight), y: newAxis(ys, plotHeight-plotBottom, plotTop)}
	d.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s" font-family="system-ui,sans-serif" font-size="13">`+"\n",
		plotWidth, plotHeight, html.EscapeString(r.Scenario+": "+r.Sentence()))
	d.b.WriteString(styles)
	d.add(`<rect class="back" width="%d" height="%d"/>`+"\n", plotWidth, plotHeight)
	d.text(plotLeft, 24, "ink", "start", r.Scenario+": "+strings.Join(r.Objectives[:min(1, len(r.Objectives))], ""))
	d.text(plotLeft, 42, "soft", "start", "● pass   ✕ fail   △ the generator was the limit")
	d.axes(r)
	d.knee(r)
	for i := range r.Probes {
		d.probe(r, &r.Probes[i])
	}
	d.b.WriteString("</svg>\n")
	_, err := io.WriteString(w, d.b.String())
	return err
}

type drawing struct {
	b    strings.Builder
	x, y axis
}

func (d *drawing) add(format string, args ...any) { fmt.Fprintf(&d.b, format, args...) }

func (d *drawing) text(x, y float64, class, anchor, text string) {
	d.add(`<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", class, x, y, anchor, html.EscapeString(text))
}

func (d *drawing) axes(r *Result) {
	for _, v := range d.x.ticks() {
		x := d.x.at(v)
		d.add(`<line class="faint" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", x, x, plotTop, plotHeight-plotBottom)
		d.text(x, plotHeight-plotBottom+18, "soft", "middle", tick(v))
	}
	unit := ""
	for _, p := range r.Probes {
		unit = p.Unit
	}
	for _, v := range d.y.ticks() {
		y := d.y.at(v)
		d.add(`<line class="faint" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`+"\n", plotLeft, plotWidth-plotRight, y, y)
		d.text(plotLeft-8, y+4, "soft", "end", tick(v)+" "+shortUnit(unit))
	}
	name := map[string]string{"rate": "a second"}[r.Find]
	if name == "" {
		name = r.Find
	}
	d.text((plotLeft+plotWidth-plotRight)/2, plotHeight-18, "ink", "middle", name+" ("+r.Sets+")")
	if r.Line != nil {
		y := d.y.at(*r.Line)
		d.add(`<line class="line" stroke-width="1.5" stroke-dasharray="6 4" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`+"\n", plotLeft, plotWidth-plotRight, y, y)
	}
}

func shortUnit(unit string) string {
	if short, ok := map[string]string{"percent": "%", "perSecond": "/s", "count": ""}[unit]; ok {
		return short
	}
	return unit
}

func tick(v float64) string {
	if v >= 1000 {
		return thousands(int(math.Round(v)))
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// knee shades what is between the two sides.
func (d *drawing) knee(r *Result) {
	if r.Status != Found {
		return
	}
	from, to := d.x.at(float64(r.Passes.Value)), d.x.at(float64(r.Above.Value))
	d.add(`<rect class="knee" x="%.1f" y="%d" width="%.1f" height="%d"/>`+"\n", from, plotTop, max(to-from, 2), plotHeight-plotTop-plotBottom)
	d.text(min(from, plotWidth-150), plotTop-4, "lineText", "middle", "knee: "+r.unit(r.Passes.Value))
}

// probe draws one probe; one without a measure stands on the axis.
func (d *drawing) probe(r *Result, p *Probe) {
	x, y := d.x.at(float64(p.Value)), float64(plotHeight-plotBottom)
	if p.Measured != nil {
		y = d.y.at(*p.Measured)
	}
	title := html.EscapeString(fmt.Sprintf("%s: %s %s", r.unit(p.Value), p.Outcome, p.Text))
	switch p.Outcome {
	case Pass:
		d.add(`<circle class="pass" cx="%.1f" cy="%.1f" r="4.5"><title>%s</title></circle>`+"\n", x, y, title)
	case Saturated:
		d.add(`<path class="saturated" stroke-width="2" d="M%.1f %.1fl5 9h-10z"><title>%s</title></path>`+"\n", x, y-6, title)
	default:
		d.add(`<path class="fail" stroke-width="2" d="M%.1f %.1fl9 9m0 -9l-9 9"><title>%s</title></path>`+"\n", x-4.5, y-4.5, title)
	}
}

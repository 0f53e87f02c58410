package report

import (
	"io"
	"slices"
)

// The parts of the page of a run that goes on, in the order in which they need
// each other. They are the report's own, but for live.js.
var (
	liveStyles  = []string{"uplot/uPlot.min.css", "style.css"}
	liveScripts = []string{
		"uplot/uPlot.iife.min.js", "format.js", "dom.js", "theme.js", "model.js", "chart.js", "heatmap.js",
		"overview.js", "jobs.js", "host.js", "live.js",
	}
)

// LivePage is what the page of a run that goes on says itself.
type LivePage struct {
	Scenario, Version string
	Transport         string // of the target
	Stop              string // what its stop button proves itself with
}

// Write writes the page. It asks for LiveFile under web/, for the stream of a
// Feed as events, and posts to stop; all of them beside it.
func (p *LivePage) Write(w io.Writer) error {
	return fill(w, "live.html", map[string]markup{
		"stop": text(p.Stop), "scenario": text(p.Scenario), "version": text(p.Version),
		"note":    transportNote(sentence(TransportNote(p.Transport))),
		"styles":  each(`<link rel="stylesheet" href="web/`, liveStyles, `">`),
		"scripts": each(`<script src="web/`, liveScripts, `"></script>`),
	})
}

// transportNote shows what there is to know of a transport beforehand; "" is
// nothing.
func transportNote(note string) markup {
	if note == "" {
		return ""
	}
	return each(`<p class="transport">`, []string{note}, `</p>`)
}

// LiveFile returns a style or a script that the page of a run asks for, and
// whether it is one.
func LiveFile(name string) (body string, ok bool) {
	if !slices.Contains(liveStyles, name) && !slices.Contains(liveScripts, name) && name != "uplot/LICENSE" {
		return "", false
	}
	return webFile(name), true
}

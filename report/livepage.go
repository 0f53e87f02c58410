package report

import (
	"html/template"
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
	t, err := template.ParseFS(web, "web/live.html")
	if err != nil {
		return err
	}
	return t.Execute(w, struct {
		LivePage
		Note            string
		Styles, Scripts []string
	}{*p, sentence(TransportNote(p.Transport)), liveStyles, liveScripts})
}

// LiveFile returns a style or a script that the page of a run asks for, and
// whether it is one.
func LiveFile(name string) (body string, ok bool) {
	if !slices.Contains(liveStyles, name) && !slices.Contains(liveScripts, name) && name != "uplot/LICENSE" {
		return "", false
	}
	return webFile(name), true
}

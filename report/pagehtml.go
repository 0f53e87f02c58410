package report

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// web holds the page's parts: its HTML, its style, its scripts, which are
// plain files that follow one another, and uPlot as its authors distribute it.
//
//go:embed web
var web embed.FS

// pageScripts are the scripts in the order in which they need each other.
var pageScripts = []string{
	"format.js", "dom.js", "theme.js", "load.js", "model.js", "chart.js", "heatmap.js", "gantt.js",
	"overview.js", "jobs.js", "devices.js", "host.js", "run.js", "compare.js", "main.js",
}

// pageHead is what page.html says itself, so that it is there before a script
// has run, and without one.
type pageHead struct {
	Title, Heading, Facts, Version string
	Note                           string // "" if there is nothing to know beforehand
	Verdict, Class, Mark           string // no verdict if there are several runs
	Reasons                        []string
}

// verdict shows the verdict, if there is one.
func (h *pageHead) verdict() markup {
	if h.Verdict == "" {
		return ""
	}
	return "\n" + `<p class="verdict ` + text(h.Class) + `"><span aria-hidden="true">` + text(h.Mark) + `</span> ` + text(h.Verdict) + `</p>`
}

// reasons shows the reasons, if there are some.
func (h *pageHead) reasons() markup {
	if len(h.Reasons) == 0 {
		return ""
	}
	return "\n" + `<ul class="reasons">` + each("<li>", h.Reasons, "</li>") + "\n</ul>"
}

// writePage writes report.html: one file that needs nothing else.
func (r *Report) writePage(w io.Writer) error {
	p, err := r.page(true)
	if err != nil {
		return err
	}
	s := &r.Summary
	head := pageHead{
		Title: s.Verdict.String() + ": " + s.Scenario, Heading: s.Scenario, Facts: strings.Join(append(s.facts(), s.StartedAt.Format(time.DateTime)+" UTC"), " · "), Version: s.MusterVersion,
		Verdict: s.Verdict.String(), Reasons: s.Reasons, Note: sentence(s.Target.Note),
	}
	head.Class, head.Mark = s.Verdict.look()
	return writeHTML(w, &head, p)
}

// look returns the class of a verdict's colour and a mark that says the same.
func (v Verdict) look() (class, mark string) {
	switch v {
	case Pass:
		return "good", "✓"
	case Invalid, Interrupted, Inconclusive:
		return "warn", "!"
	}
	return "bad", "✗"
}

// writeHTML writes a page with data that its scripts unpack.
func writeHTML(w io.Writer, head *pageHead, data any) error {
	packed, err := pack(data)
	if err != nil {
		return err
	}
	var policy contentPolicy
	styles := policy.element("style", webFile("uplot/uPlot.min.css"), webFile("style.css"))
	// A script of a type that no browser knows is text, which none runs.
	scripts := markup(`<script type="application/octet-stream" id="data">`+packed+"</script>\n") +
		markup("<!--\n"+webFile("uplot/LICENSE")+"-->\n") + policy.element("script", webFile("uplot/uPlot.iife.min.js"))
	var own []string
	for _, name := range pageScripts {
		own = append(own, webFile(name))
	}
	scripts += policy.element("script", own...)
	return fill(w, "page.html", map[string]markup{
		"policy": text(policy.String()), "styles": styles, "scripts": scripts,
		"title": text(head.Title), "heading": text(head.Heading), "facts": text(head.Facts), "version": text(head.Version),
		"verdict": head.verdict(), "note": transportNote(head.Note), "reasons": head.reasons(),
	})
}

func webFile(name string) string {
	src, err := web.ReadFile("web/" + name)
	if err != nil {
		panic("report: " + err.Error()) // it is embedded
	}
	return string(src)
}

// pack returns data as gzipped JSON in base64, which means nothing in HTML.
func pack(data any) (string, error) {
	var out bytes.Buffer
	to := base64.NewEncoder(base64.StdEncoding, &out)
	zip, err := gzip.NewWriterLevel(to, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	if err := json.NewEncoder(zip).Encode(data); err != nil {
		return "", err
	}
	if err := zip.Close(); err != nil {
		return "", err
	}
	err = to.Close()
	return out.String(), err
}

// contentPolicy allows a page its own scripts and styles, by their hashes, and
// nothing else: no other script even if one got into it, and no request.
type contentPolicy struct{ scripts, styles []string }

// element makes an element of texts that the policy then allows.
func (p *contentPolicy) element(tag string, texts ...string) markup {
	text := "\n" + strings.Join(texts, "\n")
	sum := sha256.Sum256([]byte(text))
	source := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	if tag == "style" {
		p.styles = append(p.styles, source)
	} else {
		p.scripts = append(p.scripts, source)
	}
	return markup("<" + tag + ">" + text + "</" + tag + ">\n")
}

func (p *contentPolicy) String() string {
	return fmt.Sprintf("default-src 'none'; script-src %s; style-src %s; img-src data:; base-uri 'none'; form-action 'none'",
		strings.Join(p.scripts, " "), strings.Join(p.styles, " "))
}

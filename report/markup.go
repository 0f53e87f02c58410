package report

import (
	"html"
	"io"
	"strings"
)

// markup is HTML.
type markup string

// text returns what shows s, in an element or in a quoted attribute.
func text(s string) markup { return markup(html.EscapeString(s)) }

// each returns, for each of some texts, a line with it between before and after.
func each(before markup, texts []string, after markup) (lines markup) {
	for _, s := range texts {
		lines += "\n" + before + text(s) + after
	}
	return lines
}

// fill writes a file of web with its places, such as {{title}}, filled. It does
// no more than that because a template of html/template finds methods by their
// names, for which the linker keeps every exported method of every package: that
// made the program a quarter larger, and each of its processes by 2.5 MB.
func fill(w io.Writer, name string, places map[string]markup) error {
	var pairs []string
	for place, filling := range places {
		pairs = append(pairs, "{{"+place+"}}", string(filling))
	}
	_, err := strings.NewReplacer(pairs...).WriteString(w, webFile(name))
	return err
}

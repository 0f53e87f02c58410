package report

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// WriteComparison writes a page at path that lays runs over each other, whole
// or not at all. It shows and does not judge.
func WriteComparison(path string, runs []*Report) error {
	var data struct {
		Runs []*runPage `json:"runs"`
	}
	var scenarios []string
	for _, r := range runs {
		p, err := r.page(false)
		if err != nil {
			return fmt.Errorf("compare: %w", err)
		}
		data.Runs = append(data.Runs, p)
		if !slices.Contains(scenarios, r.Summary.Scenario) {
			scenarios = append(scenarios, r.Summary.Scenario)
		}
	}
	head := pageHead{
		Title: fmt.Sprintf("%d runs of %s", len(runs), strings.Join(scenarios, ", ")), Heading: strings.Join(scenarios, ", "),
		Facts: count(int64(len(runs)), "run") + " over each other", Version: runs[0].Summary.MusterVersion,
	}
	for _, r := range runs {
		if note := r.Summary.Target.Note; note != "" {
			head.Note = sentence(note)
		}
	}
	return writeFile(filepath.Dir(path), filepath.Base(path), func(w io.Writer) error { return writeHTML(w, &head, &data) })
}

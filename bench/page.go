package main

import (
	"fmt"
	"os"
	"strings"
)

// Between these lines of a page stands what bench writes.
const (
	pageBegin = "<!-- written by bench: begin -->\n"
	pageEnd   = "<!-- written by bench: end -->\n"
)

// into writes the tables between the marker comments of a page.
func (all tables) into(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("write the tables: %w", err)
	}
	page, err := between(string(text), "\n"+all.markdown()+"\n")
	if err != nil {
		return fmt.Errorf("write the tables into %s: %w", file, err)
	}
	if err := os.WriteFile(file, []byte(page), 0o666); err != nil {
		return fmt.Errorf("write the tables: %w", err)
	}
	return nil
}

// between replaces what stands between the marker comments of a page.
func between(page, text string) (string, error) {
	before, rest, ok := strings.Cut(page, pageBegin)
	if !ok {
		return "", fmt.Errorf("it has no line %q", strings.TrimSpace(pageBegin))
	}
	_, after, ok := strings.Cut(rest, pageEnd)
	if !ok {
		return "", fmt.Errorf("it has no line %q after %q", strings.TrimSpace(pageEnd), strings.TrimSpace(pageBegin))
	}
	return before + pageBegin + text + pageEnd + after, nil
}

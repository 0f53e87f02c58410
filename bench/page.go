package main

import (
	"fmt"
	"os"
	"strings"
)

// Between these lines of a page stands what bench writes of something.
const (
	pageBegin = "<!-- %s, written by bench: begin -->\n"
	pageEnd   = "<!-- %s, written by bench: end -->\n"
)

// into writes the tables between the marker comments that a page has for them.
func (all tables) into(file, mark string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("write the tables: %w", err)
	}
	page, err := between(string(text), mark, "\n"+all.markdown()+"\n")
	if err != nil {
		return fmt.Errorf("write the tables into %s: %w", file, err)
	}
	if err := os.WriteFile(file, []byte(page), 0o666); err != nil {
		return fmt.Errorf("write the tables: %w", err)
	}
	return nil
}

// between replaces what stands between the marker comments of a page.
func between(page, mark, text string) (string, error) {
	begin, end := fmt.Sprintf(pageBegin, mark), fmt.Sprintf(pageEnd, mark)
	before, rest, ok := strings.Cut(page, begin)
	if !ok {
		return "", fmt.Errorf("it has no line %q", strings.TrimSpace(begin))
	}
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		return "", fmt.Errorf("it has no line %q after %q", strings.TrimSpace(end), strings.TrimSpace(begin))
	}
	return before + begin + text + end + after, nil
}

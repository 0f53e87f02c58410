package cli_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ofAnyHost leaves out of a plan what the first limit of a host is, but not
// that it is said.
func ofAnyHost(lines []string) string {
	kept := make([]string, len(lines))
	for i, line := range lines {
		kept[i] = regexp.MustCompile("^first limit: .+, at most [0-9]+ devices, by .+; a larger fleet is .+; for more: .+").ReplaceAllString(line, "first limit: …")
	}
	return strings.Join(kept, "\n")
}

// TestPlanInDocsIsReal holds what docs/quotas.md shows of muster plan against what it prints.
func TestPlanInDocsIsReal(t *testing.T) {
	shown := 0
	inBlocks(t, func(doc string, b *block) {
		if doc != "docs/quotas.md" || len(b.lines) == 0 || !strings.HasPrefix(b.lines[0], "$ muster plan ") {
			return
		}
		shown++
		got := muster(t, strings.Fields(b.lines[0])[2:]...)
		want := ofAnyHost(b.lines[1:])
		if diff := cmp.Diff(want, ofAnyHost(strings.Split(strings.TrimSpace(got.stdout+got.stderr), "\n"))); diff != "" {
			t.Errorf("%s: -shown +printed\n%s", b.lines[0], diff)
		}
	})
	if shown == 0 {
		t.Error("docs/quotas.md shows no plan")
	}
}

package cli_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPlanInDocsIsReal holds what docs/quotas.md shows of muster plan against what it prints.
func TestPlanInDocsIsReal(t *testing.T) {
	shown := 0
	inBlocks(t, func(doc string, b *block) {
		if doc != "docs/quotas.md" || len(b.lines) == 0 || !strings.HasPrefix(b.lines[0], "$ muster plan ") {
			return
		}
		shown++
		got := muster(t, strings.Fields(b.lines[0])[2:]...)
		want := strings.TrimSpace(strings.Join(b.lines[1:], "\n"))
		if diff := cmp.Diff(want, strings.TrimSpace(got.stdout+got.stderr)); diff != "" {
			t.Errorf("%s: -shown +printed\n%s", b.lines[0], diff)
		}
	})
	if shown == 0 {
		t.Error("docs/quotas.md shows no plan")
	}
}

package expr_test

import (
	"errors"
	"slices"
	"testing"

	"muster/internal/expr"
)

func TestParsePath(t *testing.T) {
	check := func(src, canonical string, want ...string) {
		t.Helper()
		got, err := expr.ParsePath(src)
		if err != nil || !slices.Equal(got, want) || expr.FormatPath(got) != canonical {
			t.Errorf("ParsePath(%q) = %q, %v, formatted %q; want %q, %q", src, got, err, expr.FormatPath(got), want, canonical)
		}
	}
	check("jobs.lock.total.p99", "jobs.lock.total.p99", "jobs", "lock", "total", "p99")
	check(` jobs['lock all'].total.p50 `, `jobs["lock all"].total.p50`, "jobs", "lock all", "total", "p50")
	check("x", "x", "x")

	fails := func(src, want string) {
		t.Helper()
		_, err := expr.ParsePath(src)
		var syntax *expr.SyntaxError
		if !errors.As(err, &syntax) || err.Error() != want {
			t.Errorf("ParsePath(%q): got error %v, want %s", src, err, want)
		}
	}
	fails("", "column 1: expected a name, found the end")
	fails("jobs.", "column 6: expected a name, found the end")
	fails("jobs.lock < 2s", "column 11: expected the end of the path, found '<'")
	fails("jobs[lock", `column 6: expected a name in quotes, found 'l'`)
}

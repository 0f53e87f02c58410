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
		got, group, err := expr.ParsePath(src)
		if err != nil || !slices.Equal(got, want) || expr.FormatGroupPath(got, group) != canonical {
			t.Errorf("ParsePath(%q) = %q, %v, formatted %q; want %q, %q", src, got, err, expr.FormatGroupPath(got, group), want, canonical)
		}
	}
	check("jobs.lock.total.p99", "jobs.lock.total.p99", "jobs", "lock", "total", "p99")
	check(` jobs['lock all'].total.p50 `, `jobs["lock all"].total.p50`, "jobs", "lock all", "total", "p50")
	check("x", "x", "x")
	check(`jobs.lock{group=doors}.total.p99`, "jobs.lock{group=doors}.total.p99", "jobs", "lock", "total", "p99")
	check(`jobs.lock{group='all doors'}.total.p99`, `jobs.lock{group="all doors"}.total.p99`, "jobs", "lock", "total", "p99")

	fails := func(src, want string) {
		t.Helper()
		_, _, err := expr.ParsePath(src)
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

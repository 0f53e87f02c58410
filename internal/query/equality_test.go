package query_test

import (
	"fmt"
	"hash/maphash"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/internal/query"
)

func TestEqualitiesAreWhatAnIndexCanAnswer(t *testing.T) {
	check := func(src string, want ...string) {
		t.Helper()
		var got []string
		for _, e := range condition(t, src).Equalities() {
			got = append(got, fmt.Sprintf("%s %v", strings.Join(e.Path, "."), e.Values))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Equalities of %q (-want +got):\n%s", src, diff)
		}
	}
	check("*")
	check("tags.a = 'x'", "tags.a ['x']")
	check("null = tags.a", "tags.a [null]")
	check("tags.a = -0.0", "tags.a [-0]")
	check("tags.a", "tags.a [true]")
	check("NOT tags.a")
	check("tags.a != 1")
	check("tags.a > 1")
	check("tags.a = tags.b")
	check("tags.a = 1 + 1")
	check("1 = 1")
	check("IS_DEFINED(tags.a)")
	check("STARTSWITH(tags.a, 'x')")
	check("tags.a.b IN ['x', 1, 'x', null, 1.0]", "tags.a.b ['x' 1 null]")
	check("tags.a NIN ['x']")
	check("NOT tags.a = 'x'")
	check("tags.a = 1 AND tags.b > 2 AND deviceId = 'c'", "tags.a [1]", "deviceId ['c']")
	check("tags.a = 1 OR tags.a = 'x' OR tags.a IN [1, null]", "tags.a [1 'x' null]")
	check("tags.a = 1 OR tags.b = 1")
	check("tags.a = 1 OR tags.b > 1")
	check("tags.a = 1 AND tags.b = 2 OR tags.b = 3 AND tags.a = 4", "tags.a [1 4]", "tags.b [2 3]")
	check("tags.a IN [1, 2, 3] AND tags.a IN [3, 4, 1]", "tags.a [1 3]")
	check("tags.a = 1 AND tags.a = 2", "tags.a []")
	check("tags.a = (tags.b = 1)")
}

func TestHashesAreThoseOfEqualValues(t *testing.T) {
	seed := maphash.MakeSeed()
	check := func(a, b string, want bool) {
		t.Helper()
		v, w := query.Lookup([]byte(a), nil), query.Lookup([]byte(b), nil)
		if got := v.Hash(seed) == w.Hash(seed); got != want {
			t.Errorf("the hashes of %s and %s are the same: %t, want %t", a, b, got, want)
		}
	}
	check(`"a"`, `"a"`, true)
	check(`"\u0061"`, `"a"`, true)
	check(`"a"`, `"b"`, false)
	check(`1`, `1.0`, true)
	check(`100`, `1e2`, true)
	check(`0`, `-0`, true)
	check(`1`, `true`, false)
	check(`0`, `false`, false)
	check(`0`, `null`, false)
	check(`null`, `null`, true)
	check(`1`, `"1"`, false)
	if query.String("a").Hash(seed) != query.Lookup([]byte(`"a"`), nil).Hash(seed) {
		t.Error("a text and a view of it have different hashes")
	}
	v := query.Number(1)
	if n := testing.AllocsPerRun(100, func() { v.Hash(seed) }); n > 0 {
		t.Errorf("Hash allocates %v times", n)
	}
}

func TestPathsOfAQueryAreThoseThatItReads(t *testing.T) {
	check := func(src string, want ...string) {
		t.Helper()
		q, err := query.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, path := range q.Paths() {
			got = append(got, strings.Join(path, "."))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Paths of %q (-want +got):\n%s", src, diff)
		}
	}
	check("SELECT * FROM devices")
	check("SELECT COUNT() FROM devices WHERE tags.a > 1 AND tags.a < 3", "tags.a")
	check("SELECT deviceId, tags.b AS b FROM devices WHERE tags.a = 1", "tags.a", "deviceId", "tags.b")
	check("SELECT status, AVG(tags.n) AS n, COUNT() FROM devices GROUP BY status, version", "status", "tags.n", "version")
}

package query_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/internal/query"
)

func TestListErrorsHavePlaces(t *testing.T) {
	check := func(src, place, msg string) {
		t.Helper()
		_, err := query.Parse(src)
		checkSyntax(t, err, src, place, msg)
	}
	check("SELECT TOP * FROM devices", "* FROM", "expected a whole number from 1 to 2147483647")
	check("SELECT TOP 0 * FROM devices", "0 *", `found "0"`)
	check("SELECT TOP -1 * FROM devices", "-1", "expected a whole number")
	check("SELECT TOP 1.5 * FROM devices", "1.5", "expected a whole number")
	check("SELECT TOP 0x10 * FROM devices", "0x10", "expected a whole number")
	check("SELECT TOP 2147483648 * FROM devices", "2147483648", "expected a whole number")
	check("SELECT TOP 5 FROM devices", "FROM", "expected *, an attribute or an aggregate")
	check("SELECT FROM devices", "FROM", "expected *, an attribute or an aggregate")
	check("SELECT *, deviceId FROM devices", ", deviceId", "* stands alone")
	check("SELECT deviceId, * FROM devices", "* FROM", "expected *, an attribute") // as in SELECT *
	check("SELECT deviceId, FROM devices", "FROM", "expected *, an attribute")
	check("SELECT deviceId tags.a FROM devices", "tags.a", "expected AS, a comma or FROM")
	check("SELECT deviceId AS id x FROM devices", "x FROM", "expected a comma or FROM")
	check("SELECT deviceId AS FROM devices", "FROM", "must be written [[FROM]] as a name")
	check("SELECT deviceId AS top FROM devices", "top", "must be written [[top]]")
	check("SELECT deviceId AS 'id' FROM devices", "'id'", "expected a name")
	check("SELECT deviceId AS a.b FROM devices", ".b", "expected a comma or FROM")
	check("SELECT 'x' FROM devices", "'x'", "expected *, an attribute")
	check("SELECT tags.a + 1 AS b FROM devices", "+ 1", "nothing that is calculated")
	check("SELECT tags.a = 1 FROM devices", "= 1", "nothing that is calculated")
	check("SELECT COUNT() * 2 FROM devices", "* 2", "nothing that is calculated")
	check("SELECT tags. FROM devices", "FROM", "[[FROM]]")
	check("SELECT group FROM devices", "group", "expected *, an attribute")
	check("SELECT devices.tags.a FROM devices", "devices.tags", "no prefix")
	check("SELECT a, devices.modules.moduleId FROM devices.modules", "devices.modules.moduleId", "no prefix")
	check("SELECT AVG(devices.a) FROM devices", "devices.a", "no prefix")

	check("SELECT DISTINCT tags.a FROM devices", "DISTINCT", "there is no DISTINCT")
	check("SELECT distinct * FROM devices", "distinct", "there is no DISTINCT")
	check("SELECT * FROM devices ORDER BY a", "ORDER", "there is no ORDER BY")
	check("SELECT * FROM devices WHERE a = 1 order by a", "order", "there is no ORDER BY")
	check("SELECT a FROM devices GROUP BY a HAVING COUNT() > 1", "HAVING", "there is no HAVING")
	check("SELECT * FROM devices JOIN b", "JOIN", "there is no JOIN")
	check("SELECT * FROM devices LIMIT 5", "LIMIT", "write TOP")
	check("SELECT * FROM devices OFFSET 5", "OFFSET", "in pages")
	check("SELECT * FROM devices WHERE a LIKE 'x'", "LIKE", "STARTSWITH")
	check("SELECT * FROM devices WHERE a BETWEEN 1 AND 2", "BETWEEN", "write >= and <=")
	check("SELECT * FROM devices WHERE a IS NULL", "IS", "write = null")
	check("SELECT * FROM devices [[ORDER]]", "[[ORDER]]", "expected WHERE")

	check("SELECT COUNT(*) FROM devices", "*)", "takes nothing")
	check("SELECT COUNT(tags.a) FROM devices", "tags.a", "takes nothing")
	check("SELECT COUNT( FROM devices", "FROM", "takes nothing")
	check("SELECT AVG() FROM devices", ")", "expected an attribute")
	check("SELECT AVG(1) FROM devices", "1)", "expected an attribute")
	check("SELECT AVG(tags.a, tags.b) FROM devices", ", tags.b", "expected )")
	check("SELECT AVG(tags.a + 1) FROM devices", "+ 1", "expected )")
	check("SELECT SUM(tags.) FROM devices", ") FROM", "expected a name")
	check("SELECT UPPER(tags.a) FROM devices", "UPPER", "for message routing only")
	check("SELECT STARTS_WITH(tags.a, 'x') FROM devices", "STARTS_WITH", "for message routing only")
	check("SELECT is_defined(tags.a) FROM devices", "is_defined", "belongs to a condition")
	check("SELECT MEDIAN(tags.a) FROM devices", "MEDIAN", "COUNT, AVG, SUM, MIN and MAX can be selected")
	check("SELECT [[COUNT]]() FROM devices", "() FROM", "expected AS, a comma or FROM")

	check("SELECT tags.a, properties.desired.a FROM devices", "properties", `two columns are called "a"`)
	check("SELECT deviceId, DeviceId FROM devices", "DeviceId", `two columns are called "deviceId"`)
	check("SELECT COUNT(), tags.count FROM devices GROUP BY tags.count", "tags.count FROM", `two columns are called "count"`)
	check("SELECT "+strings.Repeat("a,", 100)+"b FROM devices", "b FROM", "more than 100 columns")
	check("SELECT COUNT() FROM devices GROUP BY "+numbered(101), "a100", "more than 100 attributes")

	check("SELECT tags.a, COUNT() FROM devices", "tags.a", "not by this attribute")
	check("SELECT COUNT(), tags.a FROM devices WHERE tags.a = 1 GROUP BY tags.b", "tags.a FROM", "not by this attribute")
	check("SELECT tags.a FROM devices GROUP BY tags.b", "tags.a", "not by this attribute")
	check("SELECT tags FROM devices GROUP BY tags.b", "tags FROM", "not by this attribute")
	check("SELECT * FROM devices GROUP BY tags.a", "GROUP", "SELECT * cannot be grouped")
	check("SELECT * FROM devices WHERE a = 1 GROUP BY a", "GROUP", "SELECT * cannot be grouped")
	check("SELECT a FROM devices GROUP a", "a", "expected BY")
	check("SELECT a FROM devices GROUP BY", "", "expected an attribute")
	check("SELECT a FROM devices GROUP BY a,", "", "expected an attribute")
	check("SELECT a FROM devices GROUP BY 1", "1", "expected an attribute")
	check("SELECT a FROM devices GROUP BY a b", "b", "expected a comma or the end")
	check("SELECT a FROM devices GROUP BY a WHERE a = 1", "WHERE", "expected a comma or the end")
	check("SELECT a FROM devices GROUP BY a, a", "a", "already")
	check("SELECT a FROM devices GROUP BY UPPER(a)", "UPPER", "only attributes can be grouped by")
	check("SELECT a FROM devices GROUP BY devices.a", "devices.a", "no prefix")

	check("SELECT TOP 5 * FROM devices.jobs", "TOP", "devices.jobs knows SELECT * only")
	check("SELECT TOP 5 devices.jobs.jobId FROM devices.jobs", "TOP", "devices.jobs knows SELECT * only")
	check("SELECT devices.jobs.jobId FROM devices.jobs", "devices.jobs.jobId", "devices.jobs knows SELECT * only")
	check("SELECT COUNT() FROM devices.jobs", "COUNT", "devices.jobs knows SELECT * only")
	check("SELECT * FROM devices.jobs GROUP BY devices.jobs.jobId", "GROUP", "devices.jobs knows SELECT * only")
	check("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'a' GROUP BY devices.jobs.jobId", "GROUP", "SELECT * only")
}

// numbered returns a list of n attributes.
func numbered(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("a%02d", i))
	}
	return strings.Join(list, ", ")
}

func parsed(t testing.TB, src string) *query.Query {
	t.Helper()
	q, err := query.Parse(src)
	if err != nil {
		t.Fatalf("Parse(%q): %v", src, err)
	}
	return q
}

// fleet is what lists and groups are asked about.
var fleet = []doc{
	doc(`{"deviceId":"a","tags":{"site":"north","floor":3,"ok":true,"deep":{"x":[1, 2]}}}`),
	doc(`{"deviceId":"b","tags":{"site":"south","floor":1.50,"ok":null,"say \"hi\"":"ü<\u0041"}}`),
	doc(`{"deviceId":"c","tags":{"site":"north","floor":-2,"ok":"true"}}`),
	doc(`{"deviceId":"d","tags":{"site":7,"floor":"3"}}`),
	doc(`{"deviceId":"e","tags":{"site":{"a":1},"floor":1e308}}`),
	doc(`{"deviceId":"f","tags":{"site":7.0,"floor":1e308}}`),
	doc(`{"deviceId":"g","tags":{}}`),
}

// results evaluates a query over the fleet.
func results(q *query.Query) (rows []string) {
	var selected []doc
	for _, row := range fleet {
		if q.Where.Match(row) {
			selected = append(selected, row)
		}
	}
	if !q.Grouped() {
		for _, row := range selected {
			rows = append(rows, string(q.AppendRow(nil, row)))
		}
		return rows
	}
	groups := q.Groups(nil, 100)
	for _, row := range selected {
		groups.Add(row)
	}
	for _, group := range groups.Rows() {
		rows = append(rows, string(group.Append(nil)))
	}
	return rows
}

func TestLists(t *testing.T) {
	check := func(src string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, results(parsed(t, src))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", src, diff)
		}
	}
	// A path without a value is left out; numbers stay as they are written.
	check("SELECT deviceId, tags.floor FROM devices WHERE deviceId <= 'd' OR deviceId = 'g'",
		`{"deviceId":"a","floor":3}`, `{"deviceId":"b","floor":1.50}`, `{"deviceId":"c","floor":-2}`, `{"deviceId":"d","floor":"3"}`, `{"deviceId":"g"}`)
	check("SELECT tags.ok AS [[a \"b\"]], tags.deep, tags.deep.x AS x FROM devices WHERE deviceId IN ['a', 'b', 'g']",
		`{"a \"b\"":true,"deep":{"x":[1, 2]},"x":[1, 2]}`, `{"a \"b\"":null}`, `{}`)
	check(`SELECT tags.[[say "hi"]] FROM devices WHERE deviceId = 'b'`, `{"say \"hi\"":"ü<\u0041"}`)
	check("SELECT deviceId FROM devices WHERE tags.none = 1")

	// Without GROUP BY there is one row, also of none; what has no numbers is left out.
	check("SELECT COUNT() FROM devices", `{"count":7}`)
	check("SELECT COUNT() AS n, AVG(tags.floor), SUM(tags.floor) AS total, MIN(tags.floor), MAX(tags.floor) FROM devices WHERE deviceId <= 'd'",
		`{"n":4,"avg":0.8333333333333334,"total":2.5,"min":-2,"max":3}`)
	check("SELECT COUNT() AS n, AVG(tags.floor), SUM(tags.site), MAX(tags.none) FROM devices WHERE tags.none = 1", `{"n":0}`)
	check("SELECT MIN(tags.site) FROM devices WHERE deviceId <= 'c'", `{}`)
	check("SELECT SUM(tags.floor), AVG(tags.floor), MAX(tags.floor) FROM devices WHERE deviceId >= 'e'", `{"max":1e+308}`)

	// Groups sort by their values: none and what cannot be compared, null, false, true, numbers, strings.
	check("SELECT tags.site, COUNT() AS n FROM devices GROUP BY tags.site",
		`{"n":2}`, `{"site":7,"n":2}`, `{"site":"north","n":2}`, `{"site":"south","n":1}`)
	check("SELECT tags.ok FROM devices GROUP BY tags.ok", `{}`, `{"ok":null}`, `{"ok":true}`, `{"ok":"true"}`)
	check("SELECT MAX(tags.floor) FROM devices WHERE tags.site = 'north' OR tags.site = 'south' GROUP BY tags.site", `{"max":3}`, `{"max":1.5}`)
	check("SELECT tags.site, deviceId, COUNT() FROM devices WHERE deviceId < 'd' GROUP BY tags.site, deviceId",
		`{"site":"north","deviceId":"a","count":1}`, `{"site":"north","deviceId":"c","count":1}`, `{"site":"south","deviceId":"b","count":1}`)
	check(`SELECT tags.[[say "hi"]] AS hi FROM devices GROUP BY tags.[[say "hi"]]`, `{}`, `{"hi":"ü\u003cA"}`)
	check("SELECT COUNT() FROM devices WHERE tags.none = 1 GROUP BY tags.site")
}

func TestGroupsSortAsTheirValues(t *testing.T) {
	order := []query.Value{
		{},
		query.Null(), query.Bool(false), query.Bool(true),
		query.Number(-1e308), query.Number(-2), query.Number(-1.5), query.Number(-5e-324), query.Number(0), query.Number(5e-324), query.Number(1), query.Number(1e308),
		query.String(""), query.String("\x00"), query.String("\x00\x00"), query.String("\x00a"), query.String("\x01"), query.String("a"), query.String("a\x00"),
		query.String("a\x00b"), query.String("a\x01"), query.String("ab"), query.String(strings.Repeat("b", 600)), query.String("b\u00ff"), query.String("c"),
	}
	q := parsed(t, "SELECT tags.a, COUNT() FROM devices GROUP BY tags.a, tags.b")
	groups := q.Groups(nil, 1000)
	for i := range order { // backwards, and each beside two others
		for _, b := range []query.Value{query.String("x"), {}} {
			groups.Add(fields{"tags.a": order[len(order)-1-i], "tags.b": b})
		}
	}
	groups.Add(fields{"tags.a": query.Object(), "tags.b": query.Object()})                        // as {}
	groups.Add(fields{"tags.a": query.Number(math.Copysign(0, -1)), "tags.b": query.String("x")}) // as 0
	rows := groups.Rows()
	if len(rows) != 2*len(order) {
		t.Fatalf("%d groups, want %d", len(rows), 2*len(order))
	}
	for i, row := range rows {
		count := 1
		if i == 0 || i == 17 {
			count = 2
		}
		want := fmt.Sprintf(`"count":%d}`, count)
		if got := string(row.Append(nil)); !strings.HasSuffix(got, want) || len(row.Key()) > 512 {
			t.Errorf("group %d is %s with a key of %d bytes, want …%s", i, got, len(row.Key()), want)
		}
	}
	groups = q.Groups(nil, 1000)
	groups.Add(fields{"tags.a": query.Number(math.Copysign(0, -1))})
	if got := string(groups.Rows()[0].Append(nil)); got != `{"a":0,"count":1}` {
		t.Errorf("the other zero is shown as %s", got)
	}
	long := func(s string) query.Value { return query.String(strings.Repeat("b", 4096) + s) }
	groups = q.Groups(nil, 1000)
	for range 2 {
		groups.Add(fields{"tags.a": long("1")})
		groups.Add(fields{"tags.a": long("2")})
	}
	if got := len(groups.Rows()); got != 2 {
		t.Errorf("%d groups of long strings that differ in the end, want 2", got)
	}
}

func TestGroupingDoesNotAllocateForEachRow(t *testing.T) {
	for _, src := range []string{
		"SELECT COUNT() FROM devices",
		"SELECT AVG(tags.floor), MAX(tags.floor) FROM devices",
		"SELECT tags.site, COUNT() FROM devices GROUP BY tags.site, tags.floor",
	} {
		groups := parsed(t, src).Groups(nil, 100)
		var row query.Row = fleet[0]
		groups.Add(row)
		if got := testing.AllocsPerRun(100, func() { groups.Add(row) }); got != 0 {
			t.Errorf("%s: Add allocates %v times, want none", src, got)
		}
	}
}

func BenchmarkGroups(b *testing.B) {
	for name, src := range map[string]string{
		"count": "SELECT COUNT() FROM devices",
		"max":   "SELECT MAX(tags.floor) FROM devices",
		"by":    "SELECT tags.site, COUNT() FROM devices GROUP BY tags.site",
	} {
		b.Run(name, func(b *testing.B) {
			groups := parsed(b, src).Groups(nil, 100)
			var row query.Row = fleet[0]
			b.ReportAllocs()
			for b.Loop() {
				groups.Add(row)
			}
		})
	}
}

func BenchmarkAppendRow(b *testing.B) {
	q := parsed(b, "SELECT deviceId, tags.floor AS f, tags.deep FROM devices")
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = q.AppendRow(dst[:0], fleet[0])
	}
}

package conformance_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"muster/iothub"
)

var queryCases = []testCase{
	{"whole twins", "4.5, 5.1", queryTwins},
	{"pages", "4.1, 4.5", queryPages},
	{"projections", "5.1", queryProjections},
	{"aggregates and groups", "5.1", queryGroups},
	{"conditions", "5.2 to 5.5", queryConditions},
	{"what is no query", "4.5, 5.1", queryFaults},
}

// rows asks a query and returns its only page.
func (h *subject) rows(t testing.TB, sql string) []map[string]any {
	t.Helper()
	return ok[[]map[string]any](t, h, "POST /devices/query", jsonOf(t, map[string]string{"query": sql}))
}

// tagged registers devices with tags and waits until queries see all. It returns a condition that selects them alone.
func (h *subject) tagged(t testing.TB, tags ...string) (ids []string, condition string) {
	t.Helper()
	var entries []string
	for _, tag := range tags {
		id := h.id()
		h.created(t, id)
		ids = append(ids, id)
		entries = append(entries, `{"id":"`+id+`","importMode":"create","tags":`+tag+`}`)
	}
	result := ok[iothub.BulkResult](t, h, "POST /devices", "["+strings.Join(entries, ",")+"]")
	if !result.IsSuccessful {
		t.Fatalf("register: %+v", result.Errors)
	}
	condition = among(ids)
	h.eventually(t, "queries see the devices with their tags", func() bool {
		rows := h.rows(t, "SELECT * FROM devices WHERE "+condition)
		return len(rows) == len(ids) && !slices.ContainsFunc(rows, func(row map[string]any) bool { return row["tags"] == nil })
	})
	return ids, condition
}

// among returns the condition that selects these devices.
func among(ids []string) string { return "deviceId IN ['" + strings.Join(ids, "','") + "']" }

func queryTwins(t testing.TB, h *subject) {
	ids, condition := h.tagged(t, `{"a":1}`)
	a := h.ask(t, "POST /devices/query", jsonOf(t, map[string]string{"query": "SELECT * FROM devices WHERE " + condition}))
	a.is(t, http.StatusOK)
	if _, more := a.header["X-Ms-Continuation"]; more || a.header.Get("x-ms-item-type") != "Twin" {
		t.Errorf("headers %v, want the item type Twin and no continuation", a.header)
	}
	rows := decoded[[]map[string]any](t, a)
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	twin := ok[map[string]any](t, h, "GET /twins/"+ids[0], "")
	for _, name := range []string{"deviceId", "etag", "status", "version", "tags", "properties", "authenticationType", "connectionState"} {
		same(t, name, rows[0][name], jsonOf(t, twin[name]))
	}
	if rows := h.rows(t, "SELECT * FROM devices WHERE deviceId = '"+h.id()+"'"); rows == nil || len(rows) != 0 {
		t.Errorf("rows of nobody: %v", rows)
	}
}

func queryPages(t testing.TB, h *subject) {
	ids, condition := h.tagged(t, "{\"a\":1}", "{\"a\":2}", "{\"a\":3}", "{\"a\":4}", "{\"a\":5}")
	sql := jsonOf(t, map[string]string{"query": "SELECT * FROM devices WHERE " + condition})
	var got []string
	var sizes []int
	for next := ""; len(sizes) < 10; {
		headers := []string{"x-ms-max-item-count", "2"}
		if next != "" {
			headers = append(headers, "x-ms-continuation", next)
		}
		a := h.ask(t, "POST /devices/query", sql, headers...)
		a.is(t, http.StatusOK)
		rows := decoded[[]iothub.Twin](t, a)
		for _, row := range rows {
			got = append(got, row.DeviceID)
		}
		sizes = append(sizes, len(rows))
		values, more := a.header["X-Ms-Continuation"]
		if !more {
			break
		}
		if next = values[0]; next == "" {
			t.Fatal("an empty continuation")
		}
	}
	slices.Sort(got)
	slices.Sort(ids)
	if !slices.Equal(got, ids) || slices.Max(sizes) > 2 {
		t.Errorf("pages of %v with %v, want at most 2 each and %v", sizes, got, ids)
	}
}

func queryProjections(t testing.TB, h *subject) {
	ids, condition := h.tagged(t, `{"site":"north","n":{"m":7}}`)
	a := h.ask(t, "POST /devices/query", jsonOf(t, map[string]string{
		"query": "SELECT deviceId, tags.site AS site, tags.n.m AS m, tags.missing AS missing, tags.n AS n FROM devices WHERE " + condition,
	}))
	a.is(t, http.StatusOK)
	if got := a.header.Get("x-ms-item-type"); got != "Raw" {
		t.Errorf("item type %s, want Raw", got)
	}
	same(t, "rows", document(t, string(a.body)), `[{"deviceId":"`+ids[0]+`","site":"north","m":7,"n":{"m":7}}]`)
	same(t, "rows in capitals", any(list(h.rows(t, "select DeviceId from devices where "+condition))), `[{"deviceId":"`+ids[0]+`"}]`)
}

// list is rows as a decoded document has them.
func list(rows []map[string]any) []any {
	all := make([]any, len(rows))
	for i, row := range rows {
		all[i] = row
	}
	return all
}

func queryGroups(t testing.TB, h *subject) {
	_, condition := h.tagged(t, `{"s":"a","n":1}`, `{"s":"b","n":2}`, `{"s":"a","n":4}`)
	rows := h.rows(t, "SELECT tags.s AS s, COUNT() AS n, SUM(tags.n) AS total, AVG(tags.n) AS mean, MIN(tags.n) AS least, MAX(tags.n) AS most FROM devices WHERE "+condition+" GROUP BY tags.s")
	slices.SortFunc(rows, func(a, b map[string]any) int { return strings.Compare(a["s"].(string), b["s"].(string)) })
	same(t, "groups", any(list(rows)), `[{"s":"a","n":2,"total":5,"mean":2.5,"least":1,"most":4},{"s":"b","n":1,"total":2,"mean":2,"least":2,"most":2}]`)
	same(t, "count", any(list(h.rows(t, "SELECT COUNT() AS n FROM devices WHERE "+condition))), `[{"n":3}]`)
}

func queryConditions(t testing.TB, h *subject) {
	ids, condition := h.tagged(t,
		`{"site":"north","floor":1,"ok":true,"group":"g","my-key":"k"}`,
		`{"site":"South","floor":2.5,"ok":false}`,
		`{"site":"north","floor":"1","o":{"p":0}}`,
	)
	tests := func(want string, conditions ...string) {
		t.Helper()
		for _, c := range conditions {
			var got strings.Builder
			rows := h.rows(t, "SELECT deviceId FROM devices WHERE "+condition+" AND ("+c+")")
			for i, id := range ids {
				if slices.ContainsFunc(rows, func(row map[string]any) bool { return row["deviceId"] == id }) {
					got.WriteString(itoa(i))
				}
			}
			if got.String() != want {
				t.Errorf("%s selects %q, want %q", c, got.String(), want)
			}
		}
	}
	tests("02", `tags.site = 'north'`, `tags.site = "north"`, `tags.site IN ['north', 'west']`, `tags.site NIN ['South']`, `NOT tags.site = 'South'`)
	tests("1", `tags.site != 'north'`, `tags.site <> 'north'`, `tags.floor > 1 AND tags.floor <= 2.5`, `tags.ok = false`)
	tests("0", `tags.floor = 1`, `tags.floor = 0x1`, `tags.floor + 1 = 2`, `tags.ok = true`, `IS_DEFINED(tags.ok) AND tags.floor < 2`, `tags.[[group]] = 'g'`, `tags.[[my-key]] = 'k'`)
	tests("2", `tags.floor = '1'`, `tags.o.p = 0`, `IS_DEFINED(tags.o)`, `tags.site = 'north' AND NOT (IS_DEFINED(tags.ok))`)
	tests("012", `tags.floor = 1 OR tags.floor = 2.5 OR tags.floor = '1'`, `status = 'enabled' AND properties.desired.$version = 1`, `connectionState = 'Disconnected'`)
	tests("", `tags.site = 'NORTH'`, `tags.missing = 1`, `tags.missing > 0`, `tags.o = 'p'`)
}

func queryFaults(t testing.TB, h *subject) {
	for _, sql := range []string{
		"SELECT", "SELECT * FROM devices WHERE", "SELECT * FROM devices ORDER BY deviceId", "SELECT * FROM nowhere", "hello", "SELECT * FROM devices WHERE deviceId = 'x",
	} {
		h.ask(t, "POST /devices/query", jsonOf(t, map[string]string{"query": sql})).refusedAs(t, 400)
	}
	h.ask(t, "POST /devices/query", jsonOf(t, map[string]string{"query": "SELECT * FROM devices WHERE deviceId = '" + strings.Repeat("x", 8192) + "'"})).refusedAs(t, 400)
}

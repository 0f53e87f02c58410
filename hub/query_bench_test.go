package hub_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"muster/hub/hubtest"
)

const benchTwins = 100_000

// benchQuery times one page of a query over 100,000 twins, with the request that asks for it. Twins have tags like those
// of a scenario, and a number of their own.
func benchQuery(b *testing.B, s *hubtest.Server, sql string, rows int) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		a, _ := queryPage(b, s, sql, 100, "")
		if got := len(decoded[[]json.RawMessage](b, a.body)); got != rows {
			b.Fatalf("%s: %d rows, want %d", sql, got, rows)
		}
	}
}

// BenchmarkQuery asks for a count by a range, which reads every twin; for the first page of twins of a tag's value, which
// reads as many as it takes to fill it; and for lists and groups of the same twins.
func BenchmarkQuery(b *testing.B) {
	s := hubtest.Start(b, nil)
	tags := make(map[string]string, benchTwins)
	for i := range benchTwins {
		tags[fmt.Sprintf("dev-%06d", i)] = fmt.Sprintf(`{"site":"site-%d","building":%d,"floor":%d,"n":%d}`, i%10, i%50, i%7, i)
	}
	registerTwins(b, s, tags)
	for _, bench := range []struct {
		name, sql string
		rows      int
	}{
		{"count/range", "SELECT COUNT() AS n FROM devices WHERE tags.n >= 25000 AND tags.n < 75000", 1},
		{"count/all", "SELECT COUNT() AS n FROM devices", 1},
		{"first-page/tag", "SELECT * FROM devices WHERE tags.site = 'site-3'", 100},
		{"first-page/list", "SELECT deviceId, tags.n FROM devices WHERE tags.site = 'site-3'", 100},
		{"groups/few", "SELECT tags.building, COUNT() AS n FROM devices GROUP BY tags.building", 50},
		{"groups/many", "SELECT deviceId, COUNT() AS n FROM devices GROUP BY deviceId", 100},
		{"one", "SELECT * FROM devices WHERE deviceId = 'dev-077777'", 1},
	} {
		b.Run(bench.name, func(b *testing.B) { benchQuery(b, s, bench.sql, bench.rows) })
	}
}

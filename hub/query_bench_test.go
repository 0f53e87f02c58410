package hub_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/iothub"
)

// benchTwins is how many twins queries are timed over; with a million a hub needs about 1 GB.
var benchTwins = flag.Int("twins", 100_000, "twins in BenchmarkQuery")

// benchTags are tags like those of a scenario, a number of the device's own, and one that a device in a thousand has.
func benchTags(i int) string {
	return fmt.Sprintf(`{"site":"site-%d","building":%d,"floor":%d,"rare":%t,"n":%d}`, i%10, i%50, i%7, i%1000 == 999, i)
}

// registerMany creates n devices by what benchTags says, without a list of them.
func registerMany(b testing.TB, s *hubtest.Server, n int, tags func(i int) string) {
	b.Helper()
	registerMore(b, s, 0, n, tags)
}

// registerMore is registerMany from a number on.
func registerMore(b testing.TB, s *hubtest.Server, from, n int, tags func(i int) string) {
	b.Helper()
	entries := make([]iothub.BulkEntry, 0, iothub.MaxBulk)
	for i := from; i < n; i++ {
		entries = append(entries, iothub.BulkEntry{
			ID: fmt.Sprintf("dev-%06d", i), ImportMode: iothub.ImportCreate, Tags: json.RawMessage(tags(i)),
		})
		if len(entries) < iothub.MaxBulk && i < n-1 {
			continue
		}
		body, err := json.Marshal(entries)
		if err != nil {
			b.Fatal(err)
		}
		if a := rest(b, s, "POST /devices", string(body)); a.status != 200 {
			b.Fatalf("register: %d %s", a.status, a.body)
		}
		entries = entries[:0]
	}
}

// heapInUse returns the bytes of all that is reachable.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// benchQuery times one page of a query, with the request that asks for it.
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

// BenchmarkQuery asks for a count by a range, which reads every twin; for the first page of twins of a tag's value; and for
// lists and groups of the same twins. The indexes of the tags are made before, as the twins are registered.
func BenchmarkQuery(b *testing.B) {
	s := hubtest.Start(b, nil)
	before, n := heapInUse(), *benchTwins
	registerMany(b, s, n, benchTags)
	b.Logf("%d twins: %d bytes each", n, (heapInUse()-before)/uint64(n))
	for _, bench := range []struct {
		name, sql string
		rows      int
	}{
		{"count/range", fmt.Sprintf("SELECT COUNT() AS n FROM devices WHERE tags.n >= %d AND tags.n < %d", n/4, n/4*3), 1},
		{"count/all", "SELECT COUNT() AS n FROM devices", 1},
		{"count/tag", "SELECT COUNT() AS n FROM devices WHERE tags.site = 'site-3'", 1},
		{"count/connected", "SELECT COUNT() AS n FROM devices WHERE connectionState = 'Connected'", 1},
		{"first-page/tag", "SELECT * FROM devices WHERE tags.site = 'site-3'", 100},
		{"first-page/rare", "SELECT * FROM devices WHERE tags.rare = true AND tags.floor IN [1, 2, 3]", min(100, n/1000*3/7)},
		{"first-page/one", fmt.Sprintf("SELECT * FROM devices WHERE tags.n = %d", n/3), 1},
		{"first-page/list", "SELECT deviceId, tags.n FROM devices WHERE tags.site = 'site-3'", 100},
		{"groups/few", "SELECT tags.building, COUNT() AS n FROM devices GROUP BY tags.building", 50},
		{"groups/many", "SELECT deviceId, COUNT() AS n FROM devices GROUP BY deviceId", 100},
		{"one", "SELECT * FROM devices WHERE deviceId = 'dev-077777'", 1},
	} {
		b.Run(bench.name, func(b *testing.B) {
			begun := time.Now()
			queryPage(b, s, bench.sql, 100, "")
			b.Logf("the first one that ever asks this: %v", time.Since(begun))
			settle(b, s)
			benchQuery(b, s, bench.sql, bench.rows)
		})
	}
	if indexes := heapInUse(); indexes > before {
		b.Logf("with the indexes %d bytes a twin", (indexes-before)/uint64(n))
	}
}

// BenchmarkRegister registers 100,000 twins with five tags, which are indexed meanwhile, or not.
func BenchmarkRegister(b *testing.B) {
	const n = 100_000
	for name, from := range map[string]int{"indexed": 1 << 14, "plain": math.MaxInt} {
		b.Run(name, func(b *testing.B) {
			cpu := cpuTime()
			for b.Loop() {
				s := hubtest.Start(b, nil)
				hub.ForeseeFrom(s.Hub, from)
				registerMany(b, s, n, benchTags)
				settle(b, s)
			}
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N)/n, "cpu-µs/twin")
		})
	}
}

// settle waits until no index is being made.
func settle(b testing.TB, s *hubtest.Server) {
	b.Helper()
	for !s.Indexed() {
		if context.Cause(b.Context()) != nil {
			b.Fatal("the index is not made")
		}
		runtime.Gosched()
	}
}

// BenchmarkIndexedTags changes the tags of 10,000 devices by a job, with none of them indexed and with three that change.
func BenchmarkIndexedTags(b *testing.B) {
	for _, indexes := range []int{0, 3} {
		b.Run(fmt.Sprint(indexes), func(b *testing.B) {
			s := hubtest.Start(b, nil)
			registerMany(b, s, benchFleet, benchTags)
			hub.IndexFrom(s.Hub, 0)
			for _, tag := range []string{"a", "b", "c"}[:indexes] {
				queryPage(b, s, "SELECT * FROM devices WHERE tags."+tag+" = 1", 1, "")
			}
			settle(b, s)
			n := 0
			for b.Loop() {
				n++
				id := fmt.Sprintf("bench-%d-%d", time.Now().UnixNano(), n)
				rest(b, s, "PUT /jobs/v2/"+id, twinJob("*", fmt.Sprintf(`"tags":{"a":%d,"b":%d,"c":%d}`, n%2, n%3, n)))
				for job(b, s, id).Status != iothub.JobCompleted {
					time.Sleep(time.Millisecond)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n)/benchFleet, "ns/twin")
		})
	}
}

package hub_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/iothub"
)

// indexing is bubble with a hub that indexes tags however few twins there are.
func indexing(t *testing.T, test func(t *testing.T, s *hubtest.Server)) {
	t.Helper()
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		hub.IndexFrom(s.Hub, 0)
		test(t, s)
	})
}

// pages returns the rows of a query, page by page.
func pages(t testing.TB, s *hubtest.Server, sql string, size int) (rows []string) {
	t.Helper()
	token := ""
	for page := 0; page == 0 || token != ""; page++ {
		var a answer
		a, token = queryPage(t, s, sql, size, token)
		for _, row := range decoded[[]map[string]any](t, a.body) {
			rows = append(rows, fmt.Sprint(row))
		}
	}
	return rows
}

// sameRows checks that a query yields with the indexes what it yields without. No index answers what stands under NOT.
func sameRows(t testing.TB, s *hubtest.Server, source, condition string, size int) {
	t.Helper()
	sql := "SELECT deviceId, moduleId, tags FROM " + source + " WHERE "
	want := pages(t, s, sql+"NOT NOT ("+condition+")", 100)
	if diff := cmp.Diff(want, pages(t, s, sql+condition, size)); diff != "" {
		t.Errorf("%s from %s by %d (-scan +index):\n%s", condition, source, size, diff)
	}
}

func TestIndexesNarrowWhatIsAsked(t *testing.T) {
	indexing(t, func(t *testing.T, s *hubtest.Server) {
		register(t, s, append(ids(100), "dev-00003/m")...)
		for i, id := range ids(100) {
			rest(t, s, "PATCH /twins/"+id, fmt.Sprintf(`{"tags":{"a":{"b":%d},"s":"v%d","on":%t,"none":null,"o":{},"l":[1]}}`, i%10, i%20, i < 5))
		}
		check := func(condition string, want int) {
			t.Helper()
			hub.Candidates(s.Hub, condition)
			synctest.Wait() // the index is made
			if got := hub.Candidates(s.Hub, condition); got != want {
				t.Errorf("%s: %d candidates, want %d", condition, got, want)
			}
			if condition != "*" && !strings.HasPrefix(condition, "FROM") {
				sameRows(t, s, "devices", condition, 7)
			}
		}
		const all = 101
		check("tags.a.b = 3", 10)
		check("tags.a.b = 3.0 AND tags.s != 'v3'", 10)
		check("tags.s = 'v3'", 5)
		check("tags.s = 'v3' AND tags.a.b = 3", 5)
		check("tags.s IN ['v3', 'v4', 'v3', 7]", 10)
		check("tags.s = 'v3' OR tags.s = 'v5'", 10)
		check("tags.s = 'v3' OR tags.a.b = 5", all)
		check("tags.on", 5)
		check("tags.on = false", 95)
		check("tags.on = 1", 0)
		check("tags.none = null", 0)
		check("tags.o = 'x'", 0)
		check("tags.l = 1", 0)
		check("tags.s = 'nobody'", 0)
		check("tags.s != 'v3'", all)
		check("tags.s > 'v3'", all)
		check("status = 'enabled'", all)
		check("*", all)
		check("deviceId = 'dev-00001' AND tags.s = 'v1'", 1)
		check("FROM devices.modules WHERE tags.s = 'v1'", 5)
	})
}

// A hub with few twins, and one that is only asked for other things, indexes nothing.
func TestNothingIsIndexedForNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(50)...)
		check := func(sql string, want int) {
			t.Helper()
			queryPage(t, s, sql, 10, "")
			synctest.Wait()
			if got, _ := hub.IndexSize(s.Hub); got != want {
				t.Errorf("after %s %d tags are indexed, want %d", sql, got, want)
			}
		}
		check("SELECT * FROM devices WHERE tags.a = 1", 0)
		hub.IndexFrom(s.Hub, 50)
		check("SELECT * FROM devices WHERE tags.a > 1", 0)
		check("SELECT * FROM devices WHERE deviceId = 'x' AND tags.a = 1", 0)
		check("SELECT * FROM devices WHERE tags = 1 AND properties.desired.a = 1", 0)
		check("SELECT * FROM devices WHERE tags.a = 1", 1)
		check("SELECT * FROM devices WHERE tags.a IN [1, 2] AND tags.b = 1", 2)
		rest(t, s, "DELETE /devices/dev-00001", "")
		check("SELECT * FROM devices WHERE tags.c = 1", 2)
	})
}

// There are only so many indexes; one that is not asked for any more makes room for another.
func TestIndexesAreFew(t *testing.T) {
	indexing(t, func(t *testing.T, s *hubtest.Server) {
		tags := make(map[string]string)
		for i, id := range ids(40) {
			tags[id] = fmt.Sprintf(`{"a":%[1]d,"b":%[1]d,"c":%[1]d,"d":%[1]d,"e":%[1]d,"f":%[1]d,"g":%[1]d,"h":%[1]d,"i":%[1]d,"j":%[1]d}`, i%4)
		}
		registerTwins(t, s, tags)
		check := func(tag string, want int) {
			t.Helper()
			condition := "tags." + tag + " = 1"
			sameRows(t, s, "devices", condition, 3)
			synctest.Wait()
			if got := hub.Candidates(s.Hub, condition); got != want {
				t.Errorf("%s: %d candidates, want %d", condition, got, want)
			}
			if n, postings := hub.IndexSize(s.Hub); n > 8 || postings > 4*8 {
				t.Errorf("%d tags are indexed with %d postings", n, postings)
			}
		}
		for _, tag := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			check(tag, 10)
		}
		check("i", 40)
		time.Sleep(50 * time.Second)
		check("a", 10)
		time.Sleep(50 * time.Second)
		check("i", 10)
		check("j", 10)
		check("a", 10)
	})
}

// A tag that is another for each device takes a bounded number of postings.
func TestPostingsAreBounded(t *testing.T) {
	const n, slots = 80_000, 1 << 16
	s := hubtest.Start(t, nil)
	registerMany(t, s, n, func(i int) string { return fmt.Sprintf(`{"serial":"s-%d","same":1}`, i) })
	for range 2 {
		for _, condition := range []string{"tags.serial = 's-77777'", "tags.same = 1"} {
			hub.Candidates(s.Hub, condition)
		}
		settle(t, s)
	}
	if got := hub.Candidates(s.Hub, "tags.serial = 's-77777'"); got < 1 || got > 20 {
		t.Errorf("%d devices share a posting", got)
	}
	if got := hub.Candidates(s.Hub, "tags.same = 1"); got != n {
		t.Errorf("%d devices have the same, want %d", got, n)
	}
	if _, postings := hub.IndexSize(s.Hub); postings > slots+1 || postings < slots/2 {
		t.Errorf("%d postings of %d values", postings, n)
	}
}

// Postings that are longer than what is read of them at once are merged in order, lists and bitmaps alike.
func TestLongPostingsAreMerged(t *testing.T) {
	indexing(t, func(t *testing.T, s *hubtest.Server) {
		const n = 2400
		registerMany(t, s, n, func(i int) string {
			return fmt.Sprintf(`{"half":%d,"mixed":%d,"few":%d}`, 2*i/n, i*i%7, min(i%40, 5))
		})
		for _, condition := range []string{"tags.half IN [0, 1]", "tags.half IN [1, 0, 2]", "tags.mixed IN [1, 2]", "tags.mixed = 0", "tags.few IN [0, 1, 4]", "tags.few = 5"} {
			hub.Candidates(s.Hub, condition)
			synctest.Wait()
			sameRows(t, s, "devices", condition, 99)
			sameRows(t, s, "devices", condition, 10)
		}
		before := hub.Candidates(s.Hub, "tags.half = 0")
		for i := range 10 {
			rest(t, s, fmt.Sprintf("DELETE /devices/dev-%06d", 3*i), "")
			rest(t, s, fmt.Sprintf("PATCH /twins/dev-%06d", 3*i+1), `{"tags":{"half":1}}`)
			rest(t, s, fmt.Sprintf("PATCH /twins/dev-%06d", n-3*i-1), `{"tags":{"half":0}}`)
		}
		if got := hub.Candidates(s.Hub, "tags.half = 0"); got != before-10 {
			t.Errorf("%d candidates, want %d", got, before-10)
		}
		sameRows(t, s, "devices", "tags.half = 0", 50)
		sameRows(t, s, "devices", "tags.half IN [0, 1]", 50)
	})
}

// randomTags returns tags with few values, of all kinds.
func randomTags(r *rand.Rand) string {
	values := []string{`"x"`, `"y"`, `"\u0078"`, `1`, `1.0`, `-0`, `0`, `true`, `false`, `null`, `{"x":1}`, `[1]`, `"` + strings.Repeat("z", 300) + `"`}
	pick := func() string { return values[r.IntN(len(values))] }
	return fmt.Sprintf(`{"tags":{"a":%s,"b":{"c":%s,"d":%s}}}`, pick(), pick(), pick())
}

var indexedConditions = []string{
	"tags.a = 'x'", "tags.a = 1", "tags.a = 0", "tags.a", "tags.a = false", "tags.a IN ['x', 1, true, 'none']",
	"tags.b.c = 'x' AND tags.a != 1", "tags.b.c = 'x' AND tags.a = 1", "tags.b.c = 'y' OR tags.b.c = 0", "tags.b.c.x = 1",
	"tags.a.x = 1", "tags.b.d = '" + strings.Repeat("z", 300) + "'", "tags.a = 1 AND tags.a = 'x'", "tags.a = 'x' OR tags.b.c = 'x'",
}

// Whatever happens to devices and modules, an index finds what a scan finds, in the same order and on pages of any size.
func TestIndexesFindWhatScansFind(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			indexing(t, func(t *testing.T, s *hubtest.Server) {
				r := rand.New(rand.NewPCG(seed, 1))
				name := func() string { return fmt.Sprintf("dev-%05d", r.IntN(60)) }
				for step := range 600 {
					switch r.IntN(10) {
					case 0:
						rest(t, s, "PUT /devices/"+name(), `{}`)
					case 1:
						rest(t, s, "POST /devices", fmt.Sprintf(`[{"id":%q,"importMode":"createOrUpdate",%s]`, name(), randomTags(r)[1:]))
					case 2:
						rest(t, s, "PUT /devices/"+name()+"/modules/m", `{}`)
					case 3:
						rest(t, s, "DELETE /devices/"+name(), "")
					case 4:
						rest(t, s, "PUT /twins/"+name(), randomTags(r))
					case 5:
						rest(t, s, "PATCH /twins/"+name()+"/modules/m", randomTags(r))
					case 6:
						rest(t, s, "PUT /devices/"+name(), fmt.Sprintf(`{"status":%q}`, []string{"disabled", "enabled"}[r.IntN(2)]), "If-Match", "*")
					default:
						rest(t, s, "PATCH /twins/"+name(), randomTags(r))
					}
					if step%15 == 0 {
						condition := indexedConditions[r.IntN(len(indexedConditions))]
						sameRows(t, s, []string{"devices", "devices.modules"}[r.IntN(2)], condition, 1+r.IntN(9))
					}
				}
				for _, condition := range indexedConditions {
					sameRows(t, s, "devices", condition, 5)
					sameRows(t, s, "devices.modules", condition, 5)
				}
				wantsStatistics(t, s)
				if n, _ := hub.IndexSize(s.Hub); n < 5 {
					t.Errorf("only %d tags are indexed", n)
				}
			})
		})
	}
}

// wantsStatistics checks the numbers that the hub keeps against those that it counts.
func wantsStatistics(t testing.TB, s *hubtest.Server) {
	t.Helper()
	count := func(condition string) int {
		return len(pages(t, s, "SELECT deviceId FROM devices WHERE "+condition, 100))
	}
	want := iothub.DeviceStatistics{Total: count("IS_DEFINED(deviceId)"), Enabled: count("status = 'enabled'"), Disabled: count("status = 'disabled'")}
	if got := ok[iothub.DeviceStatistics](t, s, "GET /statistics/devices", ""); got != want || want.Disabled == 0 || want.Enabled == 0 {
		t.Errorf("statistics %+v, want %+v", got, want)
	}
}

// While twins change, are made and deleted, and an index is being made, pages by the index have each device once and in order,
// those that match all the time among them; afterwards the index is as good as a scan.
func TestIndexesWhileTwinsChange(t *testing.T) {
	const fleet, writers, writes = 400, 4, 150
	indexing(t, func(t *testing.T, s *hubtest.Server) {
		tags, steady := make(map[string]string), make(map[string]bool)
		for i, id := range ids(fleet) {
			tags[id] = fmt.Sprintf(`{"a":%d,"b":%d}`, i%4, i%3)
			steady[id] = i%4 == 1 && i%5 == 0
		}
		registerTwins(t, s, tags)
		var writing sync.WaitGroup
		for w := range writers {
			writing.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), 2))
				for range writes {
					i := r.IntN(fleet)
					id := ids(fleet)[i]
					switch {
					case i%5 == 0: // steady: others of its tags change
						rest(t, s, "PATCH /twins/"+id, fmt.Sprintf(`{"tags":{"b":%d}}`, r.IntN(3)))
					case r.IntN(8) == 0:
						rest(t, s, "DELETE /devices/"+id, "")
						rest(t, s, "POST /devices", fmt.Sprintf(`[{"id":%q,"importMode":"create","tags":{"a":%d}}]`, id, r.IntN(4)))
					default:
						rest(t, s, "PATCH /twins/"+id, fmt.Sprintf(`{"tags":{"a":%d,"b":%d}}`, r.IntN(4), r.IntN(3)))
					}
				}
			})
		}
		for round := range 12 {
			got, token := []string(nil), ""
			for page := 0; page == 0 || token != ""; page++ {
				var a answer
				a, token = queryPage(t, s, "SELECT deviceId, tags.a AS a FROM devices WHERE tags.a IN [1, 9]", 10+round, token)
				for _, row := range decoded[[]map[string]any](t, a.body) {
					if got = append(got, row["deviceId"].(string)); row["a"] != 1.0 {
						t.Errorf("row %v was not selected", row)
					}
				}
			}
			for id, stays := range steady {
				if stays && !slices.Contains(got, id) {
					t.Errorf("round %d: %s is missing", round, id)
				}
			}
			if round == 6 {
				queryPage(t, s, "SELECT * FROM devices WHERE tags.b = 1", 1, "") // makes another index
			}
		}
		writing.Wait()
		synctest.Wait()
		for i := range 4 {
			sameRows(t, s, "devices", fmt.Sprintf("tags.a = %d", i), 9)
			sameRows(t, s, "devices", fmt.Sprintf("tags.b = %d", i), 9)
		}
	})
}

// A job reaches whom the index finds.
func TestJobsMatchByIndexes(t *testing.T) {
	indexing(t, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(20)...)
		schedule(t, s, "job-1", twinJob("deviceId < 'dev-00005'", `"tags":{"site":"A"}`))
		wantsJob(t, s, "job-1", iothub.JobCompleted, 5, 0, 0, 5, 0)
		for i := range 3 { // by a scan, and by the index that it lets the hub make; each moves its devices
			id, from, to := fmt.Sprintf("job-a%d", i), string(rune('A'+i)), string(rune('B'+i))
			schedule(t, s, id, twinJob("tags.site = '"+from+"'", `"tags":{"site":"`+to+`"}`))
			wantsJob(t, s, id, iothub.JobCompleted, 5, 0, 0, 5, 0)
		}
		sameRows(t, s, "devices", "tags.site = 'D'", 2)
		if got := hub.Candidates(s.Hub, "tags.site = 'D'"); got != 5 {
			t.Errorf("%d candidates, want 5", got)
		}
	})
}

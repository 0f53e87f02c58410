package hub_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/hub/hubtest"
	"muster/iothub"
)

// queryPage asks for one page; token is that of the page before. next is empty after the last page.
func queryPage(t testing.TB, s *hubtest.Server, sql string, size int, token string) (a answer, next string) {
	t.Helper()
	headers := []string{"x-ms-max-item-count", itoa(size)}
	if token != "" {
		headers = append(headers, "x-ms-continuation", token)
	}
	a = rest(t, s, "POST /devices/query", fmt.Sprintf(`{"query":%q}`, sql), headers...)
	if a.status != http.StatusOK {
		t.Fatalf("%s: %d %s", sql, a.status, a.body)
	}
	values, more := a.header["X-Ms-Continuation"]
	if !more {
		return a, ""
	}
	return a, values[0]
}

// registerTwins creates devices with tags, a JSON object each.
func registerTwins(t testing.TB, s *hubtest.Server, tags map[string]string) {
	t.Helper()
	var entries []iothub.BulkEntry
	for _, id := range slices.Sorted(maps.Keys(tags)) {
		entries = append(entries, iothub.BulkEntry{ID: id, ImportMode: iothub.ImportCreate, Tags: json.RawMessage(tags[id])})
	}
	for chunk := range slices.Chunk(entries, iothub.MaxBulk) {
		body, err := json.Marshal(chunk)
		if err != nil {
			t.Fatal(err)
		}
		if a := rest(t, s, "POST /devices", string(body)); a.status != http.StatusOK {
			t.Fatalf("register: %d %s", a.status, a.body)
		}
	}
}

func TestItemTypes(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(2)...)
		tests := func(sql, itemType string, rows int) {
			t.Helper()
			a, next := queryPage(t, s, sql, 100, "")
			if got := a.header.Get("x-ms-item-type"); got != itemType || next != "" {
				t.Errorf("%s: item type %s, want %s", sql, got, itemType)
			}
			if got := len(decoded[[]map[string]any](t, a.body)); got != rows {
				t.Errorf("%s: %s, want %d rows", sql, a.body, rows)
			}
		}
		tests("SELECT * FROM devices", "Twin", 2)
		tests("SELECT TOP 1 * FROM devices", "Twin", 1)
		tests("SELECT deviceId FROM devices", "Raw", 2)
		tests("SELECT COUNT() FROM devices", "Raw", 1)
		tests("SELECT status FROM devices GROUP BY status", "Raw", 1)
		tests("SELECT * FROM devices.modules", "Twin", 0)
		tests("SELECT deviceId FROM devices.modules", "Raw", 0)
		tests("SELECT COUNT() FROM devices.modules", "Raw", 1)
		tests("SELECT status FROM devices.modules GROUP BY status", "Raw", 0)
		tests("SELECT * FROM devices.jobs", "DeviceJob", 0)
	})
}

// leaves yields the paths of a document as conditions write them, each with the condition that holds there.
func leaves(prefix string, doc any, yield func(path, condition string)) {
	switch v := doc.(type) {
	case map[string]any:
		for name, member := range v {
			path := name
			if prefix != "" {
				path = prefix + ".[[" + name + "]]"
			}
			leaves(path, member, yield)
		}
		if prefix != "" {
			yield(prefix, "IS_DEFINED("+prefix+")")
		}
	default:
		text, _ := json.Marshal(v)
		yield(prefix, prefix+" = "+string(text))
	}
}

// A condition, a list and a group see of a twin what the twin shows.
func TestEveryAttributeCanBeAskedFor(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1", "dev2")
		rest(t, s, "PATCH /twins/dev2", `{"tags":{"a":{"b c":[1]},"n":null,"t":true},"properties":{"desired":{"x":{"y":"z"},"n":1.50}}}`)
		rest(t, s, "PUT /devices/dev2", `{"status":"disabled","statusReason":"lost"}`, "If-Match", "*")
		rest(t, s, "PUT /devices/dev2", `{"status":"enabled","statusReason":"found"}`, "If-Match", "*")
		b := reconnect(t, s, "dev2", iothub.FilterTwinResponses)
		b.publish(iothub.ReportedTopic("1"), `{"fw":"2.0","deep":{"er":{}}}`)
		b.message()
		twin := decoded[map[string]any](t, rest(t, s, "GET /twins/dev2", "").body)
		n := 0
		leaves("", twin, func(path, condition string) {
			n++
			if strings.Contains(condition, "[1]") { // an array compares with nothing
				condition = "IS_DEFINED(" + path + ")"
			}
			got := query[map[string]any](t, s, "SELECT "+path+" AS it, deviceId AS id FROM devices WHERE deviceId = 'dev2' AND "+condition, 10)
			if len(got) != 1 {
				t.Errorf("%s does not select the device", condition)
				return
			}
			if want := at(twin, path); !cmp.Equal(got[0]["it"], want) {
				t.Errorf("%s is %v, want %v", path, got[0]["it"], want)
			}
			if groups := query[map[string]any](t, s, "SELECT "+path+" FROM devices WHERE deviceId = 'dev2' GROUP BY "+path, 10); len(groups) != 1 {
				t.Errorf("grouped by %s: %v", path, groups)
			}
		})
		if n < 30 {
			t.Errorf("only %d attributes", n)
		}
	})
}

func TestEveryAttributeOfAModuleCanBeAskedFor(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1", "dev1/mod1", "dev1/mod2")
		rest(t, s, "PATCH /twins/dev1/modules/mod2", `{"tags":{"a":1},"properties":{"desired":{"x":{"y":"z"}}}}`)
		twin := decoded[map[string]any](t, rest(t, s, "GET /twins/dev1/modules/mod2", "").body)
		n := 0
		leaves("", twin, func(path, condition string) {
			n++
			sql := "SELECT " + path + " AS it FROM devices.modules WHERE moduleId = 'mod2' AND " + condition
			got := query[map[string]any](t, s, sql, 10)
			if len(got) != 1 || !cmp.Equal(got[0]["it"], at(twin, path)) {
				t.Errorf("%s: %v, want %v", sql, got, at(twin, path))
			}
		})
		if n < 30 {
			t.Errorf("only %d attributes", n)
		}
	})
}

// at returns what stands at a path as leaves writes it.
func at(doc any, path string) any {
	for _, name := range strings.Split(path, ".") {
		doc = doc.(map[string]any)[strings.Trim(name, "[]")]
	}
	return doc
}

func TestEveryAttributeOfAJobCanBeAskedFor(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		register(t, s, "dev2")
		schedule(t, s, "job-1", methodJob("*", 0, 60))
		b.answerMethod("m", `{"a":1}`, 201, `{"ok":{"by":"me"}}`)
		wantsJob(t, s, "job-1", iothub.JobCompleted, 2, 0, 0, 1, 1)
		n := 0
		for _, row := range query[map[string]any](t, s, "SELECT * FROM devices.jobs", 10) {
			leaves("devices.jobs", row, func(path, condition string) {
				if path == "devices.jobs" {
					return
				}
				n++
				got := query[map[string]any](t, s, "SELECT * FROM devices.jobs WHERE "+condition+" AND devices.jobs.deviceId = '"+row["deviceId"].(string)+"'", 10)
				if diff := cmp.Diff([]map[string]any{row}, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", condition, diff)
				}
			})
		}
		if n != 8+6+8+3 {
			t.Errorf("%d attributes in two rows", n)
		}
	})
}

// Pages of lists neither repeat nor skip while twins change, and their rows show what they were selected for; TOP counts
// over all of them.
func TestListPaging(t *testing.T) {
	tests := func(name, top string, size, want int) {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
				steady, tags := make(map[string]bool), make(map[string]string)
				for i, id := range ids(60) {
					steady[id] = i%3 > 0
					tags[id] = fmt.Sprintf(`{"floor":%d}`, i%3)
				}
				registerTwins(t, s, tags)
				change := func(id string, floor int) {
					steady[id] = false
					rest(t, s, "PATCH /twins/"+id, fmt.Sprintf(`{"tags":{"floor":%d}}`, floor))
				}
				var got []string
				token := ""
				for page := 0; page == 0 || token != ""; page++ {
					var a answer
					a, token = queryPage(t, s, "SELECT "+top+" deviceId, tags.floor AS f FROM devices WHERE tags.floor > 0", size, token)
					for _, row := range decoded[[]map[string]any](t, a.body) {
						got = append(got, row["deviceId"].(string))
						if f, ok := row["f"].(float64); !ok || f <= 0 {
							t.Errorf("row %v was not selected", row)
						}
					}
					for _, id := range got[max(0, len(got)-2):] { // the last rows leave the result, and come back changed
						change(id, -page%2)
						steady[id] = true
					}
					change(ids(60)[3*page%60], 9) // another comes into it, before or behind
					change(ids(60)[(59-7*page%60)%60], 0)
					if page < 5 {
						rest(t, s, "DELETE /devices/"+ids(60)[50-page], "")
						steady[ids(60)[50-page]] = false
					}
				}
				wantsRows(t, got, steady, top != "", want)
			})
		})
	}
	tests("all", "", 7, 0)
	tests("one by one", "", 1, 0)
	tests("top of many pages", "TOP 17", 5, 17)
	tests("top at the end of a page", "TOP 15", 5, 15)
	tests("top of one page", "TOP 4", 5, 4)
}

// wantsRows checks ids on all pages: each once and in order; as many as are wanted, or all of those that were to come.
func wantsRows(t *testing.T, got []string, steady map[string]bool, limited bool, want int) {
	t.Helper()
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("not each once and in order: %v", got)
	}
	if limited {
		if len(got) != want {
			t.Errorf("%d rows, want %d", len(got), want)
		}
		return
	}
	for id, stays := range steady {
		if stays && !slices.Contains(got, id) {
			t.Errorf("%s is missing", id)
		}
	}
}

func TestDeletedDevicesAreNoRows(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(5)...)
		rest(t, s, "DELETE /devices/dev-00001", "")
		for sql, want := range map[string]string{
			"SELECT deviceId FROM devices WHERE deviceId <= 'dev-00002'": `[{"deviceId":"dev-00000"},{"deviceId":"dev-00002"}]`,
			"SELECT COUNT() AS n FROM devices":                           `[{"n":4}]`,
		} {
			if a, _ := queryPage(t, s, sql, 100, ""); a.body != want {
				t.Errorf("%s: %s, want %s", sql, a.body, want)
			}
		}
	})
}

// A page with TOP is known to be the last one.
func TestTopEndsWithoutAToken(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(10)...)
		tests := func(sql string, size int, want ...int) {
			t.Helper()
			var got []int
			token := ""
			for page := 0; page == 0 || token != ""; page++ {
				var a answer
				a, token = queryPage(t, s, sql, size, token)
				got = append(got, len(decoded[[]json.RawMessage](t, a.body)))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s by %d: pages %v, want %v", sql, size, got, want)
			}
		}
		tests("SELECT TOP 3 * FROM devices", 5, 3)
		tests("SELECT TOP 5 * FROM devices", 5, 5)
		tests("SELECT TOP 8 * FROM devices", 3, 3, 3, 2)
		tests("SELECT TOP 9 * FROM devices", 3, 3, 3, 3)
		tests("SELECT TOP 2147483647 deviceId FROM devices", 4, 4, 4, 2)
		tests("SELECT * FROM devices", 5, 5, 5)
		tests("SELECT TOP 1 COUNT() FROM devices", 1, 1)
		tests("SELECT COUNT() FROM devices", 1, 1)
		tests("SELECT TOP 7 deviceId, COUNT() FROM devices GROUP BY deviceId", 3, 3, 3, 1)
		tests("SELECT TOP 6 deviceId, COUNT() FROM devices GROUP BY deviceId", 3, 3, 3)
		tests("SELECT deviceId, COUNT() FROM devices GROUP BY deviceId", 5, 5, 5)
	})
}

// Each page of groups counts anew; no group comes twice, and one that is there all the time comes.
func TestGroupPaging(t *testing.T) {
	const steady, groups = "steady", 40
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		tags := make(map[string]string)
		for i := range groups { // each group has a device that stays, and one that moves
			tags[fmt.Sprintf("%s-%02d", steady, i)] = fmt.Sprintf(`{"g":"g%02d%s","n":%d}`, i, strings.Repeat("ä", 700*(i%2)), i)
			tags[fmt.Sprintf("moves-%02d", i)] = fmt.Sprintf(`{"g":%d}`, i)
		}
		registerTwins(t, s, tags)
		random := rand.New(rand.NewPCG(1, 2))
		seen := make(map[string]int)
		var order []string
		token := ""
		for page := 0; page == 0 || token != ""; page++ {
			var a answer
			a, token = queryPage(t, s, "SELECT tags.g AS g, COUNT() AS n, SUM(tags.n) AS sum FROM devices GROUP BY tags.g", 3, token)
			if len(token) > 1000 {
				t.Errorf("a token of %d bytes", len(token))
			}
			for _, row := range decoded[[]map[string]any](t, a.body) {
				g := fmt.Sprint(row["g"])
				seen[g]++
				if _, text := row["g"].(string); text {
					order = append(order, g)
				}
				if row["n"].(float64) < 1 {
					t.Errorf("an empty group: %v", row)
				}
			}
			for range 5 {
				rest(t, s, fmt.Sprintf("PATCH /twins/moves-%02d", random.IntN(groups)), fmt.Sprintf(`{"tags":{"g":%d}}`, random.IntN(3*groups)))
			}
			rest(t, s, fmt.Sprintf("DELETE /devices/moves-%02d", page), "")
		}
		for g, n := range seen {
			if n > 1 {
				t.Errorf("group %.10s comes %d times", g, n)
			}
		}
		if len(order) != groups || !slices.IsSorted(order) {
			t.Errorf("%d groups that stayed, want %d in order", len(order), groups)
		}
	})
}

// A page of large rows ends early, and the next one goes on.
func TestLargeRowsEndAPage(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		tags := make(map[string]string)
		for _, id := range ids(100) {
			tags[id] = `{"a":"` + strings.Repeat("x", 4000) + `"}`
		}
		registerTwins(t, s, tags)
		var columns []string
		for i := range 50 {
			columns = append(columns, fmt.Sprintf("tags AS t%d", i))
		}
		n, pages, token := 0, 0, ""
		for pages == 0 || token != "" {
			var a answer
			a, token = queryPage(t, s, "SELECT TOP 99 deviceId, "+strings.Join(columns, ", ")+" FROM devices", 100, token)
			if len(a.body) > 5<<20 {
				t.Errorf("a page of %d bytes", len(a.body))
			}
			n += len(decoded[[]json.RawMessage](t, a.body))
			pages++
		}
		if n != 99 || pages != 5 {
			t.Errorf("%d rows on %d pages, want 99 on 5", n, pages)
		}
	})
}

func TestRefusedQueries(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		a := rest(t, s, "POST /devices/query", `{"query":"SELECT UPPER(tags.a) FROM devices"}`)
		refused(t, "UPPER", a, iothub.CodeArgumentInvalid)
		body := decoded[map[string]string](t, a.body)
		want := "ErrorCode:ArgumentInvalid;The query is invalid: column 8: the hub refuses UPPER in twin queries: it is for message routing only"
		if body["Message"] != want || !strings.HasPrefix(body["ExceptionMessage"], "Tracking ID:") {
			t.Errorf("body %v, want %q", body, want)
		}
		for _, document := range []string{`{`, `{"query":5}`, `[]`, `{}`, `{"query":null}`, `{"query":"` + strings.Repeat(" ", 8193) + `"}`} {
			refused(t, document, rest(t, s, "POST /devices/query", document), iothub.CodeArgumentInvalid)
		}
	})
}

// The client yields the rows of lists and groups as any others.
func TestClientReadsRawRows(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(5)...)
		read := func(sql string) (rows []string) {
			t.Helper()
			for row, err := range s.Client().Query(t.Context(), sql, 2) {
				if err != nil {
					t.Fatal(err)
				}
				rows = append(rows, string(row))
			}
			return rows
		}
		if diff := cmp.Diff([]string{`{"id":"dev-00001"}`, `{"id":"dev-00002"}`, `{"id":"dev-00003"}`},
			read("SELECT TOP 3 deviceId AS id FROM devices WHERE deviceId > 'dev-00000'")); diff != "" {
			t.Errorf("list (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{`{"n":5}`}, read("SELECT COUNT() AS n FROM devices")); diff != "" {
			t.Errorf("count (-want +got):\n%s", diff)
		}
		if got := read("SELECT deviceId FROM devices GROUP BY deviceId"); len(got) != 5 {
			t.Errorf("groups %v", got)
		}
	})
}

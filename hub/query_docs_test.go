package hub_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/hub/hubtest"
	"muster/iothub"
)

// fence is a fenced block of a page.
type fence struct{ kind, text string }

func fences(page string) (all []fence) {
	parts := strings.Split("\n"+page, "\n```")
	for i := 1; i < len(parts); i += 2 {
		kind, text, _ := strings.Cut(parts[i], "\n")
		all = append(all, fence{kind, text})
	}
	return all
}

// tableRows returns the cells of the table rows below headers of that name, in two columns.
func tableRows(page, first, second string) (rows [][2]string) {
	inside := false
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		left, right, ok := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(line, "|"), "| "), " |")
		switch right = strings.TrimSpace(right); {
		case left == first && right == second:
			inside = true
		case !ok:
			inside = false
		case inside && !strings.HasPrefix(left, "---"):
			rows = append(rows, [2]string{strings.Trim(left, "`"), right})
		}
	}
	return rows
}

// What docs/query.md shows is what the hub answers.
func TestQueryDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/query.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	blocks := fences(page)
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		if a := rest(t, s, "POST /devices", blocks[0].text); a.status != http.StatusOK {
			t.Fatalf("register the doors: %d %s", a.status, a.body)
		}
		queries := 0
		for i, block := range blocks[1:] {
			if block.kind != "sql" {
				continue
			}
			queries++
			a := rest(t, s, "POST /devices/query", fmt.Sprintf(`{"query":%q}`, strings.TrimSpace(block.text)))
			switch want := blocks[i+2]; want.kind {
			case "json":
				if diff := cmp.Diff(decoded[any](t, want.text), decoded[any](t, a.body)); diff != "" {
					t.Errorf("%s (-page +hub):\n%s", block.text, diff)
				}
			case "text":
				refused(t, block.text, a, iothub.CodeArgumentInvalid)
				if !strings.Contains(a.body, strings.TrimSpace(want.text)) {
					t.Errorf("%s: %s, want …%s…", block.text, a.body, want.text)
				}
			default:
				t.Errorf("no result follows %s", block.text)
			}
		}
		if queries < 10 {
			t.Errorf("%d queries on the page", queries)
		}
		docsTables(t, s, page)
	})
}

func docsTables(t *testing.T, s *hubtest.Server, page string) {
	t.Helper()
	tests := func(first, second string, least int, check func(text, want string)) {
		t.Helper()
		rows := tableRows(page, first, second)
		if len(rows) < least {
			t.Errorf("%d rows below %s and %s", len(rows), first, second)
		}
		for _, row := range rows {
			check(row[0], row[1])
		}
	}
	tests("Condition", "Selects", 20, func(condition, want string) {
		var got []string
		for _, twin := range query[iothub.Twin](t, s, "SELECT * FROM devices WHERE "+condition, 100) {
			got = append(got, twin.DeviceID)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s selects %q, want %q", condition, got, want)
		}
	})
	refuses := func(sql, why string) {
		a := rest(t, s, "POST /devices/query", fmt.Sprintf(`{"query":%q}`, sql))
		refused(t, sql, a, iothub.CodeArgumentInvalid)
		if message := decoded[map[string]string](t, a.body)["Message"]; !strings.Contains(message, why) {
			t.Errorf("%s: %s, want …%s…", sql, message, why)
		}
	}
	tests("Query", "Is refused because", 15, refuses)
	tests("Condition", "Is refused because", 10, func(condition, why string) {
		refuses("SELECT * FROM devices WHERE "+condition, why)
	})
}

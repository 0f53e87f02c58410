package query_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"muster/internal/query"
)

// listed is a random column: its text, its name, and what it gives for the
// decoded documents that one row stands for.
type listed struct {
	text, name string
	path       []string // nil for an aggregate
	eval       func(docs []any) any
}

// statement is a random query over devices.
type statement struct {
	text    string
	columns []listed
	where   func(doc any) bool
	groupBy [][]string
	grouped bool
}

func (g grower) statement() statement {
	s := statement{where: func(any) bool { return true }}
	var attributes []string
	var paths [][]string
	for range rapid.IntRange(0, 3).Draw(g.t, "attributes") {
		text, path := g.path()
		if !slices.ContainsFunc(paths, func(known []string) bool { return slices.Equal(known, path) }) {
			attributes, paths = append(attributes, text), append(paths, path)
		}
	}
	grouped := len(paths) > 0 && g.flip("grouped")
	for i, path := range paths {
		if !grouped || g.flip("selected") {
			s.columns = append(s.columns, listed{text: attributes[i], name: path[len(path)-1], path: path, eval: func(docs []any) any { return at(docs[0], path) }})
		}
	}
	if aggregates := rapid.IntRange(0, 3).Draw(g.t, "aggregates"); len(paths) == 0 || grouped {
		for range max(1, aggregates) {
			s.columns = append(s.columns, g.aggregated())
		}
		s.grouped = true
	}
	s.columns = rapid.Permutation(s.columns).Draw(g.t, "order")
	s.text = g.word("SELECT") + g.named(s.columns) + g.word("FROM") + pick(g, "source", "devices", "Devices")
	if g.flip("where") {
		x := g.term(2)
		s.text += g.word("WHERE") + x.text
		s.where = func(doc any) bool { return x.eval(doc) == true }
	}
	if grouped {
		s.groupBy = paths
		s.text += g.word("GROUP") + g.word("BY") + strings.Join(attributes, pick(g, "comma", ",", " , "))
	}
	return s
}

// named writes the columns, with other names where two would be the same.
func (g grower) named(columns []listed) string {
	texts := make([]string, len(columns))
	seen := map[string]bool{}
	for i := range columns {
		c := &columns[i]
		texts[i] = c.text
		if seen[c.name] || g.flip("alias") {
			c.name = pick(g, "name", "n", "From", "a b") + strconv.Itoa(i)
			texts[i] += g.word("AS") + "[[" + c.name + "]]"
		}
		seen[c.name] = true
	}
	return strings.Join(texts, ", ")
}

func (g grower) aggregated() listed {
	name := pick(g, "aggregate", "count", "avg", "sum", "min", "max")
	if name == "count" {
		return listed{text: "COUNT()", name: name, eval: func(docs []any) any { return float64(len(docs)) }}
	}
	text, path := g.path()
	return listed{text: name + "(" + text + ")", name: name, eval: func(docs []any) any {
		var numbers []float64
		sum := 0.0
		for _, doc := range docs {
			if f, ok := at(doc, path).(float64); ok {
				numbers = append(numbers, f)
				sum += f
			}
		}
		if len(numbers) == 0 {
			return missing{}
		}
		return map[string]float64{
			"avg": sum / float64(len(numbers)), "sum": sum, "min": slices.Min(numbers), "max": slices.Max(numbers),
		}[name]
	}}
}

// rows evaluates the statement naively, each row a document; those of groups
// come in any order.
func (s *statement) rows(docs []any) []map[string]any {
	var sets [][]any // of rows, one for each row of the result
	var keys []string
	if s.grouped && s.groupBy == nil {
		sets, keys = [][]any{nil}, []string{"[]"}
	}
	for i, doc := range docs {
		if !s.where(doc) {
			continue
		}
		key := strconv.Itoa(i)
		if s.grouped {
			key = fmt.Sprintf("%#v", s.key(doc))
		}
		set := slices.Index(keys, key)
		if s.grouped && s.groupBy == nil {
			set = 0
		}
		if set < 0 {
			set = len(sets)
			sets, keys = append(sets, nil), append(keys, key)
		}
		sets[set] = append(sets[set], doc)
	}
	rows := []map[string]any{}
	for _, set := range sets {
		row := map[string]any{}
		for _, c := range s.columns {
			v := c.eval(set)
			if s.grouped && c.path != nil {
				v = groupable(v)
			}
			if v != any(missing{}) {
				row[c.name] = v
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func (s *statement) key(doc any) []any {
	var key []any
	for _, path := range s.groupBy {
		key = append(key, groupable(at(doc, path)))
	}
	return key
}

// groupable is a value as rows are grouped by it.
func groupable(v any) any {
	switch v.(type) {
	case map[string]any, []any:
		return missing{}
	}
	return v
}

// pages evaluates a grouped query page by page.
func pages(t *rapid.T, q *query.Query, rows []doc, size int) (all []string) {
	t.Helper()
	var after []byte
	for {
		groups := q.Groups(after, size+1)
		for _, row := range rows {
			if q.Where.Match(row) {
				groups.Add(row)
			}
		}
		page := groups.Rows()
		if len(page) > size+1 {
			t.Fatalf("%d groups are kept, want at most %d", len(page), size+1)
		}
		for _, group := range page[:min(size, len(page))] {
			all = append(all, string(group.Append(nil)))
		}
		if len(page) <= size {
			return all
		}
		after = page[size-1].Key()
	}
}

// What a query yields is what a naive reading of the language yields; its
// canonical form means the same, and so do its pages together.
func TestRowsAgreeWithANaiveEvaluator(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := grower{t}
		s := g.statement()
		q, err := query.Parse(s.text)
		if err != nil {
			t.Fatalf("Parse(%q): %v", s.text, err)
		}
		again, err := query.Parse(q.String())
		if err != nil || again.String() != q.String() {
			t.Fatalf("%q prints %q, which prints %q: %v", s.text, q, again, err)
		}
		if q.Grouped() != s.grouped || q.Whole() {
			t.Fatalf("%q: grouped %t, whole %t", s.text, q.Grouped(), q.Whole())
		}
		var docs []any
		var rows []doc
		for range rapid.IntRange(0, 6).Draw(t, "twins") {
			row := encoded(t, g.twin(), g.flip("indent"))
			rows = append(rows, row)
			docs = append(docs, decoded(t, string(row)))
		}
		want := sorted(t, s.rows(docs), s.grouped)
		for _, q := range []*query.Query{q, again} {
			var got []any
			for _, row := range yielded(t, q, rows, rapid.IntRange(1, 4).Draw(t, "page")) {
				got = append(got, decoded(t, row))
			}
			if diff := cmp.Diff(want, sorted(t, got, s.grouped)); diff != "" {
				t.Fatalf("%s\n%s\nover %s (-want +got):\n%s", s.text, q, rows, diff)
			}
		}
	})
}

func yielded(t *rapid.T, q *query.Query, rows []doc, size int) (all []string) {
	t.Helper()
	if q.Grouped() {
		return pages(t, q, rows, size)
	}
	for _, row := range rows {
		if q.Where.Match(row) {
			all = append(all, string(q.AppendRow(nil, row)))
		}
	}
	return all
}

func decoded(t *rapid.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// sorted writes rows as JSON; in some order if theirs does not matter.
func sorted[T any](t *rapid.T, rows []T, anyOrder bool) []string {
	t.Helper()
	texts := make([]string, len(rows))
	for i, row := range rows {
		texts[i] = string(encoded(t, row, false))
	}
	if anyOrder {
		slices.Sort(texts)
	}
	return texts
}

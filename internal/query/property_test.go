package query_test

import (
	"encoding/json"
	"hash/maphash"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"muster/internal/query"
)

// The values of the naive evaluator are nil, bool, float64, string and these.
type (
	missing struct{} // undefined
	nested  struct{} // an object or an array
)

// term is a random expression: its text, how strongly it binds, and what it
// gives for a decoded document.
type term struct {
	text string
	rank int
	eval func(doc any) any
}

// Ranks, as the language page has them.
const (
	rankOr = iota
	rankAnd
	rankNot
	rankCompare
	rankSum
	rankProduct
	rankMinus
	rankOperand
)

// grower draws terms.
type grower struct{ t *rapid.T }

func (g grower) flip(label string) bool { return rapid.Bool().Draw(g.t, label) }

func pick[T any](g grower, label string, options ...T) T {
	return rapid.SampledFrom(options).Draw(g.t, label)
}

// word writes a keyword in some case, with space around it.
func (g grower) word(s string) string {
	if g.flip("lower") {
		s = strings.ToLower(s)
	}
	return pick(g, "space", " ", "\t", "\n  ") + s + " "
}

// inside writes a term as an operand of something that binds with rank.
func (g grower) inside(x term, rank int) string {
	if x.rank < rank || rapid.IntRange(0, 9).Draw(g.t, "extra") == 0 {
		return pick(g, "open", "(", "( ") + x.text + ")"
	}
	return x.text
}

func (g grower) term(depth int) term {
	if depth == 0 {
		return g.operand()
	}
	switch rapid.IntRange(0, 9).Draw(g.t, "kind") {
	case 0, 1:
		return g.joined(depth, "AND", rankAnd, false)
	case 2, 3:
		return g.joined(depth, "OR", rankOr, true)
	case 4:
		return g.negated(depth)
	case 5, 6:
		return g.compared(depth)
	case 7:
		return g.calculated(depth)
	case 8:
		return g.member()
	}
	return g.operand()
}

// joined is an AND, decided by a false, or an OR, decided by a true.
func (g grower) joined(depth int, word string, rank int, decisive bool) term {
	terms := make([]term, rapid.IntRange(2, 3).Draw(g.t, "terms"))
	var text strings.Builder
	for i := range terms {
		terms[i] = g.term(depth - 1)
		if i > 0 {
			text.WriteString(g.word(word))
		}
		text.WriteString(g.inside(terms[i], rank))
	}
	return term{text.String(), rank, func(doc any) any {
		var result any = !decisive
		for _, x := range terms {
			switch x.eval(doc) {
			case decisive:
				return decisive
			case !decisive:
			default:
				result = missing{}
			}
		}
		return result
	}}
}

func (g grower) negated(depth int) term {
	x := g.term(depth - 1)
	return term{g.word("NOT") + g.inside(x, rankNot), rankNot, func(doc any) any {
		if b, ok := x.eval(doc).(bool); ok {
			return !b
		}
		return missing{}
	}}
}

func (g grower) compared(depth int) term {
	side := g.term
	if g.flip("numeric") {
		side = g.numeric
	}
	left, right := side(depth-1), side(depth-1)
	op := pick(g, "op", "=", "!=", "<>", "<", "<=", ">", ">=")
	text := g.inside(left, rankSum) + op + g.inside(right, rankSum)
	return term{text, rankCompare, func(doc any) any { return compared(op, left.eval(doc), right.eval(doc)) }}
}

func compared(op string, a, b any) any {
	order, ok := 0, false
	switch a := a.(type) {
	case nil:
		if b != nil || slices.Contains([]string{"<", "<=", ">", ">="}, op) {
			return missing{}
		}
		ok = true
	case bool:
		if b, same := b.(bool); same {
			order, ok = strings.Compare(strconv.FormatBool(a), strconv.FormatBool(b)), true
		}
	case float64:
		if b, same := b.(float64); same {
			ok = true
			if a < b {
				order = -1
			} else if a > b {
				order = 1
			}
		}
	case string:
		if b, same := b.(string); same {
			order, ok = strings.Compare(a, b), true
		}
	}
	if !ok {
		return missing{}
	}
	return map[string]bool{
		"=": order == 0, "!=": order != 0, "<>": order != 0,
		"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0,
	}[op]
}

// numeric draws a term that mostly is a number, so that arithmetic on it says
// something.
func (g grower) numeric(depth int) term {
	switch kind := rapid.IntRange(0, 9).Draw(g.t, "numeric kind"); {
	case kind == 0:
		return g.term(depth)
	case kind == 1:
		return g.attribute()
	case kind < 5 && depth > 0:
		return g.calculated(depth)
	}
	text := pick(g, "number", numberTexts...)
	return term{text, rankMinus, func(any) any { return numbers[text] }}
}

func (g grower) calculated(depth int) term {
	if rapid.IntRange(0, 4).Draw(g.t, "minus") == 0 {
		x := g.numeric(depth - 1)
		return term{"-" + g.inside(x, rankMinus), rankMinus, func(doc any) any {
			if f, ok := x.eval(doc).(float64); ok {
				return -f
			}
			return missing{}
		}}
	}
	op := pick(g, "op", "+", "-", "*", "/", "%")
	rank := rankProduct
	if op == "+" || op == "-" {
		rank = rankSum
	}
	left, right := g.numeric(depth-1), g.numeric(depth-1)
	text := g.inside(left, rank) + " " + op + " " + g.inside(right, rank+1)
	return term{text, rank, func(doc any) any {
		a, okA := left.eval(doc).(float64)
		b, okB := right.eval(doc).(float64)
		if !okA || !okB {
			return missing{}
		}
		f := map[string]float64{"+": a + b, "-": a - b, "*": a * b, "/": a / b, "%": math.Mod(a, b)}[op]
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return missing{}
		}
		return f
	}}
}

// member is IN or NIN, evaluated as the equalities that it stands for.
func (g grower) member() term {
	attribute := g.attribute()
	list := make([]term, pick(g, "size", 1, 2, 3, 20))
	texts := make([]string, len(list))
	for i := range list {
		list[i] = g.constant()
		texts[i] = list[i].text
	}
	word, negated := "IN", g.flip("negated")
	if negated {
		word = "NIN"
	}
	text := attribute.text + g.word(word) + "[" + strings.Join(texts, ", ") + "]"
	return term{text, rankCompare, func(doc any) any {
		var result any = negated
		for _, x := range list {
			switch compared("=", attribute.eval(doc), x.eval(doc)) {
			case true:
				return !negated
			case false:
			default:
				result = missing{}
			}
		}
		return result
	}}
}

func (g grower) operand() term {
	switch rapid.IntRange(0, 5).Draw(g.t, "operand") {
	case 0, 1:
		return g.constant()
	case 2:
		return g.called()
	}
	return g.attribute()
}

func (g grower) called() term {
	attribute := g.attribute()
	name := pick(g, "function", "IS_DEFINED", "STARTSWITH", "ENDSWITH")
	if name == "IS_DEFINED" {
		return term{"is_defined( " + attribute.text + " )", rankOperand, func(doc any) any {
			return attribute.eval(doc) != missing{}
		}}
	}
	text := pick(g, "affix", texts...)
	return term{name + "(" + attribute.text + "," + quoted(text) + ")", rankOperand, func(doc any) any {
		s, ok := attribute.eval(doc).(string)
		switch {
		case !ok:
			return missing{}
		case name == "STARTSWITH":
			return strings.HasPrefix(s, text)
		}
		return strings.HasSuffix(s, text)
	}}
}

// Few values, so that equal ones meet.
var (
	texts   = []string{"", "a", "b", "ab", "ü'\"\\\n", "1", "true"}
	numbers = map[string]float64{"0": 0, "1": 1, "2.5": 2.5, "-3": -3, "0x10": 16, "1e2": 100}
	names   = []string{"a", "b", "group", "x-y", "$v"}
)

var numberTexts = slices.Sorted(maps.Keys(numbers))

// quoted writes a string in double quotes, so that the printer has to change
// it.
func quoted(s string) string {
	s = strings.ReplaceAll(s, `\`, `\\`)
	s = strings.ReplaceAll(s, `"`, `\"`)
	return `"` + strings.ReplaceAll(s, "\n", `\u000a`) + `"`
}

func (g grower) constant() term {
	fixed := func(text string, rank int, v any) term { return term{text, rank, func(any) any { return v }} }
	switch rapid.IntRange(0, 6).Draw(g.t, "constant") {
	case 0, 1:
		s := pick(g, "text", texts...)
		return fixed(quoted(s), rankOperand, s)
	case 2, 3:
		text := pick(g, "number", numberTexts...)
		return fixed(text, rankMinus, numbers[text])
	case 4:
		b := g.flip("boolean")
		return fixed(strconv.FormatBool(b), rankOperand, b)
	case 5:
		return fixed("Null", rankOperand, nil)
	}
	return fixed("UNDEFINED", rankOperand, missing{})
}

// path draws an attribute: how it is written and what it means.
func (g grower) path() (text string, path []string) {
	root := pick(g, "root", []string{"tags"}, []string{"properties", "reported"}, []string{"deviceId"})
	path = slices.Clone(root)
	if root[0] != "deviceId" {
		for range rapid.IntRange(1, 2).Draw(g.t, "names") {
			path = append(path, pick(g, "name", names...))
		}
	}
	written := make([]string, len(path))
	for i, name := range path {
		switch {
		case i < len(root) && g.flip("upper"):
			written[i] = strings.ToUpper(name) // the hub's names in any case
		case name == "group" || name == "x-y" || g.flip("brackets"):
			written[i] = "[[" + name + "]]"
		default:
			written[i] = name
		}
	}
	return strings.Join(written, "."), path
}

// at returns what a decoded document holds at a path.
func at(doc any, path []string) any {
	for _, name := range path {
		m, ok := doc.(map[string]any)
		if !ok {
			return missing{}
		}
		if doc, ok = m[name]; !ok {
			return missing{}
		}
	}
	return doc
}

func (g grower) attribute() term {
	text, path := g.path()
	return term{text, rankOperand, func(doc any) any {
		switch v := at(doc, path).(type) {
		case map[string]any, []any:
			return nested{}
		default:
			return v
		}
	}}
}

// object draws an object with some of the names.
func (g grower) object(depth int) map[string]any {
	m := map[string]any{}
	for _, name := range names {
		switch rapid.IntRange(0, 6).Draw(g.t, name) {
		case 0:
			m[name] = pick(g, "text", texts...)
		case 1:
			m[name] = pick(g, "number", 0, 1, 2.5, -3, 16, 100.0)
		case 2:
			m[name] = g.flip("boolean")
		case 3:
			m[name] = nil
		case 4:
			m[name] = []any{1.0, "a", map[string]any{"a": 1.0}}
		case 5:
			if depth > 0 {
				m[name] = g.object(depth - 1)
			}
		}
	}
	return m
}

func (g grower) twin() map[string]any {
	return map[string]any{
		"deviceId":   pick(g, "id", "a", "b", "1"),
		"tags":       g.object(1),
		"properties": map[string]any{"reported": g.object(1)},
	}
}

func encoded(t *rapid.T, v any, indent bool) doc {
	t.Helper()
	marshal := json.Marshal
	if indent {
		marshal = func(v any) ([]byte, error) { return json.MarshalIndent(v, " ", "\t") }
	}
	b, err := marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What the compiled condition matches is what a naive reading of the language
// matches; its canonical form is stable and means the same.
func TestMatchAgreesWithANaiveEvaluator(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := grower{t}
		x := g.term(3)
		c, err := query.ParseCondition(x.text)
		if err != nil {
			t.Fatalf("ParseCondition(%q): %v", x.text, err)
		}
		again, err := query.ParseCondition(c.String())
		if err != nil {
			t.Fatalf("%q prints %q, which is refused: %v", x.text, c, err)
		}
		if got, want := again.Paths(), c.Paths(); !cmp.Equal(got, want) {
			t.Fatalf("%q reads %q and %q reads %q", again, got, c, want)
		}
		if again.String() != c.String() {
			t.Fatalf("%q prints %q, which prints %q", x.text, c, again)
		}
		ids, limited := c.DeviceIDs()
		for range 4 {
			twin := g.twin()
			row := encoded(t, twin, g.flip("indent"))
			want := x.eval(any(twin)) == true
			if got := c.Match(row); got != want {
				t.Fatalf("%s\n%s\nover %s is %t, want %t", x.text, c, row, got, want)
			}
			if got := again.Match(row); got != want {
				t.Fatalf("%s, printed from %s,\nover %s is %t, want %t", again, x.text, row, got, want)
			}
			if want && limited && !slices.Contains(ids, twin["deviceId"].(string)) {
				t.Fatalf("%s matches %s, which is not one of %q", x.text, twin["deviceId"], ids)
			}
			if want {
				wantsEqualities(t, c, row)
			}
		}
	})
}

// wantsEqualities checks on a row that a condition matches what the condition says of it, by the hashes that an index goes by.
func wantsEqualities(t *rapid.T, c *query.Condition, r query.Row) {
	t.Helper()
	seed := maphash.MakeSeed()
	for _, e := range c.Equalities() {
		got := r.Value(e.Path)
		if !slices.ContainsFunc(e.Values, func(v query.Value) bool { return v.Hash(seed) == got.Hash(seed) }) {
			t.Fatalf("%s matches %s, of which %q is none of %v", c, r, e.Path, e.Values)
		}
	}
}

// Whatever an expression gives can be asked for.
func TestArithmeticAgreesWithANaiveEvaluator(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := grower{t}
		x, twin := g.numeric(4), g.twin()
		f, ok := x.eval(any(twin)).(float64)
		if !ok {
			t.Skip("no number")
		}
		c, err := query.ParseCondition(g.inside(x, rankSum) + " = " + strconv.FormatFloat(f, 'g', -1, 64))
		if err != nil {
			t.Fatal(err)
		}
		again, err := query.ParseCondition(c.String())
		if err != nil {
			t.Fatal(err)
		}
		if row := encoded(t, twin, false); !c.Match(row) || !again.Match(row) {
			t.Fatalf("%s does not match %s", c, row)
		}
	})
}

package template_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"muster/internal/template"
)

func parseTree(t testing.TB, v any) *template.Tree {
	t.Helper()
	tree, err := template.ParseTree(v)
	if err != nil {
		t.Fatalf("ParseTree(%v): %v", v, err)
	}
	return tree
}

func TestTreeEvaluatesItsStrings(t *testing.T) {
	check := func(v, want any, wantJSON string) {
		t.Helper()
		tree := parseTree(t, v)
		if diff := cmp.Diff(want, tree.Eval(vars)); diff != "" {
			t.Errorf("Eval of %v (-want +got):\n%s", v, diff)
		}
		if got := string(tree.AppendJSON([]byte("x"), vars)); got != "x"+wantJSON {
			t.Errorf("AppendJSON of %v = %s, want %s", v, got, wantJSON)
		}
	}
	check(nil, nil, "null")
	check(true, true, "true")
	check(17, 17, "17")
	check(uint64(math.MaxUint64), uint64(math.MaxUint64), "18446744073709551615")
	check(-0.5, -0.5, "-0.5")
	check(1e30, 1e30, "1e+30")
	check(json.Number("1.50"), json.Number("1.50"), "1.50")
	check("{index % 50}", int64(43), "43")
	check("{pick(1.5)}", 1.5, "1.5")
	check("{pick(true)}", true, "true")
	check("{pick(\"<a&b>\\\"\\\\\")}", `<a&b>"\`, `"<a&b>\"\\"`)
	check("{{}}", "{}", `"{}"`)
	check("a\n\t\x01\u2028ü😀", "a\n\t\x01\u2028ü😀", "\"a\\n\\u0009\\u0001\u2028ü😀\"")
	check([]any{}, []any{}, "[]")
	check(map[string]any{}, map[string]any{}, "{}")
	check(map[any]any{"b": 1, "a": []any{"{index}", nil}},
		map[string]any{"b": 1, "a": []any{int64(143), nil}}, `{"a":[143,null],"b":1}`)
	check(map[string]any{"é": 1, "z": 2, "Z": 3, "{index}": 4, "a\"b": 5},
		map[string]any{"é": 1, "z": 2, "Z": 3, "{index}": 4, "a\"b": 5}, `{"Z":3,"a\"b":5,"z":2,"{index}":4,"é":1}`)
}

func TestTreeEvalMakesNewMaps(t *testing.T) {
	tree := parseTree(t, map[string]any{"a": map[string]any{"b": 1}})
	changed := tree.Eval(vars).(map[string]any)
	changed["a"].(map[string]any)["b"] = 2
	if got := string(tree.AppendJSON(nil, vars)); got != `{"a":{"b":1}}` {
		t.Errorf("the tree changed to %s", got)
	}
}

func TestParseTreeReportsEveryFault(t *testing.T) {
	deep := any("{index}")
	for range 65 {
		deep = []any{deep}
	}
	_, err := template.ParseTree(map[string]any{
		"ok":        "{index}",
		"floor":     "{index % 0}",
		"place":     map[string]any{"rooms": []any{"a", "b}"}, "since": time.Time{}},
		"odd key":   "{",
		"codes":     map[any]any{1: "a"},
		"chan":      make(chan int),
		"infinite":  math.Inf(1),
		"$metadata": "{x}",
		"deep":      deep,
	})
	want := []string{
		"$metadata: column 2: no x: there are index, group, random(n) and pick('a', 'b')",
		"chan: a value of type chan int cannot be part of a tree",
		"codes: keys must be strings: put numbers and the like in quotes",
		"deep" + strings.Repeat("[0]", 64) + ": nested deeper than 64 levels",
		"floor: column 10: division by zero",
		"infinite: +Inf is not a JSON value",
		`["odd key"]: column 2: expected an integer, index, group, random, pick, - or (, found the end`,
		"place.rooms[1]: column 2: } closes nothing: the brace itself is written }}",
		"place.since: a date: put it in quotes to make it a string",
	}
	if err == nil {
		t.Fatal("ParseTree found no fault")
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	at, ok := errors.AsType[*template.PathError](err)
	if !ok || at.Path != "$metadata" {
		t.Errorf("first fault = %#v, want a PathError at $metadata", at)
	}
	syntax, ok := errors.AsType[*template.SyntaxError](err)
	if !ok || syntax.Off != 1 {
		t.Errorf("first fault is %#v, want a SyntaxError at 1", syntax)
	}

	if _, err := template.ParseTree("{"); err == nil || strings.HasPrefix(err.Error(), ":") {
		t.Errorf("a fault of the tree itself reads %v", err)
	}
}

// value draws what a decoder may give, with templates among the strings.
func value(t *rapid.T, depth int) any {
	kinds := 7
	if depth == 0 {
		kinds = 5
	}
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"{index}", "{random(1000000)}", "{pick('a', 2, 2.5, true)}-x", "{pick(\"\\\"\", 1)}", "{group}"}).Draw(t, "template")
	case 1:
		plain := rapid.String().Draw(t, "plain")
		return strings.NewReplacer("{", "{{", "}", "}}").Replace(plain)
	case 2:
		return rapid.Float64Range(-1e9, 1e9).Draw(t, "float")
	case 3:
		return rapid.Int().Draw(t, "int")
	case 4:
		return rapid.Bool().Draw(t, "bool")
	case 5:
		return nil
	case 6:
		l := make([]any, rapid.IntRange(0, 3).Draw(t, "items"))
		for i := range l {
			l[i] = value(t, depth-1)
		}
		return l
	}
	m := map[string]any{}
	for _, key := range rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "keys") {
		m[key] = value(t, depth-1)
	}
	return m
}

// decode reads JSON with numbers as they stand there.
func decode(t *rapid.T, doc []byte) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(doc)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return v
}

func TestTreeWritesWhatItEvaluatesTo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree, err := template.ParseTree(value(t, 3))
		if err != nil {
			t.Fatal(err)
		}
		v := template.Vars{Index: rapid.IntRange(0, 1000).Draw(t, "index"), Group: "g", Seed: rapid.Uint64().Draw(t, "seed")}
		got := tree.AppendJSON(nil, v)
		if again := tree.AppendJSON(nil, v); string(again) != string(got) {
			t.Fatalf("%s and then %s", got, again)
		}
		want, err := json.Marshal(tree.Eval(v))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(decode(t, want), decode(t, got)); diff != "" {
			t.Fatalf("AppendJSON = %s, Eval = %s:\n%s", got, want, diff)
		}
	})
}

func TestAnEntryMoreChangesNoOther(t *testing.T) {
	entries := map[string]any{"b": "{random(1000000)}", "d": []any{"{pick('a', 'b', 'c')}"}}
	before := parseTree(t, entries).Eval(vars).(map[string]any)
	entries["a"], entries["c"] = "{random(1000000)}", "{random(1000000)}"
	after := parseTree(t, entries).Eval(vars).(map[string]any)
	if !cmp.Equal(before["b"], after["b"]) || !cmp.Equal(before["d"], after["d"]) {
		t.Errorf("%v became %v", before, after)
	}
	if after["a"] == after["b"] || after["b"] == after["c"] || after["a"] == after["c"] {
		t.Errorf("entries share their choices: %v", after)
	}
}

func FuzzParseTree(f *testing.F) {
	f.Add([]byte(`{"site": "north", "building": "{index % 50}", "x": [1, null, {"y": "{random(9)}"}]}`), uint64(1))
	f.Add([]byte(`{"a b": "{", "\u0000": "}}"}`), uint64(2))
	f.Add([]byte(`"{pick('a\\'', \"b\", 1)}"`), uint64(3))
	f.Fuzz(func(t *testing.T, doc []byte, seed uint64) {
		var v any
		if json.Unmarshal(doc, &v) != nil {
			return
		}
		tree, err := template.ParseTree(v)
		if err != nil {
			if _, ok := errors.AsType[*template.PathError](err); !ok {
				t.Errorf("ParseTree(%s) = %v, want a PathError", doc, err)
			}
			return
		}
		v1 := template.Vars{Index: 3, Group: "g", Seed: seed}
		if got := tree.AppendJSON(nil, v1); !json.Valid(got) || string(got) != string(tree.AppendJSON(nil, v1)) {
			t.Errorf("%s gives %s", doc, got)
		}
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	tree := parseTree(b, map[string]any{
		"site": "north", "building": "{index % 50}", "floor": "{random(10)}", "kind": "{pick('fire', 'office')}",
	})
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = tree.AppendJSON(dst[:0], vars)
	}
}

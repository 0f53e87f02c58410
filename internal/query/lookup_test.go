package query_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"muster/internal/query"
)

func TestLookupReadsPaths(t *testing.T) {
	check := func(doc, path, want string) {
		t.Helper()
		var names []string
		if path != "" {
			names = strings.Split(path, "/")
		}
		if got := query.Lookup([]byte(doc), names).String(); got != want {
			t.Errorf("Lookup(%s, %q) = %s, want %s", doc, path, got, want)
		}
	}
	check(`{"a": {"b": {"c": 1}}}`, "a/b/c", "1")
	check("\t{\r\n \"a\" : { \"b\" : \"x\" } }\n", "a/b", "'x'")
	check(`{"x": [{"a": 2}], "y": "}\"{", "a": 1}`, "a", "1")
	check(`{"x": {"a": 2}, "a": 1}`, "a", "1")
	check(`{"a": 1, "a": 2}`, "a", "1")
	check(`{"": {"": true}}`, "/", "true")
	check(`{"\u0061\n": 1}`, "a\n", "1")
	check(`{"a\"b": 1}`, `a"b`, "1")
	check(`true`, "", "true")
	check(`[1]`, "", "[object]")
	check(`{"a": [1]}`, "a", "[object]")
	check(`{"a": null}`, "a", "null")
	check(`{"a": null}`, "a/b", "undefined")
	check(`{"a": "b"}`, "a/b", "undefined")
	check(`[{"a": 1}]`, "a", "undefined")
	check(`{"a": 1}`, "b", "undefined")
	check(`{}`, "a", "undefined")
	check(``, "", "undefined")
	check(``, "a", "undefined")

	// Strings.
	check(`"\u00fc\"\\\/\b\f\n\r\t'"`, "", `'ü"\\/\u0008\u000c\u000a\u000d\u0009\''`)
	check(`"\ud83d\ude00"`, "", "'😀'")
	check(`"\ud83d"`, "", "'\uFFFD'")
	check(`"\ud83d\u0041"`, "", "'\uFFFDA'")
	check(`"\x"`, "", "undefined")
	check(`"\u12g4"`, "", "undefined")
	check(`"\u12`, "", "undefined")
	check(`"\u12"`, "", "undefined")
	check(`"\"`, "", "undefined")
	check("\"a\nb\"", "", "undefined")
	check(`"open`, "", "undefined")
	check(`""`, "", "''")

	// Numbers.
	check(`-0.5e+2`, "", "-50")
	check(`0`, "", "0")
	check(`1e-7`, "", "1e-07")
	check(`123456789012345678901234567890`, "", "1.2345678901234568e+29")
	check(`1e999`, "", "undefined")
	for _, broken := range []string{
		"01", "-", "+1", ".5", "1.", "1e", "1e+", "0x1F", "1_0", "Inf", "NaN", "-Infinity", "12a", "tru", "nul", "True", "truee",
	} {
		check(broken, "", "undefined")
		check(`{"a":`+broken+`}`, "a", "undefined")
	}

	// Broken documents: what comes before the fault can be found.
	check(`{"a": 1, "b": `, "a", "1")
	check(`{"a": 1, "b": `, "b", "undefined")
	check(`{"a": 1 "b": 2}`, "b", "undefined")
	check(`{"a" 1}`, "a", "undefined")
	check(`{a: 1}`, "a", "undefined")
	check(`{"a": {"b": 1}`, "a/b", "1")
	check(`{"a": {"b": "x}`, "a", "undefined")
	check(`{"a": {"b": `, "a", "undefined")
	check(`{"x": , "a": 1}`, "a", "undefined")
	check(`{"x": [`, "a", "undefined")
	check(strings.Repeat(`[`, 100000), "", "undefined")
	check(`{"a`, "a", "undefined")
	check(`{"a": }`, "a", "undefined")
}

func TestLookupCopiesNothingButEscapes(t *testing.T) {
	doc := []byte(`{"x": {"y": [1, "a\nb", {}]}, "tags": {"site": "north", "floor": 12.5}}`)
	site, floor := []string{"tags", "site"}, []string{"tags", "floor"}
	if got := testing.AllocsPerRun(100, func() { query.Lookup(doc, site); query.Lookup(doc, floor) }); got != 0 {
		t.Errorf("Lookup allocates %v times", got)
	}
}

// reference looks up path as encoding/json sees the document.
func reference(doc []byte, path []string) query.Value {
	var v any
	if json.Unmarshal(doc, &v) != nil {
		return query.Value{}
	}
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return query.Value{}
		}
		if v, ok = m[name]; !ok {
			return query.Value{}
		}
	}
	switch v := v.(type) {
	case nil:
		return query.Null()
	case bool:
		return query.Bool(v)
	case float64:
		return query.Number(v)
	case string:
		return query.String(v)
	}
	return query.Object()
}

// repeats reports whether an object of a valid document has two members of one
// name, of which encoding/json takes the other one.
func repeats(doc []byte) bool {
	d := json.NewDecoder(bytes.NewReader(doc))
	type object struct {
		names map[string]bool // nil for an array
		value bool            // a value comes next, not a name
	}
	var open []*object
	for {
		token, err := d.Token()
		if err == io.EOF {
			return false
		}
		var top *object
		if len(open) > 0 {
			top = open[len(open)-1]
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			open = open[:len(open)-1]
			continue
		}
		if top != nil && top.names != nil {
			if name, ok := token.(string); ok && !top.value {
				if top.names[name] {
					return true
				}
				top.names[name], top.value = true, true
				continue
			}
			top.value = false
		}
		switch token {
		case json.Delim('{'):
			open = append(open, &object{names: map[string]bool{}})
		case json.Delim('['):
			open = append(open, &object{})
		}
	}
}

func FuzzLookup(f *testing.F) {
	f.Add([]byte(door), "tags", "site")
	f.Add([]byte(`{"a": {"b": "\ud83d\ude00"}}`), "a", "b")
	f.Add([]byte(`{"a": [{"b": 1}], "a": {"b": -1.5e3}}`), "a", "b")
	f.Add([]byte(`{"a": {"b": "open`), "a", "b")
	f.Fuzz(func(t *testing.T, doc []byte, first, second string) {
		before := bytes.Clone(doc)
		for _, path := range [][]string{nil, {first}, {first, second}} {
			got := query.Lookup(doc, path)
			_ = got.String()
			if !json.Valid(doc) || !utf8.Valid(doc) || repeats(doc) {
				continue
			}
			var v any
			if json.Unmarshal(doc, &v) != nil {
				continue // a number beyond float64 somewhere
			}
			if want := reference(doc, path); got.Kind() != want.Kind() || got.String() != want.String() {
				t.Errorf("Lookup(%s, %q) = %s, want %s", doc, path, got, want)
			}
		}
		if !bytes.Equal(doc, before) {
			t.Error("Lookup changed the document")
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	for _, path := range []string{"deviceId", "tags/site", "capabilities/iotEdge"} {
		b.Run(path, func(b *testing.B) {
			names, doc := strings.Split(path, "/"), []byte(door)
			b.ReportAllocs()
			for b.Loop() {
				query.Lookup(doc, names)
			}
		})
	}
}

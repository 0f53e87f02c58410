package scenarios_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"muster/scenarios"
)

var compiled = sync.OnceValues(func() (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(scenarios.Schema())))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("scenario.schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("scenario.schema.json")
})

// checkSchema validates a scenario's text as an editor does.
func checkSchema(t *testing.T, src string) error {
	t.Helper()
	schema, err := compiled()
	if err != nil {
		t.Fatalf("compile Schema(): %v", err)
	}
	var doc yaml.Node
	if err := yaml.Load([]byte(src), &doc); err != nil || len(doc.Content) == 0 {
		return fmt.Errorf("not one YAML document: %w", err)
	}
	return schema.Validate(plainValue(&doc, 0))
}

// plainValue turns YAML's tree into what JSON has; dates are texts. What stands
// inside of itself ends at some depth.
func plainValue(n *yaml.Node, depth int) any {
	if depth++; depth > 100 {
		return nil
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return plainValue(n.Content[0], depth)
	case yaml.AliasNode:
		return plainValue(n.Alias, depth)
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			list = append(list, plainValue(c, depth))
		}
		return list
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plainValue(n.Content[i+1], depth)
		}
		return m
	}
	text := strings.ReplaceAll(n.Value, "_", "")
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(text, "true")
	case "!!int":
		if i, err := strconv.ParseInt(text, 0, 64); err == nil {
			return json.Number(strconv.FormatInt(i, 10))
		}
		return json.Number(text)
	case "!!float":
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
		}
	}
	return n.Value
}

func TestSchemaTakesEveryShippedScenario(t *testing.T) {
	for _, name := range scenarios.ShippedNames() {
		src, err := fs.ReadFile(scenarios.Shipped(), name+".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if err := checkSchema(t, string(src)); err != nil {
			t.Errorf("%s.yaml: %v", name, err)
		}
		refusesStrangers(t, name, string(src))
	}
}

// refusesStrangers puts a key that there is not into each mapping of src that
// the decoder knows the keys of, and holds schema and decoder to refuse it.
func refusesStrangers(t *testing.T, name, src string) {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Load([]byte(src), &doc); err != nil {
		t.Fatal(err)
	}
	tried := 0
	eachMapping(&doc, func(m *yaml.Node) {
		kept := m.Content
		m.Content = append(slices.Clip(kept), &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "zzStranger"}, &yaml.Node{Kind: yaml.MappingNode})
		defer func() { m.Content = kept }()
		text, err := yaml.Dump(&doc)
		if err != nil {
			t.Fatal(err)
		}
		_, refused := parse(string(text), scenarios.Options{Devices: 100})
		if refused == nil || !strings.Contains(refused.Error(), `unknown key "zzStranger"`) {
			return // tags, payloads and the like may hold anything
		}
		tried++
		if err := checkSchema(t, string(text)); err == nil {
			t.Errorf("%s.yaml with an unknown key on line %d is taken by the schema, and refused by the decoder: %v", name, m.Line, refused)
		}
	})
	if tried < 5 {
		t.Errorf("%s.yaml: an unknown key was refused in %d mappings, want more", name, tried)
	}
}

func eachMapping(n *yaml.Node, f func(*yaml.Node)) {
	if n.Kind == yaml.MappingNode {
		f(n)
	}
	for _, c := range n.Content {
		eachMapping(c, f)
	}
}

// structural finds the faults that a schema can see too.
var structural = regexp.MustCompile(`(?m)unknown (key|transport|tier|type|way)|: expected (a mapping|a list|true or false|a whole number|a number|a text|a duration such as 500ms, 30s|a rate)|: \w+ is missing$`)

// agree holds the schema against the decoder: it takes every scenario that the
// decoder takes, and refuses those whose structure the decoder refuses.
func agree(t *testing.T, src string, opts scenarios.Options, refused error) {
	t.Helper()
	if len(opts.Set) > 0 || src == bomb || len(src) > 1<<16 {
		return
	}
	err := checkSchema(t, src)
	switch {
	case refused == nil && err != nil:
		t.Errorf("the decoder takes what the schema refuses:\n%s\n%v", src, err)
	case refused != nil && err == nil && structural.MatchString(refused.Error()) && !strings.Contains(src, "${"):
		t.Errorf("the schema takes what the decoder refuses:\n%s\n%v", src, refused)
	}
}

// described walks the schema and calls f for every value in it.
func described(t *testing.T, f func(path string, s map[string]any)) {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal(scenarios.Schema(), &root); err != nil {
		t.Fatalf("Schema(): %v", err)
	}
	var walk func(path string, s map[string]any)
	walk = func(path string, s map[string]any) {
		properties, _ := s["properties"].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			below := strings.TrimPrefix(path+"."+name, ".")
			f(below, properties[name].(map[string]any))
			walk(below, properties[name].(map[string]any))
		}
		if items, ok := s["items"].(map[string]any); ok {
			f(path+"[]", items)
			walk(path+"[]", items)
		}
		if members, ok := s["additionalProperties"].(map[string]any); ok {
			f(path+".*", members)
			walk(path+".*", members)
		}
		ways, _ := s["anyOf"].([]any)
		for _, way := range ways {
			walk(path, way.(map[string]any))
		}
	}
	walk("", root)
}

func TestSchemaSaysOfEveryKeyWhatItIs(t *testing.T) {
	unused := scenarios.Meanings()
	described(t, func(path string, s map[string]any) {
		unused = slices.DeleteFunc(unused, func(p string) bool { return p == path })
		if s["description"] == nil {
			t.Errorf("meanings has no text for %s", path)
		}
		if s["type"] == nil && s["anyOf"] == nil && s["enum"] == nil && s["$ref"] == nil {
			t.Errorf("the decoder of %s does not describe its value: it needs a call of a schema's method", path)
		}
	})
	if len(unused) > 0 {
		t.Errorf("meanings has texts for what is no key: %q", unused)
	}
}

// never are keys that the decoder knows for the sake of a better error, and
// refuses always.
var never = []string{"mqtt", "desired"}

// TestSchemaHasEveryKeyOfTheDecoder reads the keys from the decoder's source:
// an independent look at what a call of the decoder may not have told.
func TestSchemaHasEveryKeyOfTheDecoder(t *testing.T) {
	names := map[string]bool{}
	described(t, func(path string, _ map[string]any) { names[path[strings.LastIndex(path, ".")+1:]] = true })
	keys := keysOfTheDecoder(t)
	for _, key := range keys {
		if !names[key] && !slices.Contains(never, key) {
			t.Errorf("the decoder has a key %s, and the schema has none", key)
		}
	}
	for name := range names {
		if !slices.Contains(keys, name) && name != "*" && !strings.HasSuffix(name, "[]") {
			t.Errorf("the schema has a key %s, and the decoder's source has none", name)
		}
	}
	if len(keys) < 40 {
		t.Errorf("the decoder's source has the keys %q, want more", keys)
	}
}

// keysOfTheDecoder returns the names in calls of required and optional.
func keysOfTheDecoder(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 {
				return true
			}
			name, _ := call.Fun.(*ast.Ident)
			text, _ := call.Args[0].(*ast.BasicLit)
			if name != nil && text != nil && (name.Name == "required" || name.Name == "optional") {
				key, _ := strconv.Unquote(text.Value) // the parser has read it already
				keys = append(keys, key)
			}
			return true
		})
	}
	return keys
}

// TestExamplesAndDefaultsOfTheSchemaAreTaken holds them against the schema of
// their own key.
func TestExamplesAndDefaultsOfTheSchemaAreTaken(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(scenarios.Schema(), &root); err != nil {
		t.Fatal(err)
	}
	seen := 0
	described(t, func(path string, s map[string]any) {
		c := jsonschema.NewCompiler()
		one := maps.Clone(s)
		one["$schema"], one["$defs"] = root["$schema"], root["$defs"]
		if err := c.AddResource("one.json", one); err != nil {
			t.Fatal(err)
		}
		schema, err := c.Compile("one.json")
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		examples, _ := s["examples"].([]any)
		if def, ok := s["default"]; ok {
			examples = append(examples, def)
		}
		for _, example := range examples {
			seen++
			if err := schema.Validate(example); err != nil {
				t.Errorf("%s: example or default %v: %v", path, example, err)
			}
		}
	})
	if seen < 40 {
		t.Errorf("%d examples and defaults, want more", seen)
	}
}

// TestDefaultsOfTheSchemaAreTheDecoders writes a default out and leaves it out.
func TestDefaultsOfTheSchemaAreTheDecoders(t *testing.T) {
	same := func(bare, key string, path string) {
		t.Helper()
		var value any
		described(t, func(p string, s map[string]any) {
			if p == path {
				value = s["default"]
			}
		})
		text, err := json.Marshal(value)
		if err != nil || value == nil {
			t.Fatalf("%s has the default %v, %v", path, value, err)
		}
		without := resolved(t, mustParse(t, strings.ReplaceAll(bare, "KEY", ""), scenarios.Options{}))
		with := resolved(t, mustParse(t, strings.ReplaceAll(bare, "KEY", fmt.Sprintf("%s: %s", key, text)), scenarios.Options{}))
		if string(without) != string(with) {
			t.Errorf("%s: %s changes the scenario:\n%s\n%s", key, text, without, with)
		}
	}
	same(top("KEY"), "seed", "seed")
	same(top("target: {embedded: {KEY}}"), "transport", "target.embedded.transport")
	same(fleet("[{group: g, devices: 2, KEY}]"), "id", "fleet[].id")
	same(fleet("[{group: g, devices: 2, KEY}]"), "echoDesired", "fleet[].echoDesired")
	same(fleet("[{group: g, devices: 2, methods: {m: {KEY}}}]"), "status", "fleet[].methods.*.status")
	same(fleet("[{group: g, devices: 2, methods: {m: {KEY}}}]"), "failureStatus", "fleet[].methods.*.failureStatus")
	same(fleet("[{group: g, devices: 2, methods: {m: {KEY}}}]"), "latency", "fleet[].methods.*.latency")
	same(top("connect: {KEY}"), "rate", "connect.rate")
	same(top("connect: {KEY}"), "inFlight", "connect.inFlight")
	same(top("connect: {KEY}"), "timeout", "connect.timeout")
	same(top("connect: {KEY}"), "keepAlive", "connect.keepAlive")
	same(top("connect: {backoff: {KEY}}"), "base", "connect.backoff.base")
	same(top("connect: {backoff: {KEY}}"), "cap", "connect.backoff.cap")
	same(job("type: scheduleUpdateTwin, updateTwin: {tags: {a: 1}}, queryCondition: '*', KEY"), "startTime", "jobs[].startTime")
	same(job("type: scheduleUpdateTwin, updateTwin: {tags: {a: 1}}, queryCondition: '*', KEY"), "maxExecutionTimeInSeconds", "jobs[].maxExecutionTimeInSeconds")
	same(job("type: scheduleUpdateTwin, updateTwin: {tags: {a: 1}}, queryCondition: '*', KEY"), "mark", "jobs[].mark")
	same(job("type: scheduleDeviceMethod, cloudToDeviceMethod: {methodName: m, KEY}, queryCondition: '*'"), "responseTimeoutInSeconds", "jobs[].cloudToDeviceMethod.responseTimeoutInSeconds")
}

var yamlBlock = regexp.MustCompile("(?ms)^```ya?ml[^\n]*\n(.*?)^```")

// TestSchemaTakesEveryScenarioOfTheDocs validates the blocks of YAML in the
// docs. A fragment need not have what a whole scenario must.
func TestSchemaTakesEveryScenarioOfTheDocs(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range append(pages, "../README.md") {
		src, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range yamlBlock.FindAllStringSubmatch(string(src), -1) {
			text := block[1]
			if strings.HasPrefix(text, "# fragment") {
				text = withRequired(text)
			}
			if !strings.Contains(text, "\nfleet:") || strings.HasPrefix(text, "# refused") {
				continue
			}
			seen++
			if err := checkSchema(t, text); err != nil {
				t.Errorf("%s: the schema refuses\n%s\n%v", page, text, err)
			}
		}
	}
	if seen < 8 {
		t.Errorf("%d scenarios in the docs, want more", seen)
	}
}

// withRequired adds the keys to a fragment without which none is whole.
func withRequired(text string) string {
	for key, line := range map[string]string{"name": "name: t\n", "fleet": "fleet: [{group: g, devices: 1}]\n"} {
		if !strings.Contains(text, "\n"+key+":") {
			text += line
		}
	}
	return text
}

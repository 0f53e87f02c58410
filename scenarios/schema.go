package scenarios

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// Schema returns the JSON Schema (draft 2020-12) of the scenario file. The
// decoder's own functions describe what they take, so that the two cannot
// differ; what the keys mean is said in meanings.
//
// A schema cannot tell all that Parse refuses: ranges of durations and rates,
// keys that do not belong together, queries, templates and thresholds.
func Schema() []byte {
	root := describeFile()
	root.Dialect = "https://json-schema.org/draft/2020-12/schema"
	root.Title = "muster scenario"
	root.Description = "What a run of muster tests: the hub, the fleet, the jobs and what must hold. docs/scenario.md tells more."
	root.Defs = &properties{}
	root.Defs.add("variable", &schema{Type: "string", Pattern: variablePattern, Description: "${NAME}: the value of an environment variable"})
	root.Defs.add("duration", &schema{AnyOf: []*schema{{Type: "string", Pattern: durationPattern}, {Const: new(0)}, reference("variable")}})
	root.Defs.add("rate", &schema{AnyOf: []*schema{{Type: "string", Pattern: ratePattern}, reference("variable")}})
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		panic("scenarios: Schema: it is made of values that JSON can hold: " + err.Error())
	}
	return out.Bytes()
}

// describeFile has the decoder describe the whole file.
func describeFile() *schema {
	d := &decoder{
		describe: true, src: newSource("schema", nil), getenv: func(string) (string, bool) { return "", false },
		masked: map[string]masked{}, values: map[string]*node{}, keys: map[string]*node{},
	}
	root := &node{schema: &schema{}}
	d.scenario(root)
	return root.schema
}

// describeObject describes a mapping with exactly these keys.
func (d *decoder) describeObject(s *schema, path string, keys []key) {
	s.Type, s.AdditionalProperties, s.Properties = "object", false, &properties{}
	for _, k := range keys {
		child := describeWith(member(path, k.name), k.decode)
		if child.refused {
			continue
		}
		if k.required {
			s.Required = append(s.Required, k.name)
			child.Default = nil
		}
		s.Properties.add(k.name, child)
	}
}

// describeWith has f describe the value at a path, in which the items of a
// list are [] and the members of a map are *.
func describeWith(path string, f decode) *schema {
	s := &schema{}
	f(&node{schema: s}, path)
	if m, ok := meanings[path]; ok {
		s.Description = strings.TrimSpace(m.text + " " + s.takes)
		s.Examples = m.examples
	}
	return s
}

// schema is a JSON Schema as far as a scenario needs one. Its methods describe
// a value in place of decoding it, and report whether they did: of a node that
// is a value, whose schema is nil, they do nothing.
type schema struct {
	Dialect              string      `json:"$schema,omitempty"`
	Title                string      `json:"title,omitempty"`
	Description          string      `json:"description,omitempty"`
	Ref                  string      `json:"$ref,omitempty"`
	Type                 any         `json:"type,omitempty"` // a name, or several
	Enum                 []string    `json:"enum,omitempty"`
	Const                *int        `json:"const,omitempty"`
	Pattern              string      `json:"pattern,omitempty"`
	MinLength            int         `json:"minLength,omitempty"`
	MaxLength            int         `json:"maxLength,omitempty"`
	Minimum              any         `json:"minimum,omitempty"`
	Maximum              any         `json:"maximum,omitempty"`
	AnyOf                []*schema   `json:"anyOf,omitempty"`
	Required             []string    `json:"required,omitempty"`
	Properties           *properties `json:"properties,omitempty"`
	PropertyNames        *schema     `json:"propertyNames,omitempty"`
	AdditionalProperties any         `json:"additionalProperties,omitempty"` // false, or a schema
	MinItems             int         `json:"minItems,omitempty"`
	Items                *schema     `json:"items,omitempty"`
	Default              any         `json:"default,omitempty"`
	Examples             []any       `json:"examples,omitempty"`
	Defs                 *properties `json:"$defs,omitempty"`

	takes   string // a range that no keyword can tell, for the description
	refused bool   // there is such a key for the sake of a better error only
}

// Values of the environment are put into scalars before these are decoded, so
// that a text with a ${NAME} can stand where a number or a word does.
const (
	variablePattern = `\$\{[A-Za-z_][A-Za-z0-9_]*\}`
	durationPattern = `^\+?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`
	ratePattern     = `^\+?[0-9.][0-9.eE_+-]*/[smh]$`
	startPattern    = `^\+-?[0-9.]|^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]`
)

func reference(def string) *schema { return &schema{Ref: "#/$defs/" + def} }

// scalar describes a value that is s or a value of the environment.
func (s *schema) scalar(of schema) bool {
	s.AnyOf = []*schema{&of, reference("variable")}
	return true
}

func (s *schema) isText(def string) bool {
	if s == nil {
		return false
	}
	s.Type, s.MinLength = "string", 1
	s.defaultsTo(def)
	return true
}

func (s *schema) isOneOf(words []string, def string) bool {
	if s == nil {
		return false
	}
	s.defaultsTo(def)
	return s.scalar(schema{Enum: words})
}

func (s *schema) isBoolean(def bool) bool {
	if s == nil {
		return false
	}
	s.Default = def
	return s.scalar(schema{Type: "boolean"})
}

func (s *schema) isWhole(least, most, def uint64) bool {
	if s == nil {
		return false
	}
	if def >= least && (def > 0 || least == 0) {
		s.Default = def
	}
	return s.scalar(schema{Type: "integer", Minimum: least, Maximum: most})
}

func (s *schema) isNumber(least, most, def float64) bool {
	if s == nil {
		return false
	}
	s.Default = def
	return s.scalar(schema{Type: "number", Minimum: least, Maximum: most})
}

func (s *schema) isDuration(least, most, def time.Duration) bool {
	if s == nil {
		return false
	}
	s.Ref = reference("duration").Ref
	s.takes = "A duration, " + shortly(least) + " to " + shortly(most) + "."
	if def > 0 || least == 0 {
		s.Default = shortly(def)
	}
	return true
}

// shortly prints a duration without the units that are zero.
func shortly(d time.Duration) string {
	text := d.String()
	if d >= time.Minute {
		text = strings.TrimSuffix(text, "0s")
	}
	if d >= time.Hour {
		text = strings.TrimSuffix(text, "h0m") + strings.Repeat("h", strings.Count(text, "h0m"))
	}
	return text
}

func (s *schema) isRate(def float64) bool {
	if s == nil {
		return false
	}
	s.Ref = reference("rate").Ref
	s.takes = "A rate such as 4000/s, 100/m or 20/h."
	if def > 0 {
		s.Default = formatRate(def)
	}
	return true
}

// isStart describes a time counted from when the fleet is ready, or a time of day.
func (s *schema) isStart() bool {
	s.defaultsTo("+0s")
	return s.isPattern(startPattern)
}

// isPattern describes a text that matches a pattern.
func (s *schema) isPattern(pattern string) bool {
	if s == nil {
		return false
	}
	return s.scalar(schema{Type: "string", Pattern: pattern})
}

// isVariable describes a text that comes from the environment alone.
func (s *schema) isVariable() {
	if s != nil {
		*s = schema{Ref: reference("variable").Ref}
	}
}

// isJSON describes a value of any kind.
func (s *schema) isJSON() bool {
	if s == nil {
		return false
	}
	s.Type = []string{"object", "array", "string", "number", "boolean", "null"}
	return true
}

// isDocument describes a mapping of any content.
func (s *schema) isDocument() bool {
	if s == nil {
		return false
	}
	s.Type = "object"
	return true
}

// isMap describes a mapping whose keys match a pattern and whose values f decodes.
func (s *schema) isMap(keys, path string, f decode) bool {
	if s == nil {
		return false
	}
	s.Type = "object"
	s.PropertyNames = &schema{Pattern: keys}
	s.AdditionalProperties = describeWith(path+".*", f)
	return true
}

func (s *schema) isList(min int, path string, item decode) bool {
	if s == nil {
		return false
	}
	s.Type, s.MinItems, s.Items = "array", min, describeWith(path+"[]", item)
	return true
}

// isEither describes a value that can be written in more than one way. What is
// to say of the ways is said in the value's meaning.
func (s *schema) isEither(path string, ways ...decode) bool {
	if s == nil {
		return false
	}
	for _, f := range ways {
		way := &node{schema: &schema{}}
		f(way, path)
		if def := way.schema.Default; def != nil {
			s.Default, way.schema.Default = def, nil
		}
		s.AnyOf = append(s.AnyOf, way.schema)
	}
	return true
}

// orNull lets a value be left out after its key, which asks for the defaults.
func (s *schema) orNull() {
	if s != nil {
		s.Type = []any{s.Type, "null"}
	}
}

// isRefused describes a key that is known and never allowed.
func (s *schema) isRefused() {
	if s != nil {
		s.refused = true
	}
}

// defaultsTo sets a default, unless it is empty.
func (s *schema) defaultsTo(text string) {
	if s != nil && text != "" {
		s.Default = text
	}
}

// atMost bounds a text. It counts characters where the decoder counts bytes,
// and so lets more pass.
func (s *schema) atMost(length int) {
	if s != nil {
		s.MaxLength = length
	}
}

// matches asks a text for a pattern, or for a value of the environment.
func (s *schema) matches(pattern string) {
	if s != nil {
		s.Pattern = pattern + "|" + variablePattern
	}
}

// properties are named schemas in the order in which they were added.
type properties struct {
	names []string
	all   []*schema
}

func (p *properties) add(name string, s *schema) {
	p.names, p.all = append(p.names, name), append(p.all, s)
}

// MarshalJSON implements json.Marshaler.
func (p *properties) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for i, name := range p.names {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := enc.Encode(name); err != nil {
			return nil, err
		}
		out.WriteByte(':')
		if err := enc.Encode(p.all[i]); err != nil {
			return nil, err
		}
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

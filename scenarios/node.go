package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// The limits of a source. All are far above what a scenario needs, and low
// enough that a hostile one costs no more than seconds.
const (
	maxBytes = 1 << 20
	maxDepth = 64
	maxNodes = 100_000 // with aliases expanded
	maxPath  = 4 << 10 // bytes of the keys that lead to a value
)

// node is a value of the scenario with its place. Unlike yaml.Node it has no
// aliases and no duplicate keys, and can come from a flag.
type node struct {
	kind   yaml.Kind // ScalarNode, MappingNode or SequenceNode
	line   int       // from 1
	column int       // from 1, in characters
	set    *setting  // the flag that this came from, or nil for the file

	tag     string // of a scalar: !!str, !!int, …
	value   string
	style   yaml.Style
	written string // of a scalar in which ${NAME} was replaced: the text before

	fields []field // of a mapping, in order
	items  []*node // of a sequence

	schema *schema // not nil: this is no value, it asks what one may be
}

// field is one key of a mapping and its value.
type field struct {
	key   *node
	value *node
}

// field returns the value of a key, or nil.
func (n *node) field(name string) *node {
	for _, f := range n.fields {
		if f.key.value == name {
			return f.value
		}
	}
	return nil
}

// isNull reports whether nothing was written where a value belongs.
func (n *node) isNull() bool { return n.kind == yaml.ScalarNode && n.tag == "!!null" }

// limits stops the YAML parser at maxDepth, long before its own limit.
type limits struct{}

// CheckDepth implements yaml.LoaderLimitsPlugin.
func (limits) CheckDepth(depth int, _ *yaml.DepthContext) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	return nil
}

// CheckAlias implements yaml.LoaderLimitsPlugin. Aliases are expanded by
// builder, which has its own limit.
func (limits) CheckAlias(int, int) error { return nil }

// parse turns the decoder's source into a tree. It returns nil after a fault
// that leaves no tree.
func (d *decoder) parse() *node {
	if !d.readable() {
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(d.src.text), yaml.WithPlugin(limits{}))
	if err != nil {
		d.failAt(0, 0, "", "%v", err)
		return nil
	}
	var doc, second yaml.Node
	if err := loader.Load(&doc); errors.Is(err, io.EOF) || (err == nil && len(doc.Content) == 0) {
		d.failAt(0, 0, "", "the file is empty")
		return nil
	} else if err != nil {
		d.syntax(err)
		return nil
	}
	root := d.build(doc.Content[0])
	if err := loader.Load(&second); err == nil {
		d.failAt(second.Line, second.Column, "", "a second document starts here; a scenario is one document")
	} else if !errors.Is(err, io.EOF) {
		d.syntax(err)
	}
	return root
}

// readable refuses what the YAML parser would refuse without a place.
func (d *decoder) readable() bool {
	text := d.src.text
	if len(text) > maxBytes {
		d.failAt(0, 0, "", "the file is larger than 1 MB")
		return false
	}
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		d.failAt(0, 0, "", "the file is UTF-16; save it as UTF-8")
		return false
	}
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		line, column := 0, 0
		switch {
		case r == utf8.RuneError && size == 1:
			line, column = d.src.place(at)
			d.failAt(line, column, "", "byte 0x%02x is not UTF-8; save the file as UTF-8", text[at])
		case r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f:
			line, column = d.src.place(at)
			d.failAt(line, column, "", "control character 0x%02x is not allowed", r)
		}
		if line > 0 {
			return false
		}
		at += size
	}
	return true
}

// syntax reports a fault that the YAML parser found.
func (d *decoder) syntax(err error) {
	var at *yaml.LoadError
	if !errors.As(err, &at) {
		d.failAt(0, 0, "", "%v", err)
		return
	}
	msg := at.Message
	if at.ContextMsg != "" {
		msg = at.ContextMsg + ": " + msg
	}
	if line := d.src.line(at.Mark.Line); strings.Contains(line, "${") && strings.ContainsAny(line, "{[") {
		msg += ` (inside { } and [ ] a ${NAME} needs quotes: "${NAME}")`
	}
	d.failAt(at.Mark.Line, at.Mark.Column, "", "%s", msg)
}

// build turns YAML's tree into the decoder's.
func (d *decoder) build(n *yaml.Node) *node {
	b := builder{d: d, left: maxNodes, open: map[*yaml.Node]bool{}}
	return b.build(n, "", 0)
}

// builder expands aliases within bounds.
type builder struct {
	d     *decoder
	left  int                 // nodes that may still be made
	spent bool                // left was used up, and that was reported
	open  map[*yaml.Node]bool // the collections around the present one
}

func (b *builder) build(n *yaml.Node, path string, depth int) *node {
	if n.Kind == yaml.AliasNode {
		if b.open[n.Alias] {
			b.d.failAt(n.Line, n.Column, path, "*%s stands inside of what it names", n.Value)
			return nothing(n)
		}
		n = n.Alias
	}
	b.left--
	if b.left < 0 || depth > maxDepth || len(path) > maxPath {
		b.overflow(n, path)
		return nothing(n)
	}
	out := &node{kind: n.Kind, line: n.Line, column: n.Column, tag: n.ShortTag(), value: n.Value, style: n.Style}
	b.open[n] = true
	defer delete(b.open, n)
	switch n.Kind {
	case yaml.MappingNode:
		b.fields(out, n, path, depth)
	case yaml.SequenceNode:
		for i, c := range n.Content {
			out.items = append(out.items, b.build(c, index(path, i), depth+1))
		}
	}
	return out
}

// nothing stands for a value that was refused.
func nothing(n *yaml.Node) *node {
	return &node{kind: yaml.ScalarNode, tag: refusedTag, line: n.Line, column: n.Column}
}

// refusedTag marks a value whose fault has been reported.
const refusedTag = "!refused"

func (b *builder) overflow(n *yaml.Node, path string) {
	if b.spent {
		return
	}
	b.spent = true
	b.d.failAt(n.Line, n.Column, strings.ToValidUTF8(path[:min(len(path), 80)], ""),
		"more than %d values, %d levels, or %d bytes of keys that lead to a value, counting what * repeats", maxNodes, maxDepth, maxPath)
}

// fields builds a mapping: its keys must be strings, each there once.
func (b *builder) fields(out *node, n *yaml.Node, path string, depth int) {
	first := map[string]*node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		key := &node{kind: k.Kind, line: n.Content[i].Line, column: n.Content[i].Column, tag: k.ShortTag(), value: k.Value}
		if msg := badKey(key); msg != "" {
			b.d.failAt(key.line, key.column, path, "%s", msg)
			continue
		}
		below := member(path, key.value)
		if was := first[key.value]; was != nil {
			b.d.failAt(key.line, key.column, below, "key is here twice; the first is on line %d", was.line)
			continue
		}
		first[key.value] = key
		out.fields = append(out.fields, field{key, b.build(n.Content[i+1], below, depth+1)})
	}
}

// badKey says what is wrong with a key, or nothing.
func badKey(key *node) string {
	switch {
	case key.kind != yaml.ScalarNode:
		return "a key must be a text, found " + describe(key)
	case key.tag == "!!merge":
		return "merge keys (<<) are not supported; write the keys out, or use an alias for a whole value"
	case key.tag != "!!str":
		return fmt.Sprintf("a key must be a text, found %s; write it in quotes", describe(key))
	}
	return ""
}

// describe names a value in an error: what it is, and a scalar's text. Of a
// text with ${NAME} it shows what the file shows.
func describe(n *node) string {
	switch n.kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	shown := n.value
	if n.written != "" {
		return quote(n.written)
	}
	switch n.tag {
	case "!!null":
		return "nothing"
	case "!!bool":
		return shown
	case "!!int", "!!float":
		return "the number " + strings.Trim(quote(shown), `"`)
	}
	return quote(shown)
}

// plainTag returns the type of an unquoted scalar, which YAML takes from its
// text. Only what can be no text at all needs the parser.
func plainTag(value string) string {
	if value == "" {
		return "!!null"
	}
	for _, r := range value {
		if r != '.' && r != '+' && r != '-' && r != '~' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return "!!str"
		}
	}
	var doc yaml.Node
	if err := yaml.Load([]byte(value), &doc); err != nil || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.ScalarNode {
		return "!!str"
	}
	return doc.Content[0].ShortTag()
}

// member returns the path of a key below path.
func member(path, key string) string {
	switch {
	case !plainKey(key):
		return fmt.Sprintf("%s[%q]", path, key)
	case path == "":
		return key
	}
	return path + "." + key
}

// index returns the path of an item of the list at path.
func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// plainKey reports whether a key can stand in a path as it is.
func plainKey(key string) bool {
	for _, r := range key {
		if r != '_' && r != '-' && r != '$' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return key != ""
}

package scenarios

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"muster/internal/template"
)

// json decodes any value into canonical JSON: keys sorted, no blanks, numbers
// in their shortest form. What JSON cannot hold is a fault.
func (d *decoder) json(dst *json.RawMessage) decode {
	return func(n *node, path string) {
		if n.schema.isJSON() {
			return
		}
		if v, ok := d.any(n, path); ok {
			*dst = canonical(v)
		}
	}
}

// canonical encodes a value made by any.
func canonical(v any) json.RawMessage {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("scenarios: canonical: any made a value that JSON cannot hold: " + err.Error())
	}
	return bytes.TrimSpace(out.Bytes())
}

// any returns a value as encoding/json would decode it, with int64 and uint64
// where they hold a number exactly. It reports every part that JSON cannot hold.
func (d *decoder) any(n *node, path string) (v any, ok bool) {
	switch n.kind {
	case yaml.MappingNode:
		object := make(map[string]any, len(n.fields))
		ok = true
		for _, f := range n.fields {
			below := member(path, f.key.value)
			member, good := d.any(f.value, below)
			object[f.key.value] = member
			ok = ok && good
		}
		return object, ok
	case yaml.SequenceNode:
		array := make([]any, len(n.items))
		ok = true
		for i, item := range n.items {
			member, good := d.any(item, index(path, i))
			array[i] = member
			ok = ok && good
		}
		return array, ok
	}
	return d.anyScalar(n, path)
}

func (d *decoder) anyScalar(n *node, path string) (v any, ok bool) {
	switch n.tag {
	case refusedTag:
		return nil, false
	case "!!null":
		return nil, true
	case "!!bool":
		return strings.EqualFold(n.value, "true"), true
	case "!!str", "!!timestamp":
		return n.value, true
	case "!!int", "!!float":
		if number, err := n.number(); err == nil {
			return number, true
		}
		d.fail(n, path, "JSON has no number such as %s", strings.TrimPrefix(describe(n), "the number "))
		return nil, false
	}
	d.fail(n, path, "JSON has no values of type %s", quote(n.tag))
	return nil, false
}

// number returns the number that a scalar is, as JSON can hold it.
func (n *node) number() (any, error) {
	text := strings.ReplaceAll(n.value, "_", "")
	if i, err := strconv.ParseInt(text, 0, 64); err == nil {
		return i, nil
	}
	if u, err := strconv.ParseUint(text, 0, 64); err == nil {
		return u, nil
	}
	f, ok := n.float()
	if !ok || math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, strconv.ErrRange
	}
	if i := int64(f); float64(i) == f && math.Abs(f) < 1<<53 {
		return i, nil
	}
	return f, nil
}

// A section of a twin has these limits on an IoT hub.
const (
	maxTags       = 8 << 10
	maxProperties = 32 << 10
	maxTwinKey    = 1 << 10
	maxTwinText   = 4 << 10
	maxTwinDepth  = 10
	maxTwinInt    = 1<<52 - 1
)

// document decodes a section of a twin that has templates in its strings.
func (d *decoder) document(dst *Document, limit int) decode {
	return func(n *node, path string) {
		v, ok := d.twin(n, path, limit)
		if ok = d.templates(n, path) && d.noNull(n, path) && ok; !ok {
			return
		}
		tree, err := template.ParseTree(v)
		if err != nil {
			d.fail(n, path, "%v", err)
			return
		}
		*dst = Document{canonical(v), tree}
	}
}

// noNull reports nulls below n: in a patch they delete, and a twin that is
// new has nothing to delete.
func (d *decoder) noNull(n *node, path string) bool {
	ok := true
	for _, f := range n.fields {
		ok = d.noNull(f.value, member(path, f.key.value)) && ok
	}
	if n.isNull() && n.kind == yaml.ScalarNode {
		d.fail(n, path, "a new twin has no null: it stands for a member that is not there, so leave it out")
		ok = false
	}
	return ok
}

// patch decodes a section of a twin patch.
func (d *decoder) patch(dst *json.RawMessage, limit int) decode {
	return func(n *node, path string) {
		if v, ok := d.twin(n, path, limit); ok {
			*dst = canonical(v)
		}
	}
}

// twin returns a section of a twin if an IoT hub would take it.
func (d *decoder) twin(n *node, path string, limit int) (v any, ok bool) {
	if n.schema.isDocument() {
		return nil, false
	}
	d.values[path] = n
	if n.kind != yaml.MappingNode {
		d.wrong(n, path, "a mapping")
		return nil, false
	}
	if v, ok = d.any(n, path); !ok {
		return nil, false
	}
	before := len(d.errs)
	if size := d.twinSize(n, path, 0); size > limit {
		d.fail(n, path, "is %d bytes, an IoT hub takes %d here", size, limit)
	}
	return v, len(d.errs) == before
}

// twinSize returns how many bytes a hub counts for a value, and reports keys
// and values that it would refuse.
func (d *decoder) twinSize(n *node, path string, depth int) int {
	if depth == maxTwinDepth+1 {
		d.fail(n, path, "an IoT hub takes at most %d levels here", maxTwinDepth)
		return 0
	}
	size := 0
	for _, f := range n.fields {
		below := member(path, f.key.value)
		if !twinKey(f.key.value) {
			d.fail(f.key, below, "a key of a twin has 1 to 1024 bytes without blank, dot, $ and control characters")
		}
		size += len(f.key.value) + d.twinSize(f.value, below, depth+1)
	}
	for i, item := range n.items {
		size += d.twinSize(item, index(path, i), depth+1)
	}
	if n.kind == yaml.ScalarNode {
		size += d.twinScalar(n, path)
	}
	return size
}

func (d *decoder) twinScalar(n *node, path string) int {
	switch n.tag {
	case "!!str", "!!timestamp":
		if len(n.value) > maxTwinText {
			d.fail(n, path, "a text in a twin has at most %d bytes", maxTwinText)
		}
		return len(n.value)
	case "!!int", "!!float":
		v, _ := n.number()
		i, isInt := v.(int64)
		_, isUint := v.(uint64)
		if isUint || isInt && (i > maxTwinInt || i < -maxTwinInt-1) {
			d.fail(n, path, "a whole number in a twin is %d to %d", int64(-maxTwinInt-1), int64(maxTwinInt))
		}
		return 8
	case "!!bool":
		return 4
	}
	return 0
}

func twinKey(key string) bool {
	bad := func(r rune) bool { return r <= ' ' || r == '.' || r == '$' || (r >= 0x7f && r < 0xa0) }
	return key != "" && len(key) <= maxTwinKey && !strings.ContainsFunc(key, bad)
}

// templates reports every template in a tree that cannot be parsed, at its
// own place.
func (d *decoder) templates(n *node, path string) bool {
	ok := true
	for _, f := range n.fields {
		ok = d.templates(f.value, member(path, f.key.value)) && ok
	}
	for i, item := range n.items {
		ok = d.templates(item, index(path, i)) && ok
	}
	if n.kind == yaml.ScalarNode && n.tag == "!!str" {
		_, good := d.template(n, path)
		ok = ok && good
	}
	return ok
}

// template parses a scalar's text as a template.
func (d *decoder) template(n *node, path string) (*template.Template, bool) {
	t, err := template.Parse(n.value)
	if err == nil {
		return t, true
	}
	var at *template.SyntaxError
	if errors.As(err, &at) {
		d.failText(n, path, "template", err, at.Off, at.Msg, at.Caret())
	} else {
		d.failText(n, path, "template", err, -1, "", "")
	}
	return nil, false
}

// failText reports an error of the parser of a scalar's text: msg at byte off.
// The place is that byte where the source shows it; else it is the scalar, and
// err with the parser's own caret lines tells the rest. A text with values of
// the environment is not quoted at all.
func (d *decoder) failText(n *node, path, what string, err error, off int, msg, caret string) {
	if d.full() { // before looking for the place: lines may be long
		return
	}
	if n.written != "" {
		d.fail(n, path, "%s is not a valid %s with the values of the environment in it", describe(n), what)
		return
	}
	if _, located := d.src.locate(n, off); located {
		d.failIn(n, off, path, "%s: %s", what, msg)
		return
	}
	d.fail(n, path, "%s: %v", what, err)
	e := d.errs[len(d.errs)-1]
	for line := range strings.SplitSeq(strings.TrimRight(caret, "\n"), "\n") {
		if line != "" {
			e.Snippet += "\n        " + redact(line)
		}
	}
}

// sameJSON reports whether two canonical JSON texts are one value.
func sameJSON(a, b json.RawMessage) bool {
	null := json.RawMessage("null")
	if a == nil {
		a = null
	}
	if b == nil {
		b = null
	}
	return slices.Equal(a, b)
}

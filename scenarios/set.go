package scenarios

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// setting is one --set argument.
type setting struct {
	arg       string // path=value
	path      string
	objective bool // it is a threshold of Options, and arg is that
}

// fault is a fault of the value that the argument gave, or of its path.
func (s *setting) fault(path, msg string) *Error {
	if s.objective {
		return &Error{File: "--objective " + quote(s.arg), Msg: msg}
	}
	flag := redact(s.path)
	if flag == "" {
		flag = quote(s.arg)
	}
	e := &Error{File: "--set " + flag, Path: path, Msg: msg}
	e.Snippet = snippet("  --set ", s.arg, min(len([]rune(s.path))+2, len([]rune(s.arg))+1))
	return e
}

// set changes the tree as one path=value argument says. Keys that are not
// there yet are made; whether they may be there is for decoding to say.
func (d *decoder) set(root *node, arg string) {
	path, value, found := cutSetting(arg)
	s := &setting{arg: arg, path: path}
	steps, ok := splitPath(path)
	if !found || !ok {
		d.errs = append(d.errs, s.fault("", "expected path=value, as in jobs[0].repeat.times=2 or fleet.doors.devices=100"))
		return
	}
	at, here := root, ""
	for i, step := range steps {
		next, below, msg := child(at, here, step, s)
		if msg != "" {
			d.errs = append(d.errs, s.fault("", msg))
			return
		}
		if i == len(steps)-1 {
			*next = *s.value(value)
			return
		}
		if next.isNull() {
			*next = node{kind: yaml.MappingNode, set: s}
		}
		at, here = next, below
	}
}

// replaceThresholds puts texts in the place of the scenario's thresholds.
func (d *decoder) replaceThresholds(root *node, texts []string) {
	if len(texts) == 0 || root.kind != yaml.MappingNode {
		return
	}
	from := &setting{arg: texts[0], objective: true}
	list := &node{kind: yaml.SequenceNode, tag: "!!seq", set: from}
	for _, text := range texts {
		own := &setting{arg: text, objective: true}
		list.items = append(list.items, &node{kind: yaml.ScalarNode, tag: "!!str", value: text, set: own})
	}
	if at, _, msg := child(root, "", step{name: "thresholds", index: -1}, from); msg == "" {
		*at = *list
	}
}

// cutSetting cuts an argument at the first = that is not inside of brackets.
func cutSetting(arg string) (path, value string, found bool) {
	depth := 0
	for i := range len(arg) {
		switch arg[i] {
		case '[':
			depth++
		case ']':
			depth--
		case '=':
			if depth <= 0 {
				return arg[:i], arg[i+1:], true
			}
		}
	}
	return arg, "", false
}

// step is one part of a path: a key or name, or a place in a list.
type step struct {
	name  string
	index int // -1 for a name
}

// splitPath splits jobs[0].repeat, jobs.lock.repeat or jobs["lock all"].repeat.
func splitPath(path string) (steps []step, ok bool) {
	for rest := path; rest != ""; {
		var part string
		switch {
		case rest[0] == '[':
			part, rest, ok = strings.Cut(rest[1:], "]")
			if name, err := strconv.Unquote(part); err == nil && ok {
				steps = append(steps, step{name, -1})
				break
			}
			i, err := strconv.Atoi(part)
			if !ok || err != nil || i < 0 {
				return nil, false
			}
			steps = append(steps, step{"", i})
		default:
			if len(steps) > 0 && rest[0] != '.' {
				return nil, false
			}
			if len(steps) > 0 {
				rest = rest[1:]
			}
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			part, rest = rest[:end], rest[end:]
			if part == "" {
				return nil, false
			}
			steps = append(steps, step{part, -1})
		}
	}
	return steps, len(steps) > 0 && len(steps) <= maxDepth
}

// child returns the value that a step leads to from n, and its path. Of a
// mapping it makes the key if it is missing.
func child(n *node, path string, s step, from *setting) (next *node, below, msg string) {
	switch n.kind {
	case yaml.SequenceNode:
		i := s.index
		if i < 0 {
			i = named(n, s.name)
		}
		if i < 0 {
			return nil, "", inPath(path, fmt.Sprintf("nothing here is named %s; %s", quote(s.name), has(names(n))))
		}
		if i >= len(n.items) {
			return nil, "", inPath(path, fmt.Sprintf("no item [%d]; the list has %d, counted from [0]", i, len(n.items)))
		}
		return n.items[i], index(path, i), ""
	case yaml.MappingNode:
		if s.index >= 0 {
			return nil, "", inPath(path, "this is a mapping, not a list; "+has(n.keys()))
		}
		if v := n.field(s.name); v != nil {
			return v, member(path, s.name), ""
		}
		v := &node{kind: yaml.ScalarNode, tag: "!!null", set: from}
		key := &node{kind: yaml.ScalarNode, tag: "!!str", value: s.name, set: from}
		n.fields = append(n.fields, field{key, v})
		return v, member(path, s.name), ""
	}
	return nil, "", inPath(path, "nothing is below this; it is "+describe(n))
}

func inPath(path, msg string) string {
	if path == "" {
		return msg
	}
	return path + ": " + msg
}

// named returns the index of the group or job of a name, or -1.
func named(list *node, name string) int {
	for i, item := range list.items {
		if nameOf(item) == name {
			return i
		}
	}
	return -1
}

// nameOf returns what a path can call an item of a list.
func nameOf(item *node) string {
	for _, key := range []string{"name", "group"} {
		if v := item.field(key); v != nil && v.kind == yaml.ScalarNode {
			return v.value
		}
	}
	return ""
}

// names returns the names of a list's items.
func names(list *node) []string {
	var all []string
	for _, item := range list.items {
		if name := nameOf(item); name != "" {
			all = append(all, name)
		}
	}
	return all
}

// keys returns the keys of a mapping.
func (n *node) keys() []string {
	var all []string
	for _, f := range n.fields {
		all = append(all, f.key.value)
	}
	return all
}

// has says what exists at a place.
func has(names []string) string {
	if len(names) == 0 {
		return "there are no names"
	}
	return "there are " + enumerate(names, "and")
}

// value makes a tree of an argument's value. It is a plain scalar, as in a
// file; only what begins as a quoted text, list or mapping is read as YAML, so
// that * and other marks need no quotes, nor does the template {index}.
func (s *setting) value(text string) *node {
	plain := &node{kind: yaml.ScalarNode, set: s, value: text, tag: plainTag(text)}
	if text == "" || !strings.Contains(`"'[{`, text[:1]) {
		return plain
	}
	if text[0] == '{' && text != "{}" && !strings.Contains(text, ": ") {
		return plain
	}
	d := &decoder{src: newSource("", []byte(text))}
	root := d.parse()
	if root == nil || len(d.errs) > 0 {
		return plain
	}
	s.own(root)
	return root
}

// own marks a tree as having come from the argument.
func (s *setting) own(n *node) {
	n.set = s
	for _, f := range n.fields {
		f.key.set = s
		s.own(f.value)
	}
	for _, item := range n.items {
		s.own(item)
	}
}

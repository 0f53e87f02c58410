package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// maxTreeDepth is how many maps and slices may be inside one another.
const maxTreeDepth = 64

// Tree is a tree of maps, slices and scalars with templates as its strings.
// It is safe for concurrent use.
type Tree struct{ top branch }

// ParseTree parses v: nil, booleans, numbers, strings, and maps and slices of
// these as YAML and JSON are decoded. Each string is a template; the keys of
// maps are not. The error joins a *PathError for each entry that is wrong.
func ParseTree(v any) (*Tree, error) {
	var g grower
	top := g.grow(v, spot{place: root})
	if len(g.faults) > 0 {
		return nil, errors.Join(g.faults...)
	}
	return &Tree{top}, nil
}

// Eval returns the tree's value for a device: map[string]any, []any and
// scalars. Maps and slices are new with each call, and scalars that are no
// templates as they were given to ParseTree.
func (t *Tree) Eval(v Vars) any { return t.top.eval(v) }

// AppendJSON appends the tree's value for a device to dst, as JSON without
// space, keys in byte order: the same bytes for the same variables.
func (t *Tree) AppendJSON(dst []byte, v Vars) []byte { return t.top.appendJSON(dst, v) }

// branch is an object, list, leaf or fixed.
type branch interface {
	eval(v Vars) any
	appendJSON(dst []byte, v Vars) []byte
}

type (
	// object is a map, sorted by key.
	object []entry
	entry  struct {
		key    string
		quoted []byte // key as JSON, with its colon
		branch branch
	}
	list []branch
	leaf struct{ template *Template }
	// fixed is a scalar that is the same for all devices.
	fixed struct {
		value any
		json  []byte
	}
)

func (o object) eval(v Vars) any {
	m := make(map[string]any, len(o))
	for _, e := range o {
		m[e.key] = e.branch.eval(v)
	}
	return m
}

func (o object) appendJSON(dst []byte, v Vars) []byte {
	dst = append(dst, '{')
	for i, e := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = e.branch.appendJSON(append(dst, e.quoted...), v)
	}
	return append(dst, '}')
}

func (l list) eval(v Vars) any {
	s := make([]any, len(l))
	for i, b := range l {
		s[i] = b.eval(v)
	}
	return s
}

func (l list) appendJSON(dst []byte, v Vars) []byte {
	dst = append(dst, '[')
	for i, b := range l {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = b.appendJSON(dst, v)
	}
	return append(dst, ']')
}

func (l leaf) eval(v Vars) any { return l.template.Eval(v) }

func (l leaf) appendJSON(dst []byte, v Vars) []byte { return l.template.value(v).appendJSON(dst) }

func (f fixed) eval(Vars) any { return f.value }

func (f fixed) appendJSON(dst []byte, _ Vars) []byte { return append(dst, f.json...) }

// spot is where in a tree a value is.
type spot struct {
	path  string
	place uint64
	depth int
}

func (s spot) key(key string) spot {
	path := key
	switch {
	case !isPlainKey(key):
		path = s.path + "[" + strconv.Quote(key) + "]"
	case s.path != "":
		path = s.path + "." + key
	}
	return spot{path, step(s.place, key), s.depth + 1}
}

func (s spot) item(i int) spot {
	return spot{s.path + "[" + strconv.Itoa(i) + "]", item(s.place, i), s.depth + 1}
}

// isPlainKey reports whether a key is clear in a path without quotes.
func isPlainKey(key string) bool {
	for i := range len(key) {
		if !isWord(key[i]) && key[i] != '-' && key[i] != '$' {
			return false
		}
	}
	return key != ""
}

// grower makes branches of decoded values, and collects what is wrong. A value
// that is wrong becomes nil.
type grower struct{ faults []error }

func (g *grower) fault(at spot, err error) branch {
	g.faults = append(g.faults, &PathError{at.path, err})
	return nil
}

func (g *grower) grow(v any, at spot) branch {
	if at.depth > maxTreeDepth {
		return g.fault(at, fmt.Errorf("nested deeper than %d levels", maxTreeDepth))
	}
	switch v := v.(type) {
	case map[string]any:
		return g.object(v, at)
	case map[any]any:
		named, err := stringKeys(v)
		if err != nil {
			return g.fault(at, err)
		}
		return g.object(named, at)
	case []any:
		l := make(list, len(v))
		for i, element := range v {
			l[i] = g.grow(element, at.item(i))
		}
		return l
	case string:
		return g.leaf(v, at)
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64, json.Number:
		return g.scalar(v, at)
	case time.Time:
		return g.fault(at, errors.New("a date: put it in quotes to make it a string"))
	}
	return g.fault(at, fmt.Errorf("a value of type %T cannot be part of a tree", v))
}

func (g *grower) object(m map[string]any, at spot) branch {
	o := make(object, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		o = append(o, entry{key, append(appendQuoted(nil, key), ':'), g.grow(m[key], at.key(key))})
	}
	return o
}

func stringKeys(m map[any]any) (map[string]any, error) {
	named := make(map[string]any, len(m))
	for key, v := range m {
		name, ok := key.(string)
		if !ok {
			return nil, errors.New("keys must be strings: put numbers and the like in quotes")
		}
		named[name] = v
	}
	return named, nil
}

func (g *grower) leaf(s string, at spot) branch {
	t, err := parse(s, at.place)
	if err != nil {
		return g.fault(at, err)
	}
	if t.fixed() {
		plain := t.Text(Vars{})
		return fixed{plain, appendQuoted(nil, plain)}
	}
	return leaf{t}
}

func (g *grower) scalar(v any, at spot) branch {
	encoded, err := json.Marshal(v)
	if err != nil {
		return g.fault(at, fmt.Errorf("%v is not a JSON value", v))
	}
	return fixed{v, encoded}
}

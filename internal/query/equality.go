package query

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
)

// Equality is what a condition says of an attribute: where the condition is
// true, the attribute equals one of the values. None of them is an object.
type Equality struct {
	Path   []string // as Row gets it
	Values []Value  // each once
}

// Equalities returns what the condition says by =, by IN or by a boolean
// attribute alone, one a path: joined by AND with whatever else, or by OR with
// more of the same path. An index can find the rows of any of them; the
// condition still has to be asked about these rows.
func (c *Condition) Equalities() []Equality {
	if c.all() {
		return nil
	}
	return equalities(c.root)
}

// DeviceIDs returns the only device ids that the condition can match, each
// once, and whether it says so at all: by an equality of deviceId. The
// condition still has to be asked about these devices.
func (c *Condition) DeviceIDs() (ids []string, ok bool) { return c.only("deviceId") }

// JobIDs returns the only job ids that a condition on devices.jobs can match,
// as DeviceIDs does for devices.
func (c *Condition) JobIDs() (ids []string, ok bool) {
	if c.all() || c.source != DeviceJobs {
		return nil, false
	}
	return c.only("jobId")
}

// only returns the strings that the attribute name must be one of.
func (c *Condition) only(name string) (texts []string, ok bool) {
	all := c.Equalities()
	i := indexPath(all, []string{name})
	if i < 0 {
		return nil, false
	}
	for _, v := range all[i].Values {
		if v.kind == KindString { // an id is one: no row has another value
			texts = append(texts, v.str)
		}
	}
	return texts, true
}

// equalities returns what is so of attributes where n is true.
func equalities(n node) []Equality {
	switch n := n.(type) {
	case *path: // a condition by itself
		return []Equality{{n.names, []Value{Bool(true)}}}
	case *compare:
		if c, ok := againstOf(n); ok && c.op == opEqual {
			return []Equality{{c.names, []Value{c.want}}}
		}
	case *member:
		if n.negated {
			return nil
		}
		return []Equality{{n.path.names, union(nil, n.list)}}
	case *logical:
		all := equalities(n.terms[0])
		for _, term := range n.terms[1:] {
			if n.or {
				all = either(all, equalities(term))
			} else {
				all = both(all, equalities(term))
			}
		}
		return all
	}
	return nil
}

// either returns what is so where one of two conditions is true: of the
// attributes that both limit, the values of both.
func either(a, b []Equality) (joined []Equality) {
	for _, e := range a {
		if i := indexPath(b, e.Path); i >= 0 {
			joined = append(joined, Equality{e.Path, union(e.Values, b[i].Values)})
		}
	}
	return joined
}

// both returns what is so where both of two conditions are true.
func both(a, b []Equality) []Equality {
	joined := slices.Clone(a)
	for _, e := range b {
		if i := indexPath(joined, e.Path); i >= 0 {
			joined[i].Values = intersection(joined[i].Values, e.Values)
			continue
		}
		joined = append(joined, e)
	}
	return joined
}

func indexPath(all []Equality, path []string) int {
	return slices.IndexFunc(all, func(e Equality) bool { return slices.Equal(e.Path, path) })
}

// union returns the values of both lists, each once.
func union(a, b []Value) []Value {
	known := make(map[valueKey]bool, len(a)+len(b))
	joined := make([]Value, 0, len(a)+len(b))
	for _, list := range [...][]Value{a, b} {
		for _, v := range list {
			if k := v.key(); !known[k] {
				known[k] = true
				joined = append(joined, v)
			}
		}
	}
	return joined
}

func intersection(a, b []Value) []Value {
	known := make(map[valueKey]bool, len(b))
	for _, v := range b {
		known[v.key()] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(v Value) bool { return !known[v.key()] })
}

// valueKey is the same for values that are equal to each other.
type valueKey struct {
	kind Kind
	bits uint64
	text string
}

func (v Value) key() valueKey { return valueKey{v.kind, v.bits(), v.text()} }

func (v Value) bits() uint64 { return math.Float64bits(v.num + 0) } // -0 equals 0

// Hash returns the same number for values that are equal to each other in a
// condition. It allocates nothing.
func (v Value) Hash(seed maphash.Seed) uint64 {
	switch {
	case v.kind != KindString:
		b := [9]byte{8: byte(v.kind)}
		binary.LittleEndian.PutUint64(b[:], v.bits())
		return maphash.Bytes(seed, b[:])
	case v.view != nil:
		return maphash.Bytes(seed, v.view)
	}
	return maphash.String(seed, v.str)
}

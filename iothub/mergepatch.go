package iothub

import (
	"bytes"
	"encoding/json"
	"errors"
)

// maxMergeDepth bounds the nesting that MergePatch follows; the service allows
// far less.
const maxMergeDepth = 100

// indexedAbove is from how many members on a patch is looked up in a map.
const indexedAbove = 16

var (
	errNotJSON   = errors.New("not JSON")
	errNotObject = errors.New("not a JSON object")
	errTooDeep   = errors.New("nested too deeply")
)

// MergePatch merges a patch into a document as the service merges twins:
// objects member by member, all else replaced, and null deletes. A null in an
// object that is new is dropped and the object stays. Both must be JSON
// objects; an empty doc is {}. The result is compact, keeps the order of doc
// and appends what is new in the order of the patch; the arguments are left
// alone.
func MergePatch(doc, patch []byte) ([]byte, error) {
	if len(doc) == 0 {
		doc = []byte("{}")
	}
	if !json.Valid(doc) || !json.Valid(patch) {
		return nil, errNotJSON
	}
	if !isObject(doc) || !isObject(patch) {
		return nil, errNotObject
	}
	return appendMerged(make([]byte, 0, len(doc)+len(patch)), doc, patch, maxMergeDepth)
}

// change is one member of a patch.
type change struct {
	key, value []byte
	name       []byte
	done       bool // applied to a member of the document, or overruled by a later one
}

// changes are the members of a patch, found by name.
type changes struct {
	list  []change
	index map[string]int // nil while there are few
}

// changesOf reads a patch. The last of several members of one name counts.
func changesOf(patch []byte) changes {
	var c changes
	for m := membersOf(patch); ; {
		key, value, ok := m.next()
		if !ok {
			return c
		}
		c.add(key, value)
	}
}

// add takes in a member, in place of an earlier one of its name; it reports
// false if there is one.
func (c *changes) add(key, value []byte) bool {
	name := text(key)
	i := c.find(name)
	if i >= 0 {
		c.list[i].done = true
	}
	c.list = append(c.list, change{key: key, value: value, name: name})
	c.note()
	return i < 0
}

// note keeps the index in step with the last member of the list.
func (c *changes) note() {
	switch {
	case c.index != nil:
		last := len(c.list) - 1
		c.index[string(c.list[last].name)] = last
	case len(c.list) > indexedAbove:
		c.index = make(map[string]int, 2*len(c.list))
		for i := range c.list {
			c.index[string(c.list[i].name)] = i
		}
	}
}

// find returns where the change of a member is, -1 if there is none.
func (c *changes) find(name []byte) int {
	if c.index != nil {
		if i, ok := c.index[string(name)]; ok {
			return i
		}
		return -1
	}
	for i := len(c.list) - 1; i >= 0; i-- {
		if bytes.Equal(c.list[i].name, name) {
			return i
		}
	}
	return -1
}

// appendMerged appends the merge of the object patch into doc, which counts as
// {} if it is anything else.
func appendMerged(dst, doc, patch []byte, depth int) ([]byte, error) {
	if depth == 0 {
		return nil, errTooDeep
	}
	c := changesOf(patch)
	dst = append(dst, '{')
	start := len(dst)
	var err error
	if isObject(doc) {
		for m := membersOf(doc); ; {
			key, value, ok := m.next()
			if !ok {
				break
			}
			i := c.find(text(key))
			if i < 0 {
				dst = appendMember(dst, start, key, value)
				continue
			}
			c.list[i].done = true
			if dst, err = appendChange(dst, start, c.list[i], value, depth); err != nil {
				return nil, err
			}
		}
	}
	for i := range c.list {
		if c.list[i].done {
			continue
		}
		if dst, err = appendChange(dst, start, c.list[i], nil, depth); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

// appendChange appends what one change makes of the old value, nil for none.
func appendChange(dst []byte, start int, c change, old []byte, depth int) ([]byte, error) {
	if c.value[0] == 'n' {
		return dst, nil
	}
	if !isObject(c.value) {
		return appendMember(dst, start, c.key, c.value), nil
	}
	return appendMerged(appendKey(dst, start, c.key), old, c.value, depth-1)
}

// appendKey appends a key to the object whose first member begins at start.
func appendKey(dst []byte, start int, key []byte) []byte {
	if len(dst) > start {
		dst = append(dst, ',')
	}
	return append(append(dst, key...), ':')
}

func appendMember(dst []byte, start int, key, value []byte) []byte {
	return appendCompact(appendKey(dst, start, key), value)
}

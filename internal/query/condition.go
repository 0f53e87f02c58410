package query

import "slices"

// Row is what a condition is evaluated over.
type Row interface {
	// Value returns the attribute at path, such as ["tags", "site"]. The hub's
	// own names come in their documented spelling ("deviceId"); a path on
	// devices.jobs comes without that prefix (["jobId"]). Value must not keep
	// or change path.
	Value(path []string) Value
}

// Condition is a parsed condition. It is safe for concurrent use. A nil
// condition matches every row.
type Condition struct {
	source Source
	root   node // nil for *
	test   func(Row) truth
}

func newCondition(source Source, root node) *Condition {
	c := &Condition{source: source, root: root}
	if root != nil {
		c.test = compileTest(root)
	}
	return c
}

func (c *Condition) all() bool { return c == nil || c.root == nil }

// Match reports whether the condition is true for r. It allocates nothing
// unless r does.
func (c *Condition) Match(r Row) bool { return c.all() || c.test(r) == yes }

// Source returns what the condition is about.
func (c *Condition) Source() Source {
	if c == nil {
		return Devices
	}
	return c.source
}

// String returns the condition in canonical form, one on modules as the target
// of a job. It parses back to the same
// condition, unless the source text was so near the limit that this longer
// form goes beyond it.
func (c *Condition) String() string {
	if c.all() {
		return "*"
	}
	p := printer{source: c.source}
	if c.source == Modules {
		p.write("FROM ", c.source.String(), " WHERE ")
	}
	c.root.print(&p)
	return string(p.dst)
}

// Paths returns the attributes that the condition reads, each once, as Row
// gets them.
func (c *Condition) Paths() [][]string {
	if c.all() {
		return nil
	}
	return paths(c.root)
}

// DeviceIDs returns the only device ids that the condition can match, each
// once, and whether it says so at all: by deviceId = or deviceId IN, alone or
// joined by AND with whatever else, or by OR with more of the kind. The
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

func (c *Condition) only(name string) ([]string, bool) {
	if c.all() {
		return nil, false
	}
	return only(c.root, name)
}

// only returns the strings that the attribute name must be one of where n is
// true, and whether n limits it.
func only(n node, name string) ([]string, bool) {
	switch n := n.(type) {
	case *compare:
		return onlyCompared(n, name)
	case *member:
		if n.negated || !isName(n.path, name) {
			return nil, false
		}
		var texts []string
		for _, value := range n.list {
			if value.kind == KindString {
				texts = appendNew(texts, value.str)
			}
		}
		return texts, true
	case *logical:
		if n.or {
			return onlyEither(n.terms, name)
		}
		return onlyBoth(n.terms, name)
	}
	return nil, false
}

func onlyCompared(n *compare, name string) ([]string, bool) {
	attribute, value := n.left, n.right
	if _, ok := attribute.(*constant); ok {
		attribute, value = value, attribute
	}
	c, ok := value.(*constant)
	if !ok || n.op != opEqual || !isName(attribute, name) {
		return nil, false
	}
	if c.value.kind != KindString {
		return nil, true // an id is a string: nothing matches
	}
	return []string{c.value.str}, true
}

// onlyEither joins what the terms of an OR allow; one that does not limit the
// attribute lets everything through.
func onlyEither(terms []node, name string) (texts []string, ok bool) {
	for _, term := range terms {
		more, ok := only(term, name)
		if !ok {
			return nil, false
		}
		for _, text := range more {
			texts = appendNew(texts, text)
		}
	}
	return texts, true
}

// onlyBoth intersects what those terms of an AND allow that limit the
// attribute.
func onlyBoth(terms []node, name string) (texts []string, ok bool) {
	for _, term := range terms {
		more, limits := only(term, name)
		switch {
		case !limits:
		case !ok:
			texts, ok = more, true
		default:
			texts = slices.DeleteFunc(texts, func(text string) bool { return !slices.Contains(more, text) })
		}
	}
	return texts, ok
}

func isName(n node, name string) bool {
	p, ok := n.(*path)
	return ok && len(p.names) == 1 && p.names[0] == name
}

func appendNew(texts []string, text string) []string {
	if slices.Contains(texts, text) {
		return texts
	}
	return append(texts, text)
}

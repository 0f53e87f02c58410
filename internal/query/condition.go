package query

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

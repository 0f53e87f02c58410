package query

import (
	"slices"
	"strings"
)

// Source is what a query reads.
type Source uint8

// The sources.
const (
	Devices    Source = iota // the twins of all devices
	Modules                  // the twins of all modules
	DeviceJobs               // the rows of jobs, one a device
)

var sourceTexts = [...]string{"devices", "devices.modules", "devices.jobs"}

// String returns the source as it is written after FROM.
func (s Source) String() string { return sourceTexts[s] }

// Query is a whole statement. It is safe for concurrent use.
type Query struct {
	Source Source
	Top    int        // how many rows at most; 0 = all
	Where  *Condition // nil if there is none: all rows

	columns []column // nil for *
	groupBy [][]string
}

// Whole reports whether the query yields the rows of its source as they are:
// SELECT *.
func (q *Query) Whole() bool { return q.columns == nil }

// Grouped reports whether each row of the result stands for many of the
// source, because of aggregates or GROUP BY. Groups makes such rows, AppendRow
// the others.
func (q *Query) Grouped() bool {
	return len(q.groupBy) > 0 || len(q.columns) > 0 && q.columns[0].isGrouped()
}

// Paths returns the attributes that the query reads of its rows, each once, as
// Row gets them. A query that is Whole reads more than that: all.
func (q *Query) Paths() [][]string {
	found := q.Where.Paths()
	add := func(path []string) {
		known := func(names []string) bool { return slices.Equal(names, path) }
		if path != nil && !slices.ContainsFunc(found, known) {
			found = append(found, slices.Clone(path))
		}
	}
	for i := range q.columns {
		add(q.columns[i].path)
	}
	for _, path := range q.groupBy {
		add(path)
	}
	return found
}

// AppendRow appends the row that the query's list makes of a row of the
// source, which is a valid JSON object: an object too, without the attributes
// that are not there.
func (q *Query) AppendRow(dst, row []byte) []byte {
	m := members{dst: append(dst, '{')}
	for i := range q.columns {
		c := &q.columns[i]
		if value := raw(row, c.path); value != nil {
			m.begin(c)
			m.dst = append(m.dst, value...)
		}
	}
	return append(m.dst, '}')
}

// String returns the query in canonical form. It parses back to the same
// query, unless the source text was so near the limit that this longer form
// goes beyond it.
func (q *Query) String() string {
	p := printer{source: q.Source}
	p.query(q)
	return string(p.dst)
}

// Parse parses a whole statement. What it does not hold for its source is
// refused, as are columns of the same name. The error is a *SyntaxError.
func Parse(s string) (*Query, error) {
	p, err := newParser(s)
	if err != nil {
		return nil, err
	}
	list, err := p.selection()
	if err != nil {
		return nil, err
	}
	if p.source, err = p.from(); err != nil {
		return nil, err
	}
	q := &Query{Source: p.source, Top: list.top}
	if err := p.columns(q, list); err != nil {
		return nil, err
	}
	if p.accept(tokenKeyword, "WHERE") {
		root, err := p.expression(precOr)
		if err != nil {
			return nil, err
		}
		if p.token.kind != tokenEnd && !p.token.is(tokenKeyword, "GROUP") {
			return nil, p.afterExpression("AND, OR, GROUP BY or the end")
		}
		q.Where = newCondition(p.source, root)
	}
	if p.token.is(tokenKeyword, "GROUP") {
		if err := p.groups(q, list); err != nil {
			return nil, err
		}
	}
	if p.token.kind != tokenEnd {
		return nil, p.afterClause(q)
	}
	return q, p.checkGroups(q, list)
}

// afterClause says why a query cannot go on with the present token.
func (p *parser) afterClause(q *Query) error {
	if err := p.absent(); err != nil {
		return err
	}
	if len(q.groupBy) > 0 {
		return p.unexpected("a comma or the end")
	}
	return p.unexpected("WHERE, GROUP BY or the end")
}

// from reads FROM and the source.
func (p *parser) from() (Source, error) {
	if !p.accept(tokenKeyword, "FROM") {
		return 0, p.unexpected("FROM")
	}
	const want = "devices, devices.modules or devices.jobs"
	if p.token.kind != tokenName || !strings.EqualFold(p.token.text, "devices") {
		return 0, p.unexpected(want)
	}
	p.advance()
	if !p.accept(tokenSymbol, ".") {
		return Devices, nil
	}
	for _, source := range [...]Source{Modules, DeviceJobs} {
		if p.token.kind == tokenName && strings.EqualFold("devices."+p.token.text, source.String()) {
			p.advance()
			return source, nil
		}
	}
	return 0, p.unexpected(want)
}

// ParseCondition parses a condition on devices: what would stand after WHERE,
// as a job takes it. "*" matches every device. The error is a *SyntaxError.
func ParseCondition(s string) (*Condition, error) {
	p, err := newParser(s)
	if err != nil {
		return nil, err
	}
	if p.token.is(tokenKeyword, "FROM") {
		return nil, p.fail(p.token.off, "FROM is not supported: a condition is about devices")
	}
	return p.wholeCondition()
}

// ParseTarget parses the condition of a job as the hub takes it: one on
// devices, or FROM devices.modules WHERE and one on modules. The error is a
// *SyntaxError.
func ParseTarget(s string) (*Condition, error) {
	p, err := newParser(s)
	if err != nil {
		return nil, err
	}
	from := p.token
	if !from.is(tokenKeyword, "FROM") {
		return p.wholeCondition()
	}
	if p.source, err = p.from(); err != nil {
		return nil, err
	}
	if p.source != Modules {
		return nil, p.fail(from.off, "only FROM devices.modules can stand here: leave out everything up to WHERE")
	}
	if !p.accept(tokenKeyword, "WHERE") {
		return nil, p.unexpected("WHERE")
	}
	return p.wholeCondition()
}

// wholeCondition parses a condition that reaches to the end.
func (p *parser) wholeCondition() (*Condition, error) {
	switch t := p.token; {
	case t.is(tokenKeyword, "SELECT"):
		return nil, p.fail(t.off, "a whole query stands where only its condition belongs: leave out everything up to WHERE")
	case t.is(tokenKeyword, "WHERE"):
		return nil, p.fail(t.off, "the word WHERE is not part of the condition: leave it out")
	case t.is(tokenSymbol, "*") && p.source == Devices:
		p.advance()
		if p.token.kind != tokenEnd {
			return nil, p.unexpected("the end after *")
		}
		return newCondition(Devices, nil), nil
	case t.kind == tokenEnd && p.source == Devices:
		return nil, p.fail(t.off, "expected a condition, found nothing: * matches every device")
	}
	root, err := p.expression(precOr)
	if err != nil {
		return nil, err
	}
	if p.token.is(tokenKeyword, "GROUP") {
		return nil, p.fail(p.token.off, "GROUP BY is no part of a condition: it belongs to a whole query")
	}
	if p.token.kind != tokenEnd {
		return nil, p.afterExpression("AND, OR or the end")
	}
	return newCondition(p.source, root), nil
}

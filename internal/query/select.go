package query

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// maxColumns bounds what a query can select, and what it can group by.
const maxColumns = 100

// aggregate is what is made of an attribute of many rows.
type aggregate uint8

const (
	aggregateNone aggregate = iota
	aggregateCount
	aggregateAvg
	aggregateSum
	aggregateMin
	aggregateMax
)

var aggregateTexts = [...]string{"", "COUNT", "AVG", "SUM", "MIN", "MAX"}

// column is one member of the rows that a query makes.
type column struct {
	name      string
	label     []byte // the name as a JSON string, and a colon
	aggregate aggregate
	path      []string // nil for COUNT()
	group     int      // where GROUP BY names the path of a column that is no aggregate
}

func (c *column) isGrouped() bool { return c.aggregate != aggregateNone || c.group >= 0 }

// usual returns the name that a column has unless it is given another one.
func (c *column) usual() string {
	if c.aggregate != aggregateNone {
		return strings.ToLower(aggregateTexts[c.aggregate])
	}
	return c.path[len(c.path)-1]
}

// members writes the members of a JSON object.
type members struct {
	dst     []byte
	further bool
}

// begin writes what stands before a column's value.
func (m *members) begin(c *column) {
	if m.further {
		m.dst = append(m.dst, ',')
	}
	m.further = true
	m.dst = append(m.dst, c.label...)
}

// selection is what stands between SELECT and FROM, with places for errors. No
// items stand for *.
type selection struct {
	top    int
	topOff int
	items  []item
}

type item struct {
	column
	off     int
	pathOff int
	named   bool // has an alias
}

// selection reads SELECT and what stands before FROM. What its paths mean
// depends on the source, which is not known yet.
func (p *parser) selection() (*selection, error) {
	if !p.accept(tokenKeyword, "SELECT") {
		return nil, p.unexpected("SELECT")
	}
	s := &selection{topOff: p.token.off}
	if p.accept(tokenKeyword, "TOP") {
		n, err := strconv.ParseInt(p.token.text, 10, 32)
		if p.token.kind != tokenNumber || err != nil || n < 1 {
			return nil, p.unexpected("a whole number from 1 to 2147483647")
		}
		s.top = int(n)
		p.advance()
	}
	if p.accept(tokenSymbol, "*") {
		if p.token.is(tokenSymbol, ",") {
			return nil, p.fail(p.token.off, "* stands alone: it is all of a row")
		}
		return s, nil
	}
	if p.distinct() {
		return nil, p.fail(p.token.off, "there is no DISTINCT: GROUP BY the attributes instead")
	}
	for {
		next, err := p.item()
		if err != nil {
			return nil, err
		}
		if s.items = append(s.items, next); len(s.items) > maxColumns {
			return nil, p.fail(next.off, "more than %d columns", maxColumns)
		}
		if !p.accept(tokenSymbol, ",") {
			return s, p.afterItem(next)
		}
	}
}

// distinct reports whether the present token is the word DISTINCT and not the
// name of an attribute.
func (p *parser) distinct() bool {
	if p.token.kind != tokenName || p.token.bracketed || !strings.EqualFold(p.token.text, "DISTINCT") {
		return false
	}
	ahead := p.lexer
	next := ahead.next()
	return next.kind == tokenName || next.is(tokenSymbol, "*")
}

// afterItem says why no FROM follows what was selected, if none does.
func (p *parser) afterItem(last item) error {
	switch t := p.token; {
	case t.is(tokenKeyword, "FROM"):
		return nil
	case p.operator() != precNone:
		return p.fail(t.off, "only attributes and aggregates can be selected, nothing that is calculated")
	case last.named:
		return p.unexpected("a comma or FROM")
	}
	return p.unexpected("AS, a comma or FROM")
}

// item reads an attribute or an aggregate, and its alias.
func (p *parser) item() (item, error) {
	first := p.token
	if first.kind != tokenName {
		return item{}, p.unexpected("*, an attribute or an aggregate")
	}
	p.advance()
	next := item{off: first.off, pathOff: first.off}
	var err error
	if p.token.is(tokenSymbol, "(") && !first.bracketed {
		err = p.aggregated(&next, first)
	} else {
		next.path, err = p.names(first)
	}
	if err != nil || !p.accept(tokenKeyword, "AS") {
		return next, err
	}
	if p.token.kind != tokenName {
		return item{}, p.badName()
	}
	next.name, next.named = p.token.text, true
	p.advance()
	return next, nil
}

// aggregated reads the argument of an aggregate; the present token is "(".
func (p *parser) aggregated(next *item, name token) error {
	function := strings.ToUpper(name.text)
	i := slices.Index(aggregateTexts[:], function)
	if i < 0 {
		return p.fail(name.off, "%s", unselectable(function))
	}
	next.aggregate = aggregate(i)
	p.advance()
	if next.aggregate == aggregateCount {
		if !p.accept(tokenSymbol, ")") {
			return p.fail(p.token.off, "COUNT() counts rows and takes nothing between its parentheses")
		}
		return nil
	}
	first := p.token
	if first.kind != tokenName {
		return p.unexpected("an attribute")
	}
	next.pathOff = first.off
	p.advance()
	var err error
	if next.path, err = p.names(first); err != nil {
		return err
	}
	return p.expect(")", "")
}

// columns gives the query the columns that were selected, now that the source
// is known.
func (p *parser) columns(q *Query, list *selection) error {
	if q.Source == DeviceJobs {
		switch {
		case list.top > 0:
			return p.fail(list.topOff, "devices.jobs knows SELECT * only: TOP cannot stand here")
		case len(list.items) > 0:
			return p.fail(list.items[0].off, "devices.jobs knows SELECT * only: single attributes and aggregates cannot be selected")
		}
	}
	seen := make(map[string]bool, len(list.items))
	for _, next := range list.items {
		c := next.column
		if c.path != nil {
			if err := p.resolve(next.pathOff, c.path); err != nil {
				return err
			}
		}
		if !next.named {
			c.name = c.usual()
		}
		if seen[c.name] {
			return p.fail(next.off, "two columns are called %s: give one another name with AS", shorten(c.name))
		}
		seen[c.name] = true
		quoted, _ := json.Marshal(c.name) // a string never fails
		c.label, c.group = append(quoted, ':'), -1
		q.columns = append(q.columns, c)
	}
	return nil
}

// groups reads GROUP BY and its attributes.
func (p *parser) groups(q *Query, list *selection) error {
	switch off := p.token.off; {
	case q.Source == DeviceJobs:
		return p.fail(off, "devices.jobs knows SELECT * only: GROUP BY cannot stand here")
	case len(list.items) == 0:
		return p.fail(off, "SELECT * cannot be grouped: select attributes of GROUP BY, and aggregates")
	}
	p.advance()
	if !p.accept(tokenKeyword, "BY") {
		return p.unexpected("BY")
	}
	for {
		first := p.token
		if first.kind != tokenName {
			return p.unexpected("an attribute")
		}
		p.advance()
		if p.token.is(tokenSymbol, "(") && !first.bracketed {
			return p.fail(first.off, "only attributes can be grouped by")
		}
		attribute, err := p.path(first)
		switch {
		case err != nil:
			return err
		case groupOf(q, attribute.names) >= 0:
			return p.fail(first.off, "the rows are grouped by this attribute already")
		case len(q.groupBy) == maxColumns:
			return p.fail(first.off, "grouped by more than %d attributes", maxColumns)
		}
		q.groupBy = append(q.groupBy, attribute.names)
		if !p.accept(tokenSymbol, ",") {
			return nil
		}
	}
}

// groupOf returns where GROUP BY names an attribute, -1 if it does not.
func groupOf(q *Query, path []string) int {
	return slices.IndexFunc(q.groupBy, func(names []string) bool { return slices.Equal(names, path) })
}

// checkGroups finds the group of each column that is no aggregate, where rows
// are grouped.
func (p *parser) checkGroups(q *Query, list *selection) error {
	if len(q.groupBy) == 0 && !slices.ContainsFunc(q.columns, func(c column) bool { return c.aggregate != aggregateNone }) {
		return nil
	}
	for i := range q.columns {
		c := &q.columns[i]
		if c.aggregate != aggregateNone {
			continue
		}
		if c.group = groupOf(q, c.path); c.group < 0 {
			return p.fail(list.items[i].off, "rows are grouped, and not by this attribute: add it to GROUP BY, or aggregate it")
		}
	}
	return nil
}

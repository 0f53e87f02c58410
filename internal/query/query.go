package query

import "strings"

// Source is what a query reads.
type Source uint8

// The sources.
const (
	Devices    Source = iota // the twins of all devices
	DeviceJobs               // the rows of jobs, one a device
)

// String returns the source as it is written after FROM.
func (s Source) String() string {
	if s == DeviceJobs {
		return "devices.jobs"
	}
	return "devices"
}

// Query is a whole statement.
type Query struct {
	Source Source
	Where  *Condition // nil if there is none: all rows
}

// String returns the query in canonical form.
func (q *Query) String() string {
	text := "SELECT * FROM " + q.Source.String()
	if q.Where != nil {
		text += " WHERE " + q.Where.String()
	}
	return text
}

// Parse parses SELECT * FROM devices or devices.jobs, with or without a WHERE
// clause. What else the hub's language has (projections, aggregates, GROUP BY,
// TOP, devices.modules) is refused as not supported. The error is a
// *SyntaxError.
func Parse(s string) (*Query, error) {
	p, err := newParser(s)
	if err != nil {
		return nil, err
	}
	if err := p.selection(); err != nil {
		return nil, err
	}
	if p.source, err = p.from(); err != nil {
		return nil, err
	}
	q := &Query{Source: p.source}
	switch {
	case p.accept(tokenKeyword, "WHERE"):
		root, err := p.condition()
		if err != nil {
			return nil, err
		}
		q.Where = newCondition(p.source, root)
	case p.token.is(tokenKeyword, "GROUP"):
		return nil, p.fail(p.token.off, "GROUP BY is not supported")
	case p.token.kind != tokenEnd:
		return nil, p.unexpected("WHERE or the end")
	}
	return q, nil
}

// selection reads SELECT *.
func (p *parser) selection() error {
	if !p.accept(tokenKeyword, "SELECT") {
		return p.unexpected("SELECT")
	}
	if p.token.is(tokenKeyword, "TOP") {
		return p.fail(p.token.off, "TOP is not supported")
	}
	if p.token.kind == tokenName {
		return p.fail(p.token.off, "not supported: only * can be selected, not single attributes or aggregates")
	}
	if !p.accept(tokenSymbol, "*") {
		return p.unexpected("*")
	}
	if p.token.is(tokenSymbol, ",") {
		return p.fail(p.token.off, "not supported: only * can be selected")
	}
	return nil
}

// from reads FROM and the source.
func (p *parser) from() (Source, error) {
	if !p.accept(tokenKeyword, "FROM") {
		return 0, p.unexpected("FROM")
	}
	const want = "devices or devices.jobs"
	if p.token.kind != tokenName || !strings.EqualFold(p.token.text, "devices") {
		return 0, p.unexpected(want)
	}
	p.advance()
	if !p.accept(tokenSymbol, ".") {
		return Devices, nil
	}
	part := p.token
	switch {
	case part.kind == tokenName && strings.EqualFold(part.text, "jobs"):
		p.advance()
		return DeviceJobs, nil
	case part.kind == tokenName && strings.EqualFold(part.text, "modules"):
		return 0, p.fail(part.off, "devices.modules is not supported")
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
	switch t := p.token; {
	case t.is(tokenKeyword, "SELECT"):
		return nil, p.fail(t.off, "a whole query stands where only its condition belongs: leave out everything up to WHERE")
	case t.is(tokenKeyword, "WHERE"):
		return nil, p.fail(t.off, "the word WHERE is not part of the condition: leave it out")
	case t.is(tokenKeyword, "FROM"):
		return nil, p.fail(t.off, "FROM is not supported: a condition is about devices")
	case t.is(tokenSymbol, "*"):
		p.advance()
		if p.token.kind != tokenEnd {
			return nil, p.unexpected("the end after *")
		}
		return newCondition(Devices, nil), nil
	case t.kind == tokenEnd:
		return nil, p.fail(t.off, "expected a condition, found nothing: * matches every device")
	}
	root, err := p.condition()
	if err != nil {
		return nil, err
	}
	return newCondition(Devices, root), nil
}

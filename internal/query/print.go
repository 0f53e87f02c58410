package query

import (
	"strconv"
	"strings"
)

// printer writes nodes in canonical form: keywords in upper case, strings in
// single quotes, one space around operators, and no brackets or parentheses
// that could be left out.
type printer struct {
	dst    []byte
	source Source
}

// child prints n, in parentheses if it binds less strongly than least.
func (p *printer) child(n node, least precedence) {
	if n.precedence() >= least {
		n.print(p)
		return
	}
	p.write("(")
	n.print(p)
	p.write(")")
}

func (p *printer) write(parts ...string) {
	for _, part := range parts {
		p.dst = append(p.dst, part...)
	}
}

func (n *logical) print(p *printer) {
	word := " AND "
	if n.or {
		word = " OR "
	}
	for i, term := range n.terms {
		if i > 0 {
			p.write(word)
		}
		p.child(term, n.precedence()+1)
	}
}

func (n *not) print(p *printer) {
	p.write("NOT ")
	p.child(n.x, precNot)
}

func (n *compare) print(p *printer) {
	p.child(n.left, precSum)
	p.write(" ", n.op.String(), " ")
	p.child(n.right, precSum)
}

func (n *member) print(p *printer) {
	n.path.print(p)
	if n.negated {
		p.write(" NIN [")
	} else {
		p.write(" IN [")
	}
	for i, value := range n.list {
		if i > 0 {
			p.write(", ")
		}
		p.dst = value.append(p.dst)
	}
	p.write("]")
}

func (n *arith) print(p *printer) {
	p.child(n.left, n.precedence())
	p.write(" ", string(n.op), " ")
	p.child(n.right, n.precedence()+1)
}

func (n *neg) print(p *printer) {
	p.write("-")
	p.child(n.x, precNeg)
}

func (n *defined) print(p *printer) {
	p.write("IS_DEFINED(")
	n.path.print(p)
	p.write(")")
}

func (n *affix) print(p *printer) {
	if n.suffix {
		p.write("ENDSWITH(")
	} else {
		p.write("STARTSWITH(")
	}
	n.path.print(p)
	p.write(", ")
	p.dst = appendQuoted(p.dst, n.text)
	p.write(")")
}

func (n *path) print(p *printer) {
	if p.source == DeviceJobs {
		p.write(jobsPrefix)
	}
	p.names(n.names)
}

func (p *printer) names(names []string) {
	for i, name := range names {
		if i > 0 {
			p.write(".")
		}
		if plain(name) {
			p.write(name)
		} else {
			p.write("[[", name, "]]")
		}
	}
}

func (p *printer) query(q *Query) {
	p.write("SELECT ")
	if q.Top > 0 {
		p.write("TOP ", strconv.Itoa(q.Top), " ")
	}
	if q.Whole() {
		p.write("*")
	}
	for i := range q.columns {
		if i > 0 {
			p.write(", ")
		}
		p.column(&q.columns[i])
	}
	p.write(" FROM ", q.Source.String())
	if q.Where != nil {
		p.write(" WHERE ")
		q.Where.root.print(p)
	}
	for i, path := range q.groupBy {
		separator := " GROUP BY "
		if i > 0 {
			separator = ", "
		}
		p.write(separator)
		p.names(path)
	}
}

// column prints a column, with its alias if it needs one.
func (p *printer) column(c *column) {
	if c.aggregate != aggregateNone {
		p.write(aggregateTexts[c.aggregate], "(")
	}
	p.names(c.path)
	if c.aggregate != aggregateNone {
		p.write(")")
	}
	if c.name != c.usual() {
		p.write(" AS ")
		p.names([]string{c.name})
	}
}

func (n *constant) print(p *printer) { p.dst = n.value.append(p.dst) }

// plain reports whether a name can stand without brackets.
func plain(name string) bool {
	if _, reserved := keyword(name); reserved || name == "" || '0' <= name[0] && name[0] <= '9' {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return !isNameRune(r) })
}

package query

import "slices"

// node is a node of a parsed condition: *logical, *not, *compare, *member,
// *arith, *neg, *defined, *affix, *path or *constant.
type node interface {
	precedence() precedence
	print(p *printer)
	// operands calls yield for the nodes directly below.
	operands(yield func(node))
}

// precedence tells how strongly a node's operator binds.
type precedence uint8

const (
	precNone precedence = iota
	precOr
	precAnd
	precNot
	precCompare // comparisons, IN and NIN; they do not chain
	precSum
	precProduct
	precNeg
	precOperand
)

type (
	// logical joins two or more terms with AND or OR. No term is a logical of
	// the same kind: those are made one.
	logical struct {
		or    bool
		terms []node
	}
	not     struct{ x node }
	compare struct {
		op          operator
		left, right node
	}
	// member is IN or, if negated, NIN.
	member struct {
		path    *path
		negated bool
		list    []Value
	}
	arith struct {
		op          byte // + - * / %
		left, right node
	}
	neg     struct{ x node }
	defined struct{ path *path }
	// affix is STARTSWITH or, if suffix, ENDSWITH.
	affix struct {
		path   *path
		suffix bool
		text   string
	}
	// path is an attribute, without the prefix that a source demands.
	path     struct{ names []string }
	constant struct{ value Value }
)

type operator uint8

const (
	opEqual operator = iota
	opNotEqual
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
)

var operatorTexts = [...]string{"=", "!=", "<", "<=", ">", ">="}

func (op operator) String() string { return operatorTexts[op] }

// mirrored returns the operator that says the same with the sides swapped.
func (op operator) mirrored() operator {
	switch op {
	case opLess:
		return opGreater
	case opLessEqual:
		return opGreaterEqual
	case opGreater:
		return opLess
	case opGreaterEqual:
		return opLessEqual
	}
	return op
}

func (n *logical) precedence() precedence {
	if n.or {
		return precOr
	}
	return precAnd
}

func (n *arith) precedence() precedence {
	if n.op == '+' || n.op == '-' {
		return precSum
	}
	return precProduct
}
func (*not) precedence() precedence      { return precNot }
func (*compare) precedence() precedence  { return precCompare }
func (*member) precedence() precedence   { return precCompare }
func (*neg) precedence() precedence      { return precNeg }
func (*defined) precedence() precedence  { return precOperand }
func (*affix) precedence() precedence    { return precOperand }
func (*path) precedence() precedence     { return precOperand }
func (*constant) precedence() precedence { return precOperand }

func (n *logical) operands(yield func(node)) {
	for _, term := range n.terms {
		yield(term)
	}
}
func (n *not) operands(yield func(node))     { yield(n.x) }
func (n *neg) operands(yield func(node))     { yield(n.x) }
func (n *compare) operands(yield func(node)) { yield(n.left); yield(n.right) }
func (n *arith) operands(yield func(node))   { yield(n.left); yield(n.right) }
func (n *member) operands(yield func(node))  { yield(n.path) }
func (n *defined) operands(yield func(node)) { yield(n.path) }
func (n *affix) operands(yield func(node))   { yield(n.path) }
func (*path) operands(func(node))            {}
func (*constant) operands(func(node))        {}

// join returns left and right under one AND or OR.
func join(or bool, left, right node) node {
	joined := &logical{or: or}
	for _, side := range [...]node{left, right} {
		if same, ok := side.(*logical); ok && same.or == or {
			joined.terms = append(joined.terms, same.terms...)
			continue
		}
		joined.terms = append(joined.terms, side)
	}
	return joined
}

// negate returns -x, as a constant if x is a number.
func negate(x node) node {
	if c, ok := x.(*constant); ok && c.value.kind == KindNumber {
		return &constant{Number(-c.value.num)}
	}
	return &neg{x}
}

// paths returns the distinct attributes below n, in order of appearance.
func paths(n node) [][]string {
	var found [][]string
	var walk func(node)
	walk = func(n node) {
		if p, ok := n.(*path); ok {
			known := func(names []string) bool { return slices.Equal(names, p.names) }
			if !slices.ContainsFunc(found, known) {
				found = append(found, slices.Clone(p.names))
			}
			return
		}
		n.operands(walk)
	}
	walk(n)
	return found
}

package query

import (
	"math"
	"slices"
)

// truth is the value of a condition.
type truth uint8

const (
	undefined truth = iota
	no
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

func (t truth) not() truth {
	switch t {
	case yes:
		return no
	case no:
		return yes
	}
	return undefined
}

// compileTest returns n as a condition.
func compileTest(n node) func(Row) truth {
	switch n := n.(type) {
	case *logical:
		return compileLogical(n)
	case *not:
		x := compileTest(n.x)
		return func(r Row) truth { return x(r).not() }
	case *compare:
		return compileCompare(n)
	case *member:
		return compileMember(n)
	case *defined:
		names := n.path.names
		return func(r Row) truth { return truthOf(r.Value(names).kind != KindUndefined) }
	case *affix:
		return compileAffix(n)
	}
	x := compileValue(n)
	return func(r Row) truth {
		if v := x(r); v.kind == KindBool {
			return truthOf(v.num != 0)
		}
		return undefined
	}
}

func compileLogical(n *logical) func(Row) truth {
	decisive, otherwise := no, yes // one false decides an AND
	if n.or {
		decisive, otherwise = yes, no
	}
	var tests []func(Row) truth
	for terms := n.terms; len(terms) > 0; {
		if same := comparisons(terms); len(same) > 1 {
			tests, terms = append(tests, compileComparisons(same, decisive, otherwise)), terms[len(same):]
			continue
		}
		tests, terms = append(tests, compileTest(terms[0])), terms[1:]
	}
	return func(r Row) truth {
		result := otherwise
		for _, test := range tests {
			switch test(r) {
			case decisive:
				return decisive
			case undefined:
				result = undefined
			}
		}
		return result
	}
}

// against is an attribute beside a constant, the usual case.
type against struct {
	names []string
	op    operator
	want  Value
}

func againstOf(n node) (a against, ok bool) {
	c, ok := n.(*compare)
	if !ok {
		return against{}, false
	}
	left, op, right := c.left, c.op, c.right
	if _, ok := left.(*constant); ok {
		left, op, right = right, op.mirrored(), left
	}
	attribute, isPath := left.(*path)
	want, isConstant := right.(*constant)
	if !isPath || !isConstant {
		return against{}, false
	}
	return against{attribute.names, op, want.value}, true
}

// comparisons returns those that the terms begin with and that are of one
// attribute: a range, as a rule.
func comparisons(terms []node) (same []against) {
	for _, term := range terms {
		c, ok := againstOf(term)
		if !ok || len(same) > 0 && !slices.Equal(c.names, same[0].names) {
			break
		}
		same = append(same, c)
	}
	return same
}

// compileComparisons joins comparisons of one attribute, which is read once.
func compileComparisons(same []against, decisive, otherwise truth) func(Row) truth {
	return func(r Row) truth {
		v := r.Value(same[0].names)
		result := otherwise
		for i := range same {
			switch compareValues(same[i].op, &v, &same[i].want) {
			case decisive:
				return decisive
			case undefined:
				result = undefined
			}
		}
		return result
	}
}

func compileCompare(n *compare) func(Row) truth {
	if c, ok := againstOf(n); ok {
		return func(r Row) truth {
			v := r.Value(c.names)
			return compareValues(c.op, &v, &c.want)
		}
	}
	x, y, op := compileValue(n.left), compileValue(n.right), n.op
	return func(r Row) truth {
		v, w := x(r), y(r)
		return compareValues(op, &v, &w)
	}
}

func compareValues(op operator, v, w *Value) truth {
	if v.kind != w.kind {
		return undefined
	}
	switch v.kind {
	case KindBool, KindNumber:
		return truthOf(op.holds(v.num == w.num, v.num < w.num))
	case KindString:
		if op == opEqual || op == opNotEqual {
			return truthOf(op.holds(sameText(v, w), false))
		}
		return truthOf(op.holds(sameText(v, w), lessText(v, w)))
	case KindNull:
		if op == opEqual || op == opNotEqual {
			return truthOf(op == opEqual)
		}
	}
	return undefined
}

// holds tells whether the operator holds between two values of which is known
// whether they are equal and whether the left one is less.
func (op operator) holds(equal, less bool) bool {
	switch op {
	case opEqual:
		return equal
	case opNotEqual:
		return !equal
	case opLess:
		return less
	case opLessEqual:
		return less || equal
	case opGreater:
		return !less && !equal
	}
	return !less
}

// mapFrom is the number of strings in a list from which a map finds one
// faster than a walk.
const mapFrom = 12

func compileMember(n *member) func(Row) truth {
	var kinds [KindObject + 1]bool // kinds of constants in the list
	texts := map[string]bool{}
	for _, value := range n.list {
		kinds[value.kind] = true
		if value.kind == KindString {
			texts[value.str] = true
		}
	}
	find := finder(n.list)
	if len(texts) >= mapFrom {
		walk := find
		find = func(v Value) bool {
			switch {
			case v.kind != KindString:
				return walk(v)
			case v.view != nil:
				return texts[string(v.view)]
			}
			return texts[v.str]
		}
	}
	names, negated := n.path.names, n.negated
	return func(r Row) truth {
		v := r.Value(names)
		result := memberTruth(v, &kinds, find)
		if negated {
			return result.not()
		}
		return result
	}
}

// finder walks the list. It takes the value and not its address, which would
// move each one to the heap.
func finder(list []Value) func(Value) bool {
	return func(v Value) bool {
		for i := range list {
			if compareValues(opEqual, &v, &list[i]) == yes {
				return true
			}
		}
		return false
	}
}

// memberTruth is what v = x OR v = y … gives: a constant of another kind
// compares to undefined, unless one of them equals v.
func memberTruth(v Value, kinds *[KindObject + 1]bool, find func(Value) bool) truth {
	if v.kind == KindUndefined || v.kind == KindObject {
		return undefined
	}
	if kinds[v.kind] && find(v) {
		return yes
	}
	for kind, listed := range kinds {
		if listed && Kind(kind) != v.kind {
			return undefined
		}
	}
	return no
}

func compileAffix(n *affix) func(Row) truth {
	names, text, has := n.path.names, n.text, Value.hasPrefix
	if n.suffix {
		has = Value.hasSuffix
	}
	return func(r Row) truth {
		v := r.Value(names)
		if v.kind != KindString {
			return undefined
		}
		return truthOf(has(v, text))
	}
}

// compileValue returns n as a value.
func compileValue(n node) func(Row) Value {
	switch n := n.(type) {
	case *path:
		names := n.names
		return func(r Row) Value { return r.Value(names) }
	case *constant:
		value := n.value
		return func(Row) Value { return value }
	case *neg:
		x := compileValue(n.x)
		return func(r Row) Value {
			v := x(r)
			if v.kind != KindNumber {
				return Value{}
			}
			return Number(-v.num)
		}
	case *arith:
		return compileArith(n)
	}
	test := compileTest(n)
	return func(r Row) Value {
		if t := test(r); t != undefined {
			return Bool(t == yes)
		}
		return Value{}
	}
}

func compileArith(n *arith) func(Row) Value {
	left, right, op := compileValue(n.left), compileValue(n.right), n.op
	return func(r Row) Value {
		v, w := left(r), right(r)
		if v.kind != KindNumber || w.kind != KindNumber {
			return Value{}
		}
		return Number(calculate(op, v.num, w.num)) // no number: undefined
	}
}

func calculate(op byte, a, b float64) float64 {
	switch op {
	case '+':
		return a + b
	case '-':
		return a - b
	case '*':
		return a * b
	case '/':
		return a / b
	}
	return math.Mod(a, b)
}

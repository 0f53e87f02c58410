package template

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth is how many parentheses and minus signs may be inside one another.
const maxDepth = 32

// expression is a parsed expression. known says that it is the same for every
// device; eval then ignores its argument.
type expression struct {
	kind  kind
	eval  func(env) value
	known bool
}

func constant(v value) expression {
	return expression{kind: v.kind, eval: func(env) value { return v }, known: true}
}

// parser reads a template by recursive descent, straight from its bytes.
type parser struct {
	src       string
	pos       int
	depth     int
	choices   uint64 // random and pick seen so far
	usesIndex bool
}

func parse(s string, place uint64) (*Template, error) {
	p := &parser{src: s}
	parts, err := p.template()
	if err != nil {
		return nil, err
	}
	return &Template{src: s, parts: parts, place: place, usesIndex: p.usesIndex}, nil
}

func (p *parser) fail(off int, format string, args ...any) error {
	return &SyntaxError{Template: p.src, Off: off, Msg: fmt.Sprintf(format, args...)}
}

// unexpected says what should have been where the parser is.
func (p *parser) unexpected(want string) error {
	if p.pos == len(p.src) {
		return p.fail(p.pos, "expected %s, found the end", want)
	}
	r, _ := utf8.DecodeRuneInString(p.src[p.pos:])
	return p.fail(p.pos, "expected %s, found %q", want, r)
}

func (p *parser) template() ([]part, error) {
	var parts []part
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			parts = append(parts, part{text: literal.String()})
			literal.Reset()
		}
	}
	for p.pos < len(p.src) {
		rest := p.src[p.pos:]
		switch {
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
			literal.WriteByte(rest[0])
			p.pos += 2
		case rest[0] == '}':
			return nil, p.fail(p.pos, "} closes nothing: the brace itself is written }}")
		case rest[0] == '{':
			flush()
			hole, err := p.hole()
			if err != nil {
				return nil, err
			}
			parts = append(parts, hole)
		default:
			literal.WriteByte(rest[0])
			p.pos++
		}
	}
	flush()
	return parts, nil
}

// hole parses an expression in braces.
func (p *parser) hole() (part, error) {
	open := p.pos
	p.pos++
	x, err := p.sum()
	if err != nil {
		return part{}, err
	}
	hole := part{eval: x.eval}
	if p.accept(':') {
		if hole.format, err = p.format(x.kind); err != nil {
			return part{}, err
		}
		hole.digits = digitsOf(hole.format)
	}
	if p.accept('}') {
		return hole, nil
	}
	if p.pos == len(p.src) {
		return part{}, p.fail(open, "{ is not closed: the brace itself is written {{")
	}
	return part{}, p.unexpected("an operator, : or }")
}

// next steps over space and returns the byte that follows, 0 at the end.
func (p *parser) next() byte {
	for p.pos < len(p.src) && strings.IndexByte(" \t\r\n", p.src[p.pos]) >= 0 {
		p.pos++
	}
	if p.pos == len(p.src) {
		return 0
	}
	return p.src[p.pos]
}

// accept steps over c, if it is next.
func (p *parser) accept(c byte) bool {
	if p.next() != c || p.pos == len(p.src) {
		return false
	}
	p.pos++
	return true
}

func (p *parser) sum() (expression, error) { return p.binary("+-", p.product) }

func (p *parser) product() (expression, error) { return p.binary("*/%", p.unary) }

// binary parses operands of one rank, which operand reads, joined by the
// operators of that rank from left to right.
func (p *parser) binary(operators string, operand func() (expression, error)) (expression, error) {
	p.next()
	start := p.pos
	left, err := operand()
	for err == nil {
		op := p.next()
		if op == 0 || strings.IndexByte(operators, op) < 0 {
			return left, nil
		}
		if err := p.wantInteger(left, start, op); err != nil {
			return expression{}, err
		}
		p.pos++
		p.next()
		right := p.pos
		var x expression
		if x, err = operand(); err != nil {
			break
		}
		if err := p.wantInteger(x, right, op); err != nil {
			return expression{}, err
		}
		if (op == '/' || op == '%') && x.known && x.eval(env{}).n == 0 {
			return expression{}, p.fail(right, "division by zero")
		}
		left = apply(op, left, x)
	}
	return expression{}, err
}

func (p *parser) wantInteger(x expression, off int, op byte) error {
	if x.kind != integer {
		return p.fail(off, "%c works on integers, this is %s", op, x.kind)
	}
	return nil
}

func apply(op byte, left, right expression) expression {
	x := expression{kind: integer, known: left.known && right.known}
	x.eval = func(e env) value {
		return value{n: calculate(op, left.eval(e).n, right.eval(e).n)}
	}
	if x.known {
		return constant(x.eval(env{}))
	}
	return x
}

func calculate(op byte, a, b int64) int64 {
	switch {
	case op == '+':
		return a + b
	case op == '-':
		return a - b
	case op == '*':
		return a * b
	case b == 0:
		return 0
	case op == '/':
		return a / b
	}
	return a % b
}

func (p *parser) unary() (expression, error) {
	switch c := p.next(); {
	case c == '-':
		return p.negated()
	case c == '(':
		return p.nested(func() (expression, error) {
			x, err := p.sum()
			if err == nil && !p.accept(')') {
				err = p.unexpected(")")
			}
			return x, err
		})
	case isDigit(c):
		return p.integer()
	case isLetter(c):
		return p.named()
	}
	return expression{}, p.unexpected("an integer, index, group, random, pick, - or (")
}

func (p *parser) negated() (expression, error) {
	return p.nested(func() (expression, error) {
		p.next()
		start := p.pos
		x, err := p.unary()
		if err != nil {
			return x, err
		}
		if err := p.wantInteger(x, start, '-'); err != nil {
			return x, err
		}
		return apply('-', constant(value{}), x), nil
	})
}

// nested steps over the byte that opens a deeper level and calls parse there.
func (p *parser) nested(parse func() (expression, error)) (expression, error) {
	if p.depth == maxDepth {
		return expression{}, p.fail(p.pos, "nested deeper than %d levels", maxDepth)
	}
	p.depth++
	defer func() { p.depth-- }()
	p.pos++
	return parse()
}

func (p *parser) integer() (expression, error) {
	start := p.pos
	n, err := strconv.ParseInt(p.span(isWord), 10, 64)
	if err != nil {
		return expression{}, p.fail(start, "%s is not an integer of 64 bits", p.src[start:p.pos])
	}
	return constant(value{n: n}), nil
}

// span steps over the bytes that is holds for and returns them.
func (p *parser) span(is func(byte) bool) string {
	start := p.pos
	for p.pos < len(p.src) && is(p.src[p.pos]) {
		p.pos++
	}
	return p.src[start:p.pos]
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' }
func isWord(c byte) bool   { return isDigit(c) || isLetter(c) }

// named parses a variable or a call.
func (p *parser) named() (expression, error) {
	start := p.pos
	switch name := p.span(isWord); name {
	case "index":
		p.usesIndex = true
		return expression{kind: integer, eval: func(e env) value { return value{n: int64(e.vars.Index)} }}, nil
	case "group":
		return expression{kind: text, eval: func(e env) value { return value{kind: text, s: e.vars.Group} }}, nil
	case "random":
		return p.random()
	case "pick":
		return p.pick()
	default:
		return expression{}, p.fail(start, "no %s: there are index, group, random(n) and pick('a', 'b')", name)
	}
}

// choice counts one more random or pick, and returns its number.
func (p *parser) choice() uint64 {
	p.usesIndex = true
	p.choices++
	return p.choices - 1
}

func (p *parser) random() (expression, error) {
	number := p.choice()
	if p.next() != '(' {
		return expression{}, p.unexpected("( after random")
	}
	return p.nested(func() (expression, error) {
		p.next()
		start := p.pos
		n, err := p.sum()
		switch {
		case err != nil:
			return n, err
		case n.kind != integer:
			return n, p.fail(start, "random takes an integer, this is %s", n.kind)
		case n.known && n.eval(env{}).n < 1:
			return n, p.fail(start, "random takes an integer above 0")
		case !p.accept(')'):
			return n, p.unexpected(")")
		}
		return expression{kind: integer, eval: func(e env) value {
			limit := n.eval(e).n
			if limit < 1 {
				return value{}
			}
			return value{n: int64(e.choose(number, uint64(limit)))}
		}}, nil
	})
}

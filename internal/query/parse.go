package query

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	maxSize  = 8192 // characters of a query; the hub's limit
	maxDepth = 64   // parentheses, NOT and minus signs inside one another
)

// parser is a Pratt parser: operand reads what an expression begins with, and
// expression goes on as long as operators bind strongly enough.
type parser struct {
	lexer  lexer
	token  token
	source Source
	depth  int
}

func newParser(s string) (*parser, error) {
	p := &parser{lexer: lexer{src: s}}
	if len(s) > maxSize && utf8.RuneCountInString(s) > maxSize {
		off := 0
		for range maxSize {
			_, size := utf8.DecodeRuneInString(s[off:])
			off += size
		}
		return nil, p.fail(off, "longer than %d characters", maxSize)
	}
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)) {
			return nil, p.fail(i, "not UTF-8")
		}
	}
	p.advance()
	return p, nil
}

func (p *parser) advance() { p.token = p.lexer.next() }

func (p *parser) fail(off int, format string, args ...any) error {
	return &SyntaxError{Query: p.lexer.src, Off: off, Msg: fmt.Sprintf(format, args...)}
}

// unexpected says what should have been where the parser is.
func (p *parser) unexpected(want string) error {
	switch t := p.token; t.kind {
	case tokenInvalid:
		return p.fail(t.off, "%s", t.text)
	case tokenEnd:
		return p.fail(t.off, "expected %s, found the end", want)
	default:
		return p.fail(t.off, "expected %s, found %s", want, shorten(p.lexer.src[t.off:t.end]))
	}
}

// accept steps over the keyword or symbol text, if it is next.
func (p *parser) accept(kind tokenKind, text string) bool {
	if !p.token.is(kind, text) {
		return false
	}
	p.advance()
	return true
}

func (p *parser) expect(symbol, why string) error {
	if !p.accept(tokenSymbol, symbol) {
		return p.unexpected(symbol + why)
	}
	return nil
}

// afterExpression says why an expression cannot go on with the present token.
func (p *parser) afterExpression(want string) error {
	if err := p.absent(); err != nil {
		return err
	}
	switch t := p.token; {
	case t.is(tokenKeyword, "NOT"):
		return p.fail(t.off, "NOT cannot stand here: write NIN for NOT IN, and NOT before the whole comparison")
	case t.kind == tokenText && t.off > 0 && p.lexer.src[t.off-1] == p.lexer.src[t.off]:
		return p.fail(t.off, `a quote inside a string is written \%c`, p.lexer.src[t.off])
	case t.is(tokenSymbol, "(") || t.kind == tokenInvalid:
		return p.unexpected("an operator")
	}
	return p.unexpected(want)
}

// absent says that the present word belongs to other query languages, if it
// does.
func (p *parser) absent() error {
	if why, ok := absent(p.token); ok {
		return p.fail(p.token.off, "%s", why)
	}
	return nil
}

// expression parses operands joined by operators that bind at least as
// strongly as least.
func (p *parser) expression(least precedence) (node, error) {
	left, err := p.operand(least)
	last := precNone
	for err == nil {
		strength := p.operator()
		if strength == precNone || strength < least {
			return left, nil
		}
		if strength == precCompare && last == precCompare {
			return nil, p.fail(p.token.off, "comparisons do not chain: join them with AND")
		}
		left, err = p.apply(left, strength)
		last = strength
	}
	return nil, err
}

// operator returns how strongly the present token binds as an operator
// between two operands, precNone if it is no such operator.
func (p *parser) operator() precedence {
	switch p.token.kind {
	case tokenKeyword:
		switch p.token.text {
		case "OR":
			return precOr
		case "AND":
			return precAnd
		case "IN", "NIN":
			return precCompare
		}
	case tokenSymbol:
		switch p.token.text {
		case "=", "!=", "<>", "<", "<=", ">", ">=":
			return precCompare
		case "+", "-":
			return precSum
		case "*", "/", "%":
			return precProduct
		}
	}
	return precNone
}

// apply reads the present operator and what stands to the right of it.
func (p *parser) apply(left node, strength precedence) (node, error) {
	op := p.token
	p.advance()
	if op.is(tokenKeyword, "IN") || op.is(tokenKeyword, "NIN") {
		return p.member(left, op)
	}
	right, err := p.expression(strength + 1)
	if err != nil {
		return nil, err
	}
	switch strength {
	case precOr, precAnd:
		return join(strength == precOr, left, right), nil
	case precCompare:
		return &compare{comparison(op.text), left, right}, nil
	}
	return &arith{op.text[0], left, right}, nil
}

func comparison(text string) operator {
	switch text {
	case "=":
		return opEqual
	case "<":
		return opLess
	case "<=":
		return opLessEqual
	case ">":
		return opGreater
	case ">=":
		return opGreaterEqual
	}
	return opNotEqual // != and <>
}

// member parses the list after IN or NIN.
func (p *parser) member(left node, op token) (node, error) {
	attribute, ok := left.(*path)
	if !ok {
		return nil, p.fail(op.off, "left of %s must be an attribute", op.text)
	}
	if err := p.expect("[", ": lists stand in square brackets"); err != nil {
		return nil, err
	}
	n := &member{path: attribute, negated: op.text == "NIN"}
	for {
		value, err := p.listed()
		if err != nil {
			return nil, err
		}
		n.list = append(n.list, value)
		if p.accept(tokenSymbol, "]") {
			return n, nil
		}
		if err := p.expect(",", " or ]"); err != nil {
			return nil, err
		}
	}
}

// listed parses one constant of a list.
func (p *parser) listed() (Value, error) {
	minus := p.accept(tokenSymbol, "-")
	value, ok := p.constant()
	if !ok || minus && value.kind != KindNumber {
		return Value{}, p.unexpected("a constant")
	}
	p.advance()
	if minus {
		value.num = -value.num
	}
	return value, nil
}

// constant returns the constant that the present token is.
func (p *parser) constant() (Value, bool) {
	switch t := p.token; t.kind {
	case tokenNumber:
		return Number(t.num), true
	case tokenText:
		return String(t.text), true
	case tokenKeyword:
		switch t.text {
		case "TRUE", "FALSE":
			return Bool(t.text == "TRUE"), true
		case "NULL":
			return Null(), true
		case "UNDEFINED":
			return Value{}, true
		}
	}
	return Value{}, false
}

// operand parses what an expression begins with. NOT is only taken where it
// does not end an expression that binds more strongly.
func (p *parser) operand(least precedence) (node, error) {
	if value, ok := p.constant(); ok {
		p.advance()
		return &constant{value}, nil
	}
	switch t := p.token; {
	case t.kind == tokenName:
		return p.attribute()
	case t.is(tokenSymbol, "("):
		return p.nested(precOr, func(x node) (node, error) { return x, p.expect(")", "") })
	case t.is(tokenSymbol, "-"):
		return p.nested(precNeg, func(x node) (node, error) { return negate(x), nil })
	case t.is(tokenKeyword, "NOT"):
		if least > precNot {
			return nil, p.fail(t.off, "NOT must stand in parentheses here")
		}
		return p.nested(precNot, func(x node) (node, error) { return &not{x}, nil })
	case t.is(tokenKeyword, "GROUP"):
		return nil, p.fail(t.off, "GROUP is a reserved word: as a name it is written [[%s]]", p.lexer.src[t.off:t.end])
	}
	return nil, p.unexpected("an attribute, a constant or (")
}

// nested steps over the present token and parses an expression one level
// deeper, which finish completes.
func (p *parser) nested(least precedence, finish func(node) (node, error)) (node, error) {
	if p.depth == maxDepth {
		return nil, p.fail(p.token.off, "nested deeper than %d levels", maxDepth)
	}
	p.depth++
	defer func() { p.depth-- }()
	p.advance()
	x, err := p.expression(least)
	if err != nil {
		return nil, err
	}
	return finish(x)
}

// attribute parses a path or a call.
func (p *parser) attribute() (node, error) {
	first := p.token
	p.advance()
	if p.token.is(tokenSymbol, "(") && !first.bracketed {
		return p.call(first)
	}
	return p.path(first)
}

// path parses the rest of a path of which first has been read.
func (p *parser) path(first token) (*path, error) {
	names, err := p.names(first)
	if err != nil {
		return nil, err
	}
	if err := p.resolve(first.off, names); err != nil {
		return nil, err
	}
	if p.source == DeviceJobs {
		names = names[2:]
	}
	return &path{names}, nil
}

// names reads the rest of a path as it is written.
func (p *parser) names(first token) ([]string, error) {
	names := []string{first.text}
	for p.accept(tokenSymbol, ".") {
		if p.token.kind != tokenName {
			return nil, p.badName()
		}
		names = append(names, p.token.text)
		p.advance()
	}
	return names, nil
}

// resolve checks that a path is one of the source, and gives its names their
// documented spelling.
func (p *parser) resolve(off int, names []string) error {
	switch {
	case p.source == DeviceJobs && !hasJobsPrefix(names):
		return p.fail(off, "attributes of device jobs begin with %s", jobsPrefix)
	case p.source == DeviceJobs:
		names = names[2:]
	case strings.EqualFold(names[0], "devices"):
		return p.fail(off, "attributes of devices have no prefix: write tags.…, not devices.tags.…")
	}
	normalize(p.source, names)
	return nil
}

func (p *parser) badName() error {
	switch t := p.token; t.kind {
	case tokenKeyword, tokenNumber:
		word := p.lexer.src[t.off:t.end]
		return p.fail(t.off, "%s must be written [[%s]] as a name", word, word)
	}
	return p.unexpected("a name")
}

// call parses the arguments of a function; the present token is "(".
func (p *parser) call(name token) (node, error) {
	function := strings.ToUpper(name.text)
	switch {
	case function != "IS_DEFINED" && function != "STARTSWITH" && function != "ENDSWITH":
		return nil, p.fail(name.off, "%s", refused(function))
	case function != "IS_DEFINED" && p.source == DeviceJobs:
		return nil, p.fail(name.off, "%s does not work on device jobs", function)
	}
	p.advance()
	if p.token.kind != tokenName {
		return nil, p.unexpected("an attribute")
	}
	first := p.token
	p.advance()
	attribute, err := p.path(first)
	if err != nil {
		return nil, err
	}
	if function == "IS_DEFINED" {
		return &defined{attribute}, p.expect(")", "")
	}
	if err := p.expect(",", " and a string"); err != nil {
		return nil, err
	}
	text := p.token
	if text.kind != tokenText {
		return nil, p.unexpected("a string")
	}
	p.advance()
	return &affix{attribute, function == "ENDSWITH", text.text}, p.expect(")", "")
}

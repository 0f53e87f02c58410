package template

import (
	"strconv"
	"strings"
)

// pick parses the constants that one is to be picked from.
func (p *parser) pick() (expression, error) {
	number := p.choice()
	if !p.accept('(') {
		return expression{}, p.unexpected("( after pick")
	}
	var options []value
	for {
		option, err := p.option()
		if err != nil {
			return expression{}, err
		}
		options = append(options, option)
		if p.accept(')') {
			break
		}
		if !p.accept(',') {
			return expression{}, p.unexpected(", or )")
		}
	}
	return expression{
		kind: commonKind(options),
		eval: func(e env) value { return options[e.choose(number, uint64(len(options)))] },
	}, nil
}

func commonKind(options []value) kind {
	for _, option := range options {
		if option.kind != options[0].kind {
			return mixed
		}
	}
	return options[0].kind
}

// option parses one constant.
func (p *parser) option() (value, error) {
	c := p.next()
	start := p.pos
	switch {
	case c == '\'' || c == '"':
		return p.quoted(c)
	case c == '-' || isDigit(c):
		return p.signed()
	case isLetter(c):
		word := p.span(isWord)
		if word == "true" || word == "false" {
			v := value{kind: boolean}
			if word == "true" {
				v.n = 1
			}
			return v, nil
		}
		return value{}, p.fail(start, "pick takes constants: a string stands in quotes")
	}
	return value{}, p.unexpected("a string, a number, true or false")
}

func (p *parser) quoted(quote byte) (value, error) {
	start := p.pos
	var s strings.Builder
	for p.pos++; p.pos < len(p.src); p.pos++ {
		c := p.src[p.pos]
		if c == quote {
			p.pos++
			return value{kind: text, s: s.String()}, nil
		}
		if c == '\\' {
			p.pos++
			if p.pos == len(p.src) || strings.IndexByte(`'"\`, p.src[p.pos]) < 0 {
				return value{}, p.fail(p.pos-1, `no such escape: a string knows \' \" and \\`)
			}
			c = p.src[p.pos]
		}
		s.WriteByte(c)
	}
	return value{}, p.fail(start, "string is not closed by %c", quote)
}

// signed parses an integer or a decimal, either with or without a minus sign.
func (p *parser) signed() (value, error) {
	start := p.pos
	if p.src[p.pos] == '-' {
		p.pos++
	}
	word := p.src[start:p.pos] + p.span(func(c byte) bool { return isWord(c) || c == '.' })
	if n, err := strconv.ParseInt(word, 10, 64); err == nil {
		return value{n: n}, nil
	}
	if !strings.ContainsFunc(word, func(r rune) bool { return !strings.ContainsRune("-.0123456789", r) }) {
		if f, err := strconv.ParseFloat(word, 64); err == nil {
			return value{kind: decimal, f: f}, nil
		}
	}
	return value{}, p.fail(start, "%s is not a number", word)
}

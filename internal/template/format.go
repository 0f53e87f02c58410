package template

import "strings"

// maxFormatDigits keeps a width or precision below 100.
const maxFormatDigits = 2

// format parses what stands between the colon and the closing brace, and
// returns it as package fmt wants it.
func (p *parser) format(k kind) (string, error) {
	start := p.pos
	p.span(func(c byte) bool { return strings.IndexByte("+-#0", c) >= 0 })
	if width := p.span(isDigit); len(width) > maxFormatDigits {
		return "", p.fail(start, "width of more than %d digits", maxFormatDigits)
	}
	if dot := p.pos; p.pos < len(p.src) && p.src[p.pos] == '.' {
		p.pos++
		switch precision := p.span(isDigit); {
		case len(precision) > maxFormatDigits:
			return "", p.fail(dot, "precision of more than %d digits", maxFormatDigits)
		case k != decimal && k != text:
			return "", p.fail(dot, "precision on %s", k)
		}
	}
	verbs := verbsOf(k)
	if p.pos == len(p.src) || strings.IndexByte(verbs, p.src[p.pos]) < 0 {
		return "", p.unexpected("one of the verbs " + strings.Join(strings.Split(verbs, ""), " ") + " for " + k.String())
	}
	p.pos++
	return "%" + p.src[start:p.pos], nil
}

func verbsOf(k kind) string {
	switch k {
	case integer:
		return "dxXobv"
	case decimal:
		return "fegv"
	case text:
		return "sqv"
	case boolean:
		return "tv"
	}
	return "v"
}

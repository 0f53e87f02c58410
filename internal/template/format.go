package template

import (
	"strconv"
	"strings"
)

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

// digitsOf returns the width of a format that pads an integer with zeros and does
// nothing else, or 0. Most ids have one, and they are made anew so often that
// package fmt would be most of it.
func digitsOf(format string) int {
	width, zeros := strings.CutPrefix(format, "%0")
	width, plain := strings.CutSuffix(width, "d")
	n, err := strconv.ParseUint(width, 10, 8) // no sign, which is a flag
	if !zeros || !plain || err != nil {
		return 0
	}
	return int(n)
}

// appendPadded appends an integer that is not negative with zeros before it.
func appendPadded(dst []byte, n int64, digits int) []byte {
	from := len(dst)
	for range digits {
		dst = append(dst, '0')
	}
	left := n
	for i := len(dst); left > 0; left /= 10 {
		if i--; i < from { // it has more digits
			return strconv.AppendInt(dst[:from], n, 10)
		}
		dst[i] = byte('0' + left%10)
	}
	return dst
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

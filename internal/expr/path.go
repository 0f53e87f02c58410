package expr

import (
	"strconv"
	"strings"
)

// ParsePath parses what stands before the comparison of a threshold. The error
// is a *SyntaxError.
func ParsePath(s string) ([]string, error) {
	p := &parser{src: s}
	path, err := p.path()
	if err == nil && p.rest() != "" {
		err = p.unexpected("the end of the path")
	}
	if err != nil {
		return nil, err
	}
	return path, nil
}

// FormatPath returns a path in canonical form, which parses back to it.
func FormatPath(path []string) string {
	var b strings.Builder
	for i, name := range path {
		switch {
		case !isPlain(name):
			b.WriteString("[" + strconv.Quote(name) + "]")
		case i > 0:
			b.WriteString("." + name)
		default:
			b.WriteString(name)
		}
	}
	return b.String()
}

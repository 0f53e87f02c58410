package expr

import (
	"strconv"
	"strings"
)

// ParsePath parses what stands before the comparison of a threshold that is
// not of one group. The error is a *SyntaxError.
func ParsePath(s string) ([]string, error) {
	p := &parser{src: s}
	path, err := p.path()
	switch {
	case err != nil:
		return nil, err
	case p.group != "":
		return nil, p.fail(p.groupAt, "no group may stand here")
	case p.rest() != "":
		return nil, p.unexpected("the end of the path")
	}
	return path, nil
}

// FormatPath returns a path in canonical form, which parses back to it.
func FormatPath(path []string) string { return formatPath(path, "") }

// formatPath writes the group, unless it is "", where it belongs.
func formatPath(path []string, group string) string {
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
		if group != "" && takesGroup(path[:i+1]) {
			b.WriteString("{group=" + formatGroup(group) + "}")
		}
	}
	return b.String()
}

func formatGroup(name string) string {
	if isPlain(name) {
		return name
	}
	return strconv.Quote(name)
}

// takesGroup reports whether a group may stand after these names: the fleet,
// or one job.
func takesGroup(path []string) bool {
	return len(path) == 1 && path[0] == "fleet" || len(path) == 2 && path[0] == "jobs"
}

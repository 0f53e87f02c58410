package expr

import (
	"strconv"
	"strings"
)

// ParsePath parses what stands before the comparison of a threshold: the path,
// and the group that it is of, "" for none. The error is a *SyntaxError.
func ParsePath(s string) (path []string, group string, err error) {
	p := &parser{src: s}
	path, err = p.path()
	switch {
	case err != nil:
		return nil, "", err
	case p.rest() != "":
		return nil, "", p.unexpected("the end of the path")
	}
	return path, p.group, nil
}

// FormatPath returns a path in canonical form, which parses back to it.
func FormatPath(path []string) string { return FormatGroupPath(path, "") }

// FormatGroupPath is FormatPath of one group of the fleet, of which "" is all.
func FormatGroupPath(path []string, group string) string {
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

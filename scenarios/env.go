package scenarios

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// substitute replaces ${NAME} in all scalar values below n, never in keys. A
// plain scalar takes its type from its value then, so that `devices: ${N}` is
// a number; a quoted one stays a text.
func (d *decoder) substitute(n *node, path string) {
	switch n.kind {
	case yaml.MappingNode:
		for _, f := range n.fields {
			d.substitute(f.value, member(path, f.key.value))
		}
	case yaml.SequenceNode:
		for i, item := range n.items {
			d.substitute(item, index(path, i))
		}
	case yaml.ScalarNode:
		if strings.Contains(n.value, "${") {
			d.substituteScalar(n, path)
		}
	}
}

// shownEverywhere finds the scalars that every output of a run needs: its
// name, groups, ids, faults and thresholds. Values of the environment are masked in
// outputs, so these cannot hold any.
var shownEverywhere = regexp.MustCompile(`^(name|fleet\[\d+\]\.(group|id)|jobs\[\d+\]\.(name|deviceId)|faults\[\d+\]\..*|thresholds\[\d+\](\..*)?)$`)

func (d *decoder) substituteScalar(n *node, path string) {
	value, replaced, ok := d.expand(n, path)
	if ok && replaced && shownEverywhere.MatchString(path) {
		d.fail(n, path, "cannot hold ${NAME}: it is shown in every output, where values of the environment are not; write it out, or pass it with --set")
		ok = false
	}
	if !ok {
		n.tag = refusedTag
		return
	}
	if replaced {
		n.written = n.value
		d.masked[path] = masked{text: n.value, plain: n.plain()}
	}
	plain := n.plain()
	n.value = value
	if plain && replaced {
		n.tag = plainTag(value)
	}
}

// plain reports whether a scalar was written without quotes, block or tag.
func (n *node) plain() bool {
	return n.style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0
}

// expand returns a scalar's value with ${NAME} replaced and $${ made ${. It
// reports every variable that is unset, and whether anything came from one.
func (d *decoder) expand(n *node, path string) (value string, replaced, ok bool) {
	var out strings.Builder
	ok = true
	for at := 0; at < len(n.value); {
		rest := n.value[at:]
		switch {
		case strings.HasPrefix(rest, "$${"):
			out.WriteString("${")
			at += 3
			continue
		case !strings.HasPrefix(rest, "${"):
			out.WriteByte(rest[0])
			at++
			continue
		}
		name, found := variable(rest)
		if !found {
			d.failIn(n, at, path, "%s", `${ begins a variable, as in ${NAME}; write $${ for the text ${ itself`)
			return "", false, false
		}
		text, set := d.getenv(name)
		switch {
		case !set:
			d.failIn(n, at, path, "environment variable %s is not set", name)
			ok = false
		case !utf8.ValidString(text):
			d.failIn(n, at, path, "environment variable %s is not UTF-8", name)
			ok = false
		}
		if d.expanded += len(text); d.expanded > maxBytes {
			d.failIn(n, at, path, "what the environment gives is larger than 1 MB")
			return "", false, false
		}
		d.addSecret(text)
		out.WriteString(text)
		at, replaced = at+len("${}")+len(name), true
	}
	return out.String(), replaced, ok
}

// variable returns the NAME of a text that begins with ${NAME}.
func variable(s string) (string, bool) {
	name, _, closed := strings.Cut(s[len("${"):], "}")
	if !closed || name == "" || (name[0] >= '0' && name[0] <= '9') {
		return "", false
	}
	for _, r := range name {
		if r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return "", false
		}
	}
	return name, true
}

// leastSecret is the length from which a value of the environment is looked
// for in messages. Shorter ones would hide common words and numbers; messages
// do not quote them in the first place (see describe).
const leastSecret = 4

// addSecret makes sure that a value is shown by no message.
func (d *decoder) addSecret(value string) {
	if len(value) >= leastSecret && !slices.Contains(d.secrets, value) {
		d.secrets = append(d.secrets, value)
		// The longest first: a shorter one may be a part of it.
		slices.SortStableFunc(d.secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	}
}

// mask hides the values of the environment in a message.
func (d *decoder) mask(msg string) string {
	for _, s := range d.secrets {
		msg = strings.ReplaceAll(msg, s, "***")
	}
	return msg
}

package scenarios

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// decoder holds what the steps from a text to a scenario share.
type decoder struct {
	src    *source
	getenv func(string) (string, bool)

	errs     Errors // at most maxErrors
	more     int    // faults beyond those
	warnings Errors
	secrets  []string          // values of the environment, hidden in messages
	expanded int               // bytes that the environment gave so far
	describe bool              // it makes the schema: there is no value, and so no fault
	masked   map[string]masked // by path, see Scenario
	values   map[string]*node  // by path: every value that a key of the schema names
	keys     map[string]*node  // by path: the key of such a value
}

// decode reads a value into where it was made for. It reports faults to its
// decoder and leaves what it fills unchanged after one. Of a node that asks for
// the schema it describes the value instead.
type decode func(n *node, path string)

// key is one key of a mapping's schema.
type key struct {
	name     string
	required bool
	decode   decode
}

func required(name string, f decode) key { return key{name, true, f} }
func optional(name string, f decode) key { return key{name, false, f} }

// fail reports a fault of a whole value.
func (d *decoder) fail(n *node, path, format string, args ...any) {
	d.failIn(n, -1, path, format, args...)
}

// failPath is fail for the value at a path, or for the nearest one around it.
func (d *decoder) failPath(path, format string, args ...any) {
	d.fail(d.nodeAt(path), path, format, args...)
}

// failIn reports a fault at byte off of a scalar's value: there, if the place
// can be found in the source, else where the scalar begins, as for off -1.
func (d *decoder) failIn(n *node, off int, path, format string, args ...any) {
	if d.full() {
		return
	}
	d.errs = append(d.errs, d.errorAt(n, off, path, fmt.Sprintf(format, args...)))
}

// maxErrors is how many faults are reported. Beyond that a text is no scenario,
// and its faults are no help.
const maxErrors = 200

// full reports whether there are enough faults, and counts one that is too many.
func (d *decoder) full() bool {
	if d.describe {
		return true
	}
	if len(d.errs) < maxErrors {
		return false
	}
	d.more++
	return true
}

// failAt reports a fault of a place that has no value; line 0 is the whole file.
func (d *decoder) failAt(line, column int, path, format string, args ...any) {
	if d.full() {
		return
	}
	msg := fmt.Sprintf(format, args...)
	d.errs = append(d.errs, &Error{d.src.name, line, column, path, d.mask(redact(msg)), d.src.snippet(line, column)})
}

// warn notes a doubt about the value at a path.
func (d *decoder) warn(path, format string, args ...any) {
	d.warnings = append(d.warnings, d.errorAt(d.nodeAt(path), -1, path, fmt.Sprintf(format, args...)))
}

func (d *decoder) errorAt(n *node, off int, path, msg string) *Error {
	msg = d.mask(redact(msg))
	if n.set != nil {
		return n.set.fault(path, msg)
	}
	column, ok := d.src.locate(n, off)
	if !ok {
		column = n.column
	}
	return &Error{d.src.name, n.line, column, path, msg, d.src.snippet(n.line, column)}
}

// nodeAt returns the value at a path or the nearest one around it.
func (d *decoder) nodeAt(path string) *node {
	for {
		if n := d.values[path]; n != nil {
			return n
		}
		if path == "" {
			return &node{}
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// show quotes a text that came from the value at a path; of one that holds
// values of the environment, what the file shows.
func (d *decoder) show(path, text string) string {
	if m, ok := d.masked[path]; ok {
		return quote(m.text)
	}
	return quote(text)
}

// object decodes a mapping with exactly these keys and returns whether it was
// one at all.
func (d *decoder) object(n *node, path string, keys ...key) bool {
	if n.schema != nil {
		d.describeObject(n.schema, path, keys)
		return true
	}
	d.values[path] = n
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	if n.kind != yaml.MappingNode {
		d.wrong(n, path, "a mapping with keys such as "+oneOf(names))
		return false
	}
	for _, f := range n.fields {
		below := member(path, f.key.value)
		i := slices.Index(names, f.key.value)
		if i < 0 {
			d.fail(f.key, below, "%s", unknown("key", f.key.value, names))
			continue
		}
		d.values[below], d.keys[below] = f.value, f.key
		keys[i].decode(f.value, below)
	}
	for _, k := range keys {
		if k.required && n.field(k.name) == nil {
			d.fail(n, path, "%s is missing", k.name)
		}
	}
	return true
}

// list decodes a list; min is the least number of its items.
func (d *decoder) list(min int, item decode) decode {
	return func(n *node, path string) {
		if n.schema.isList(min, path, item) {
			return
		}
		if n.kind != yaml.SequenceNode {
			d.wrong(n, path, "a list")
			return
		}
		if len(n.items) < min {
			d.fail(n, path, "the list needs at least %d item", min)
		}
		for i, c := range n.items {
			d.values[index(path, i)] = c
			item(c, index(path, i))
		}
	}
}

// wrong reports a value of a wrong type, unless it was reported already.
func (d *decoder) wrong(n *node, path, expected string) {
	if n.tag != refusedTag {
		d.fail(n, path, "expected %s, found %s", expected, describe(n))
	}
}

// impossible reports a value outside of what its key allows.
func (d *decoder) impossible(n *node, path, allowed string) {
	d.fail(n, path, "must be %s, is %s", allowed, strings.TrimPrefix(describe(n), "the number "))
}

// text decodes a non-empty text. Where the environment gave the value, a
// number is one too: `password: ${PASSWORD}` must not depend on its digits.
func (d *decoder) text(dst *string) decode {
	return func(n *node, path string) {
		if n.schema.isText(*dst) {
			return
		}
		isText := n.kind == yaml.ScalarNode && (n.tag == "!!str" || n.tag == "!!timestamp" || n.written != "" && n.tag != "!!null" && n.tag != refusedTag)
		switch {
		case !isText:
			d.wrong(n, path, "a text")
		case strings.TrimSpace(n.value) == "":
			d.fail(n, path, "must not be empty")
		default:
			*dst = n.value
		}
	}
}

// label is text for names that people write in thresholds and paths.
func (d *decoder) label(dst *string) decode {
	return func(n *node, path string) {
		var s string
		d.text(&s)(n, path)
		n.schema.atMost(64)
		bad := func(r rune) bool { return r == '"' || r == '\\' || printable(r) != r || r == '\t' }
		if len(s) > 64 || strings.ContainsFunc(s, bad) || s != strings.TrimSpace(s) {
			d.fail(n, path, `a name has at most 64 bytes, no blank at its ends, and no ", \ or control character`)
			return
		}
		*dst = s
	}
}

// choice decodes one of a few words.
func choice[T ~string](d *decoder, dst *T, what string, words ...T) decode {
	known := make([]string, len(words))
	for i, w := range words {
		known[i] = string(w)
	}
	return func(n *node, path string) {
		var s string
		if n.schema.isOneOf(known, string(*dst)) {
			return
		}
		if d.text(&s)(n, path); s == "" {
			return
		}
		switch {
		case slices.Contains(known, s):
			*dst = T(s)
		case n.written != "":
			d.fail(n, path, "expected %s, found another %s in %s", oneOf(known), what, describe(n))
		default:
			d.fail(n, path, "%s", unknown(what, s, known))
		}
	}
}

func (d *decoder) boolean(dst *bool) decode {
	return func(n *node, path string) {
		if n.schema.isBoolean(*dst) {
			return
		}
		if n.kind != yaml.ScalarNode || n.tag != "!!bool" {
			d.wrong(n, path, "true or false")
			return
		}
		*dst = strings.EqualFold(n.value, "true")
	}
}

func (d *decoder) integer(dst *int, least, most int) decode {
	return func(n *node, path string) {
		if n.schema.isWhole(uint64(least), uint64(most), uint64(*dst)) {
			return
		}
		if n.kind != yaml.ScalarNode || n.tag != "!!int" {
			d.wrong(n, path, "a whole number")
			return
		}
		i, err := strconv.ParseInt(strings.ReplaceAll(n.value, "_", ""), 0, 64)
		if err != nil || i < int64(least) || i > int64(most) {
			d.impossible(n, path, fmt.Sprintf("%d to %d", least, most))
			return
		}
		*dst = int(i)
	}
}

// seconds decodes a whole number of seconds.
func (d *decoder) seconds(dst *time.Duration, least, most int) decode {
	return func(n *node, path string) {
		if n.schema.isWhole(uint64(least), uint64(most), uint64(*dst/time.Second)) {
			return
		}
		s := -1
		if d.integer(&s, least, most)(n, path); s >= 0 {
			*dst = time.Duration(s) * time.Second
		}
	}
}

func (d *decoder) unsigned(dst *uint64) decode {
	return func(n *node, path string) {
		if n.schema.isWhole(0, math.MaxUint64, *dst) {
			return
		}
		if n.kind != yaml.ScalarNode || (n.tag != "!!int" && n.tag != "!!float") {
			d.wrong(n, path, "a whole number")
			return
		}
		u, err := strconv.ParseUint(strings.ReplaceAll(n.value, "_", ""), 0, 64)
		if err != nil {
			d.impossible(n, path, "a whole number, 0 to 18446744073709551615")
			return
		}
		*dst = u
	}
}

// number decodes a number within a range that may be open at its lower end.
func (d *decoder) number(dst *float64, least, most float64) decode {
	return func(n *node, path string) {
		if n.schema.isNumber(least, most, *dst) {
			return
		}
		f, ok := n.float()
		if !ok {
			d.wrong(n, path, "a number")
			return
		}
		if math.IsNaN(f) || f < least || f > most {
			d.impossible(n, path, fmt.Sprintf("%v to %v", least, most))
			return
		}
		*dst = f
	}
}

// float returns the number that a scalar is.
func (n *node) float() (float64, bool) {
	if n.kind != yaml.ScalarNode || (n.tag != "!!int" && n.tag != "!!float") {
		return 0, false
	}
	text := strings.ReplaceAll(n.value, "_", "")
	if i, err := strconv.ParseInt(text, 0, 64); err == nil {
		return float64(i), true
	}
	switch strings.ToLower(strings.TrimPrefix(text, "+")) {
	case ".inf":
		return math.Inf(1), true
	case "-.inf":
		return math.Inf(-1), true
	case ".nan":
		return math.NaN(), true
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil
}

func (d *decoder) duration(dst *time.Duration, least, most time.Duration) decode {
	return func(n *node, path string) {
		if n.schema.isDuration(least, most, *dst) {
			return
		}
		v, err := time.ParseDuration(n.value)
		if n.kind != yaml.ScalarNode || err != nil || (n.tag != "!!str" && n.value != "0") {
			d.wrong(n, path, "a duration such as 500ms, 30s or 1m30s")
			return
		}
		if v < least || v > most {
			d.impossible(n, path, fmt.Sprintf("%v to %v", least, most))
			return
		}
		*dst = v
	}
}

// maxRate is far beyond what one machine can do, and keeps sums finite.
const maxRate = 1e9

// rate decodes a number of events per second, minute or hour, as in 4000/s.
func (d *decoder) rate(dst *float64) decode {
	return func(n *node, path string) {
		if n.schema.isRate(*dst) {
			return
		}
		v, ok := parseRate(n.value)
		if n.kind != yaml.ScalarNode || !ok {
			d.wrong(n, path, "a rate such as 4000/s, 100/m or 20/h")
			return
		}
		if !(v > 0 && v <= maxRate) {
			d.impossible(n, path, "above 0/s and at most 1000000000/s")
			return
		}
		*dst = v
	}
}

func parseRate(s string) (perSecond float64, ok bool) {
	count, unit, _ := strings.Cut(s, "/")
	v, err := strconv.ParseFloat(count, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, false
	}
	switch unit {
	case "s":
		return v, true
	case "m":
		return v / 60, true
	case "h":
		return v / 3600, true
	}
	return 0, false
}

// formatRate returns a text that parseRate turns into exactly the same rate.
func formatRate(perSecond float64) string {
	for _, unit := range []struct {
		name    string
		seconds float64
	}{{"/s", 1}, {"/m", 60}, {"/h", 3600}} {
		count := math.Round(perSecond * unit.seconds)
		if count/unit.seconds == perSecond {
			return strconv.FormatFloat(count, 'f', -1, 64) + unit.name
		}
	}
	return strconv.FormatFloat(perSecond, 'f', -1, 64) + "/s"
}

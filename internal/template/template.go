package template

// Vars is what tells one device from another. Trees and templates that are
// not to make the same choices at the same places need different seeds.
type Vars struct {
	Index int    // of the device
	Group string // the name of its group
	Seed  uint64 // of the run
}

// Template is a parsed template. It is safe for concurrent use.
type Template struct {
	src       string
	parts     []part
	place     uint64
	usesIndex bool
}

// part is literal text or, if eval is set, an expression.
type part struct {
	text   string
	eval   func(env) value
	format string // for package fmt; "" prints the value as it is
	digits int    // of a format that pads an integer with zeros alone, as %05d does; 0: another format
}

// Parse parses a template that is in no tree. The error is a *SyntaxError.
func Parse(s string) (*Template, error) { return parse(s, root) }

// String returns the text that the template was parsed from.
func (t *Template) String() string { return t.src }

// UsesIndex reports whether the template says something about the device's
// index, itself or through random or pick: without, it is the same for all
// devices of a group.
func (t *Template) UsesIndex() bool { return t.usesIndex }

// Eval returns an int64, float64, bool or string if the template is one
// expression alone, else a string.
func (t *Template) Eval(v Vars) any { return t.value(v).any() }

// Text returns the template's value as text.
func (t *Template) Text(v Vars) string {
	var space [64]byte // most are shorter
	return string(t.AppendText(space[:0], v))
}

// AppendText appends the template's value as text to dst.
func (t *Template) AppendText(dst []byte, v Vars) []byte {
	e := env{v, t.place}
	for _, p := range t.parts {
		if p.eval == nil {
			dst = append(dst, p.text...)
			continue
		}
		if x := p.eval(e); p.digits > 0 && x.n >= 0 {
			dst = appendPadded(dst, x.n, p.digits)
		} else {
			dst = x.appendFormat(dst, p.format)
		}
	}
	return dst
}

func (t *Template) value(v Vars) value {
	if t.single() {
		return t.parts[0].eval(env{v, t.place})
	}
	return value{kind: text, s: t.Text(v)}
}

// single reports whether the template is one expression that keeps its type.
func (t *Template) single() bool {
	return len(t.parts) == 1 && t.parts[0].eval != nil && t.parts[0].format == ""
}

// fixed reports whether the template is the same whatever the variables.
func (t *Template) fixed() bool {
	return len(t.parts) == 0 || len(t.parts) == 1 && t.parts[0].eval == nil
}

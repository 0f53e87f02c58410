package hub

import (
	"maps"
	"strconv"
	"time"

	"muster/iothub"
)

// section is the desired or the reported half of a twin. doc is a JSON object without system members. Both doc and stamps
// are replaced and never changed in place, so a copy of the section stays valid when the device's lock is gone.
type section struct {
	doc     []byte
	version int64
	stamps  stamps
}

// stamp says when a member was written, and by which version of its section (0 = not told).
type stamp struct {
	at      int64 // Unix time in ns
	version int64
}

// stamps is the metadata of one node of a section. Members that no patch touched since the section was made have no
// entry of their own: they share rest, so that a fleet of like twins stays small.
type stamps struct {
	own  stamp
	rest stamp // of the members without an entry in kids, and all below them
	kids map[string]*stamps
}

// touched returns the stamps after a patch was applied to this node; what is not touched is shared.
func (s *stamps) touched(patch []byte, now stamp) stamps {
	if !isObject(patch) {
		return stamps{own: now, rest: now}
	}
	kids := maps.Clone(s.kids)
	for key, value := range members(patch) {
		name := unquote(key)
		if isNull(value) {
			delete(kids, name)
			continue
		}
		old := kids[name]
		if old == nil {
			old = &stamps{rest: s.rest}
			if kids == nil {
				kids = make(map[string]*stamps)
			}
		}
		kid := old.touched(value, now)
		kids[name] = &kid
	}
	return stamps{own: now, rest: s.rest, kids: kids}
}

// merged returns the section after a patch, which must be checked and compact.
func (s *section) merged(name string, patch []byte, now stamp) (section, error) {
	doc, err := mergeSection(name, s.doc, patch, iothub.MaxProperties)
	if err != nil {
		return section{}, err
	}
	return section{doc: doc, version: s.version + 1, stamps: s.stamps.touched(patch, now)}, nil
}

// appendDevice appends the section as a device sees it: the document and $version.
func (s *section) appendDevice(dst []byte) []byte {
	return append(appendVersion(dst, s.doc, s.version), '}')
}

// appendService appends the section as the service shows it, with $metadata. Only desired metadata tells versions.
func (s *section) appendService(dst []byte) []byte {
	dst = openObject(dst, s.doc)
	dst = append(dst, `"$metadata":`...)
	dst = appendStamps(dst, s.doc, &s.stamps, stamp{})
	dst = append(dst, `,"$version":`...)
	return append(strconv.AppendInt(dst, s.version, 10), '}')
}

// appendVersion appends an object without its closing brace, and $version as its last member.
func appendVersion(dst, doc []byte, version int64) []byte {
	dst = openObject(dst, doc)
	dst = append(dst, `"$version":`...)
	return strconv.AppendInt(dst, version, 10)
}

// openObject appends a compact object without its closing brace, ready for another member.
func openObject(dst, doc []byte) []byte {
	if len(doc) <= len(`{}`) {
		return append(dst, '{')
	}
	return append(append(dst, doc[:len(doc)-1]...), ',')
}

// appendStamps appends the metadata of one node of a section; s is nil where the node shares rest.
func appendStamps(dst, doc []byte, s *stamps, rest stamp) []byte {
	own := rest
	var kids map[string]*stamps
	if s != nil {
		own, rest, kids = s.own, s.rest, s.kids
	}
	dst = append(dst, `{"$lastUpdated":`...)
	dst = appendNanos(dst, own.at)
	if own.version > 0 {
		dst = append(dst, `,"$lastUpdatedVersion":`...)
		dst = strconv.AppendInt(dst, own.version, 10)
	}
	for key, value := range members(doc) {
		dst = append(append(append(dst, ','), key...), ':')
		var kid *stamps
		if kids != nil {
			kid = kids[unquote(key)]
		}
		dst = appendStamps(dst, value, kid, rest)
	}
	return append(dst, '}')
}

// timeLayout has seven fractional digits, as the service writes times.
const timeLayout = "2006-01-02T15:04:05.0000000Z"

// appendTime appends a quoted time; the zero time as the service writes it.
func appendTime(dst []byte, t time.Time) []byte {
	dst = t.UTC().AppendFormat(append(dst, '"'), timeLayout)
	return append(dst, '"')
}

// appendNanos appends a quoted time given in ns since 1970; 0 is the zero time.
func appendNanos(dst []byte, ns int64) []byte {
	if ns == 0 {
		return append(dst, `"0001-01-01T00:00:00Z"`...)
	}
	return appendTime(dst, time.Unix(0, ns))
}

// timeText appends times as appendNanos does. Most rows of a job are of the same few seconds: of those it writes the digits
// after the point alone.
type timeText struct {
	second int64  // Unix time
	quoted []byte // how times of that second begin; nil = of none
}

func (t *timeText) append(dst []byte, ns int64) []byte {
	const point = len(`"2006-01-02T15:04:05.`)
	if ns <= 0 {
		return appendNanos(dst, ns)
	}
	if second := ns / 1e9; t.quoted == nil || t.second != second {
		t.second, t.quoted = second, appendNanos(t.quoted[:0], ns)[:point]
	}
	dst = append(dst, t.quoted...)
	for unit, rest := int64(1e8), ns%1e9; unit >= 100; unit /= 10 {
		dst = append(dst, '0'+byte(rest/unit))
		rest %= unit
	}
	return append(dst, 'Z', '"')
}

package iothub

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Limits of a twin's sections, in bytes as SectionSize counts them.
const (
	MaxTags       = 8 << 10
	MaxProperties = 32 << 10 // of desired and of reported each
)

const (
	maxTwinKey    = 1 << 10 // bytes of UTF-8
	maxTwinString = 4 << 10 // bytes of UTF-8
	maxTwinDepth  = 10      // containers below the section
	maxTwinInt    = 1<<52 - 1
	minTwinInt    = -1 << 52

	// maxStretch bounds a section's compact JSON, as a multiple of its limit: what the count leaves out, above all
	// containers, escapes and nulls in arrays, would be without bounds otherwise.
	maxStretch = 4
)

var (
	errNotUTF8 = errors.New("not UTF-8")
	errControl = errors.New("holds a control character")
	errTwice   = errors.New("is there twice")
)

// ValidatePatch reports the first fault for which a hub refuses a patch of a
// section ("tags", "properties.desired" or "properties.reported", which only
// names it in the error): not an object, a key that is too long or holds a
// control character, ., $ or space, a key that is there twice, a string over 4 KB, an integer out of the
// service's range, objects or arrays nested deeper than 10 levels, more bytes
// than limit, or more than four times as many of compact JSON. Nulls cost
// nothing: what they name is deleted. A limit of 0 is none. What is valid as a
// patch can still be too much after the merge, so a hub asks CheckSection about
// the result.
func ValidatePatch(section string, patch []byte, limit int) error {
	v := validator{limit: limit}
	err := v.document(patch)
	if err == nil && limit > 0 && v.size > limit {
		err = fmt.Errorf("size is %d bytes, more than %d", v.size, limit)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", section, err)
	}
	return nil
}

// CheckSection reports whether a section's document is too large: more bytes
// than limit as SectionSize counts them, or more than four times as many of
// compact JSON.
func CheckSection(section string, doc []byte, limit int) error {
	err := checkStretch(doc, limit)
	if err == nil {
		if size := SectionSize(doc); size > limit {
			err = fmt.Errorf("size would be %d bytes, more than %d", size, limit)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", section, err)
	}
	return nil
}

// checkStretch bounds the compact JSON of a document whose section has a limit.
func checkStretch(doc []byte, limit int) error {
	if len(doc) <= maxStretch*limit {
		return nil
	}
	if n := compactSize(doc); n > maxStretch*limit {
		return fmt.Errorf("takes %d bytes of JSON, more than %d", n, maxStretch*limit)
	}
	return nil
}

// SectionSize returns how many bytes of a section's limit a document takes:
// keys and strings by their UTF-8 length without control characters, numbers
// 8, booleans 4, structure nothing. $metadata and $version at the top, which
// the service adds, are free. What is not JSON is 0.
func SectionSize(doc []byte) int {
	if !json.Valid(doc) {
		return 0
	}
	size := 0
	for m := membersOf(doc); ; {
		key, value, ok := m.next()
		if !ok {
			return size
		}
		if name := string(text(key)); name != "$metadata" && name != "$version" {
			size += memberSize(key, value)
		}
	}
}

// memberSize returns what a key, possibly nil, and its value count.
func memberSize(key, value []byte) int {
	if value[0] == 'n' {
		return 0
	}
	size := scalarSize(value)
	if key != nil {
		size += textSize(text(key))
	}
	for m := membersOf(value); ; {
		key, value, ok := m.next()
		if !ok {
			return size
		}
		size += memberSize(key, value)
	}
}

// scalarSize returns what a value counts, 0 for a container and null.
func scalarSize(value []byte) int {
	switch value[0] {
	case '{', '[', 'n':
		return 0
	case 't', 'f':
		return 4
	case '"':
		return textSize(text(value))
	}
	return 8
}

// textSize returns the UTF-8 length without control characters (C0, C1 and
// DEL).
func textSize(s []byte) int {
	n := len(s)
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] < ' ' || s[i] == 0x7f:
			n--
		case s[i] == 0xc2 && i+1 < len(s) && s[i+1] < 0xa0: // U+0080 to U+009F
			n -= 2
		}
	}
	return n
}

// validator walks over a patch and adds up its size.
type validator struct {
	limit int // 0 = none
	size  int
}

func (v *validator) document(patch []byte) error {
	switch {
	case !json.Valid(patch):
		return errNotJSON
	case !isObject(patch):
		return errNotObject
	case !utf8.Valid(patch):
		return errNotUTF8
	}
	if v.limit > 0 {
		if err := checkStretch(patch, v.limit); err != nil {
			return err
		}
	}
	return v.members(patch, 0)
}

// members checks what a container at a depth holds; the section is at depth 0.
func (v *validator) members(container []byte, depth int) error {
	if depth > maxTwinDepth {
		return fmt.Errorf("nested deeper than %d levels", maxTwinDepth)
	}
	var seen changes
	for m := membersOf(container); ; {
		key, value, ok := m.next()
		if !ok {
			return nil
		}
		if key != nil && !seen.add(key, value) {
			return fmt.Errorf("key %.40q: %w", text(key), errTwice)
		}
		if err := v.member(key, value, depth); err != nil {
			return err
		}
	}
}

func (v *validator) member(key, value []byte, depth int) error {
	if key != nil {
		if err := checkKey(text(key)); err != nil {
			return fmt.Errorf("key %.40q: %w", text(key), err)
		}
	}
	if value[0] == 'n' {
		return nil
	}
	if key != nil {
		v.size += textSize(text(key))
	}
	v.size += scalarSize(value)
	err := checkScalar(value)
	if value[0] == '{' || value[0] == '[' {
		err = v.members(value, depth+1)
	}
	if err != nil && key != nil {
		return fmt.Errorf("%.40s: %w", text(key), err)
	}
	return err
}

// checkKey applies the rules of names in a twin.
func checkKey(key []byte) error {
	if len(key) > maxTwinKey {
		return fmt.Errorf("longer than %d bytes", maxTwinKey)
	}
	if textSize(key) != len(key) {
		return errControl
	}
	for _, b := range key {
		if b == '.' || b == '$' || b == ' ' {
			return fmt.Errorf("holds %q", b)
		}
	}
	return nil
}

// checkFloat refuses a number that no double holds: hardly any client could
// read the twin any more, nor a page of a query with it.
func checkFloat(value []byte) error {
	if _, err := strconv.ParseFloat(string(value), 64); err != nil {
		return fmt.Errorf("number %.40s is out of range", value)
	}
	return nil
}

// checkScalar applies the rules of values; containers have none of their own.
func checkScalar(value []byte) error {
	switch b := value[0]; {
	case b == '"':
		if n := len(text(value)); n > maxTwinString {
			return fmt.Errorf("string of %d bytes, more than %d", n, maxTwinString)
		}
	case b == '-' || '0' <= b && b <= '9':
		for _, b := range value {
			if b == '.' || b == 'e' || b == 'E' { // not an integer
				return checkFloat(value)
			}
		}
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil || n < minTwinInt || n > maxTwinInt {
			return fmt.Errorf("integer out of range %d to %d", int64(minTwinInt), int64(maxTwinInt))
		}
	}
	return nil
}

package iothub

import (
	"bytes"
	"time"
	"unicode/utf8"
)

// alike is how a row was written. A hub writes the rows of a job alike: as a rule
// the next one differs from it in its holes alone, the device's id and the times.
// Such a row is read by comparing the bytes between them.
type alike struct {
	raw   []byte // the row
	holes []hole // in order; none: no row is read so
}

// hole is where rows may differ: the text of a string.
type hole struct {
	from, to int   // its place in the row
	time     *Time // what it says; nil: the device's id
	second   int64 // the Unix time of the text up to the second
}

func (a *alike) reset()     { a.holes = a.holes[:0] }
func (a *alike) add(h hole) { a.holes = append(a.holes, h) }

// readAlike reads the row that begins at i, if it differs from the last one in
// nothing but the holes, and returns the index after it. A row that does is JSON
// as the last one is.
func (r *rowReader) readAlike(body []byte, i int) (end int, ok bool) {
	a := &r.alike
	if len(a.holes) == 0 {
		return i, false
	}
	at := 0
	for k := range a.holes {
		h := &a.holes[k]
		between := a.raw[at:h.from]
		if !bytes.HasPrefix(body[i:], between) {
			return i, false
		}
		i += len(between)
		n := r.fill(h, body[i:])
		if n == 0 {
			return i, false
		}
		i, at = i+n, h.to
	}
	rest := a.raw[at:]
	return i + len(rest), bytes.HasPrefix(body[i:], rest)
}

// fill reads what stands in a hole and returns how long it is; 0 if it is
// nothing that it knows.
func (r *rowReader) fill(h *hole, b []byte) int {
	if h.time != nil {
		return r.alike.moment(h, b)
	}
	for n, c := range b {
		switch {
		case c == '"':
			r.row.DeviceID = r.id(b[:n])
			return n
		case c == '\\' || c < ' ' || c >= utf8.RuneSelf:
			return 0
		}
	}
	return 0
}

// secondLength is the length of a time up to the second, as in
// 2006-01-02T15:04:05.
const secondLength = len("2006-01-02T15:04:05")

// moment reads the time in a hole. Times of one second are the rule; the text of
// another one takes the place of the last.
func (a *alike) moment(h *hole, b []byte) int {
	if len(b) < secondLength {
		return 0
	}
	nanoseconds, n := fraction(b[secondLength:])
	if n == 0 {
		return 0
	}
	if last := a.raw[h.from : h.from+secondLength]; !bytes.Equal(last, b[:secondLength]) {
		var second time.Time
		if second.UnmarshalText(append(b[:secondLength:secondLength], 'Z')) != nil {
			return 0
		}
		copy(last, b)
		h.second = second.Unix()
	}
	h.time.Time = time.Unix(h.second, nanoseconds).UTC()
	return secondLength + n
}

// fraction reads what follows the second in a time, as in .1234567Z, and returns
// how long that is; 0 if it is something else. What is less than a nanosecond is
// dropped, as package time does.
func fraction(b []byte) (nanoseconds int64, length int) {
	if len(b) == 0 || b[0] != '.' {
		return 0, 0
	}
	unit := int64(time.Second)
	for i, c := range b[1:] {
		switch {
		case c == 'Z' && i > 0:
			return nanoseconds, i + 2
		case c < '0' || c > '9':
			return 0, 0
		}
		unit /= 10
		nanoseconds += int64(c-'0') * unit
	}
	return 0, 0
}

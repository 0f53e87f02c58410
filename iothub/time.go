package iothub

import (
	"errors"
	"time"
)

// Time is a moment as the service writes it: ISO 8601 in UTC with seven
// fractional digits. The zero time, which stands for "never", is written
// 0001-01-01T00:00:00Z.
type Time struct{ time.Time }

const (
	timeLayout = "2006-01-02T15:04:05.0000000Z"
	neverText  = "0001-01-01T00:00:00Z"
)

// String returns the moment as the service writes it.
func (t Time) String() string {
	if t.IsZero() {
		return neverText
	}
	return t.UTC().Format(timeLayout)
}

// AppendText appends the moment as the service writes it.
func (t Time) AppendText(dst []byte) ([]byte, error) {
	if t.IsZero() {
		return append(dst, neverText...), nil
	}
	return t.UTC().AppendFormat(dst, timeLayout), nil
}

// MarshalText is AppendText.
func (t Time) MarshalText() ([]byte, error) { return t.AppendText(nil) }

// MarshalJSON writes the moment as a JSON string.
func (t Time) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, len(timeLayout)+2), '"')
	b, _ = t.AppendText(b)
	return append(b, '"'), nil
}

var errTime = errors.New("not a time of ISO 8601")

// UnmarshalText reads a time with any number of fractional digits; without a
// zone it is in UTC. Empty is the zero time.
func (t *Time) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*t = Time{}
		return nil
	}
	var usual time.Time
	if usual.UnmarshalText(text) == nil { // most are, and it does not allocate
		*t = Time{usual.UTC()}
		return nil
	}
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04:05"} {
		if parsed, err := time.Parse(layout, string(text)); err == nil {
			*t = Time{parsed.UTC()}
			return nil
		}
	}
	return errTime
}

// UnmarshalJSON reads a JSON string as UnmarshalText does; null is the zero
// time.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*t = Time{}
		return nil
	}
	if len(b) < 2 || b[0] != '"' {
		return errTime
	}
	return t.UnmarshalText(b[1 : len(b)-1])
}

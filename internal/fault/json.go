package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// document is a fault as JSON has it.
type document struct {
	Kind         Kind        `json:"kind"`
	Part         Part        `json:"part,omitempty"`
	Operations   []Operation `json:"operations,omitempty"`
	Devices      []string    `json:"devices,omitempty"`
	DevicePrefix string      `json:"devicePrefix,omitempty"`
	For          *span       `json:"for,omitempty"`
	Count        int         `json:"count,omitempty"`
	Share        float64     `json:"share,omitempty"`
	Seed         uint64      `json:"seed,omitempty"`
	Delay        any         `json:"delay,omitempty"`
	Code         int         `json:"code,omitempty"`
	Answer       Answer      `json:"answer,omitempty"`
}

// span is a duration as JSON has it: "1.5s".
type span time.Duration

func (s span) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).String()) }

func (s *span) UnmarshalJSON(src []byte) error {
	var text string
	if json.Unmarshal(src, &text) != nil {
		return errSpan
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return errSpan
	}
	*s = span(d)
	return nil
}

var errSpan = errors.New("expected a duration such as 500ms, 30s or 1m30s")

// delayRange is a delay that is drawn.
type delayRange struct {
	From span `json:"from"`
	To   span `json:"to"`
}

// MarshalJSON implements json.Marshaler.
func (f Fault) MarshalJSON() ([]byte, error) {
	doc := document{
		Kind: f.Kind, Part: f.Part, Operations: f.Operations, Devices: f.Devices, DevicePrefix: f.DevicePrefix,
		Count: f.Count, Share: f.Share, Seed: f.Seed, Code: f.Code, Answer: f.Answer,
	}
	if f.For != 0 {
		doc.For = new(span(f.For))
	}
	switch {
	case f.DelayTo > f.Delay:
		doc.Delay = delayRange{span(f.Delay), span(f.DelayTo)}
	case f.Delay != 0:
		doc.Delay = span(f.Delay)
	}
	return json.Marshal(doc)
}

// UnmarshalJSON reads a fault and checks it. Members are exact: one that is unknown, given twice or of a wrong type is an
// error, as is what Check finds; all of them are reported, each with its name.
func (f *Fault) UnmarshalJSON(src []byte) error {
	var r Fault
	if err := r.members(src); err != nil {
		return err
	}
	if err := r.Valid(); err != nil {
		return err
	}
	*f = r
	return nil
}

// members reads every member of an object.
func (f *Fault) members(src []byte) error {
	dec := json.NewDecoder(bytes.NewReader(src))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return errors.New("a fault is a JSON object")
	}
	var errs []error
	seen := map[string]bool{}
	for dec.More() {
		name, err := dec.Token() // a string: what else is no JSON
		var value json.RawMessage
		if err == nil {
			err = dec.Decode(&value)
		}
		if err != nil {
			return fmt.Errorf("a fault is a JSON object: %w", err)
		}
		key := name.(string)
		if seen[key] {
			errs = append(errs, &MemberError{key, "is there twice"})
			continue
		}
		seen[key] = true
		if msg := f.member(key, value); msg != "" {
			errs = append(errs, &MemberError{key, msg})
		}
	}
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("a fault is a JSON object: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("a fault is one JSON object, and something follows it")
	}
	if !seen["kind"] {
		errs = append(errs, &MemberError{"kind", "is missing"})
	}
	return errors.Join(errs...)
}

// member reads one member and returns what is wrong with it.
func (f *Fault) member(name string, value json.RawMessage) string {
	switch name {
	case "kind":
		return read(value, &f.Kind, "a text")
	case "part":
		return read(value, &f.Part, "a text")
	case "operations":
		return read(value, &f.Operations, "a list of texts")
	case "devices":
		return read(value, &f.Devices, "a list of device ids")
	case "devicePrefix":
		return read(value, &f.DevicePrefix, "a text")
	case "for":
		return read(value, (*span)(&f.For), "a duration such as 500ms, 30s or 1m30s")
	case "count":
		return read(value, &f.Count, "a whole number")
	case "share":
		if msg := read(value, &f.Share, "a number"); msg != "" || f.Share != 0 {
			return msg
		}
		return "must be above 0 and at most 1, is 0"
	case "seed":
		return read(value, &f.Seed, "a whole number, 0 to "+strconv.FormatUint(1<<64-1, 10))
	case "delay":
		return f.delay(value)
	case "code":
		return read(value, &f.Code, "a whole number")
	case "answer":
		return read(value, &f.Answer, "a text")
	}
	return "is unknown"
}

// read decodes a value that must not be null.
func read(value json.RawMessage, into any, expected string) string {
	if string(value) == "null" || json.Unmarshal(value, into) != nil {
		return "expected " + expected
	}
	return ""
}

// delay reads a duration, or an object with from and to.
func (f *Fault) delay(value json.RawMessage) string {
	const expected = `a duration such as 500ms, or {"from":"100ms","to":"500ms"}`
	if len(value) == 0 || value[0] != '{' {
		return read(value, (*span)(&f.Delay), expected)
	}
	var r struct{ From, To *span }
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.DisallowUnknownFields()
	if dec.Decode(&r) != nil || r.From == nil || r.To == nil {
		return "expected " + expected
	}
	f.Delay, f.DelayTo = time.Duration(*r.From), time.Duration(*r.To)
	return ""
}

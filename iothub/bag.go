package iothub

import (
	"fmt"
	"net/url"
	"strings"
)

// Property is one pair of a property bag. The names of system properties begin
// with "$.", as in "$.ct" for the content type.
type Property struct {
	Name  string
	Value string
	Null  bool // the name stood alone, without "="
}

// AppendBag appends the property bag of a telemetry or cloud-to-device topic:
// name=value pairs joined with &, percent-encoded.
func AppendBag(dst []byte, properties ...Property) []byte {
	for i, p := range properties {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = appendEscaped(dst, p.Name)
		if !p.Null {
			dst = appendEscaped(append(dst, '='), p.Value)
		}
	}
	return dst
}

// ParseBag takes a property bag apart, in its order. Names and values come
// decoded; empty segments are ignored.
func ParseBag(bag string) ([]Property, error) {
	var properties []Property
	for pair := range strings.SplitSeq(bag, "&") {
		if pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		p := Property{Null: !ok}
		var err error
		if p.Name, err = url.PathUnescape(name); err != nil {
			return nil, fmt.Errorf("parse property bag: name: %w", err)
		}
		if p.Value, err = url.PathUnescape(value); err != nil {
			return nil, fmt.Errorf("parse property bag: value: %w", err)
		}
		properties = append(properties, p)
	}
	return properties, nil
}

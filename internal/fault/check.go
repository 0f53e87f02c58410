package fault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MemberError is what is wrong with one member of a fault.
type MemberError struct {
	Member string // as JSON and scenarios have it: "share"; "" is the whole fault
	Msg    string
}

func (e *MemberError) Error() string {
	if e.Member == "" {
		return e.Msg
	}
	return e.Member + ": " + e.Msg
}

// Check returns everything that is wrong with the fault, by member.
func (f *Fault) Check() []*MemberError {
	c := &checker{Fault: f}
	if !slices.Contains(Kinds(), f.Kind) {
		c.add("kind", "must be one of %s", words(Kinds()))
		return c.errs
	}
	c.scope()
	c.extent()
	c.own()
	return c.errs
}

// Valid is Check as one error.
func (f *Fault) Valid() error {
	var errs []error
	for _, err := range f.Check() {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

type checker struct {
	*Fault
	errs []*MemberError
}

func (c *checker) add(member, format string, args ...any) {
	c.errs = append(c.errs, &MemberError{member, fmt.Sprintf(format, args...)})
}

// foreign reports a member that was given and does not belong to the fault.
func (c *checker) foreign(given bool, member string) {
	if given {
		c.add(member, "does not belong to a fault of kind %s", c.Kind)
	}
}

// scope checks where the fault strikes.
func (c *checker) scope() {
	parts := Parts(c.Kind)
	if parts == nil {
		c.foreign(c.Part != "", "part")
		c.foreign(len(c.Operations) > 0, "operations")
		c.foreign(len(c.Devices) > 0, "devices")
		c.foreign(c.DevicePrefix != "", "devicePrefix")
		return
	}
	r := c.Resolved()
	switch {
	case !slices.Contains(parts, r.Part):
		c.add("part", "must be one of %s for a fault of kind %s", words(parts), c.Kind)
	case len(c.Operations) > 0 && r.Part != REST:
		c.add("operations", "are of part rest, and this fault strikes %s", r.Part)
	}
	for _, op := range c.Operations {
		if !slices.Contains(Operations, op) {
			c.add("operations", "%q is none; there are %s", op, words(Operations))
		}
	}
	if slices.Contains(c.Devices, "") {
		c.add("devices", "an id must not be empty")
	}
}

// extent checks how long and how often the fault strikes.
func (c *checker) extent() {
	switch {
	case c.For < 0 || c.For > MaxFor:
		c.add("for", "must be 0s to %v, is %v", MaxFor, c.For)
	case c.Kind == Restart && c.For == 0:
		c.add("for", "is missing: how long the hub is away")
	case c.CutsRequests() && c.For == 0 && c.Count == 0:
		c.add("for", "is missing: with a scope of operations or devices, it is requests that are cut, as they come")
	}
	switch {
	case c.Count < 0:
		c.add("count", "must not be negative, is %d", c.Count)
	case c.Kind == Restart:
		c.foreign(c.Count > 0, "count")
	}
	switch {
	case !(c.Share >= 0 && c.Share <= 1): // not a number is neither
		c.add("share", "must be above 0 and at most 1, is %v", c.Share)
	case c.Kind == Restart:
		c.foreign(c.Share != 0, "share")
	}
}

// own checks what belongs to one kind alone.
func (c *checker) own() {
	switch {
	case c.Kind != Latency:
		c.foreign(c.Delay != 0 || c.DelayTo != 0, "delay")
	case c.Delay == 0 && c.DelayTo == 0:
		c.add("delay", "is missing: how much later things come")
	case c.Delay < 0 || c.Delay > MaxDelay || c.DelayTo < 0 || c.DelayTo > MaxDelay:
		c.add("delay", "must be 0s to %v", MaxDelay)
	case c.DelayTo != 0 && c.DelayTo < c.Delay:
		c.add("delay", "must not go from %v to the lesser %v", c.Delay, c.DelayTo)
	}
	switch {
	case c.Kind != Errors:
		c.foreign(c.Code != 0, "code")
	case !slices.Contains(Codes, c.Code):
		c.add("code", "must be one of %s", strings.ReplaceAll(strings.Trim(fmt.Sprint(Codes), "[]"), " ", ", "))
	}
	switch {
	case c.Kind != Refuse:
		c.foreign(c.Answer != "", "answer")
	case c.Answer != "" && !slices.Contains(Answers, c.Answer):
		c.add("answer", "must be one of %s", words(Answers))
	}
}

// words lists words for people.
func words[T ~string](all []T) string {
	texts := make([]string, len(all))
	for i, w := range all {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}

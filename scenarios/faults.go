package scenarios

import (
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"muster/internal/fault"
)

// Fault is something that the embedded hub does wrong on purpose. Its seed is not the file's: it follows from the
// scenario's.
type Fault struct {
	fault.Fault

	AtStart bool          // it begins before the fleet begins to connect
	After   time.Duration // else when it begins, counted from when the fleet is ready
}

// At returns when the fault begins as the file has it: "+2s" or "start".
func (f *Fault) At() string {
	if f.AtStart {
		return atStart
	}
	return "+" + f.After.String()
}

const (
	atStart          = "start"
	faultTimePattern = `^start$|^\+[0-9.]`
)

// fault decodes one fault and checks what its keys say together.
func (d *decoder) fault(n *node, path string) Fault {
	var f Fault
	faults := len(d.errs) + d.more
	if !d.object(n, path,
		required("kind", choice(d, &f.Kind, "kind", fault.Kinds()...)),
		required("at", d.faultTime(&f)),
		optional("for", d.duration(&f.For, time.Millisecond, fault.MaxFor)),
		optional("count", d.integer(&f.Count, 1, 1_000_000_000)),
		optional("share", d.share(&f.Share)),
		optional("part", choice(d, &f.Part, "part", fault.REST, fault.Connect, fault.Methods, fault.Twins)),
		optional("operations", d.list(1, func(n *node, path string) {
			var op fault.Operation
			choice(d, &op, "operation", fault.Operations...)(n, path)
			f.Operations = append(f.Operations, op)
		})),
		optional("devices", d.list(1, func(n *node, path string) {
			var id string
			d.deviceID(&id)(n, path)
			f.Devices = append(f.Devices, id)
		})),
		optional("devicePrefix", d.deviceID(&f.DevicePrefix)),
		optional("delay", d.delay(&f.Fault)),
		optional("code", d.integer(&f.Code, 400_000, 599_999)),
		optional("answer", choice(d, &f.Answer, "answer", fault.Answers...)),
	) || len(d.errs)+d.more > faults {
		return f // what is wrong was said
	}
	for _, err := range f.Check() {
		d.failPath(member(path, err.Member), "%s", err.Msg)
	}
	f.Fault = f.Resolved()
	return f
}

// faultTime decodes when a fault begins.
func (d *decoder) faultTime(f *Fault) decode {
	return func(n *node, path string) {
		if n.schema.isPattern(faultTimePattern) {
			return
		}
		const expected = "+2s after the fleet is ready, or start, before it begins to connect"
		after, relative := strings.CutPrefix(n.value, "+")
		switch {
		case n.kind != yaml.ScalarNode:
			d.wrong(n, path, expected)
		case n.value == atStart:
			f.AtStart = true
		default:
			v, err := time.ParseDuration(after)
			if !relative || err != nil || strings.HasPrefix(after, "+") {
				d.wrong(n, path, expected)
				return
			}
			if v < 0 || v > maxStart {
				d.impossible(n, path, fmt.Sprintf("+0s to +%v", maxStart))
				return
			}
			f.After = v
		}
	}
}

func (d *decoder) share(dst *float64) decode {
	return func(n *node, path string) {
		v := 1.0
		if n.schema.isNumber(0, 1, v) {
			return
		}
		d.number(&v, 0, 1)(n, path)
		if v == 0 {
			d.impossible(n, path, "above 0 and at most 1")
			return
		}
		*dst = v
	}
}

// delay decodes a duration, or the range that it is drawn from.
func (d *decoder) delay(f *fault.Fault) decode {
	one := d.duration(&f.Delay, time.Microsecond, fault.MaxDelay)
	drawn := func(n *node, path string) {
		d.object(n, path,
			required("from", d.duration(&f.Delay, 0, fault.MaxDelay)),
			required("to", d.duration(&f.DelayTo, time.Microsecond, fault.MaxDelay)),
		)
	}
	return func(n *node, path string) {
		switch {
		case n.schema.isEither(path, one, drawn):
		case n.kind == yaml.ScalarNode:
			one(n, path)
		default:
			drawn(n, path)
		}
	}
}

// checkFaults refuses faults of a hub that muster does not run.
func (d *decoder) checkFaults(s *Scenario) {
	if len(s.Faults) > 0 && len(d.present("target", "iothub", "mqtt")) > 0 {
		d.fail(d.keys["faults"], "faults", "only target.embedded takes faults")
	}
}

func (p printer) fault(f *Fault, path string) *yaml.Node {
	m := p.mapping(path).text("kind", string(f.Kind)).text("at", f.At())
	if f.For > 0 {
		m.duration("for", f.For)
	}
	if f.Count > 0 {
		m.int("count", f.Count)
	}
	if f.Kind != fault.Restart {
		m.float("share", f.Share).text("part", string(f.Part))
	}
	if len(f.Operations) > 0 {
		m.put("operations", texts(f.Operations))
	}
	if len(f.Devices) > 0 {
		m.put("devices", texts(f.Devices))
	}
	if f.DevicePrefix != "" {
		m.text("devicePrefix", f.DevicePrefix)
	}
	return p.ownKeys(m, &f.Fault).node
}

// ownKeys adds what belongs to one kind alone.
func (p printer) ownKeys(m *mapping, f *fault.Fault) *mapping {
	switch f.Kind {
	case fault.Latency:
		if f.DelayTo > f.Delay {
			at := p.mapping(member(m.path, "delay")).duration("from", f.Delay).duration("to", f.DelayTo)
			return m.put("delay", at.node)
		}
		return m.duration("delay", f.Delay)
	case fault.Errors:
		return m.int("code", f.Code)
	case fault.Refuse:
		return m.text("answer", string(f.Answer))
	}
	return m
}

// texts makes a list of texts, which hold nothing of the environment.
func texts[T ~string](all []T) *yaml.Node {
	return list(len(all), func(i int) *yaml.Node { return text(strings.ReplaceAll(string(all[i]), "${", "$${")) })
}

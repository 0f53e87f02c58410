package scenarios

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"muster/internal/quota"
)

// MaxDevices is what an IoT hub takes.
const MaxDevices = 1_000_000

// folderName is what can be part of a folder's name on every system.
var folderName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?$`)

// scenario decodes the whole file.
func (d *decoder) scenario(root *node) *Scenario {
	s := &Scenario{Seed: 1, Target: Target{Embedded: &Embedded{Transport: TCP}}, Connect: defaultConnect()}
	d.object(root, "",
		required("name", d.folder(&s.Name)),
		optional("seed", d.unsigned(&s.Seed)),
		optional("target", d.target(&s.Target)),
		required("fleet", d.list(1, func(n *node, path string) {
			s.Fleet = append(s.Fleet, d.group(n, path))
		})),
		optional("connect", d.connect(&s.Connect)),
		optional("jobs", d.list(0, func(n *node, path string) {
			s.Jobs = append(s.Jobs, d.job(n, path))
		})),
		optional("faults", d.list(0, func(n *node, path string) {
			s.Faults = append(s.Faults, d.fault(n, path))
		})),
		optional("thresholds", d.list(0, func(n *node, path string) {
			s.Thresholds = append(s.Thresholds, d.threshold(n, path))
		})),
	)
	d.suitIoTHub(s)
	return s
}

func (d *decoder) folder(dst *string) decode {
	return func(n *node, path string) {
		var s string
		d.text(&s)(n, path)
		n.schema.matches(folderName.String())
		if s == "" {
			return
		}
		if !folderName.MatchString(s) {
			d.fail(n, path, "names the folder of results: at most 64 letters, digits, dots, - and _, beginning with a letter or digit; found %s", describe(n))
			return
		}
		*dst = s
	}
}

// target decodes the system under test: exactly one of three.
func (d *decoder) target(dst *Target) decode {
	return func(n *node, path string) {
		unsupported := func(n *node, path string) {
			n.schema.isRefused()
			d.fail(d.keys[path], path, "this target is not supported by this version yet; use target.embedded or target.iothub")
		}
		if !d.object(n, path,
			optional("embedded", d.embedded(dst.Embedded)),
			optional("iothub", d.iothub(dst)),
			optional("mqtt", unsupported),
		) {
			return
		}
		switch known := d.present(path, "embedded", "iothub", "mqtt"); {
		case len(known) > 1:
			d.fail(n, path, "a run has one target, found %s", strings.Join(known, " and "))
		case len(n.fields) == 0:
			d.fail(n, path, "expected one of %s", oneOf([]string{"embedded", "iothub", "mqtt"}))
		}
	}
}

// present returns which of the keys below a path were given.
func (d *decoder) present(path string, names ...string) []string {
	var given []string
	for _, name := range names {
		if d.keys[member(path, name)] != nil {
			given = append(given, name)
		}
	}
	return given
}

func (d *decoder) embedded(dst *Embedded) decode {
	return func(n *node, path string) {
		if n.isNull() { // `embedded:` alone asks for the defaults
			return
		}
		d.object(n, path,
			optional("transport", choice(d, &dst.Transport, "transport", TCP, TLS, Memory)),
			optional("jobRate", d.rate(&dst.JobRate)),
			optional("tier", choice(d, &dst.Tier, "tier", quota.F1, quota.S1, quota.S2, quota.S3)),
			optional("units", d.integer(&dst.Units, 1, math.MaxInt32)),
		)
		n.schema.orNull()
		d.checkUnits(n, path, dst.Tier, &dst.Units)
	}
}

// checkUnits completes a tier with its units, or refuses units that there are not.
func (d *decoder) checkUnits(n *node, path string, tier quota.Tier, units *int) {
	switch {
	case tier == "" && *units == 0:
	case n.field("tier") == nil:
		d.failPath(member(path, "units"), "a hub has units of a tier; tier is missing")
	case tier != "":
		*units = max(1, *units)
		if _, err := quota.For(tier, *units); err != nil {
			d.failPath(member(path, "units"), "%v", err)
		}
	}
}

func defaultConnect() Connect {
	return Connect{
		Rate: 1000, InFlight: 500, Timeout: 30 * time.Second,
		Backoff: Backoff{Base: time.Second, Cap: time.Minute},
	}
}

func (d *decoder) connect(dst *Connect) decode {
	return func(n *node, path string) {
		d.object(n, path,
			optional("rate", d.rate(&dst.Rate)),
			optional("inFlight", d.integer(&dst.InFlight, 1, 100_000)),
			optional("timeout", d.duration(&dst.Timeout, 10*time.Millisecond, time.Hour)),
			optional("keepAlive", d.keepAlive(&dst.KeepAlive)),
			optional("backoff", func(n *node, path string) {
				d.object(n, path,
					optional("base", d.duration(&dst.Backoff.Base, time.Millisecond, time.Hour)),
					optional("cap", d.duration(&dst.Backoff.Cap, time.Millisecond, time.Hour)),
				)
				if dst.Backoff.Cap < dst.Backoff.Base {
					d.failPath(path, "cap (%v) must not be below base (%v)", dst.Backoff.Cap, dst.Backoff.Base)
				}
			}),
			optional("sourceAddresses", d.list(1, d.sourceAddress(&dst.SourceAddresses))),
		)
	}
}

// keepAlive decodes a duration that MQTT can carry and an IoT hub honours.
// Zero is no pings at all.
func (d *decoder) keepAlive(dst *time.Duration) decode {
	return func(n *node, path string) {
		if n.schema.isDuration(0, 1177*time.Second, *dst) {
			return
		}
		v := *dst
		d.duration(&v, 0, 1177*time.Second)(n, path)
		if v%time.Second != 0 {
			d.fail(n, path, "must be whole seconds, is %s", describe(n))
			return
		}
		*dst = v
	}
}

func (d *decoder) group(n *node, path string) Group {
	g := Group{EchoDesired: true, Driver: Paho}
	d.object(n, path,
		required("group", d.label(&g.Name)),
		required("devices", d.integer(&g.Devices, 1, MaxDevices)),
		optional("id", d.id(&g.ID)),
		optional("tags", d.document(&g.Tags, maxTags)),
		optional("desired", d.document(&g.Desired, maxProperties)),
		optional("reported", d.document(&g.Reported, maxProperties)),
		optional("methods", d.methods(&g.Methods)),
		optional("echoDesired", d.boolean(&g.EchoDesired)),
		optional("driver", choice(d, &g.Driver, "driver", Drivers()...)),
	)
	if n.kind == yaml.MappingNode && n.field("id") == nil {
		d.id(&g.ID)(&node{kind: yaml.ScalarNode, tag: "!!str", value: defaultID}, member(path, "id"))
	}
	return g
}

// defaultID is the id of a device whose group gives none.
const defaultID = "{group}-{index:05d}"

func (d *decoder) id(dst *Text) decode {
	return func(n *node, path string) {
		var s string
		d.text(&s)(n, path)
		n.schema.defaultsTo(defaultID)
		if s == "" {
			return
		}
		if t, ok := d.template(n, path); ok {
			*dst = Text{s, t}
		}
	}
}

func (d *decoder) methods(dst *map[string]Method) decode {
	return func(n *node, path string) {
		if n.schema.isMap(methodNamePattern, path, func(n *node, path string) { d.method(n, path) }) {
			return
		}
		if n.kind != yaml.MappingNode {
			d.wrong(n, path, "a mapping of method names")
			return
		}
		*dst = make(map[string]Method, len(n.fields))
		for _, f := range n.fields {
			below := member(path, f.key.value)
			d.values[below], d.keys[below] = f.value, f.key
			if msg := badMethodName(f.key.value); msg != "" {
				d.fail(f.key, below, "%s", msg)
			}
			(*dst)[f.key.value] = d.method(f.value, below)
		}
	}
}

// methodNamePattern is what badMethodName lets pass.
const methodNamePattern = "^[!\"%'-*,-.0->@-~]{1,128}$"

// badMethodName says why a name cannot be part of a method's topic, or nothing.
func badMethodName(name string) string {
	bad := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/+#?&$`, r) }
	if name == "" || len(name) > 128 || strings.ContainsFunc(name, bad) {
		return "a method's name has 1 to 128 ASCII characters without blank and / + # ? & $"
	}
	return ""
}

func (d *decoder) method(n *node, path string) Method {
	m := Method{Status: 200, FailureStatus: 500, Latency: Latency{Kind: Constant}}
	if n.isNull() { // `lockDoor:` alone asks for the defaults
		return m
	}
	d.object(n, path,
		optional("status", d.integer(&m.Status, 100, 999)),
		optional("response", d.json(&m.Response)),
		optional("latency", d.latency(&m.Latency)),
		optional("failureRate", d.number(&m.FailureRate, 0, 1)),
		optional("failureStatus", d.integer(&m.FailureStatus, 100, 999)),
		optional("silenceRate", d.number(&m.SilenceRate, 0, 1)),
		optional("then", func(n *node, path string) {
			d.object(n, path, required("disconnect", d.duration(&m.Then.Disconnect, time.Millisecond, time.Hour)))
		}),
	)
	n.schema.orNull()
	if sum := m.FailureRate + m.SilenceRate; sum > 1 {
		d.failPath(path, "failureRate and silenceRate together must not be above 1")
	}
	return m
}

// maxLatency is longer than any method's response timeout.
const maxLatency = 10 * time.Minute

// latency decodes a duration or one named distribution.
func (d *decoder) latency(dst *Latency) decode {
	constant := d.duration(&dst.Median, 0, maxLatency)
	shaped := func(n *node, path string) {
		d.object(n, path,
			optional("constant", constant),
			optional("lognormal", d.logNormal(dst)),
		)
		if n.kind == yaml.MappingNode && len(d.present(path, "constant", "lognormal")) != 1 {
			d.fail(n, path, `expected a duration, or one of "constant" or "lognormal"`)
		}
	}
	return func(n *node, path string) {
		switch {
		case n.schema.isEither(path, constant, shaped):
		case n.kind == yaml.ScalarNode:
			constant(n, path)
		default:
			shaped(n, path)
		}
	}
}

func (d *decoder) logNormal(dst *Latency) decode {
	return func(n *node, path string) {
		dst.Kind = LogNormal
		d.object(n, path,
			required("median", d.duration(&dst.Median, time.Microsecond, maxLatency)),
			required("sigma", d.number(&dst.Sigma, 0, 5)),
		)
	}
}

// drive puts all groups on one driver.
func (d *decoder) drive(groups []Group, driver Driver) {
	if !slices.Contains(Drivers(), driver) {
		d.errs = append(d.errs, &Error{File: fmt.Sprintf("--driver %s", driver), Msg: "unknown driver; want paho or lean"})
		return
	}
	for i := range groups {
		groups[i].Driver = driver
		delete(d.masked, member(index("fleet", i), "driver"))
	}
}

// scale changes the groups' sizes in proportion so that they sum up to total,
// each at least one: the shares are rounded down, and what is left goes to the
// groups that lost most by that.
func (d *decoder) scale(groups []Group, total int) {
	sum := 0
	for i := range groups {
		sum += groups[i].Devices
	}
	switch {
	case total < len(groups) || total > MaxDevices:
		msg := fmt.Sprintf("must be %d (the number of groups) to %d", len(groups), MaxDevices)
		d.errs = append(d.errs, &Error{File: fmt.Sprintf("--devices %d", total), Msg: msg})
		return
	case sum == 0:
		return
	}
	lost := make([]float64, len(groups))
	left := total
	for i := range groups {
		share := float64(groups[i].Devices) / float64(sum) * float64(total)
		groups[i].Devices = max(1, int(math.Floor(share)))
		lost[i] = share - float64(groups[i].Devices)
		left -= groups[i].Devices
		delete(d.masked, member(index("fleet", i), "devices"))
	}
	for ; left > 0; left-- {
		i := most(lost)
		groups[i].Devices++
		lost[i]--
	}
	for ; left < 0; left++ { // small groups were rounded up to one
		i := largest(groups)
		groups[i].Devices--
	}
}

func most(of []float64) int {
	best := 0
	for i, v := range of {
		if v > of[best] {
			best = i
		}
	}
	return best
}

func largest(groups []Group) int {
	best := 0
	for i := range groups {
		if groups[i].Devices > groups[best].Devices {
			best = i
		}
	}
	return best
}

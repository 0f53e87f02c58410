package scenarios

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Resolved returns the scenario as YAML with every default filled in. It loads
// again as the same scenario. Where a value holds some of the environment, the
// ${NAME} of the file stands there, never the value.
func (s *Scenario) Resolved() ([]byte, error) {
	p := printer{s.masked}
	out, err := yaml.Dump(p.scenario(s), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("print scenario %s: %w", s.Name, err)
	}
	return out, nil
}

// printer makes YAML of a scenario, each part at its path.
type printer struct {
	masked map[string]masked
}

// mapping collects the keys of one mapping in order.
type mapping struct {
	p    printer
	path string
	node *yaml.Node
}

func (p printer) mapping(path string) *mapping {
	return &mapping{p, path, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}}
}

// put adds a key with its value.
func (m *mapping) put(key string, value *yaml.Node) *mapping {
	m.node.Content = append(m.node.Content, text(key), value)
	return m
}

// scalar adds a key with a scalar: the value, or what the file wrote for it.
func (m *mapping) scalar(key string, value *yaml.Node) *mapping {
	return m.put(key, m.p.scalar(member(m.path, key), value))
}

func (m *mapping) text(key, value string) *mapping {
	return m.scalar(key, text(strings.ReplaceAll(value, "${", "$${")))
}

func (m *mapping) int(key string, v int) *mapping { return m.scalar(key, number(strconv.Itoa(v))) }

func (m *mapping) float(key string, v float64) *mapping {
	return m.scalar(key, number(strconv.FormatFloat(v, 'f', -1, 64)))
}

func (m *mapping) bool(key string, v bool) *mapping {
	return m.scalar(key, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)})
}

func (m *mapping) duration(key string, v time.Duration) *mapping { return m.text(key, v.String()) }

func (m *mapping) seconds(key string, v time.Duration) *mapping {
	return m.int(key, int(v/time.Second))
}

// rate adds a rate, or nothing for zero, which stands for its absence.
func (m *mapping) rate(key string, perSecond float64) *mapping {
	if perSecond == 0 {
		return m
	}
	return m.text(key, formatRate(perSecond))
}

// json adds a document, or nothing where there is none.
func (m *mapping) json(key string, doc json.RawMessage) *mapping {
	if doc == nil {
		return m
	}
	return m.put(key, m.p.json(member(m.path, key), doc))
}

// scalar returns the value, or what the file wrote at its path.
func (p printer) scalar(path string, value *yaml.Node) *yaml.Node {
	m, ok := p.masked[path]
	switch {
	case !ok:
		return value
	case m.plain:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: m.text}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: m.text}
}

// hides reports whether the file's text is printed at a path, not the value.
func (p printer) hides(path string) bool {
	_, ok := p.masked[path]
	return ok
}

func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

func number(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: plainTag(s), Value: s}
}

// list makes a list of n items.
func list(n int, item func(i int) *yaml.Node) *yaml.Node {
	out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for i := range n {
		out.Content = append(out.Content, item(i))
	}
	return out
}

// json makes YAML of a JSON document; its keys stay sorted.
func (p printer) json(path string, doc json.RawMessage) *yaml.Node {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return text(string(doc))
	}
	return p.any(path, v)
}

func (p printer) any(path string, v any) *yaml.Node {
	switch v := v.(type) {
	case map[string]any:
		m := p.mapping(path)
		for _, key := range slices.Sorted(maps.Keys(v)) {
			m.put(key, p.any(member(path, key), v[key]))
		}
		return m.node
	case []any:
		return list(len(v), func(i int) *yaml.Node { return p.any(index(path, i), v[i]) })
	case string:
		return p.scalar(path, text(strings.ReplaceAll(v, "${", "$${")))
	case json.Number:
		return p.scalar(path, number(v.String()))
	case bool:
		return p.scalar(path, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)})
	}
	return p.scalar(path, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"})
}

func (p printer) scenario(s *Scenario) *yaml.Node {
	m := p.mapping("")
	m.text("name", s.Name)
	m.scalar("seed", number(strconv.FormatUint(s.Seed, 10)))
	m.put("target", p.target(s.Target))
	m.put("fleet", list(len(s.Fleet), func(i int) *yaml.Node { return p.group(&s.Fleet[i], index("fleet", i)) }))
	m.put("connect", p.connect(&s.Connect))
	m.put("jobs", list(len(s.Jobs), func(i int) *yaml.Node { return p.job(&s.Jobs[i], index("jobs", i)) }))
	if len(s.Faults) > 0 {
		m.put("faults", list(len(s.Faults), func(i int) *yaml.Node { return p.fault(&s.Faults[i], index("faults", i)) }))
	}
	m.put("thresholds", list(len(s.Thresholds), func(i int) *yaml.Node { return p.threshold(&s.Thresholds[i], index("thresholds", i)) }))
	return m.node
}

// threshold makes a text of one that asks for nothing but to hold.
func (p printer) threshold(t *Threshold, path string) *yaml.Node {
	if !t.AbortOnFail {
		return p.scalar(path, text(strings.ReplaceAll(t.Text, "${", "$${")))
	}
	return p.mapping(path).text("expression", t.Text).bool("abortOnFail", true).duration("grace", t.Grace).node
}

func (p printer) target(t Target) *yaml.Node {
	m := p.mapping("target")
	if e := t.Embedded; e != nil {
		below := p.mapping("target.embedded").text("transport", string(e.Transport)).rate("jobRate", e.JobRate)
		if e.Tier != "" {
			below.text("tier", string(e.Tier)).int("units", e.Units)
		}
		m.put("embedded", below.node)
	}
	if h := t.IoTHub; h != nil {
		m.put("iothub", p.iothub(h))
	}
	return m.node
}

func (p printer) iothub(h *IoTHub) *yaml.Node {
	m := p.mapping("target.iothub").text("connectionString", h.ConnectionString.String()).text("transport", string(h.Transport))
	for _, v := range []struct{ key, value string }{{"ca", h.CA}, {"gateway", h.Gateway}, {"url", h.URL}} {
		if v.value != "" {
			m.text(v.key, v.value)
		}
	}
	m.int("webSocketPort", h.WebSocketPort)
	if h.Tier != "" {
		m.text("tier", string(h.Tier)).int("units", h.Units)
	}
	return m.bool("allowForeignDevices", h.AllowForeignDevices).node
}

func (p printer) connect(c *Connect) *yaml.Node {
	m := p.mapping("connect").rate("rate", c.Rate).int("inFlight", c.InFlight)
	m.duration("timeout", c.Timeout).duration("keepAlive", c.KeepAlive)
	backoff := p.mapping("connect.backoff").duration("base", c.Backoff.Base).duration("cap", c.Backoff.Cap)
	m.put("backoff", backoff.node)
	if len(c.SourceAddresses) > 0 {
		m.put("sourceAddresses", p.sources(c.SourceAddresses))
	}
	return m.node
}

func (p printer) group(g *Group, path string) *yaml.Node {
	m := p.mapping(path).text("group", g.Name).int("devices", g.Devices).text("id", g.ID.Source)
	m.json("tags", g.Tags.Source).json("desired", g.Desired.Source).json("reported", g.Reported.Source)
	if len(g.Methods) > 0 {
		methods := p.mapping(member(path, "methods"))
		for _, name := range slices.Sorted(maps.Keys(g.Methods)) {
			methods.put(name, p.method(g.Methods[name], member(methods.path, name)))
		}
		m.put("methods", methods.node)
	}
	return m.bool("echoDesired", g.EchoDesired).text("driver", string(g.Driver)).node
}

func (p printer) method(v Method, path string) *yaml.Node {
	m := p.mapping(path).int("status", v.Status).json("response", v.Response)
	if v.Latency.Kind == LogNormal {
		at := member(path, "latency")
		shape := p.mapping(member(at, "lognormal")).duration("median", v.Latency.Median).float("sigma", v.Latency.Sigma)
		m.put("latency", p.mapping(at).put("lognormal", shape.node).node)
	} else if constant := p.mapping(member(path, "latency")); p.hides(member(constant.path, "constant")) {
		m.put("latency", constant.duration("constant", v.Latency.Median).node)
	} else {
		m.duration("latency", v.Latency.Median)
	}
	m.float("failureRate", v.FailureRate).int("failureStatus", v.FailureStatus).float("silenceRate", v.SilenceRate)
	if v.Then.Disconnect > 0 {
		m.put("then", p.mapping(member(path, "then")).duration("disconnect", v.Then.Disconnect).node)
	}
	return m.node
}

func (p printer) job(j *Job, path string) *yaml.Node {
	m := p.mapping(path).text("name", j.Name).text("type", string(j.Type))
	if c := j.CloudToDeviceMethod; c != nil {
		below := p.mapping(member(path, "cloudToDeviceMethod")).text("methodName", c.MethodName).json("payload", c.Payload)
		below.seconds("responseTimeoutInSeconds", c.ResponseTimeout).seconds("connectTimeoutInSeconds", c.ConnectTimeout)
		m.put("cloudToDeviceMethod", below.node)
	}
	if u := j.UpdateTwin; u != nil {
		m.put("updateTwin", p.updateTwin(u, member(path, "updateTwin")))
	}
	if j.DeviceID != "" {
		m.text("deviceId", j.DeviceID)
	} else {
		m.text("queryCondition", j.QueryCondition)
	}
	m.text("startTime", start(j))
	p.repeat(m, j)
	m.seconds("maxExecutionTimeInSeconds", j.MaxExecution).text("via", string(j.Via))
	if j.Via == Direct {
		m.rate("rate", j.Rate).int("inFlight", j.InFlight)
	} else {
		m.duration("settle", j.Settle)
	}
	return m.bool("mark", j.Mark).node
}

func (p printer) updateTwin(u *UpdateTwin, path string) *yaml.Node {
	m := p.mapping(path).text("etag", "*").json("tags", u.Tags)
	if u.Desired != nil {
		m.put("properties", p.mapping(member(path, "properties")).json("desired", u.Desired).node)
	}
	return m.node
}

// repeat adds the repetition. A single one needs no interval.
func (p printer) repeat(m *mapping, j *Job) {
	below := p.mapping(member(m.path, "repeat")).int("times", j.Times)
	if j.Every > 0 {
		below.duration("every", j.Every)
	}
	m.put("repeat", below.node)
}

func start(j *Job) string {
	if !j.At.IsZero() {
		return j.At.Format(time.RFC3339Nano)
	}
	return "+" + j.After.String()
}

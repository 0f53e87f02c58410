package scenarios

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"muster/internal/quota"
)

// The transports to an IoT hub, both over TLS.
const (
	Auto      Transport = "auto"      // mqtt, or websocket where that cannot be reached
	MQTT      Transport = "mqtt"      // MQTT over TLS, port 8883
	WebSocket Transport = "websocket" // MQTT over a WebSocket, port 443
)

// IoTHub says how a hub is reached that is not muster's own.
type IoTHub struct {
	ConnectionString Secret    // of a service; default ${IOTHUB_CONNECTION_STRING}
	Transport        Transport // of the devices; default auto
	CA               string    // PEM file of the authorities to trust; "", the default, is the system's
	Gateway          string    // HOST[:PORT] that devices connect to; default the hub's host name, port 8883
	WebSocketPort    int       // at that host; default 443
	URL              string    // of the REST side; default https:// and the hub's host name

	Tier  quota.Tier // of the hub, by which muster paces what it does; "", the default, is not known
	Units int        // of the tier, at least 1, the default; 0 without a tier

	// AllowForeignDevices lets jobs reach devices that are not of the fleet.
	AllowForeignDevices bool
}

// connectionVariable is where a connection string comes from by default.
const connectionVariable = "IOTHUB_CONNECTION_STRING"

const (
	hubKeepAlive = 180 * time.Second // below the four minutes after which clouds forget an idle connection
	hubConnects  = 100.0             // a second, which a hub of any tier takes
)

// MarkTag is the tag of a twin by which muster knows its own devices on a hub
// that is not its own. No scenario may set it there.
const MarkTag = "muster"

// Secret is a text that no output shows. Reveal gives it away.
type Secret string

// Reveal returns the text.
func (s Secret) Reveal() string { return string(s) }

// String masks the text. An empty secret is the empty string.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// Format masks the text whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) } // a fmt.State does not fail

// MarshalText masks the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// iothub decodes the target in place of the embedded hub.
func (d *decoder) iothub(dst *Target) decode {
	return func(n *node, path string) {
		h := &IoTHub{Transport: Auto, WebSocketPort: 443}
		dst.IoTHub, dst.Embedded = h, nil
		if !n.isNull() { // `iothub:` alone asks for the defaults
			d.object(n, path,
				optional("connectionString", d.connectionString(&h.ConnectionString)),
				optional("transport", choice(d, &h.Transport, "transport", Auto, MQTT, WebSocket)),
				optional("ca", d.text(&h.CA)),
				optional("gateway", d.hostPort(&h.Gateway)),
				optional("webSocketPort", d.integer(&h.WebSocketPort, 1, 65535)),
				optional("url", d.serviceURL(&h.URL)),
				optional("tier", choice(d, &h.Tier, "tier", quota.F1, quota.S1, quota.S2, quota.S3)),
				optional("units", d.integer(&h.Units, 1, math.MaxInt32)),
				optional("allowForeignDevices", d.boolean(&h.AllowForeignDevices)),
			)
			n.schema.orNull()
			d.checkUnits(n, path, h.Tier, &h.Units)
		}
		if below := member(path, "connectionString"); d.keys[below] == nil {
			d.defaultConnection(n, below, &h.ConnectionString)
		}
	}
}

// defaultConnection reads the connection string that the file leaves out, as
// if it stood there.
func (d *decoder) defaultConnection(n *node, path string, dst *Secret) {
	if text, _ := d.getenv(connectionVariable); text == "" {
		d.fail(n, path, "is missing: set environment variable %s to the hub's service connection string", connectionVariable)
		return
	}
	given := &node{kind: yaml.ScalarNode, value: "${" + connectionVariable + "}", line: n.line, column: n.column, set: n.set}
	d.substituteScalar(given, path)
	d.connectionString(dst)(given, path)
}

// connectionString decodes a service connection string, which must come from
// the environment: files are shared, keys are not.
func (d *decoder) connectionString(dst *Secret) decode {
	return func(n *node, path string) {
		var s string
		d.text(&s)(n, path)
		n.schema.isVariable()
		if s == "" {
			return
		}
		fields, msg := serviceFields(s)
		d.addSecret(fields["SharedAccessKey"])
		switch key := fields["SharedAccessKey"]; {
		case n.written == "", key != "" && strings.Contains(n.written, key):
			d.fail(n, path, "holds a key, which a file must not: take it from the environment, as in ${%s}", connectionVariable)
		case msg != "":
			d.fail(n, path, "is not a service connection string: %s", msg)
		default:
			*dst = Secret(strings.TrimSpace(s))
		}
	}
}

// serviceFields returns the fields of a service connection string, and what
// is wrong with it, which quotes no value.
func serviceFields(s string) (fields map[string]string, msg string) {
	fields = map[string]string{}
	for segment := range strings.SplitSeq(strings.TrimSpace(s), ";") {
		name, value, ok := strings.Cut(segment, "=")
		if !ok && segment != "" {
			return fields, "a part of it is not NAME=VALUE"
		}
		fields[name] = value
	}
	for _, name := range []string{"HostName", "SharedAccessKeyName", "SharedAccessKey"} {
		if fields[name] == "" {
			return fields, name + " is missing"
		}
	}
	_, bad := base64.StdEncoding.DecodeString(fields["SharedAccessKey"])
	switch {
	case fields["DeviceId"] != "":
		return fields, "it is a device's, with a DeviceId"
	case !validHost(fields["HostName"]):
		return fields, "HostName is not a host name"
	case bad != nil:
		return fields, "SharedAccessKey is not base64"
	}
	return fields, ""
}

func validHost(host string) bool {
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/\?#@%"<>`, r) }
	return host != "" && !strings.ContainsFunc(host, bad)
}

// hostPort decodes a host with or without a port.
func (d *decoder) hostPort(dst *string) decode {
	return func(n *node, path string) {
		var s string
		if d.text(&s)(n, path); s == "" {
			return
		}
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			host, port = strings.Trim(s, "[]"), "1"
		}
		if number, err := strconv.Atoi(port); err != nil || number < 1 || number > 65535 || !validHost(host) {
			d.fail(n, path, "expected HOST or HOST:PORT, found %s", describe(n))
			return
		}
		*dst = s
	}
}

// serviceURL decodes where a hub's REST side is. Without TLS its tokens could
// be read on the way, so that is for this host alone.
func (d *decoder) serviceURL(dst *string) decode {
	return func(n *node, path string) {
		var s string
		if d.text(&s)(n, path); s == "" {
			return
		}
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
			d.fail(n, path, "expected a URL such as https://HOST:PORT, found %s", describe(n))
		case u.Scheme == "http" && !loopback(u.Hostname()):
			d.fail(n, path, "must be https://: without TLS others could read the hub's tokens on their way")
		default:
			*dst = strings.TrimSuffix(s, "/")
		}
	}
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.IsLoopback()
}

// suitIoTHub fills in defaults that differ on an IoT hub, holds connects to
// what its tier takes, and keeps the tag free that marks muster's devices.
func (d *decoder) suitIoTHub(s *Scenario) {
	h := s.Target.IoTHub
	if h == nil {
		return
	}
	if d.keys["connect.keepAlive"] == nil {
		s.Connect.KeepAlive = hubKeepAlive
	}
	most := hubConnects
	if l, err := quota.For(h.Tier, h.Units); err == nil {
		most = min(l.Connects.Count, l.TwinReads.Count) // a device reads its twin when it has connected
	}
	switch {
	case d.keys["connect.rate"] == nil:
		s.Connect.Rate = most
	case h.Tier != "" && s.Connect.Rate > most:
		d.warn("connect.rate", "is held to %s, which is what a hub of tier %s takes", formatRate(most), h.Tier)
		s.Connect.Rate = most
		delete(d.masked, "connect.rate")
	}
	for i := range s.Fleet {
		var tags map[string]json.RawMessage
		if json.Unmarshal(s.Fleet[i].Tags.Source, &tags) == nil && tags[MarkTag] != nil {
			d.failPath(index("fleet", i)+".tags."+MarkTag, "is the tag by which muster knows its own devices on an IoT hub; use another name")
		}
	}
}

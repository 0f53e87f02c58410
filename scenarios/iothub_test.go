package scenarios_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"muster/scenarios"
)

const hubKey = "c2VjcmV0IG9mIHRoZSBodWI="

// hubEnvironment has connection strings, good and bad.
func hubEnvironment(name string) (string, bool) {
	value, ok := map[string]string{
		"IOTHUB_CONNECTION_STRING": "HostName=myhub.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=" + hubKey,
		"DEVICE":                   "HostName=myhub;DeviceId=d;SharedAccessKeyName=p;SharedAccessKey=" + hubKey,
		"NOKEY":                    "HostName=myhub;SharedAccessKeyName=iothubowner",
		"BADKEY":                   "HostName=myhub;SharedAccessKeyName=p;SharedAccessKey=!!!!!",
		"BADHOST":                  "HostName=my hub;SharedAccessKeyName=p;SharedAccessKey=" + hubKey,
		"NONSENSE":                 "nonsense",
		"KEY":                      hubKey,
		"TIER":                     "S2",
	}[name]
	return value, ok
}

func parseHub(src string, set ...string) (*scenarios.Scenario, error) {
	return scenarios.Parse("s.yaml", []byte(src), scenarios.Options{Getenv: hubEnvironment, Set: set})
}

// TestIoTHubRefuses holds one fault of the target on each line.
func TestIoTHubRefuses(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{top("target: {iothub: {connectionString: 5}}"), "s.yaml:3:37: target.iothub.connectionString: expected a text, found the number 5"},
		{top("target: {iothub: {connectionString: \"${NONE}\"}}"), "s.yaml:3:38: target.iothub.connectionString: environment variable NONE is not set"},
		{top("target: {iothub: {connectionString: \"${DEVICE}\"}}"), "s.yaml:3:37: target.iothub.connectionString: is not a service connection string: it is a device's, with a DeviceId"},
		{top("target: {iothub: {connectionString: \"${NOKEY}\"}}"), "s.yaml:3:37: target.iothub.connectionString: is not a service connection string: SharedAccessKey is missing"},
		{top("target: {iothub: {connectionString: \"${BADKEY}\"}}"), "s.yaml:3:37: target.iothub.connectionString: is not a service connection string: SharedAccessKey is not base64"},
		{top("target: {iothub: {connectionString: \"${BADHOST}\"}}"), "s.yaml:3:37: target.iothub.connectionString: is not a service connection string: HostName is not a host name"},
		{top("target: {iothub: {connectionString: \"${NONSENSE}\"}}"), "s.yaml:3:37: target.iothub.connectionString: is not a service connection string: a part of it is not NAME=VALUE"},
		{
			top("target: {iothub: {connectionString: \"HostName=h;SharedAccessKeyName=${TIER};SharedAccessKey=c2VjcmV0\"}}"),
			"s.yaml:3:37: target.iothub.connectionString: holds a key, which a file must not: take it from the environment, as in ${IOTHUB_CONNECTION_STRING}",
		},
		{top("target: {iothub: {transport: tcp}}"), `s.yaml:3:30: target.iothub.transport: unknown transport "tcp"; expected "auto", "mqtt" or "websocket"`},
		{top("target: {iothub: {gateway: 'https://edge'}}"), `s.yaml:3:28: target.iothub.gateway: expected HOST or HOST:PORT, found "https://edge"`},
		{top("target: {iothub: {gateway: 'edge:70000'}}"), `s.yaml:3:28: target.iothub.gateway: expected HOST or HOST:PORT, found "edge:70000"`},
		{top("target: {iothub: {webSocketPort: 0}}"), "s.yaml:3:34: target.iothub.webSocketPort: must be 1 to 65535, is 0"},
		{top("target: {iothub: {url: edge}}"), `s.yaml:3:24: target.iothub.url: expected a URL such as https://HOST:PORT, found "edge"`},
		{top("target: {iothub: {url: 'http://edge:80'}}"), "s.yaml:3:24: target.iothub.url: must be https://: without TLS others could read the hub's tokens on their way"},
		{top("target: {iothub: {tier: B1}}"), `s.yaml:3:25: target.iothub.tier: unknown tier "B1"; did you mean "F1"?`},
		{top("target: {iothub: {units: 2}}"), "s.yaml:3:26: target.iothub.units: a hub has units of a tier; tier is missing"},
		{top("target: {iothub: {allowForeignDevice: true}}"), `s.yaml:3:19: target.iothub.allowForeignDevice: unknown key "allowForeignDevice"; did you mean "allowForeignDevices"?`},
		{top("target: {iothub: {}, embedded: {}}"), "s.yaml:3:9: target: a run has one target, found embedded and iothub"},
		{
			"name: t\ntarget: {iothub: {}}\nfleet: [{group: g, devices: 1, tags: {muster: 1}}]\n",
			"s.yaml:3:38: fleet[0].tags.muster: is the tag by which muster knows its own devices on an IoT hub; use another name",
		},
	} {
		if _, err := parseHub(c.src); fmt.Sprint(err) != c.want {
			t.Errorf("Parse(%q):\n got %v\nwant %s", c.src, err, c.want)
		} else if strings.Contains(detail(t, err), hubKey) {
			t.Errorf("Parse(%q) shows the key", c.src)
		}
	}
	none := func(string) (string, bool) { return "", false }
	_, err := scenarios.Parse("s.yaml", []byte(top("target: {iothub: {tier: S1}}")), scenarios.Options{Getenv: none})
	if want := "s.yaml:3:18: target.iothub.connectionString: is missing: set environment variable IOTHUB_CONNECTION_STRING to the hub's service connection string"; fmt.Sprint(err) != want {
		t.Errorf("Parse() without a connection string:\n got %v\nwant %s", err, want)
	}
}

// TestIoTHubPaces holds one tier on each line, with the rate of connects that
// comes of it.
func TestIoTHubPaces(t *testing.T) {
	for _, c := range []struct {
		src      string
		rate     float64
		alive    time.Duration
		warnings int // beside those of a scenario without jobs and thresholds
	}{
		{top("target:\n  iothub:"), 100, 3 * time.Minute, 0},
		{top("target: {iothub: {}}\nconnect: {rate: 700/s, keepAlive: 0s}"), 700, 0, 0},
		{top("target: {iothub: {tier: S1}}"), 100, 3 * time.Minute, 0},
		{top("connect: {rate: 700/s}\ntarget: {iothub: {tier: S1, units: 3}}"), 100, 3 * time.Minute, 1},
		{top("target: {iothub: {tier: \"${TIER}\", units: 20}}"), 200, 3 * time.Minute, 0},
		{top("target: {iothub: {tier: S3}}"), 500, 3 * time.Minute, 0},
		{top("target: {iothub: {tier: S3}}\nconnect: {rate: 7/s}"), 7, 3 * time.Minute, 0},
	} {
		s, err := parseHub(c.src)
		if err != nil {
			t.Fatalf("Parse(%q) = %v", c.src, err)
		}
		if s.Connect.Rate != c.rate || s.Connect.KeepAlive != c.alive || len(s.Warnings) != 2+c.warnings || s.Target.Embedded != nil {
			t.Errorf("Parse(%q): rate %v, keep-alive %v, warnings %q; want %v, %v, %d more than 2",
				c.src, s.Connect.Rate, s.Connect.KeepAlive, s.Warnings, c.rate, c.alive, c.warnings)
		}
	}
}

// TestIoTHubShowsNoSecret prints a scenario in every way, and loads it again.
func TestIoTHubShowsNoSecret(t *testing.T) {
	for src, want := range map[string]string{
		top("target: {iothub: {tier: S2, ca: ca.pem, gateway: \"edge:1\", url: \"https://edge:2\", allowForeignDevices: true}}"): `
target:
  iothub:
    connectionString: ${IOTHUB_CONNECTION_STRING}
    transport: auto
    ca: ca.pem
    gateway: edge:1
    url: https://edge:2
    webSocketPort: 443
    tier: S2
    units: 1
    allowForeignDevices: true
`,
		top("target: {iothub: {transport: mqtt, connectionString: \"HostName=h;SharedAccessKeyName=o;SharedAccessKey=${KEY}\"}}"): `
target:
  iothub:
    connectionString: "HostName=h;SharedAccessKeyName=o;SharedAccessKey=${KEY}"
    transport: mqtt
    webSocketPort: 443
    allowForeignDevices: false
`,
	} {
		s, err := parseHub(src)
		if err != nil {
			t.Fatalf("Parse(%q) = %v", src, err)
		}
		out, err := s.Resolved()
		if err != nil || !strings.Contains(string(out), want[1:]) {
			t.Errorf("Resolved() of %q = %v\n%s\nwant in it%s", src, err, out, want)
		}
		again, err := parseHub(string(out))
		if err != nil || again.Target.IoTHub.ConnectionString != s.Target.IoTHub.ConnectionString {
			t.Errorf("Parse(Resolved()) = %v; want the same connection string", err)
		}
		asJSON, err := json.Marshal(s.Target)
		if all := fmt.Sprintf("%v %+v %#v %q %s %s", s.Target.IoTHub, *s.Target.IoTHub, *s.Target.IoTHub, s.Target.IoTHub.ConnectionString, asJSON, out); err != nil || strings.Contains(all, hubKey) {
			t.Errorf("the key is shown (%v):\n%s", err, all)
		}
		if !strings.Contains(s.Target.IoTHub.ConnectionString.Reveal(), hubKey) {
			t.Errorf("Reveal() = %q, want the key in it", s.Target.IoTHub.ConnectionString.Reveal())
		}
	}
}

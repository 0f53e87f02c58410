package scenarios_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"muster/internal/expr"
	"muster/internal/query"
	"muster/internal/quota"
	"muster/internal/template"
	"muster/scenarios"
)

// comparable compares scenarios by what was written, where it was parsed.
var comparable = cmp.Options{
	cmpopts.EquateComparable(netip.Addr{}),
	cmpopts.IgnoreUnexported(scenarios.Scenario{}),
	cmp.Transformer("template", func(t *template.Template) bool { return t != nil }),
	cmp.Transformer("tree", func(t *template.Tree) bool { return t != nil }),
	cmp.Transformer("condition", func(c *query.Condition) bool { return c != nil }),
	cmp.Transformer("threshold", func(t *expr.Threshold) bool { return t != nil }),
	cmp.Transformer("json", func(doc json.RawMessage) string { return string(doc) }),
}

// full uses every key of the schema.
const full = `
name: full
seed: 42
target: {embedded: {transport: memory, jobRate: 240/m, tier: S2, units: 3}}
fleet:
- group: doors
  devices: 3
  id: "door-{index:05d}"
  tags: {site: north, building: "{index % 50}"}
  desired: {interval: 60}
  reported: {fw: "1.0", locked: false}
  methods:
    lockDoor: {status: 200, response: {Response: done}, latency: 2ms}
    slow: {status: 201, latency: {lognormal: {median: 20ms, sigma: 0.5}}, failureRate: 0.25, failureStatus: 503, silenceRate: 0.5, then: {disconnect: 3s}}
    same: {latency: {constant: 3ms}}
    bare:
  echoDesired: false
  driver: lean
connect: {rate: 100/m, inFlight: 5, timeout: 3s, keepAlive: 60s, backoff: {base: 100ms, cap: 5s}, sourceAddresses: [127.0.0.2, 127.0.0.3]}
jobs:
- name: lock
  type: scheduleDeviceMethod
  cloudToDeviceMethod: {methodName: lockDoor, payload: {b: [1, 0x10, 1.50, null, true], a: x}, responseTimeoutInSeconds: 60, connectTimeoutInSeconds: 7}
  queryCondition: "tags.site = 'north'"
  startTime: +5s
  repeat: {times: 5, every: 4s}
  maxExecutionTimeInSeconds: 90
  via: direct
  rate: 9/s
  inFlight: 3
  mark: true
- name: place
  type: scheduleUpdateTwin
  updateTwin: {etag: "*", tags: {old: null}, properties: {desired: {floor: 3}}}
  queryCondition: "*"
  startTime: 2030-01-02T04:04:05.5+01:00
  settle: 5s
- name: one
  type: scheduleUpdateTwin
  updateTwin: {tags: {a: 1}}
  deviceId: door-00001
  via: direct
thresholds: ["jobs.lock.total.p99 < 2s", fleet.connect.p99 < 5s]
`

func TestParseReadsEveryKey(t *testing.T) {
	got := mustParse(t, full, scenarios.Options{})
	tree, parsed := &template.Tree{}, &template.Template{}
	condition, threshold := &query.Condition{}, &expr.Threshold{}
	want := &scenarios.Scenario{
		Name: "full", Seed: 42,
		Target: scenarios.Target{Embedded: &scenarios.Embedded{Transport: scenarios.Memory, JobRate: 4, Tier: quota.S2, Units: 3}},
		Fleet: []scenarios.Group{{
			Name: "doors", Devices: 3, ID: scenarios.Text{Source: "door-{index:05d}", Template: parsed},
			Tags:     scenarios.Document{Source: json.RawMessage(`{"building":"{index % 50}","site":"north"}`), Tree: tree},
			Desired:  scenarios.Document{Source: json.RawMessage(`{"interval":60}`), Tree: tree},
			Reported: scenarios.Document{Source: json.RawMessage(`{"fw":"1.0","locked":false}`), Tree: tree},
			Driver:   scenarios.Lean,
			Methods: map[string]scenarios.Method{
				"lockDoor": {Status: 200, Response: json.RawMessage(`{"Response":"done"}`), Latency: scenarios.Latency{Kind: scenarios.Constant, Median: 2 * time.Millisecond}, FailureStatus: 500},
				"slow":     {Status: 201, Latency: scenarios.Latency{Kind: scenarios.LogNormal, Median: 20 * time.Millisecond, Sigma: 0.5}, FailureRate: 0.25, FailureStatus: 503, SilenceRate: 0.5, Then: scenarios.Then{Disconnect: 3 * time.Second}},
				"same":     {Status: 200, Latency: scenarios.Latency{Kind: scenarios.Constant, Median: 3 * time.Millisecond}, FailureStatus: 500},
				"bare":     {Status: 200, Latency: scenarios.Latency{Kind: scenarios.Constant}, FailureStatus: 500},
			},
		}},
		Connect: scenarios.Connect{
			Rate: 100.0 / 60, InFlight: 5, Timeout: 3 * time.Second, KeepAlive: time.Minute, Backoff: scenarios.Backoff{Base: 100 * time.Millisecond, Cap: 5 * time.Second},
			SourceAddresses: []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")},
		},
		Jobs: []scenarios.Job{
			{
				Name: "lock", Type: scenarios.ScheduleDeviceMethod,
				CloudToDeviceMethod: &scenarios.CloudToDeviceMethod{
					MethodName: "lockDoor", Payload: json.RawMessage(`{"a":"x","b":[1,16,1.5,null,true]}`), ResponseTimeout: time.Minute, ConnectTimeout: 7 * time.Second,
				},
				QueryCondition: "tags.site = 'north'", Condition: condition, After: 5 * time.Second, Times: 5, Every: 4 * time.Second,
				MaxExecution: 90 * time.Second, Via: scenarios.Direct, Rate: 9, InFlight: 3, Mark: true,
			},
			{
				Name: "place", Type: scenarios.ScheduleUpdateTwin,
				UpdateTwin:     &scenarios.UpdateTwin{Tags: json.RawMessage(`{"old":null}`), Desired: json.RawMessage(`{"floor":3}`)},
				QueryCondition: "*", Condition: condition, At: time.Date(2030, 1, 2, 3, 4, 5, 5e8, time.UTC), Times: 1,
				MaxExecution: 300 * time.Second, Via: scenarios.Hub, Settle: 5 * time.Second,
			},
			{
				Name: "one", Type: scenarios.ScheduleUpdateTwin, UpdateTwin: &scenarios.UpdateTwin{Tags: json.RawMessage(`{"a":1}`)},
				DeviceID: "door-00001", Times: 1, MaxExecution: 300 * time.Second, Via: scenarios.Direct, InFlight: 100,
			},
		},
		Thresholds: []scenarios.Threshold{{Text: "jobs.lock.total.p99 < 2s", Expr: threshold}, {Text: "fleet.connect.p99 < 5s", Expr: threshold}},
	}
	if diff := cmp.Diff(want, got, comparable); diff != "" {
		t.Errorf("Parse(full): -want +got\n%s", diff)
	}
}

func TestParseFillsInDefaults(t *testing.T) {
	got := mustParse(t, "name: t\nfleet: [{group: g, devices: 2}]\n", scenarios.Options{})
	want := &scenarios.Scenario{
		Name: "t", Seed: 1,
		Target:  scenarios.Target{Embedded: &scenarios.Embedded{Transport: scenarios.TCP}},
		Fleet:   []scenarios.Group{{Name: "g", Devices: 2, ID: scenarios.Text{Source: "{group}-{index:05d}", Template: &template.Template{}}, EchoDesired: true, Driver: scenarios.Paho}},
		Connect: scenarios.Connect{Rate: 1000, InFlight: 500, Timeout: 30 * time.Second, Backoff: scenarios.Backoff{Base: time.Second, Cap: time.Minute}},
		Warnings: []string{
			"s.yaml:1:1: jobs: the scenario has no jobs: it only connects its fleet",
			"s.yaml:1:1: thresholds: the scenario has no thresholds: nothing is asked of its latencies",
		},
	}
	if diff := cmp.Diff(want, got, comparable); diff != "" {
		t.Errorf("Parse: -want +got\n%s", diff)
	}
}

func TestParseEvaluatesTemplatesPerDevice(t *testing.T) {
	s := mustParse(t, full, scenarios.Options{})
	g := s.Fleet[0]
	vars := template.Vars{Index: 2, Group: g.Name, Seed: s.Seed}
	if got, want := g.ID.Template.Text(vars), "door-00002"; got != want {
		t.Errorf("id of device 2 = %q, want %q", got, want)
	}
	if got, want := string(g.Tags.Tree.AppendJSON(nil, vars)), `{"building":2,"site":"north"}`; got != want {
		t.Errorf("tags of device 2 = %s, want %s", got, want)
	}
}

// TestParseWarnsOfWhatIsDoubtful holds one doubt on each line.
func TestParseWarnsOfWhatIsDoubtful(t *testing.T) {
	const asked = "\nthresholds: ['fleet.connected == 100%']"
	warns := func(src, want string) {
		t.Helper()
		got := strings.Join(mustParse(t, src, scenarios.Options{}).Warnings, "\n")
		if got != want {
			t.Errorf("warnings of %q:\n got %s\nwant %s", src, got, want)
		}
	}
	warns(top(doors+asked), "")
	warns(top(doors), "s.yaml:1:1: thresholds: the scenario has no thresholds: nothing is asked of its latencies")
	warns(top(asked), "s.yaml:1:1: jobs: the scenario has no jobs: it only connects its fleet")
	warns(top("jobs:\n- "+lock("a", "maxExecutionTimeInSeconds: 20")+asked), "s.yaml:4:149: jobs[0].maxExecutionTimeInSeconds: is shorter than the method's timeouts together: a slow device is cut off")
	warns(top("jobs:\n- "+lock("a", "repeat: {times: 2, every: 10ms}")+asked), "s.yaml:4:148: jobs[0].repeat.every: is under a second: a repetition waits for the rows of the one before it unless the job has mark: true")
}

// TestJobsThatCanBeToldApart holds one pair of jobs on each line, none of them
// a fault.
func TestJobsThatCanBeToldApart(t *testing.T) {
	pair := func(a, b string) {
		t.Helper()
		mustParse(t, top("jobs:\n- "+a+"\n- "+b), scenarios.Options{})
	}
	pair(lock("a", ""), lock("b", "mark: true"))
	pair(lock("a", ""), lock("b", "startTime: +1h"))
	pair(lock("a", ""), lock("b", "startTime: +430s"))
	pair(lock("a", "startTime: 2030-01-01T00:00:00Z"), lock("b", "startTime: 2030-01-01T00:08:00Z"))
	pair(lock("a", "maxExecutionTimeInSeconds: 30, settle: 1s"), lock("b", "startTime: +42s"))
	pair(lock("a", "repeat: {times: 10, every: 1s}"), lock("b", "startTime: +72m"))
	pair(place("a", "{x: 1}"), place("b", "{x: 2}"))
	pair(place("a", "{x: 1}"), lock("b", ""))
	pair(place("a", "{x: 1}"), tag("b"))
	pair(tag("a"), tag("b"))
}

// one is a method job on one device.
func one(name, device string) string {
	return "{name: " + name + ", type: scheduleDeviceMethod, cloudToDeviceMethod: {methodName: lock}, deviceId: " + device + ", via: direct}"
}

// tag is a job that changes tags, of which devices see nothing.
func tag(name string) string {
	return "{name: " + name + ", type: scheduleUpdateTwin, updateTwin: {tags: {x: 1}}, queryCondition: '*', mark: true}"
}

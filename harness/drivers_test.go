package harness_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"muster/fleet"
	"muster/harness"
	"muster/hub"
	"muster/internal/sample"
	"muster/iothub"
	"muster/report"
	"muster/scenarios"
)

// troubled are scenarios in which much goes wrong, all of it drawn from the
// seed or done by the hub on purpose.
var troubled = map[string]string{
	"failures and silences": `
name: trouble
seed: 11
fleet:
  - group: doors
    devices: 60
    tags: {site: "{pick('north', 'south')}"}
    desired: {mode: day}
    methods:
      lock:
        latency: {lognormal: {median: 20ms, sigma: 1}}
        failureRate: 0.2
        silenceRate: 0.1
connect: {rate: 500/s, keepAlive: 20s}
jobs:
  - {name: lock, type: scheduleDeviceMethod, cloudToDeviceMethod: {methodName: lock, payload: {n: 1}, responseTimeoutInSeconds: 5}, queryCondition: "*", startTime: +1s, repeat: {times: 3, every: 8s}, maxExecutionTimeInSeconds: 8}
  - {name: place, type: scheduleUpdateTwin, updateTwin: {properties: {desired: {mode: night}}, tags: {moved: true}}, queryCondition: "tags.site = 'north'", startTime: +2s}
  - {name: reporting, type: scheduleUpdateTwin, updateTwin: {tags: {seen: true}}, queryCondition: "properties.reported.mode = 'night'", startTime: +5s}
  - {name: unknown, type: scheduleDeviceMethod, cloudToDeviceMethod: {methodName: open, payload: 1}, queryCondition: "tags.site = 'south'", startTime: +26s, via: direct}
`,
	"reboots": `
name: trouble
seed: 12
fleet:
  - group: doors
    devices: 40
    methods:
      reboot: {latency: 5ms, then: {disconnect: 3s}}
connect: {rate: 500/s}
jobs:
  - {name: reboot, type: scheduleDeviceMethod, cloudToDeviceMethod: {methodName: reboot, payload: {}}, queryCondition: "*", startTime: +1s, repeat: {times: 2, every: 10s}}
  - {name: gone, type: scheduleUpdateTwin, updateTwin: {tags: {gone: true}}, queryCondition: "connectionState = 'Disconnected'", startTime: +2s}
  - {name: back, type: scheduleUpdateTwin, updateTwin: {tags: {back: true}}, queryCondition: "connectionState = 'Connected' AND tags.gone = true", startTime: +6s}
  - {name: away, type: scheduleUpdateTwin, updateTwin: {properties: {desired: {floor: 3}}}, queryCondition: "*", startTime: +7s}
`,
	"faults of the hub": `
name: trouble
seed: 13
fleet:
  - group: doors
    devices: 30
    id: "door-{index:02d}"
    methods: {lock: {latency: 2ms}, slow: {latency: 4s}}
  - group: lamps
    devices: 10
    id: "lamp-{index:02d}"
    methods: {dim: {}}
connect: {rate: 500/s, timeout: 10s, keepAlive: 30s, backoff: {base: 50ms, cap: 250ms}}
faults:
  - {kind: refuse, at: start, answer: unavailable, count: 5}
  - {kind: silent, at: +200ms, for: 5600ms, part: rest, operations: [methods], devicePrefix: lamp-}
  - {kind: drop, at: +3s, for: 1s, devicePrefix: door-}
  - {kind: restart, at: +9500ms, for: 700ms}
jobs:
  - {name: unheard, type: scheduleDeviceMethod, cloudToDeviceMethod: {methodName: dim, payload: {n: 2}, responseTimeoutInSeconds: 5}, queryCondition: "STARTSWITH(deviceId, 'lamp-')", startTime: +500ms, maxExecutionTimeInSeconds: 5, via: direct}
  - {name: cutoff, type: scheduleDeviceMethod, cloudToDeviceMethod: {methodName: lock, payload: {n: 4}, responseTimeoutInSeconds: 5}, queryCondition: "STARTSWITH(deviceId, 'door-')", startTime: +3500ms, via: direct}
  - {name: placed, type: scheduleUpdateTwin, updateTwin: {properties: {desired: {floor: 1}}}, queryCondition: "*", startTime: +5s}
  - {name: midway, type: scheduleDeviceMethod, cloudToDeviceMethod: {methodName: slow, payload: {n: 5}, responseTimeoutInSeconds: 10}, queryCondition: "STARTSWITH(deviceId, 'door-')", startTime: +9s, via: direct}
  - {name: after, type: scheduleDeviceMethod, cloudToDeviceMethod: {methodName: lock, payload: {n: 6}}, queryCondition: "STARTSWITH(deviceId, 'door-')", startTime: +12s}
`,
}

// came is what a run came to, but for times, which depend on how goroutines
// were scheduled.
type came struct {
	Executions []string // what the ledger booked, in order
	Targeted   []string // whom each repetition did, and whom it should have
	Failed     map[uint32]int
	Lost       map[uint32]int // connections of each device
	Unexpected int
	Devices    []string        // devices.csv without its latencies
	Twins      map[string]twin // by device
}

// twin is a twin without the times that a hub notes in it.
type twin struct {
	DeviceID   string
	Version    int64
	Tags       any
	Properties struct{ Desired, Reported map[string]any }
}

// comesTo runs a scenario and returns what it came to with the driver.
func comesTo(t *testing.T, src string, driver scenarios.Driver) came {
	return dividedComesTo(t, src, driver, 1)
}

// dividedComesTo is comesTo with so many generators. The hub is in memory for
// the fake clock's sake.
func dividedComesTo(t *testing.T, src string, driver scenarios.Driver, generators int) (c came) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := scenarios.Parse("test.yaml", []byte("target: {embedded: {}}\n"+src), scenarios.Options{Driver: driver})
		if err != nil {
			t.Fatal(err)
		}
		var dial fleet.DialFunc
		opts := harness.Options{Generators: generators, StartHub: harness.StartInMemory(func(_ *hub.Hub, running *harness.Hub) {
			stop := running.Stop
			running.Stop = func() error {
				c.Twins = twinsOf(t, running)
				return stop()
			}
			dial = running.Dial
		})}
		opts.StartGenerator = harness.GeneratorsInside(func(ctx context.Context) (net.Conn, error) { return dial(ctx) }, steady)
		got, dir, err := run(t.Context(), t, s, opts)
		if err != nil {
			t.Fatal(err)
		}
		c.add(t, records(t, dir))
		c.Devices = outcomesOf(t, dir)
		for _, j := range got.Jobs {
			if !j.LedgerBalanced || j.Targeted == 0 {
				t.Errorf("%s: job %s: balanced %v, %d targeted: %v", driver, j.Name, j.LedgerBalanced, j.Targeted, j.LedgerFaults)
			}
		}
		if of := groupsIn(t, dir)[0].Driver; got.Driver != string(driver) || of != string(driver) {
			t.Errorf("the summary names driver %s and run.json %s, want %s", got.Driver, of, driver)
		}
	})
	return c
}

func (c *came) add(t *testing.T, all []sample.Record) {
	c.Failed, c.Lost = map[uint32]int{}, map[uint32]int{}
	for _, r := range all {
		switch r := r.(type) {
		case *sample.Execution:
			if r.Final {
				ordered(t, r)
				c.Executions = append(c.Executions, fmt.Sprintf("job %d.%d device %05d: %v %d %s, received %v, %d attempts, %d duplicates",
					r.Job, r.Repetition, r.Device, r.Outcome, r.Status, r.Code, r.Received.Seen(), r.Attempts, r.Duplicates))
			}
		case *sample.Repetition:
			c.Targeted = append(c.Targeted, fmt.Sprintf("job %d.%d: %d targeted, checked %v: %d missing, %d extra", r.Job, r.Repetition, r.Targeted, r.Checked, r.Missing, r.Extra))
		case *sample.Connect:
			if r.Error != "" {
				c.Failed[r.Device]++
			}
		case *sample.Lost:
			c.Lost[r.Device]++
		case *sample.Unexpected:
			c.Unexpected++
		}
	}
	slices.Sort(c.Executions)
	slices.Sort(c.Targeted)
}

// ordered checks that no moment of an execution is before one that it follows.
func ordered(t *testing.T, e *sample.Execution) {
	t.Helper()
	last := sample.Moment(0)
	for _, m := range []sample.Moment{e.Due, e.Received, e.Answered, e.Finished} {
		if m.Seen() && m < last {
			t.Errorf("execution %+v: its moments are not in order", *e)
		}
		last = max(last, m)
	}
}

// outcomesOf returns the lines of devices.csv up to the outcome counts.
func outcomesOf(t *testing.T, dir string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "devices.csv"))
	if err != nil {
		t.Fatal(err)
	}
	var counts []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		counts = append(counts, strings.Join(fields[:min(len(fields), 10)], ","))
	}
	return counts
}

// twinsOf reads all twins of a hub.
func twinsOf(t *testing.T, h *harness.Hub) map[string]twin {
	t.Helper()
	client, err := iothub.NewClient(h.ConnectionString, &iothub.ClientOptions{BaseURL: h.BaseURL, Transport: h.Transport})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	twins := map[string]twin{}
	for row, err := range client.Query(t.Context(), "SELECT * FROM devices", 100) {
		var doc twin
		if err == nil {
			err = json.Unmarshal(row, &doc)
		}
		if err != nil {
			t.Fatal(err)
		}
		delete(doc.Properties.Desired, "$metadata")
		delete(doc.Properties.Reported, "$metadata")
		twins[doc.DeviceID] = doc
	}
	return twins
}

// groupsIn returns the groups of run.json.
func groupsIn(t *testing.T, dir string) []report.Group {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "run.json"))
	var r report.Run
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r.Groups
}

func TestEitherDriverGivesTheSameLedgerAndTwins(t *testing.T) {
	for name, src := range troubled {
		t.Run(name, func(t *testing.T) {
			withPaho, withLean := comesTo(t, src, scenarios.Paho), comesTo(t, src, scenarios.Lean)
			if len(withPaho.Executions) == 0 || len(withPaho.Twins) == 0 {
				t.Fatalf("%d executions, %d twins", len(withPaho.Executions), len(withPaho.Twins))
			}
			if diff := cmp.Diff(withPaho, withLean); diff != "" {
				t.Errorf("with paho (-) and lean (+):\n%s", diff)
			}
		})
	}
}

func TestGroupsMayHaveDriversOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := strings.Replace(doors, "connect:", "  - {group: lamps, devices: 10, driver: lean, methods: {lockDoor: {}}}\nconnect:", 1)
		got, dir, err := run(t.Context(), t, parse(t, src+methodJob, "jobs.lock.queryCondition=*"), harness.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if j := got.Jobs[0]; j.Succeeded != 150 || !j.LedgerBalanced {
			t.Errorf("%d of %d succeeded, balanced %v, want 150", j.Succeeded, j.Targeted, j.LedgerBalanced)
		}
		want := []report.Group{{Name: "doors", Devices: 40, Driver: "paho"}, {Name: "lamps", Devices: 10, Driver: "lean"}}
		if diff := cmp.Diff(want, groupsIn(t, dir)); diff != "" || got.Driver != "paho+lean" {
			t.Errorf("the summary names %q, want paho+lean; groups of run.json (-want +got):\n%s", got.Driver, diff)
		}
	})
}

package scenarios_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/scenarios"
)

// resolved prints a scenario, checks that the text loads as the same one, and
// returns the text.
func resolved(t *testing.T, s *scenarios.Scenario) string {
	t.Helper()
	out, err := s.Resolved()
	if err != nil {
		t.Fatalf("Resolved() = %v", err)
	}
	again := mustParse(t, string(out), scenarios.Options{})
	if diff := cmp.Diff(s, again, comparable, cmp.FilterPath(isWarnings, cmp.Ignore())); diff != "" {
		t.Fatalf("Parse(Resolved()): -first +again\n%s\n%s", diff, out)
	}
	twice, err := again.Resolved()
	if err != nil || string(twice) != string(out) {
		t.Fatalf("Resolved() of the second differs: %v\n%s", err, cmp.Diff(string(out), string(twice)))
	}
	return string(out)
}

// isWarnings reports a path of Scenario.Warnings, whose places move.
func isWarnings(p cmp.Path) bool { return p.String() == "Warnings" }

func TestResolvedLoadsAgainAsTheSame(t *testing.T) {
	for _, src := range []string{
		full,
		top(""),
		top(doors),
		top("connect: {rate: 0.1/s}\ntarget: {embedded: {jobRate: 7/h}}"),
		top("connect: {sourceAddresses: [127.0.0.2, 127.0.0.3]}"),
		top("target:\n  embedded:"),
		top("target: {embedded: {tier: F1}}"),
		fleet(`[{group: "a b", devices: 1, id: "x{index}", tags: {"a-b": "$${{NAME}} $ $$$$ $$$${{", n: "12", t: "true", e: "", d: "2030-01-01", z: "~", big: 1e300, deep: {l: [{a: 1}]}}}]`),
		method("queryCondition: '*'", `methodName: m, payload: "line\nline\ttab  "`),
		method("queryCondition: '*'", `methodName: m, payload: {"": 1, "a.b": [18446744073709551615, -1, 1e21, 0.1, "- x", "# y", "\u0007"]}`),
		method("queryCondition: '*'", `methodName: m, payload: null`),
		top("jobs:\n- " + one("a", "d1")),
		top("faults:\n- " + strings.Join(everyFault, "\n- ")),
	} {
		resolved(t, mustParse(t, src, scenarios.Options{}))
	}
}

func TestResolvedNamesEveryDefault(t *testing.T) {
	const want = `name: t
seed: 1
target:
  embedded:
    transport: tcp
fleet:
- group: g
  devices: 2
  id: '{group}-{index:05d}'
  echoDesired: true
  driver: paho
connect:
  rate: 1000/s
  inFlight: 500
  timeout: 30s
  keepAlive: 0s
  backoff:
    base: 1s
    cap: 1m0s
jobs:
- name: lock
  type: scheduleDeviceMethod
  cloudToDeviceMethod:
    methodName: lock
    payload:
      t: 10m
    responseTimeoutInSeconds: 30
    connectTimeoutInSeconds: 0
  queryCondition: '*'
  startTime: +0s
  repeat:
    times: 1
  maxExecutionTimeInSeconds: 300
  via: hub
  settle: 1m0s
  mark: false
thresholds: []
`
	if diff := cmp.Diff(want, resolved(t, mustParse(t, top(doors), scenarios.Options{}))); diff != "" {
		t.Errorf("Resolved(): -want +got\n%s", diff)
	}
}

// TestResolvedHidesTheEnvironment puts a value of the environment into every
// kind of place; none is printed, and the text loads again as the same.
func TestResolvedHidesTheEnvironment(t *testing.T) {
	const src = `
name: a
seed: ${N}
target: {embedded: {transport: tcp, jobRate: "${RATE}"}}
fleet:
- group: g
  devices: ${N}
  id: "x-{index}"
  tags: {a: "${SECRET}", b: ["${N}", 5]}
  methods: {m: {response: {x: "${SECRET}"}, latency: {constant: "${N}ms"}}, k: {latency: "${N}ms", status: 300}}
connect: {rate: "${RATE}", inFlight: 5, timeout: "${N}s", sourceAddresses: ["10.0.0.${N}", 10.0.0.3]}
jobs:
- name: j
  type: scheduleDeviceMethod
  cloudToDeviceMethod: {methodName: "m${SHORT}", payload: {n: 1, day: "${DAY}"}, responseTimeoutInSeconds: 60}
  queryCondition: tags.a = '${SECRET}'
  startTime: ${DAY}
  mark: true
thresholds:
- "jobs.j.total.p99 < 9s"
- {expression: "jobs.j{group=g}.rate > 5/s over every 10s", abortOnFail: true, grace: 3s}
`
	s := mustParse(t, src, scenarios.Options{})
	if s.Seed != 12 || s.Fleet[0].Devices != 12 || s.Jobs[0].QueryCondition != "tags.a = 'open sesame'" {
		t.Errorf("values of the environment are not in the scenario: %+v", s)
	}
	out := resolved(t, s)
	for _, secret := range []string{"open sesame", "xyz", "12", "2030", "7/s"} {
		if strings.Contains(out, secret) {
			t.Errorf("Resolved() shows %q of the environment:\n%s", secret, out)
		}
	}
}

func TestResolvedShowsNumbersThatOptionsGave(t *testing.T) {
	seed := uint64(77)
	s := mustParse(t, "name: t\nseed: ${N}\nfleet:\n- group: g\n  devices: ${N}\n", scenarios.Options{Devices: 5, Seed: &seed})
	out, err := s.Resolved()
	if err != nil || !strings.Contains(string(out), "seed: 77\n") || !strings.Contains(string(out), "devices: 5\n") {
		t.Errorf("Resolved() with options = %v\n%s", err, out)
	}
}

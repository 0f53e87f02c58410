package scenarios_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"muster/scenarios"
)

// environment is what ${NAME} stands for in these tests.
func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"SECRET": "open sesame", "SHORT": "xyz", "N": "12", "RATE": "7/s", "EMPTY": "", "DAY": "2030-01-01T00:00:00Z", "YES": "true", "BRACES": "{index}",
	}[name]
	return value, ok
}

// parse loads a scenario from text, in the environment of these tests.
func parse(src string, opts scenarios.Options) (*scenarios.Scenario, error) {
	opts.Getenv = environment
	return scenarios.Parse("s.yaml", []byte(src), opts)
}

// mustParse is parse for scenarios without faults.
func mustParse(t *testing.T, src string, opts scenarios.Options) *scenarios.Scenario {
	t.Helper()
	s, err := parse(src, opts)
	if err != nil {
		t.Fatalf("Parse(%q) = %v", src, err)
	}
	agree(t, src, opts, nil)
	return s
}

// detail returns the faults of an error with their snippets.
func detail(t *testing.T, err error) string {
	t.Helper()
	var faults scenarios.Errors
	if !errors.As(err, &faults) {
		t.Fatalf("error is a %T, want scenarios.Errors: %v", err, err)
	}
	return faults.Detail()
}

// top is a scenario of one group with more top-level keys from line 3 on.
func top(more string) string {
	return "name: t\nfleet: [{group: g, devices: 2}]\n" + more + "\n"
}

// fleet is a scenario with the fleet on line 2.
func fleet(groups string) string { return "name: t\nfleet: " + groups + "\n" }

// job is a scenario with one job on line 4.
func job(keys string) string { return top("jobs:\n- {name: j, " + keys + "}") }

// method is a scenario with one method job on line 4, with these keys besides
// its method, and these keys in its method.
func method(keys string, of ...string) string {
	if keys != "" {
		keys = ", " + keys
	}
	return job(fmt.Sprintf("type: scheduleDeviceMethod, cloudToDeviceMethod: {%s}%s", strings.Join(append(of, "methodName: m")[:1], ""), keys))
}

// lock is a method job that is like any other lock.
func lock(name, keys string) string {
	return "{name: " + name + ", type: scheduleDeviceMethod, cloudToDeviceMethod: {methodName: lock, payload: {t: 10m}}, queryCondition: '*', " + keys + "}"
}

// place is a job that changes desired properties.
func place(name, desired string) string {
	return "{name: " + name + ", type: scheduleUpdateTwin, updateTwin: {properties: {desired: " + desired + "}}, queryCondition: '*'}"
}

// doors is a list with the one job lock, on line 4.
var doors = "jobs:\n- " + lock("lock", "") + "\n"

// bomb is a short text of 10^9 values.
var bomb = "name: t\nfleet:\n- &a0 [x]\n" + func() string {
	var b strings.Builder
	for i := range 9 {
		fmt.Fprintf(&b, "- &a%d [%s]\n", i+1, strings.Repeat(fmt.Sprintf("*a%d,", i), 10))
	}
	return b.String()
}()

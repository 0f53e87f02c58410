package scenarios_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/scenarios"
)

// TestDetailShowsThePlace holds one kind of place in each case.
func TestDetailShowsThePlace(t *testing.T) {
	shows := func(src, want string, set ...string) {
		t.Helper()
		_, err := parse(src, scenarios.Options{Set: set})
		if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), detail(t, err)); diff != "" {
			t.Errorf("Parse(%.200q): -want +got\n%s", src, diff)
		}
	}
	shows("name: t\nflet: 1\n", `
s.yaml:1:1: fleet is missing
    1 | name: t
        ^
s.yaml:2:1: flet: unknown key "flet"; did you mean "fleet"?
    2 | flet: 1
        ^
`)
	shows(top("seed:\t\tx"), `
s.yaml:3:8: seed: expected a whole number, found "x"
    3 | seed:		x
             		^
`)
	shows("name: t\r\nseed: x\r\nfleet: [{group: g, devices: 1}]\r\n", `
s.yaml:2:7: seed: expected a whole number, found "x"
    2 | seed: x
              ^
`)
	shows("name: t\rseed: x\rfleet: [{group: g, devices: 1}]\r", `
s.yaml:2:7: seed: expected a whole number, found "x"
    2 | seed: x
              ^
`)
	shows(method("queryCondition: \"tags.ort = 'Köln' AND = 1\""), `
s.yaml:4:118: jobs[0].queryCondition: query: expected an attribute, a constant or (, found "="
    4 | …ryCondition: "tags.ort = 'Köln' AND = 1"}
                                             ^
`)
	shows(top("jobs:\n- name: j\n  type: scheduleDeviceMethod\n  cloudToDeviceMethod: {methodName: m}\n  queryCondition: |\n    tags.site = 'north' AND\n    tags.floor = = 3"), `
s.yaml:7:19: jobs[0].queryCondition: query: line 2, column 14: expected an attribute, a constant or (, found "="
    7 |   queryCondition: |
                          ^
        tags.floor = = 3
                     ^
`)
	shows(top("target: {iothub: {connectionString: \"HostName=h;SharedAccessKey=c2VjcmV0\"}}"), `
s.yaml:3:37: target.iothub.connectionString: holds a key, which a file must not: take it from the environment, as in ${IOTHUB_CONNECTION_STRING}
    3 | target: {iothub: {connectionString: "HostName=h;SharedAccessKey=********…
                                            ^
`)
	shows(top(""), `
--set connect.timeout: expected a duration such as 500ms, 30s or 1m30s, found "soon"
  --set connect.timeout=soon
                        ^
`, "connect.timeout=soon")
	shows(top(""), `
--set "": expected path=value, as in jobs[0].repeat.times=2 or fleet.doors.devices=100
  --set 
        ^
`, "")
}

// TestErrorsUnwrap checks that single faults can be asked for their places.
func TestErrorsUnwrap(t *testing.T) {
	_, err := parse(top("seed: x"), scenarios.Options{})
	var fault *scenarios.Error
	if !errors.As(err, &fault) || fault.Line != 3 || fault.Column != 7 || fault.Path != "seed" || fault.File != "s.yaml" {
		t.Errorf("errors.As(%v) gives %+v", err, fault)
	}
}

func TestParseStopsCountingFaults(t *testing.T) {
	_, err := parse(top("jobs: ["+strings.Repeat("1, ", 1000)+"]"), scenarios.Options{})
	var faults scenarios.Errors
	if !errors.As(err, &faults) || len(faults) != 201 || faults[200].Error() != "s.yaml: 800 more faults are not shown" {
		t.Errorf("Parse of 1000 faults gives %d, the last %v", len(faults), faults[len(faults)-1])
	}
}

package scenarios_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/fault"
	"muster/scenarios"
)

// everyFault is a fault of every kind, with every key in one of them.
var everyFault = []string{
	`{kind: latency, at: +1s, for: 2s, delay: 50ms}`,
	`{kind: latency, at: +1s, delay: {from: 0, to: 1s}, part: twins, devices: [a, "b$c"], devicePrefix: door-, share: 0.25, count: 7}`,
	`{kind: drop, at: start}`,
	`{kind: errors, at: +0s, code: 429001, operations: [methods, query]}`,
	`{kind: refuse, at: +1m, for: 1s, answer: closed}`,
	`{kind: silent, at: +1s, part: connect}`,
	`{kind: restart, at: +1s, for: 2s}`,
}

func TestFaults(t *testing.T) {
	s := mustParse(t, top("faults:\n- "+strings.Join(everyFault, "\n- ")), scenarios.Options{})
	second := time.Second
	want := []scenarios.Fault{
		{After: second, Fault: fault.Fault{Kind: fault.Latency, For: 2 * second, Delay: 50 * time.Millisecond, DelayTo: 50 * time.Millisecond, Part: fault.REST, Share: 1}},
		{After: second, Fault: fault.Fault{
			Kind: fault.Latency, DelayTo: second, Part: fault.Twins, Devices: []string{"a", "b$c"}, DevicePrefix: "door-", Share: 0.25, Count: 7,
		}},
		{AtStart: true, Fault: fault.Fault{Kind: fault.Drop, Part: fault.Connect, Share: 1}},
		{Fault: fault.Fault{Kind: fault.Errors, Code: 429001, Part: fault.REST, Operations: []fault.Operation{fault.Invoke, fault.Query}, Share: 1}},
		{After: time.Minute, Fault: fault.Fault{Kind: fault.Refuse, For: second, Answer: fault.Closed, Part: fault.Connect, Share: 1}},
		{After: second, Fault: fault.Fault{Kind: fault.Silent, Part: fault.Connect, Share: 1}},
		{After: second, Fault: fault.Fault{Kind: fault.Restart, For: 2 * second}},
	}
	if diff := cmp.Diff(want, s.Faults); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if got := s.Faults[2].At() + " " + s.Faults[4].At(); got != "start +1m0s" {
		t.Errorf("At() of two faults = %s, want start +1m0s", got)
	}
}

func TestBadFaults(t *testing.T) {
	for _, c := range []struct{ fault, want string }{
		{`{at: +1s}`, "s.yaml:4:3: faults[0]: kind is missing"},
		{`{kind: drop}`, "s.yaml:4:3: faults[0]: at is missing"},
		{`{kind: drops, at: +1s}`, `s.yaml:4:10: faults[0].kind: unknown kind "drops"; did you mean "drop"?`},
		{`{kind: drop, at: 1s}`, `s.yaml:4:20: faults[0].at: expected +2s after the fleet is ready, or start, before it begins to connect, found "1s"`},
		{`{kind: drop, at: +800h}`, `s.yaml:4:20: faults[0].at: must be +0s to +720h0m0s, is "+800h"`},
		{`{kind: drop, at: [start]}`, `s.yaml:4:20: faults[0].at: expected +2s after the fleet is ready, or start, before it begins to connect, found a list`},
		{`{kind: drop, at: +1s, sahre: 1}`, `s.yaml:4:25: faults[0].sahre: unknown key "sahre"; did you mean "share"?`},
		{`{kind: drop, at: +1s, share: 0}`, "s.yaml:4:32: faults[0].share: must be above 0 and at most 1, is 0"},
		{`{kind: drop, at: +1s, share: 50%}`, `s.yaml:4:32: faults[0].share: expected a number, found "50%"`},
		{`{kind: drop, at: +1s, for: 1}`, "s.yaml:4:30: faults[0].for: expected a duration such as 500ms, 30s or 1m30s, found the number 1"},
		{`{kind: drop, at: +1s, count: 0}`, "s.yaml:4:32: faults[0].count: must be 1 to 1000000000, is 0"},
		{`{kind: drop, at: +1s, part: twins}`, "s.yaml:4:31: faults[0].part: must be one of connect, rest for a fault of kind drop"},
		{`{kind: drop, at: +1s, operations: [jobs]}`, "s.yaml:4:37: faults[0].operations: are of part rest, and this fault strikes connect"},
		{`{kind: silent, at: +1s, operations: [job]}`, `s.yaml:4:40: faults[0].operations[0]: unknown operation "job"; did you mean "jobs"?`},
		{`{kind: silent, at: +1s, devices: ["a b"]}`, `s.yaml:4:37: faults[0].devices[0]: "a b" is no device id; an id has 1 to 128 ASCII letters, digits and - . + % _ # * ? ! ( ) , : ; = @ $ '`},
		{`{kind: errors, at: +1s}`, "s.yaml:4:3: faults[0].code: must be one of 401003, 403002, 404103, 429000, 429001, 429002, 429003, 429005, 500001, 500008, 503001, 503005, 503102, 504101"},
		{`{kind: errors, at: +1s, code: 503001, delay: 1s}`, "s.yaml:4:48: faults[0].delay: does not belong to a fault of kind errors"},
		{`{kind: latency, at: +1s}`, "s.yaml:4:3: faults[0].delay: is missing: how much later things come"},
		{`{kind: latency, at: +1s, delay: {from: 2s, to: 1s}}`, "s.yaml:4:35: faults[0].delay: must not go from 2s to the lesser 1s"},
		{`{kind: latency, at: +1s, delay: {from: 2s}}`, "s.yaml:4:35: faults[0].delay: to is missing"},
		{`{kind: restart, at: +1s, share: 0.5}`, "s.yaml:4:3: faults[0].for: is missing: how long the hub is away\ns.yaml:4:35: faults[0].share: does not belong to a fault of kind restart"},
		{`{kind: refuse, at: +1s, answer: no way}`, `s.yaml:4:35: faults[0].answer: unknown answer "no way"; expected "unavailable", "notAuthorized" or "closed"`},
		{`{kind: drop, at: "+${SHORT}"}`, "s.yaml:4:20: faults[0].at: cannot hold ${NAME}: it is shown in every output, where values of the environment are not; write it out, or pass it with --set"},
	} {
		_, err := parse(top("faults:\n- "+c.fault), scenarios.Options{})
		if err == nil || err.Error() != c.want {
			t.Errorf("Parse(%s):\n got %v\nwant %s", c.fault, err, c.want)
		}
	}
	_, err := parse(top("target: {iothub: {}}\nfaults: [{kind: drop, at: start}]"), scenarios.Options{})
	if want := "s.yaml:4:1: faults: only target.embedded takes faults"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("faults beside target iothub: got %v, want %s", err, want)
	}
}

package fault_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"muster/internal/fault"
)

func TestAFaultIsReadAsItIsWritten(t *testing.T) {
	same := func(f fault.Fault, want string) {
		t.Helper()
		got, err := json.Marshal(f)
		if err != nil || string(got) != want {
			t.Errorf("Marshal(%+v) = %s, %v; want %s", f, got, err, want)
		}
		var back fault.Fault
		if err := json.Unmarshal([]byte(want), &back); err != nil {
			t.Errorf("Unmarshal(%s) = %v", want, err)
		}
		if diff := cmp.Diff(f, back); diff != "" {
			t.Errorf("Unmarshal(%s) (-want +got):\n%s", want, diff)
		}
	}
	same(fault.Fault{Kind: fault.Drop}, `{"kind":"drop"}`)
	same(fault.Fault{Kind: fault.Restart, For: time.Second}, `{"kind":"restart","for":"1s"}`)
	same(fault.Fault{Kind: fault.Latency, Delay: time.Second}, `{"kind":"latency","delay":"1s"}`)
	same(fault.Fault{Kind: fault.Latency, Part: fault.Twins, DelayTo: time.Second}, `{"kind":"latency","part":"twins","delay":{"from":"0s","to":"1s"}}`)
	same(fault.Fault{Kind: fault.Errors, Code: 429001, Operations: []fault.Operation{fault.Invoke}, Share: 0.25, Count: 7, Seed: math.MaxUint64},
		`{"kind":"errors","operations":["methods"],"count":7,"share":0.25,"seed":18446744073709551615,"code":429001}`)
	same(fault.Fault{Kind: fault.Refuse, Answer: fault.Closed, Devices: []string{"a", "b"}, DevicePrefix: "door-"},
		`{"kind":"refuse","devices":["a","b"],"devicePrefix":"door-","answer":"closed"}`)
}

func TestEveryErrorNamesItsMember(t *testing.T) {
	bad := func(src string, want ...string) {
		t.Helper()
		var f fault.Fault
		err := json.Unmarshal([]byte(src), &f)
		if err == nil {
			t.Errorf("Unmarshal(%s) = %+v, want errors %q", src, f, want)
			return
		}
		if got := strings.Split(err.Error(), "\n"); !cmp.Equal(got, want) {
			t.Errorf("Unmarshal(%s) (-want +got):\n%s", src, cmp.Diff(want, got))
		}
	}
	bad(`7`, "a fault is a JSON object")
	bad(`{}`, "kind: is missing")
	bad(`{"kind":"quake"}`, "kind: must be one of latency, drop, errors, refuse, silent, restart")
	bad(`{"kind":7}`, "kind: expected a text")
	bad(`{"kind":"drop","Share":1}`, "Share: is unknown")
	bad(`{"kind":"drop","kind":"drop"}`, "kind: is there twice")
	bad(`{"kind":"drop","share":0}`, "share: must be above 0 and at most 1, is 0")
	bad(`{"kind":"drop","share":1.5,"count":-1}`, "count: must not be negative, is -1", "share: must be above 0 and at most 1, is 1.5")
	bad(`{"kind":"drop","share":null,"for":5,"devices":"a"}`, "share: expected a number", "for: expected a duration such as 500ms, 30s or 1m30s", "devices: expected a list of device ids")
	bad(`{"kind":"drop","for":"-1s"}`, "for: must be 0s to 24h0m0s, is -1s")
	bad(`{"kind":"drop","part":"twins"}`, "part: must be one of connect, rest for a fault of kind drop")
	bad(`{"kind":"drop","operations":["jobs"]}`, "operations: are of part rest, and this fault strikes connect")
	bad(`{"kind":"errors","code":503001,"operations":["job"]}`, `operations: "job" is none; there are registry, query, twins, methods, jobs, statistics`)
	bad(`{"kind":"drop","part":"rest","devicePrefix":"a"}`, "for: is missing: with a scope of operations or devices, it is requests that are cut, as they come")
	bad(`{"kind":"errors","code":200}`, "code: must be one of 401003, 403002, 404103, 429000, 429001, 429002, 429003, 429005, 500001, 500008, 503001, 503005, 503102, 504101")
	bad(`{"kind":"latency"}`, "delay: is missing: how much later things come")
	bad(`{"kind":"latency","delay":{"from":"1s"}}`, `delay: expected a duration such as 500ms, or {"from":"100ms","to":"500ms"}`)
	bad(`{"kind":"latency","delay":{"from":"2s","to":"1s"}}`, "delay: must not go from 2s to the lesser 1s")
	bad(`{"kind":"latency","delay":"11m"}`, "delay: must be 0s to 10m0s")
	bad(`{"kind":"refuse","answer":"no","delay":"1s","code":429001}`, "delay: does not belong to a fault of kind refuse",
		"code: does not belong to a fault of kind refuse", "answer: must be one of unavailable, notAuthorized, closed")
	bad(`{"kind":"restart"}`, "for: is missing: how long the hub is away")
	bad(`{"kind":"restart","for":"1s","part":"rest","share":0.5,"count":2,"devices":["a"]}`, "part: does not belong to a fault of kind restart",
		"devices: does not belong to a fault of kind restart", "count: does not belong to a fault of kind restart", "share: does not belong to a fault of kind restart")
}

func TestScope(t *testing.T) {
	covers := func(f fault.Fault, device string, want bool) {
		t.Helper()
		if got := f.Covers(device); got != want {
			t.Errorf("%+v.Covers(%q) = %v, want %v", f, device, got, want)
		}
	}
	covers(fault.Fault{}, "", true)
	covers(fault.Fault{}, "door-1", true)
	covers(fault.Fault{DevicePrefix: "door-"}, "door-1", true)
	covers(fault.Fault{DevicePrefix: "door-"}, "lamp-1", false)
	covers(fault.Fault{DevicePrefix: "door-"}, "", false)
	covers(fault.Fault{Devices: []string{"lamp-1"}}, "lamp-1", true)
	covers(fault.Fault{Devices: []string{"lamp-1"}, DevicePrefix: "door-"}, "door-7", true)
	covers(fault.Fault{Devices: []string{"lamp-1"}}, "lamp-10", false)
}

func TestAShareIsThatShareAndRepeats(t *testing.T) {
	struck := func(f fault.Fault) (n int) {
		for i := range 10_000 {
			if f.Strikes("door-"+string(rune('a'+i%26)), uint64(i)) {
				n++
			}
		}
		return n
	}
	half := fault.Fault{Share: 0.5, Seed: 42}
	if n := struck(half); n < 4700 || n > 5300 || n != struck(half) {
		t.Errorf("a share of 0.5 strikes %d of 10000, then %d", n, struck(half))
	}
	if n := struck(fault.Fault{}); n != 10_000 {
		t.Errorf("all strike %d of 10000", n)
	}
	if other := (fault.Fault{Share: 0.5, Seed: 43}); struck(other) == struck(half) {
		t.Errorf("seeds 42 and 43 strike the same number, %d", struck(other))
	}
	l := fault.Fault{Delay: time.Second, DelayTo: 3 * time.Second}
	if d, again := l.DelayOf("door-1", 0), l.DelayOf("door-1", 0); d < time.Second || d > 3*time.Second || d != again || d == l.DelayOf("door-1", 1) {
		t.Errorf("delays %v, %v and %v of a range", d, again, l.DelayOf("door-1", 1))
	}
}

func TestString(t *testing.T) {
	is := func(f fault.Fault, want string) {
		t.Helper()
		if got := f.String(); got != want {
			t.Errorf("%+v.String() = %q, want %q", f, got, want)
		}
	}
	is(fault.Fault{Kind: fault.Drop, Share: 0.5}, "drop on connect, share 0.5")
	is(fault.Fault{Kind: fault.Errors, Code: 429001, Operations: []fault.Operation{fault.Invoke}, Count: 3}, "errors 429001 on rest methods, 3 times")
	is(fault.Fault{Kind: fault.Latency, Delay: time.Second, DelayTo: 2 * time.Second, DevicePrefix: "door-"}, "latency 1s–2s on rest, devices door-*")
	is(fault.Fault{Kind: fault.Restart, For: time.Second}, "restart")
	is(fault.Fault{Kind: fault.Refuse, Devices: []string{"a"}}, "refuse as unavailable on connect, 1 named devices")
}

// FuzzUnmarshal reads anything: what is accepted is valid, and is read again as the same.
func FuzzUnmarshal(f *testing.F) {
	for _, src := range []string{
		`{"kind":"latency","delay":{"from":"0s","to":"1s"},"part":"twins"}`, `{"kind":"errors","code":429001,"share":0.5,"seed":7}`,
		`{"kind":"drop","for":"1s","devices":["a"],"count":2}`, `{"kind":"refuse","answer":"closed","devicePrefix":"x"}`, `{"kind":"restart","for":"1s"}`,
		`{}`, `[`, `{"kind":"drop"} {}`,
	} {
		f.Add([]byte(src))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var first, again fault.Fault
		if json.Unmarshal(src, &first) != nil {
			return
		}
		if err := first.Valid(); err != nil {
			t.Fatalf("Unmarshal(%s) accepts what is not valid: %v", src, err)
		}
		_ = first.String()
		out, err := json.Marshal(first)
		if err == nil {
			err = json.Unmarshal(out, &again)
		}
		if err != nil || !cmp.Equal(first.Resolved(), again.Resolved(), cmpopts.EquateEmpty()) {
			t.Fatalf("Unmarshal(%s), written as %s: %v\n%s", src, out, err, cmp.Diff(first, again))
		}
	})
}

package harness_test

import (
	"fmt"
	"strings"
	"testing"

	"muster/harness"
	"muster/scenarios"
)

// sized is a scenario of so many devices on paho, with some values changed.
func sized(t *testing.T, devices int, set ...string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Parse("s", []byte("name: s\nfleet: [{group: g, devices: 1}]\n"), scenarios.Options{
		Devices: devices, Set: set,
		Getenv: func(string) (string, bool) { return "HostName=h;SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0", true },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Settings of the scenarios of these tests.
const (
	inMemory  = "target.embedded.transport=memory"
	overTLS   = "target.embedded.transport=tls"
	ofIoTHub  = "target={iothub: }"
	oneSource = "connect.sourceAddresses=[127.0.0.1]"
	twoMore   = "connect.sourceAddresses=[127.0.0.2, 127.0.0.3]"
	onLean    = "fleet.g.driver=lean"
	allAtOnce = "jobs=[{name: lock, type: scheduleDeviceMethod, cloudToDeviceMethod: {methodName: lock}, queryCondition: '*', via: direct, inFlight: 0}]"
)

func TestBounds(t *testing.T) {
	host := func(files, ports int, memory, group, limit int64) harness.Host {
		return harness.Host{
			Limits:      harness.Limits{Descriptors: files, Ports: ports},
			MemoryBytes: memory << 20, GroupBytes: group << 20, GoBytes: limit << 20,
		}
	}
	check := func(host harness.Host, inside bool, want string, set ...string) {
		t.Helper()
		bounds := harness.Bounds(sized(t, 10, set...), host, inside)
		var got []string
		for _, b := range bounds {
			got = append(got, fmt.Sprintf("%s %d", b.Limit, b.Devices))
			if b.Because == "" || b.Then == "" || b.Fix == "" {
				t.Errorf("Bounds(%v, %+v, %v): %+v does not say all", set, host, inside, b)
			}
		}
		if last := "what a scenario may hold 1000000"; got[len(got)-1] != last {
			t.Errorf("Bounds(%v, %+v, %v) ends with %q, want %q", set, host, inside, got[len(got)-1], last)
		}
		if list := strings.Join(got[:len(got)-1], ", "); list != want {
			t.Errorf("Bounds(%v, %+v, %v)\ngot  %s\nwant %s", set, host, inside, list, want)
		}
	}
	none := harness.Host{}
	check(none, false, "")
	check(host(20_000, 28_232, 0, 0, 0), false, "open files of the hub 19800, open files of one generator 19800")
	check(host(20_000, 28_232, 0, 0, 0), true, "open files of the hub and generator 9900")
	check(host(20_000, 28_232, 0, 0, 0), false, "open files of the hub 19800, open files of one generator 19800, local ports 28232", oneSource)
	check(host(20_000, 300, 0, 0, 0), false, "local ports 300, open files of the hub 19800, open files of one generator 19800", oneSource)
	check(host(20_000, 300, 0, 0, 0), false, "local ports 600, open files of the hub 19800, open files of one generator 19800", twoMore)
	check(host(20_000, 300, 0, 0, 0), false, "open files of the hub 19800, open files of one generator 19800") // it takes addresses enough
	check(host(40_000, 28_232, 0, 0, 0), true, "local ports 28232, open files of one generator 39800", ofIoTHub)
	check(host(100, 28_232, 0, 0, 0), false, "open files of the hub 0, open files of one generator 0")
	check(host(100, 28_232, 0, 0, 0), true, "", inMemory)
	// Two processes of 20 MiB and 47 KiB a device.
	check(host(0, 0, 87, 0, 0), false, "memory 1024")
	check(host(0, 0, 67, 0, 0), true, "memory 1024")
	check(host(0, 0, 67, 0, 0), true, "memory 1024", inMemory)
	check(host(0, 0, 49, 0, 0), false, "memory 1024", onLean)
	check(host(0, 0, 79, 0, 0), false, "memory 1024", ofIoTHub)
	check(host(0, 0, 119, 0, 0), false, "memory 1024", overTLS)
	check(host(0, 0, 30, 0, 0), false, "memory 0")
	check(host(0, 0, 0, 87, 63), false, "memory of the control group 1024, GOMEMLIMIT 1024")
	check(host(0, 0, 0, 87, 30), false, "GOMEMLIMIT 238, memory of the control group 1024")
	check(none, false, "the tier's identities 500", "target.embedded.tier=F1")
	check(host(400, 0, 0, 0, 0), false, "open files of the hub 200, open files of one generator 200, the tier's identities 500", "target.embedded.tier=F1")
}

// A limit that a fleet passes by itself is not the end: the next one is told too.
func TestFirst(t *testing.T) {
	check := func(host harness.Host, want string, set ...string) {
		t.Helper()
		var got []string
		for _, b := range harness.First(harness.Bounds(sized(t, 10, set...), host, false)) {
			got = append(got, b.String())
		}
		if text := strings.Join(got, "\n"); text != want {
			t.Errorf("the first limit of %+v %v is\n%s\nwant\n%s", host, set, text, want)
		}
	}
	check(harness.Host{Limits: harness.Limits{Descriptors: 20_000}}, "open files of the hub, at most 19800 devices, by the limit of 20000 open files in a process (ulimit -Hn); "+
		"a larger fleet is refused before it begins; for more: sudo prlimit --pid $$ --nofile=39800:39800, or run without descriptors (--set target.embedded.transport=memory)")
	check(harness.Host{Limits: harness.Limits{Descriptors: 20_000, Ports: 28_232}}, "open files of one generator, at most 19800 devices, by the limit of 20000 open files in a process (ulimit -Hn); "+
		"a larger fleet is divided among child generators; for more: nothing needs to be done\n"+
		"local ports, at most 28232 devices, by the host's 28232 local ports (net.ipv4.ip_local_port_range); a larger fleet is refused before it begins; "+
		"for more: widen the range (`sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"`), connect from more addresses of this host (connect.sourceAddresses)", ofIoTHub)
	check(harness.Host{MemoryBytes: 87 << 20}, "memory, at most 1024 devices, by the host's memory: about 87 MiB are available; "+
		"a larger fleet is ended when it is nearly used up, with the results so far; for more: about 134 MiB for 2048 devices: free memory, or --driver lean, which takes less of it")
}

func TestPreflight(t *testing.T) {
	check := func(l harness.Limits, devices int, inside bool, want string, set ...string) {
		t.Helper()
		got := ""
		if err := harness.Preflight(sized(t, devices, set...), harness.Host{Limits: l}, inside); err != nil {
			got = err.Error()
		}
		if (want == "") != (got == "") || !strings.Contains(got, want) || strings.Count(got, "check limits") > 1 {
			t.Errorf("Preflight(%d %v, %+v, %v) = %q, want %q once", devices, set, l, inside, got, want)
		}
	}
	check(harness.Limits{}, 1_000_000, true, "")
	check(harness.Limits{Descriptors: 20_000, Ports: 28_232}, 10_000, false, "")
	check(harness.Limits{Descriptors: 20_000}, 10_000, true, "need 20200 open files in this process, and its limit is 20000; raise it (`sudo prlimit --pid $$ --nofile=20200:20200` in this shell")
	check(harness.Limits{Descriptors: 1024}, 10_000, false, "need 10200 open files in the embedded hub, which is one process however many generators there are, and its limit is 1024")
	check(harness.Limits{Descriptors: 1024}, 10_000, false, "", ofIoTHub) // thirteen generators share it
	check(harness.Limits{Descriptors: 1024}, 300_000, false, "need 1293 open files in the run's own process, which has the generators' pipes", ofIoTHub)
	check(harness.Limits{Descriptors: 1024}, 2000, false, "need 2108 open files in the run's own process, ", ofIoTHub, allAtOnce)
	check(harness.Limits{Descriptors: 1024}, 2000, false, "", ofIoTHub, allAtOnce, "jobs.lock.inFlight=500")
	check(harness.Limits{Descriptors: 200}, 1000, false, "in the run's own process", ofIoTHub)
	check(harness.Limits{Descriptors: 1024}, 10_000, false, "--devices 824")
	check(harness.Limits{Descriptors: 1024}, 10_000, false, "run without descriptors (--set target.embedded.transport=memory)")
	check(harness.Limits{Ports: 28_232}, 30_000, false, "need as many local ports, and this host gives 28232 with 1 source address", oneSource)
	check(harness.Limits{Ports: 28_232}, 30_000, false, "", twoMore)
	check(harness.Limits{Ports: 28_232}, 60_000, false, "this host gives 56464 with 2 source addresses; widen the range", twoMore)
	check(harness.Limits{Ports: 28_232}, 60_000, false, "")
	check(harness.Limits{Ports: 28_232}, 60_000, true, "connect from more addresses of this host (connect.sourceAddresses)", ofIoTHub)
	check(harness.Limits{Descriptors: 10, Ports: 10}, 60_000, true, "", inMemory)
	check(harness.Limits{}, 10, false, "connect.sourceAddresses[1]: no connection can come from 192.0.2.7: bind: cannot assign requested address", "connect.sourceAddresses=[127.0.0.1, 192.0.2.7]")
	err := harness.Preflight(sized(t, 10), harness.Host{Threads: 60}, false)
	if err == nil || !strings.Contains(err.Error(), "leaves 60 threads") {
		t.Errorf("Preflight with 60 threads left = %v, want a refusal", err)
	}
}

// Calls are the run's own process's, however many there are: generators share
// the devices alone.
func TestGeneratorsAreAsManyAsTheDevicesNeed(t *testing.T) {
	check := func(files, devices, want int, set ...string) {
		t.Helper()
		p, err := harness.NewPlan(sized(t, devices, append(set, ofIoTHub)...), harness.Host{Limits: harness.Limits{Descriptors: files}})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Needs.Generators; got != want {
			t.Errorf("%d devices %v, with %d open files in a process, need %d generators, want %d", devices, set, files, got, want)
		}
	}
	check(0, 5000, 1, allAtOnce)
	check(1024, 824, 1)
	check(1024, 825, 2)
	check(1024, 1648, 2)
	check(1024, 1649, 3)
	check(1024, 512, 2, allAtOnce) // one process has not both, the devices and the calls
	check(1024, 1600, 2, allAtOnce)
	check(1024, 5000, 7, allAtOnce, "jobs.lock.inFlight=500")
}

package harness_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"muster/harness"
	"muster/scenarios"
)

// well is a host that lacks nothing for ten thousand devices.
func well() fstest.MapFS {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text + "\n")} }
	return fstest.MapFS{
		"proc/sys/fs/nr_open": file("1048576"),
		"proc/loadavg":        file("0.20 0.10 0.05 1/300 4242"),
		"proc/self/cgroup":    file("0::/user.slice/run.scope"),
		"sys/devices/system/clocksource/clocksource0/current_clocksource": file("tsc"),
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor":            file("performance"),
		"sys/devices/system/cpu/cpu1/cpufreq/scaling_governor":            file("performance"),
		"sys/fs/cgroup/memory.max":                                        file("max"),
		"sys/fs/cgroup/user.slice/memory.max":                             file("max"),
		"sys/fs/cgroup/user.slice/run.scope/memory.max":                   file("8589934592"),
		"sys/fs/cgroup/user.slice/run.scope/memory.current":               file("1073741824"),
		"sys/fs/cgroup/user.slice/cpu.max":                                file("400000 100000"),
		"sys/fs/cgroup/user.slice/run.scope/cpu.max":                      file("max 100000"),
		"sys/fs/cgroup/user.slice/run.scope/pids.max":                     file("9000"),
		"sys/fs/cgroup/user.slice/run.scope/pids.current":                 file("100"),
	}
}

// version1 adds a control group of version 1 with these files.
func version1(controllers string, files ...string) func(*harness.HostState, fstest.MapFS) {
	return func(_ *harness.HostState, root fstest.MapFS) {
		own := string(root["proc/self/cgroup"].Data) + "5:" + controllers + ":/load/run\n7:name=systemd:/\n"
		root["proc/self/cgroup"] = &fstest.MapFile{Data: []byte(own)}
		for i := 0; i < len(files); i += 2 {
			root["sys/fs/cgroup/"+controllers+"/load/"+files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
		}
	}
}

// TestDoctor changes one thing of a host that is well on each line.
func TestDoctor(t *testing.T) {
	load := func(devices int, set ...string) *scenarios.Scenario {
		t.Helper()
		s, err := scenarios.Parse("s", []byte("name: s\nfleet: [{group: g, devices: 1}]\n"), scenarios.Options{Devices: devices, Set: set})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	files := func(name, text string) func(*harness.HostState, fstest.MapFS) {
		return func(_ *harness.HostState, root fstest.MapFS) { root[name] = &fstest.MapFile{Data: []byte(text)} }
	}
	state := func(f func(*harness.HostState)) func(*harness.HostState, fstest.MapFS) {
		return func(h *harness.HostState, _ fstest.MapFS) { f(h) }
	}
	check := func(s *scenarios.Scenario, change func(*harness.HostState, fstest.MapFS), name string, status harness.Status, found, fix string) {
		t.Helper()
		root, host := well(), harness.WellHost()
		change(&host, root)
		e, err := harness.Examine(s, host, root)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(e.Findings, func(f harness.Finding) bool { return f.Check == name })
		if at < 0 {
			t.Errorf("no finding %q in %+v", name, e.Findings)
			return
		}
		f := e.Findings[at]
		if f.Status != status || !strings.Contains(f.Found, found) || !strings.Contains(f.Fix, fix) || (f.Fix == "") != (fix == "") {
			t.Errorf("got %+v\nwant %s with %q and fix %q", f, status, found, fix)
		}
		for _, other := range e.Findings {
			if other.Check != name && other.Status != harness.OK {
				t.Errorf("beside %s: %+v", name, other)
			}
		}
		if e.CanRun != (status != harness.Problem) {
			t.Errorf("%s is a %s and CanRun is %v", name, status, e.CanRun)
		}
	}
	ten := load(10_000)
	none := state(func(*harness.HostState) {})
	ok, warning, problem := harness.OK, harness.Warning, harness.Problem

	check(ten, none, "open files", ok, "10200 needed, 20000 allowed (hard limit 20000)", "")
	check(ten, state(func(h *harness.HostState) { h.SetLimits(10_199, 30_000) }), "open files", problem, "10199 allowed", "sudo prlimit --pid $$ --nofile=10200:10200")
	check(ten, func(h *harness.HostState, root fstest.MapFS) {
		h.SetLimits(1024, 30_000)
		root["proc/sys/fs/nr_open"] = &fstest.MapFile{Data: []byte("4096")}
	}, "open files", problem, "1024 allowed", "sudo sysctl -w fs.nr_open=10200 && sudo prlimit")
	check(ten, state(func(h *harness.HostState) { h.SetLimits(0, 30_000) }), "open files", ok, "not known", "")
	check(ten, none, "local ports", ok, "10000 needed, 28232 for one source address", "")
	check(ten, state(func(h *harness.HostState) { h.SetLimits(20_000, 9_999) }), "local ports", ok, "10000 needed, 9999 for one source address, and 3 of them: 29997", "")
	check(load(10_000, oneSource), state(func(h *harness.HostState) { h.SetLimits(20_000, 9_999) }), "local ports", problem, "9999", `sudo sysctl -w net.ipv4.ip_local_port_range="1024 65535"`)
	check(load(10_000, twoMore), state(func(h *harness.HostState) { h.SetLimits(20_000, 5_000) }), "local ports", ok, "2 of them: 10000", "")
	check(load(10_000, "connect.sourceAddresses=[192.0.2.7]"), none, "source addresses", problem, "no connection can come from 192.0.2.7", "addresses of this host")
	check(ten, none, "memory", ok, "about 498 MiB needed, 4096 MiB available", "")
	check(ten, state(func(h *harness.HostState) { h.SetMemory(400 << 20) }), "memory", problem, "400 MiB available", "--devices 6100")
	check(ten, state(func(h *harness.HostState) { h.SetMemory(600 << 20) }), "memory", warning, "600 MiB available", "--devices 9586")
	check(ten, state(func(h *harness.HostState) { h.SetMemoryLimit(300 << 20) }), "GOMEMLIMIT", warning, "300 MiB for each process, which needs about 439 MiB", "export GOMEMLIMIT=942MiB")
	check(ten, state(func(h *harness.HostState) { h.SetMemoryLimit(3 << 30) }), "GOMEMLIMIT", ok, "3072 MiB", "")
	check(ten, none, "cgroup memory", ok, "7168 MiB left", "")
	check(ten, files("sys/fs/cgroup/user.slice/memory.max", "209715200"), "cgroup memory", problem, "200 MiB left", "MemoryMax=996M")
	check(ten, func(_ *harness.HostState, root fstest.MapFS) { // what is cached can be taken back
		root["sys/fs/cgroup/user.slice/run.scope/memory.max"] = &fstest.MapFile{Data: []byte("870318080")}
		root["sys/fs/cgroup/user.slice/run.scope/memory.stat"] = &fstest.MapFile{Data: []byte("anon 5\ninactive_file 734003200\nactive_file 104857600\n")}
	}, "cgroup memory", warning, "606 MiB left", "MemoryMax=996M")
	check(ten, version1("memory", "memory.limit_in_bytes", "419430400", "memory.usage_in_bytes", "314572800", "memory.stat", "active_file 7\ntotal_inactive_file 104857600\ntotal_active_file 0"),
		"cgroup memory", problem, "200 MiB left", "MemoryMax=996M")
	check(ten, version1("memory", "memory.limit_in_bytes", "9223372036854771712", "memory.usage_in_bytes", "314572800"), "cgroup memory", ok, "7168 MiB left", "")
	check(ten, version1("cpu,cpuacct", "cpu.cfs_quota_us", "150000", "cpu.cfs_period_us", "100000"), "cgroup CPU", warning, "1.5 of 2 CPUs", "docker run --cpus 2")
	check(ten, version1("cpu,cpuacct", "cpu.cfs_quota_us", "-1", "cpu.cfs_period_us", "100000"), "cgroup CPU", ok, "4 CPUs", "")
	check(ten, version1("pids", "pids.max", "90", "pids.current", "30"), "cgroup threads", problem, "60 left", "TasksMax=2000")
	check(ten, none, "cgroup CPU", ok, "4 CPUs", "")
	check(ten, files("sys/fs/cgroup/user.slice/run.scope/cpu.max", "150000 100000"), "cgroup CPU", warning, "1.5 of 2 CPUs", "docker run --cpus 2")
	check(ten, files("sys/fs/cgroup/user.slice/run.scope/pids.max", "150"), "cgroup threads", problem, "50 left", "TasksMax=2000")
	check(ten, state(func(h *harness.HostState) { h.SetCPUs(1) }), "CPUs", warning, "1: generator and hub", "two CPUs")
	check(ten, files("proc/loadavg", "3.1 2 1 1/2 3"), "load", warning, "3.10 processes", "top")
	check(ten, files("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave"), "CPU governor", warning, "powersave", "sudo cpupower frequency-set -g performance")
	check(ten, files("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"), "clock source", warning, "hpet, 30ns a reading", "echo tsc | sudo tee /sys/")
	check(ten, state(func(h *harness.HostState) { h.SetClock(-20*time.Millisecond, false) }), "wall clock", warning, "moved -20ms", "chronyc")
	check(ten, state(func(h *harness.HostState) { h.SetClock(0, true) }), "wall clock", ok, "moved 0s", "") // the hub is on this host
	check(ten, state(func(h *harness.HostState) { h.SetWake(5*time.Millisecond, "") }), "loopback", warning, "waits 5ms at p99", "top")
	check(ten, state(func(h *harness.HostState) { h.SetWake(0, "no loopback") }), "loopback", problem, "no loopback", "ip link set lo up")
	check(load(10_000, "target.embedded.transport=memory"), none, "pipe", ok, "waits 100µs at p99", "")
	check(load(600, "target.embedded.tier=F1"), none, "scenario", problem, "600 devices are more than a hub of tier F1 holds", "change the scenario")
}

func TestDoctorOfMemoryAsksForNoSockets(t *testing.T) {
	s, err := scenarios.Parse("s", []byte("name: s\nfleet: [{group: g, devices: 100000}]\ntarget: {embedded: {transport: memory}}\n"), scenarios.Options{})
	if err != nil {
		t.Fatal(err)
	}
	host := harness.WellHost()
	host.SetMemory(64 << 30)
	e, err := harness.Examine(s, host, well())
	if err != nil || !e.CanRun || e.Needs.Ports != 0 {
		t.Errorf("100,000 devices in memory: %+v, %v", e, err)
	}
	for _, f := range e.Findings {
		if f.Check == "open files" || f.Check == "local ports" {
			t.Errorf("a run without sockets was checked for %+v", f)
		}
	}
}

func TestDoctorReadsThisHost(t *testing.T) {
	s, err := scenarios.Parse("s", []byte("name: s\nfleet: [{group: g, devices: 1}]\n"), scenarios.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := harness.Doctor(t.Context(), s)
	if err != nil || len(e.Findings) < 8 {
		t.Errorf("Doctor() = %+v, %v", e, err)
	}
}

package harness

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"muster/report"
)

// hostOf returns what is to be the same of two hosts whose numbers are compared.
func hostOf() report.Host { return readHost("/") }

// readHost reads the files of a host below root. What it cannot read is absent.
func readHost(root string) report.Host {
	read := func(path string) string {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	cpu := read("proc/cpuinfo")
	return report.Host{
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0),
		MemoryBytes: kibibytes(read("proc/meminfo"), "MemTotal:"),
		Kernel:      read("proc/sys/kernel/osrelease"),
		CPUModel:    cpuField(cpu, "model name"),
		Governor:    read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
		Hypervisor:  hypervisor(cpu, read),
	}
}

// cpuField returns the first value of a key of /proc/cpuinfo.
func cpuField(cpuinfo, key string) string {
	for line := range strings.Lines(cpuinfo) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// hypervisor names what the host runs on, if it is a virtual machine: the
// processor says that it is one, the firmware by whom.
func hypervisor(cpuinfo string, read func(path string) string) string {
	if kind := read("sys/hypervisor/type"); kind != "" {
		return kind
	}
	if !strings.Contains(" "+cpuField(cpuinfo, "flags")+" ", " hypervisor ") {
		return ""
	}
	name := strings.TrimSpace(read("sys/class/dmi/id/sys_vendor") + " " + read("sys/class/dmi/id/product_name"))
	if name == "" {
		return "unnamed"
	}
	return name
}

// processorUse is what a host's processors have done since it started.
type processorUse struct{ total, busy, steal time.Duration }

// hostUse reads the account of the host's processors, and false where there is none.
func hostUse() (processorUse, bool) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return processorUse{}, false
	}
	return parseUse(string(text))
}

// tick is the unit of /proc/stat: USER_HZ is 100 on every architecture that Go runs on.
const tick = time.Second / 100

// parseUse reads the first line of /proc/stat: cpu, then the times that the
// processors were user, nice, system, idle, iowait, irq, softirq and stolen.
// Those of guests, which follow, are part of user and nice.
func parseUse(stat string) (u processorUse, ok bool) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return processorUse{}, false
	}
	for i, field := range fields[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return processorUse{}, false
		}
		took := time.Duration(n) * tick
		u.total += took
		switch i {
		case 3, 4: // idle, and idle until a disk answers
		case 7:
			u.steal += took
		default:
			u.busy += took
		}
	}
	return u, true
}

// since returns what was used from an earlier reading to u.
func (u processorUse) since(before processorUse) *report.HostUse {
	return &report.HostUse{
		TotalSeconds: (u.total - before.total).Seconds(),
		BusySeconds:  (u.busy - before.busy).Seconds(),
		StealSeconds: (u.steal - before.steal).Seconds(),
	}
}

// meterHost returns what tells how the host's processors were used since.
func meterHost() func() *report.HostUse {
	before, ok := hostUse()
	return func() *report.HostUse {
		now, still := hostUse()
		if !ok || !still {
			return nil
		}
		return now.since(before)
	}
}

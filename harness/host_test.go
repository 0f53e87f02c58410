package harness_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/harness"
	"muster/report"
)

func TestHostIsReadFromItsFiles(t *testing.T) {
	root := t.TempDir()
	file := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := report.Host{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0)}
	check := func() {
		t.Helper()
		if diff := cmp.Diff(want, harness.ReadHost(root)); diff != "" {
			t.Errorf("host (-want +got):\n%s", diff)
		}
	}
	check() // no file at all

	file("proc/cpuinfo", "processor\t: 0\nmodel name\t: Some Processor @ 2 GHz\nflags\t\t: fpu sse2\n\nprocessor\t: 1\nmodel name\t: Another\n")
	file("proc/meminfo", "MemTotal:        2048 kB\nMemFree: 1 kB\n")
	file("proc/sys/kernel/osrelease", "6.1.0-test\n")
	file("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n")
	want.CPUModel, want.MemoryBytes, want.Kernel, want.Governor = "Some Processor @ 2 GHz", 2<<20, "6.1.0-test", "performance"
	check()

	file("proc/cpuinfo", "flags\t\t: fpu hypervisor sse2\n")
	want.CPUModel, want.Hypervisor = "", "unnamed"
	check()
	file("sys/class/dmi/id/sys_vendor", "QEMU\n")
	file("sys/class/dmi/id/product_name", "Standard PC\n")
	want.Hypervisor = "QEMU Standard PC"
	check()
	file("sys/hypervisor/type", "xen\n")
	want.Hypervisor = "xen"
	check()
}

func TestHostUseIsReadFromProcStat(t *testing.T) {
	check := func(before, after string, want *report.HostUse) {
		t.Helper()
		if got := harness.HostUse(before, after); !cmp.Equal(got, want) {
			t.Errorf("host use from %q to %q = %+v, want %+v", before, after, got, want)
		}
	}
	check("cpu  100 0 100 1000 50 0 10 5 0 0\ncpu0 1 2\n", "cpu  150 10 130 1500 60 5 15 25 7 7\n",
		&report.HostUse{TotalSeconds: 6.3, BusySeconds: 1, StealSeconds: 0.2})
	check("", "cpu 1 1 1 1 1 1 1 1", nil)
	check("cpu 1 1 1 1 1 1 1", "cpu 1 1 1 1 1 1 1", nil) // before there was a steal
	check("cpu 1 1 1 1 1 1 1 x", "cpu 1 1 1 1 1 1 1 1", nil)
}

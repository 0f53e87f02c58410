package harness_test

import (
	"strings"
	"testing"

	"muster/harness"
	"muster/scenarios"
)

func TestMostDevices(t *testing.T) {
	check := func(set string, host harness.Host, inside bool, want int, why string) {
		t.Helper()
		s, err := scenarios.Parse("test.yaml", []byte(doors), scenarios.Options{Set: []string{set}})
		if err != nil {
			t.Fatal(err)
		}
		if got, because := harness.MostDevices(s, host, inside); got != want || !strings.Contains(because, why) {
			t.Errorf("MostDevices(%s, %+v, %v) = %d, %q; want %d, …%s…", set, host, inside, got, because, want, why)
		}
	}
	const tcp, memory, s1 = "target.embedded.transport=tcp", "target.embedded.transport=memory", "target.embedded.tier=S1"
	files := func(files, ports int) harness.Host {
		return harness.Host{Limits: harness.Limits{Descriptors: files, Ports: ports}}
	}
	check(tcp, harness.Host{}, false, 1_000_000, "the largest fleet")
	check(tcp, files(20_200, 28_232), false, 20_000, "20200 open files")
	check(tcp, files(20_200, 28_232), true, 10_000, "20200 open files")
	check(tcp, files(1_048_576, 28_232), false, 1_000_000, "the largest fleet")
	check("connect.sourceAddresses=[127.0.0.1]", files(1_048_576, 28_232), false, 28_232, "28232 local ports")
	check(tcp, files(100, 28_232), false, 0, "100 open files")
	check(memory, files(100, 100), true, 1_000_000, "the largest fleet")
	check(memory, harness.Host{MemoryBytes: 67 << 20}, true, 1024, "67 MiB")
	check(tcp, harness.Host{MemoryBytes: 87 << 20}, false, 1024, "87 MiB")
	check("fleet.doors.driver=lean", harness.Host{MemoryBytes: 49 << 20}, false, 1024, "49 MiB")
	check(s1, harness.Host{}, false, 1_000_000, "")
}

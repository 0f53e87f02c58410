package scenarios_test

import (
	"io/fs"
	"slices"
	"testing"

	"muster/scenarios"
)

func TestShippedScenariosLoad(t *testing.T) {
	for _, name := range scenarios.ShippedNames() {
		src, err := fs.ReadFile(scenarios.Shipped(), name+".yaml")
		if err != nil {
			t.Fatal(err)
		}
		opts := scenarios.Options{}
		if name == "million" {
			opts.Devices = 1000 // the ids of a million take a while
		}
		s := mustParse(t, string(src), opts)
		if s.Name != name || len(s.Warnings) > 0 || len(s.Jobs) == 0 || len(s.Thresholds) == 0 {
			t.Errorf("%s.yaml: name %s, %d jobs, %d thresholds, warnings %q", name, s.Name, len(s.Jobs), len(s.Thresholds), s.Warnings)
		}
		resolved(t, s)
	}
}

func TestShippedNames(t *testing.T) {
	if got, want := scenarios.ShippedNames(), []string{"faults", "gate-3s", "lockdoor-10k", "million", "reboot-10k", "smoke", "tutorial"}; !slices.Equal(got, want) {
		t.Errorf("ShippedNames() = %q, want %q", got, want)
	}
}

func TestShippedScenariosAreWhatTheirNamesSay(t *testing.T) {
	load := func(name string, devices, jobs int) {
		t.Helper()
		s, err := scenarios.Load(name+".yaml", scenarios.Options{})
		if err != nil || s.Devices() != devices || len(s.Jobs) != jobs {
			t.Errorf("%s has %+v, %v; want %d devices and %d jobs", name, s, err, devices, jobs)
		}
	}
	load("faults", 30, 6)
	load("lockdoor-10k", 10_000, 2)
	load("million", 1_000_000, 2)
	load("reboot-10k", 10_000, 2)
	load("smoke", 100, 6)
	load("tutorial", 1, 4)
}

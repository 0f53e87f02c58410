package gate

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"muster/report"
)

// Difference is something in which runs are not alike that should be.
type Difference struct {
	What string `json:"what"` // such as host.kernel or scenario jobs.lock.via
	Base string `json:"base"` // of the first run of the base
	Run  string `json:"run"`  // of the run that differs
	Dir  string `json:"dir"`  // that run's folder
	More int    `json:"more"` // further runs that differ from the first in this
}

// String words the difference.
func (d Difference) String() string {
	text := fmt.Sprintf("%s: %s, but %s in %s", d.What, shown(d.Base), shown(d.Run), d.Dir)
	if d.More > 0 {
		text += fmt.Sprintf(" and %d more", d.More)
	}
	return text
}

func shown(value string) string {
	if value == "" {
		return "absent"
	}
	return value
}

// may tells which differences are meant.
type may struct {
	settings []string // paths of the scenario that may differ between base and new
	targets  bool     // the system under test itself
	keys     bool     // keys that only one side's scenario has: two builds resolved one file
}

// allows reports whether a difference between a run of the base and one of new is meant.
func (m may) allows(key, base, run string) bool {
	path, ofScenario := strings.CutPrefix(key, scenarioKey)
	if !ofScenario {
		return m.targets && strings.HasPrefix(key, targetKey)
	}
	if m.keys && (base == "" || run == "") {
		return true
	}
	return slices.Contains(m.settings, path)
}

// unlike lists in what the runs of both sides differ from the first of the base.
func unlike(base, newer []*Folder, m may) []Difference {
	first := traits(base[0])
	var all []Difference
	index := map[string]int{}
	look := func(f *Folder, meant func(key, base, run string) bool) {
		other := traits(f)
		keys := slices.Sorted(maps.Keys(first))
		for key := range other {
			if _, ok := first[key]; !ok {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		for _, key := range keys {
			if alike(key, first[key], other[key]) || meant(key, first[key], other[key]) {
				continue
			}
			if i, seen := index[key]; seen {
				all[i].More++
				continue
			}
			index[key] = len(all)
			all = append(all, Difference{What: key, Base: first[key], Run: other[key], Dir: f.Dir})
		}
	}
	for _, f := range base[1:] {
		look(f, func(string, string, string) bool { return false })
	}
	for _, f := range newer {
		look(f, m.allows)
	}
	return all
}

const (
	hostKey     = "host."
	targetKey   = "target."
	scenarioKey = "scenario "
	memoryKey   = hostKey + "memoryBytes"
)

// alike reports whether two values are the same as far as is known: what an
// older muster did not write about its host cannot differ.
func alike(key, a, b string) bool {
	switch {
	case a == b:
		return true
	case strings.HasPrefix(key, hostKey):
		return a == "" || b == "" || key == memoryKey && aboutEqual(a, b)
	}
	return false
}

// aboutEqual reports whether two numbers are within a hundredth of each other:
// what a kernel keeps to itself of the memory varies a little.
func aboutEqual(a, b string) bool {
	x, _ := strconv.ParseFloat(a, 64) // both were printed from numbers
	y, _ := strconv.ParseFloat(b, 64)
	return max(x, y)-min(x, y) <= max(x, y)/100
}

// groupDriver matches the setting that says which driver a group has.
var groupDriver = regexp.MustCompile(`^fleet(\.[^.]+|\[\d+\])\.driver$`)

// traits are what must be the same of runs that are compared.
func traits(f *Folder) map[string]string {
	h := &f.Header
	t := map[string]string{
		"schemaVersion":     schemas(f),
		"driver":            h.Driver,
		targetKey + "kind":  h.Target.Kind,
		targetKey + "host":  h.Target.HostName, // of which the scenario may show nothing, as it stands beside a secret
		hostKey + "os":      h.Host.OS,
		hostKey + "arch":    h.Host.Arch,
		hostKey + "cpus":    strconv.Itoa(h.Host.CPUs),
		memoryKey:           strconv.FormatInt(h.Host.MemoryBytes, 10),
		hostKey + "kernel":  h.Host.Kernel,
		hostKey + "cpu":     h.Host.CPUModel,
		hostKey + "clock":   h.Host.Governor,
		hostKey + "machine": h.Host.Hypervisor,
	}
	mixed := strings.Contains(h.Driver, "+")
	for path, value := range f.Scenario {
		if mixed || !groupDriver.MatchString(path) { // an older muster had one driver, and no such key
			t[scenarioKey+path] = value
		}
	}
	// The header repeats two of these, and is what the summary was made with.
	if h.Target.Transport != "" {
		t[scenarioKey+"target."+h.Target.Kind+".transport"] = h.Target.Transport
	}
	for _, j := range h.Jobs {
		t[scenarioKey+"jobs."+j.Name+".via"] = j.Via
	}
	return t
}

func schemas(f *Folder) string {
	run, summary := f.Header.SchemaVersion, f.Summary.SchemaVersion
	if run == summary {
		return strconv.Itoa(run)
	}
	return fmt.Sprintf("%d, and %d of summary.json", run, summary)
}

// strangeSchema returns an error if a folder is of a schema version that this
// muster does not read.
func strangeSchema(f *Folder) error {
	if got := schemas(f); got != strconv.Itoa(report.SchemaVersion) {
		return fmt.Errorf("%s: schema version %s, this muster reads %d", f.Dir, got, report.SchemaVersion)
	}
	return nil
}

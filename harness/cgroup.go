package harness

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// cgroup is what the control groups around this process leave it. Zero is no limit.
type cgroup struct {
	memoryLeft  int64
	cpus        float64
	threadsLeft int64
}

// limitFiles are the files of one control group that limit something, and how
// much of it is used.
type limitFiles struct{ most, used, stat string }

// noLimit is what version 1 of control groups shows where there is none: the
// largest number of bytes in whole pages.
const noLimit = 1 << 62

// readCgroup reads the limits of this process's groups and of those around
// them, of version 1 or 2; the narrowest counts. In a container its group may be
// the root of what it sees.
func readCgroup(root fs.FS) cgroup {
	var g cgroup
	for _, f := range memoryGroups(root) {
		if most, used := f.read(root); most > 0 {
			g.memoryLeft = narrower(g.memoryLeft, max(1, most-used))
		}
	}
	for _, f := range threadGroups(root) {
		if most, used := f.read(root); most > 0 {
			g.threadsLeft = narrower(g.threadsLeft, max(1, most-used))
		}
	}
	for _, dir := range groupsOfController(root, "cpu") {
		cpus := quotaCPUs(textOf(root, path.Join(dir, "cpu.max")))
		if cpus == 0 {
			cpus = quotaCPUs(textOf(root, path.Join(dir, "cpu.cfs_quota_us")) + " " + textOf(root, path.Join(dir, "cpu.cfs_period_us")))
		}
		if cpus > 0 && (g.cpus == 0 || cpus < g.cpus) {
			g.cpus = cpus
		}
	}
	return g
}

// narrower returns the smaller of two limits, of which zero is none.
func narrower(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// groupsOfController returns the folders of the groups that this process is in
// by a controller, its own first.
func groupsOfController(root fs.FS, controller string) []string {
	var dirs []string
	for line := range strings.Lines(textOf(root, "proc/self/cgroup")) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		top := "sys/fs/cgroup" // version 2
		if fields[1] != "" {
			top = path.Join(top, fields[1])
		}
		if fields[1] != "" && !strings.Contains(","+fields[1]+",", ","+controller+",") {
			continue
		}
		for dir := path.Clean("/" + fields[2]); ; dir = path.Dir(dir) {
			dirs = append(dirs, path.Join(top, dir))
			if dir == "/" {
				break
			}
		}
	}
	if len(dirs) == 0 {
		dirs = []string{"sys/fs/cgroup"}
	}
	return dirs
}

// memoryGroups returns the groups that limit this process's memory.
func memoryGroups(root fs.FS) []limitFiles {
	return limiting(root, "memory", []limitFiles{
		{"memory.max", "memory.current", "memory.stat"},
		{"memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"},
	})
}

// threadGroups returns the groups that limit how many threads there are.
func threadGroups(root fs.FS) []limitFiles {
	return limiting(root, "pids", []limitFiles{{"pids.max", "pids.current", ""}})
}

// limiting returns the groups by a controller that have a limit.
func limiting(root fs.FS, controller string, names []limitFiles) []limitFiles {
	var found []limitFiles
	for _, dir := range groupsOfController(root, controller) {
		for _, n := range names {
			f := limitFiles{most: path.Join(dir, n.most), used: path.Join(dir, n.used)}
			if n.stat != "" {
				f.stat = path.Join(dir, n.stat)
			}
			if most, _ := f.read(root); most > 0 {
				found = append(found, f)
				break
			}
		}
	}
	return found
}

// read returns the limit, 0 if there is none, and what is used of it. Memory
// that the kernel takes back before it kills does not count: cached files.
func (f limitFiles) read(root fs.FS) (most, used int64) {
	most, err := strconv.ParseInt(textOf(root, f.most), 10, 64)
	if err != nil || most >= noLimit {
		return 0, 0
	}
	used, _ = strconv.ParseInt(textOf(root, f.used), 10, 64) // not readable: nothing
	if f.stat != "" {
		used -= cached(textOf(root, f.stat))
	}
	return most, max(0, used)
}

// cached sums the cached files of a memory.stat. In version 1 those of the
// groups below count where the name begins with total.
func cached(stat string) int64 {
	sums := map[string]int64{}
	for line := range strings.Lines(stat) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		prefix := ""
		if below, ok := strings.CutPrefix(name, "total_"); ok {
			name, prefix = below, "total_"
		}
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && (name == "inactive_file" || name == "active_file") {
			sums[prefix] += n
		}
	}
	if total, ok := sums["total_"]; ok {
		return total
	}
	return sums[""]
}

// quotaCPUs reads a cpu.max such as "150000 100000"; 0 is no limit.
func quotaCPUs(text string) float64 {
	fields := strings.Fields(text)
	if len(fields) != 2 {
		return 0
	}
	used, err1 := strconv.ParseFloat(fields[0], 64)
	period, err2 := strconv.ParseFloat(fields[1], 64)
	if err1 != nil || err2 != nil || period <= 0 || used < 0 {
		return 0
	}
	return used / period
}

package hub

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// measureProcess returns what the process that runs the hub has used. What the system does not tell is 0.
func measureProcess() processStats {
	var p processStats
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) == nil {
		p.CPUSeconds = seconds(usage.Utime) + seconds(usage.Stime)
	}
	// Not the maximum of getrusage: a child process starts with that of its parent.
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		p.RSSBytes = kilobytes(status, "VmRSS:")
		p.MaxRSSBytes = kilobytes(status, "VmHWM:")
	}
	return p
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// kilobytes returns a field of /proc/self/status in bytes, or 0.
func kilobytes(status []byte, name string) int64 {
	_, rest, _ := bytes.Cut(status, []byte("\n"+name))
	fields := bytes.Fields(rest[:min(len(rest), 64)])
	if len(fields) == 0 {
		return 0
	}
	kb, _ := strconv.ParseInt(string(fields[0]), 10, 64)
	return kb << 10
}

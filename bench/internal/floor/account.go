package floor

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Account is what a process has used.
type Account struct {
	CPU time.Duration // user and system
	RSS int64         // bytes, now
}

// ownAccount is that of this process, counted as muster counts its own.
func ownAccount() (Account, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return Account{}, fmt.Errorf("read the process's CPU time: %w", err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return Account{}, fmt.Errorf("read the process's memory: %w", err)
	}
	_, rest, _ := bytes.Cut(status, []byte("\nVmRSS:"))
	fields := bytes.Fields(rest[:min(len(rest), 64)])
	if len(fields) == 0 {
		return Account{}, fmt.Errorf("read the process's memory: no VmRSS in /proc/self/status")
	}
	kb, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return Account{}, fmt.Errorf("read the process's memory: %w", err)
	}
	return Account{CPU: time.Duration(u.Utime.Nano() + u.Stime.Nano()), RSS: kb << 10}, nil
}

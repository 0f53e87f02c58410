package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// oomKills counts the processes that the kernel of this host has killed for
// want of memory, 0 where it does not tell.
func oomKills(root fs.FS) int64 {
	for line := range strings.Lines(textOf(root, "proc/vmstat")) {
		if value, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64) // not readable: none
			return n
		}
	}
	return 0
}

// hubDeath words how the hub ended in the middle of a run. Who kills without a
// word is often the kernel; killed counts whom it has, since the run began.
func hubDeath(ended error, last hubReading, killed int64) error {
	if ended == nil {
		return ErrHubDied
	}
	err := fmt.Errorf("%w: %w", ErrHubDied, ended)
	var exit *exec.ExitError
	if !errors.As(ended, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		return err
	}
	had := fmt.Sprintf("it had %d MiB of memory", last.rss>>20)
	if killed > 0 {
		return fmt.Errorf("%w; the kernel has killed for want of memory meanwhile, and %s: use fewer devices, or raise the limit (dmesg names it)", err, had)
	}
	return fmt.Errorf("%w; %s, and the kernel counts nobody that it killed for want of it", err, had)
}

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

// adviseMemory is for who lost a process to the kernel.
const adviseMemory = "use fewer devices, or raise the limit (dmesg names it)"

// hubDeath words how the hub ended in the middle of a run. Who kills without a
// word is often the kernel; killed counts whom it has, since the run began.
func hubDeath(ended error, last hubReading, killed int64) error {
	if ended == nil {
		return ErrHubDied
	}
	err := fmt.Errorf("%w: %w", ErrHubDied, ended)
	if !wasKilled(ended) {
		return err
	}
	had := fmt.Sprintf("it had %d MiB of memory", last.rss>>20)
	if killed > 0 {
		return fmt.Errorf("%w; the kernel has killed for want of memory meanwhile, and %s: %s", err, had, adviseMemory)
	}
	return fmt.Errorf("%w; %s, and the kernel counts nobody that it killed for want of it", err, had)
}

// generatorDeath is hubDeath of a generator.
func generatorDeath(p fmt.Stringer, ended error, killed int64) error {
	err := fmt.Errorf("%v %w", p, ErrGeneratorDied)
	if ended == nil {
		return err
	}
	err = fmt.Errorf("%w: %w", err, ended)
	if killed > 0 && wasKilled(ended) {
		return fmt.Errorf("%w; the kernel has killed for want of memory meanwhile: %s", err, adviseMemory)
	}
	return err
}

// wasKilled reports whether a process ended by SIGKILL.
func wasKilled(ended error) bool {
	exit, ok := errors.AsType[*exec.ExitError](ended)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

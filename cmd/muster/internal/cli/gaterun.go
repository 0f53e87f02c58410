package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// side is one side of a gate: a muster and the settings that it is given.
type side struct {
	binary string
	set    []string
}

// killAfter is how long, beside its drain, a run that was interrupted may take
// to take down its fleet and hub and to write its report.
const killAfter = 30 * time.Second

// run runs one side once as a child process, whose results folder is dir, and
// waits until it is gone. If ctx ends, the child is interrupted, and killed if it does
// not end; if this process dies, the child is killed. Its hub ends with it.
func (g *gating) run(ctx context.Context, s side, dir string) error {
	// The kernel kills the child when the thread ends that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, s.binary, g.arguments(s, dir)...)
	cmd.Env = withoutFlags(os.Environ(), newRun(g.stdio).Flags())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the terminal's Ctrl-C is for the gate, which then interrupts the run
	dieWithParent(cmd.SysProcAttr)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = g.flags.drain + killAfter
	stderr := &tail{}
	cmd.Stderr = stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return err // it did not start
	}
	// Whatever of these it is, the results folder tells more of it.
	if slices.Contains([]int{exitPass, exitThreshold, exitInvalid, exitInterrupted}, cmd.ProcessState.ExitCode()) {
		return nil
	}
	if said := stderr.String(); said != "" {
		return fmt.Errorf("%w: %s", errors.Join(err), said)
	}
	return err
}

// withoutFlags leaves out the variables that stand for flags: a run is given
// all that it needs. Others may be what its scenario names.
func withoutFlags(environ []string, flags *pflag.FlagSet) []string {
	return slices.DeleteFunc(environ, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		found := false
		flags.VisitAll(func(f *pflag.Flag) { found = found || name == variableOf(f) })
		return found
	})
}

// arguments are those of one run. They are such as an older muster knows, too.
func (g *gating) arguments(s side, dir string) []string {
	f := g.flags
	args := []string{"run", "--out", dir, "--progress", "none", "--drain", f.drain.String()}
	for _, set := range s.set {
		args = append(args, "--set", set)
	}
	if f.driver != "" {
		args = append(args, "--driver", f.driver)
	}
	if f.devices > 0 {
		args = append(args, "--devices", strconv.Itoa(f.devices))
	}
	if g.set.Changed("seed") {
		args = append(args, "--seed", strconv.FormatUint(f.seed, 10))
	}
	if f.inProcess {
		args = append(args, "--in-process")
	}
	return append(args, "--", g.file)
}

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

const tailBytes = 4096 // some lines: what was wrong with a scenario

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

// String returns it without warnings, and without what the other muster says of its usage.
func (t *tail) String() string {
	var kept []string
	for line := range strings.Lines(string(t.text)) {
		line = strings.TrimRight(line, "\n")
		if !strings.HasPrefix(line, "warning: ") && !strings.HasPrefix(line, "Run 'muster --help'") {
			kept = append(kept, strings.TrimPrefix(line, "muster: "))
		}
	}
	return strings.TrimSpace(strings.Join(kept, "\n"))
}

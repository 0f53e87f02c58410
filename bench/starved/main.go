// Command starved runs a scenario twice with a muster binary: by itself, and
// with four busy loops beside it on two processors. The second run must end
// invalid, as its numbers are those of the generator's own queue. It is part of
// make soak.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"muster/report"
)

// loops are beside the run on so many processors.
const (
	loops      = 4
	processors = 2
)

const scenario = `
name: starved
target: {embedded: {jobRate: 2000/s}}
fleet:
  - group: doors
    devices: 2000
    methods: {lockDoor: {latency: 20ms}}
connect: {rate: 1000/s}
jobs:
  - name: lock
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor}
    queryCondition: "*"
    startTime: +2s
    repeat: {times: 3, every: 2s}
thresholds:
  - jobs.lock.succeeded == 100%
  - jobs.lock.service.p99 < 1s
`

func main() {
	muster := flag.String("muster", "bin/muster", "the binary to run")
	loop := flag.Bool("loop", false, "be a busy loop until standard input ends")
	flag.Parse()
	if *loop {
		burn()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := check(ctx, *muster); err != nil {
		fmt.Fprintf(os.Stderr, "starved: %v\n", err)
		os.Exit(1)
	}
}

// burn keeps one processor busy until standard input ends, with this process's
// parent if not before.
func burn() {
	var ended atomic.Bool
	var reading sync.WaitGroup
	reading.Go(func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // however it ends, it has ended
		ended.Store(true)
	})
	for !ended.Load() {
	}
	reading.Wait()
}

func check(ctx context.Context, muster string) error {
	dir, err := os.MkdirTemp("", "muster-starved-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "starved.yaml")
	if err := os.WriteFile(file, []byte(scenario), 0o600); err != nil {
		return err
	}
	calm, _, err := measure(ctx, muster, file, filepath.Join(dir, "calm"))
	if err != nil {
		return err
	}
	print("by itself", calm)
	end, err := busy(ctx)
	if err != nil {
		return err
	}
	starved, status, err := measure(ctx, muster, file, filepath.Join(dir, "starved"))
	end()
	if err != nil {
		return err
	}
	print(fmt.Sprintf("with %d busy loops", loops), starved)
	if starved.Verdict != report.Invalid || status != 110 {
		return fmt.Errorf("the starved run ended %s with status %d, want invalid with 110", starved.Verdict, status)
	}
	return nil
}

// measure runs the scenario and reads its summary.
func measure(ctx context.Context, muster, file, out string) (*report.Summary, int, error) {
	cmd := pinned(ctx, muster, "run", "--progress", "none", "--out", out, file)
	cmd.Stderr = os.Stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return nil, 0, fmt.Errorf("run %s: %w", muster, err)
	}
	src, err := os.ReadFile(filepath.Join(out, "summary.json"))
	if err != nil {
		return nil, 0, err
	}
	s := new(report.Summary)
	if err := json.Unmarshal(src, s); err != nil {
		return nil, 0, err
	}
	return s, cmd.ProcessState.ExitCode(), nil
}

// busy starts the loops, and returns what ends and joins them.
func busy(ctx context.Context) (end func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var ends []func()
	end = func() {
		for _, f := range ends {
			f()
		}
	}
	for range loops {
		cmd := pinned(ctx, self, "-loop")
		stdin, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			end()
			return nil, err
		}
		ends = append(ends, func() {
			_ = stdin.Close() // which ends it
			_ = cmd.Wait()
		})
	}
	return end, nil
}

// pinned is a command on the first processors alone, where there are more.
func pinned(ctx context.Context, name string, args ...string) *exec.Cmd {
	if taskset, err := exec.LookPath("taskset"); err == nil && runtime.NumCPU() > processors {
		args = append([]string{"-c", fmt.Sprintf("0-%d", processors-1), name}, args...)
		name = taskset
	}
	return exec.CommandContext(ctx, name, args...)
}

func print(how string, s *report.Summary) {
	j := &s.Jobs[0]
	fmt.Printf("%-17s  %s", how, s.Verdict)
	if st := j.Phases["service"]; st != nil {
		fmt.Printf(", service p50 %s ms, p99 %s ms", text(st.P50), text(st.P99))
	}
	if j.Wake != nil {
		fmt.Printf(", wake p99 %s ms, limit %s ms", text(j.Wake.P99), text(j.Wake.Limit))
	}
	fmt.Printf("\n%s", strings.Join(append(s.Reasons, ""), "\n"))
}

func text(m report.Millis) string {
	src, _ := m.MarshalJSON() // it does not fail
	return string(src)
}

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// scenarioText is of a fleet that does nothing but answer, and of one job.
const scenarioText = `
name: bench
seed: 1
target: {embedded: {transport: %s}}
fleet:
  - group: doors
    devices: %d
    id: "door-{index:06d}"
    methods:
      lockDoor: {status: 200, response: {locked: true}}
connect: {rate: 1000000/s, inFlight: 500, timeout: 120s}
jobs:
  - name: lock
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor, payload: {lockTime: 10m}, responseTimeoutInSeconds: 60}
    queryCondition: "*"
    startTime: +1s
    repeat: {times: %d, every: 10ms}
    via: %s
`

func (c benchCase) scenario(broadcasts int) string {
	text := fmt.Sprintf(scenarioText, c.transport, c.devices, broadcasts, c.via)
	if c.via == "direct" {
		text += "    inFlight: 128\n"
	}
	return text
}

// Statuses of muster run that still leave whole numbers to read: an unpaced
// broadcast on a small machine saturates the generator, and is invalid as a
// test.
const (
	exitThreshold = 99
	exitInvalid   = 110
)

// runOnce runs a case in a folder of its own, with further variables in the
// environment, and reads its samples.
func runOnce(ctx context.Context, binary string, c benchCase, broadcasts int, env []string) (costs, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return costs{}, err
	}
	dir, err := os.MkdirTemp("", "muster-bench-")
	if err != nil {
		return costs{}, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "scenario.yaml")
	if err := os.WriteFile(file, []byte(c.scenario(broadcasts)), 0o666); err != nil {
		return costs{}, err
	}
	out := filepath.Join(dir, "out")
	cmd := exec.CommandContext(ctx, binary, "run", "--progress", "none", "--driver", c.driver, "--out", out, file)
	cmd.Env = append(os.Environ(), env...)
	text, err := cmd.CombinedOutput()
	if err != nil && (cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != exitInvalid && cmd.ProcessState.ExitCode() != exitThreshold) {
		return costs{}, fmt.Errorf("%w\n%s", err, text)
	}
	return read(out)
}

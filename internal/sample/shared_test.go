//go:build linux

package sample_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"muster/internal/sample"
)

// reading is a moment between two readings of the clock that all processes have.
type reading struct {
	Before, After int64
	Moment        sample.Moment
}

func readClock(t *testing.T, c *sample.Clock) reading {
	t.Helper()
	monotonic := func() int64 {
		var at unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &at); err != nil {
			t.Fatal(err)
		}
		return at.Nano()
	}
	r := reading{Before: monotonic()}
	r.Moment = c.Now()
	r.After = monotonic()
	return r
}

// TestTheClockOfAnotherProcess is that other process.
func TestTheClockOfAnotherProcess(t *testing.T) {
	given := os.Getenv("SAMPLE_TEST_EPOCH")
	if given == "" {
		t.Skip("started by TestTwoProcessesHaveOneClock alone")
	}
	var epoch sample.Epoch
	if err := json.Unmarshal([]byte(given), &epoch); err != nil {
		t.Fatal(err)
	}
	clock, err := sample.ClockAt(epoch)
	if err != nil {
		t.Fatal(err)
	}
	out, _ := json.Marshal(readClock(t, clock))
	fmt.Printf("\nreading %s\n", out)
	fmt.Printf("epoch %d\n", clock.Epoch().UnixNano())
}

// TestTwoProcessesHaveOneClock holds the moments of two processes against the
// clock that both have: they may differ by what reading it takes, of which each
// clock chose the quickest of many readings.
func TestTwoProcessesHaveOneClock(t *testing.T) {
	clock := sample.NewClock()
	epoch, err := clock.Share()
	if err != nil {
		t.Fatal(err)
	}
	given, _ := json.Marshal(epoch)
	cmd := exec.Command(os.Args[0], "-test.run=^TestTheClockOfAnotherProcess$", "-test.count=1")
	cmd.Env = append(os.Environ(), "SAMPLE_TEST_EPOCH="+string(given))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var theirs reading
	var wall int64
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if text, ok := bytes.CutPrefix(lines.Bytes(), []byte("reading ")); ok {
			if err := json.Unmarshal(text, &theirs); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = fmt.Sscanf(lines.Text(), "epoch %d", &wall)
	}
	if err := cmd.Wait(); err != nil || theirs.Moment == 0 {
		t.Fatalf("the other process: %v, read %+v", err, theirs)
	}
	if wall != clock.Epoch().UnixNano() {
		t.Errorf("the other's epoch is %d, want %d", wall, clock.Epoch().UnixNano())
	}
	const exact = 100 * time.Microsecond // far above what a reading takes, far below what a wrong epoch would give
	for who, r := range map[string]reading{"this process": readClock(t, clock), "the other": theirs} {
		at := epoch.Monotonic + int64(r.Moment)
		if at < r.Before-int64(exact) || at > r.After+int64(exact) {
			t.Errorf("%s: moment %d is at %d of the common clock, want from %d to %d", who, r.Moment, at, r.Before, r.After)
		}
	}
}

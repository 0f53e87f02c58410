package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/cmd/muster/internal/cli"
	"muster/internal/sample"
	"muster/iothub"
	"muster/report"
)

// Every subcommand as a function, with its own standard streams.

// outcome is what came of a command line.
type outcome struct {
	status         int
	stdout, stderr string
}

// muster runs a command line with an empty standard input.
func muster(t *testing.T, args ...string) outcome {
	t.Helper()
	withoutVariables(t)
	var stdout, stderr bytes.Buffer
	status := cli.Main(t.Context(), args, cli.Stdio{In: strings.NewReader(""), Out: &stdout, Err: &stderr})
	return outcome{status, stdout.String(), stderr.String()}
}

// withoutVariables empties the variables that stand for flags: a command takes
// an empty one for none.
func withoutVariables(t *testing.T) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "MUSTER_") && value != "" {
			t.Setenv(name, "")
		}
	}
}

// ends checks the exit status of a command line, and that each stream holds
// the text that it must; a stream of which no text is asked must be empty.
func (o outcome) ends(t *testing.T, status int, stdout, stderr string) {
	t.Helper()
	if o.status != status {
		t.Errorf("exit status %d, want %d", o.status, status)
	}
	for _, stream := range []struct{ name, got, want string }{{"stdout", o.stdout, stdout}, {"stderr", o.stderr, stderr}} {
		if !strings.Contains(stream.got, stream.want) || stream.want == "" && stream.got != "" {
			t.Errorf("%s: got %q, want %q in it", stream.name, stream.got, stream.want)
		}
	}
}

func TestVersion(t *testing.T) {
	want := fmt.Sprintf("muster devel %s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	muster(t, "version").ends(t, 0, want, "")
	muster(t, "version", "2").ends(t, 2, "", "unknown command")
}

// tiny is a scenario without a latency in its thresholds, so that a busy
// machine changes no verdict.
const tiny = `
name: tiny
target: {embedded: {transport: memory}}
fleet:
  - group: doors
    devices: 5
    methods: {lockDoor: {response: {locked: true}}}
jobs:
  - name: lock
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor, payload: {lockTime: 10m}}
    queryCondition: "*"
    repeat: {times: 2, every: 50ms}
    mark: true
thresholds:
  - jobs.lock.succeeded == 100%
`

// write writes a file into a folder of its own and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestValidate(t *testing.T) {
	good, bad := write(t, "good.yaml", tiny), write(t, "bad.yaml", "name: bad\nfleet: []\n")
	muster(t, "validate", good).ends(t, 0, good+": ok: 5 devices, 1 job (lock) in 2 repetitions, 1 threshold\n", "")
	muster(t, "validate", "smoke", "tutorial.yaml").ends(t, 0, "tutorial.yaml: ok: 1 device", "")
	muster(t, "validate", bad).ends(t, 104, "", bad+":2:8: fleet: the list needs at least 1 item")
	muster(t, "validate", good, bad).ends(t, 104, good+": ok", "1 of 2 scenarios are bad")
	muster(t, "validate", "--set", "jobs.lock.repeat.times=9", good).ends(t, 0, "9 repetitions", "")
	muster(t, "validate", "--set", "thresholds=[]", good).ends(t, 0, "0 thresholds", "warning: --set thresholds: the scenario has no thresholds")
	muster(t, "validate").ends(t, 2, "", "requires at least 1 arg(s)")
}

const (
	ms = sample.Moment(time.Millisecond)
	s  = sample.Moment(time.Second)
)

// recorded is a results folder of a run of one method job on two devices, due
// at 1 s and over 100 ms later, while the generator woke with some delay.
func recorded(t *testing.T, delay time.Duration, threshold string) string {
	t.Helper()
	dir := t.TempDir()
	err := report.WriteRun(dir, &report.Run{
		Scenario: "recorded", Target: report.Target{Kind: "embedded", Transport: "tcp"},
		StartedAt:  time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		Groups:     []report.Group{{Name: "doors", Devices: 2}},
		Jobs:       []report.RunJob{{Name: "lock", Type: "scheduleDeviceMethod", Via: "hub", QueryCondition: "*", Repetitions: 1}},
		Thresholds: []string{threshold},
	})
	if err != nil {
		t.Fatal(err)
	}
	w, err := sample.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(&sample.Targets{ID: "lock-1", Due: s, Checkable: true, Devices: []uint32{0, 1}})
	for i := range uint32(2) {
		w.Write(&sample.Device{Index: i, ID: fmt.Sprintf("door-%d", i), Group: "doors"})
		w.Connect(&sample.Connect{Device: i, Attempt: 1, Due: ms, Dialed: 2 * ms, Accepted: 3 * ms, Ready: 4 * ms})
		w.Execution(&sample.Execution{
			Device: i, Outcome: sample.Succeeded, Final: true, Status: 200, HubClock: true,
			Due: s, Dispatched: s + 10*ms, Received: s + 20*ms, Answered: s + 100*ms, Finished: s + 100*ms, Booked: s + 101*ms,
		})
	}
	books := sample.Statistics{Devices: 2, Succeeded: 2}
	w.Write(&sample.Repetition{
		ID: "lock-1", Status: "completed", Due: s, Ended: s + 101*ms, Targeted: 2, Checked: true, HubBooks: true, Rows: books, Stats: books,
	})
	health := &sample.Health{At: 2 * s}
	for sent := ms; sent < 2*s; sent += ms {
		health.Wakes = append(health.Wakes, sample.Wake{Sent: sent, Delay: delay})
	}
	w.Write(health)
	if err := w.Close(sample.End{At: 2 * s, Reason: "completed"}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestReport(t *testing.T) {
	const total, little, long = "jobs.lock.total.p99 < 2s", 100 * time.Microsecond, 30 * time.Millisecond
	kept := recorded(t, little, total)
	muster(t, "report", kept).ends(t, 0, "PASS  recorded", "")
	for _, name := range []string{"summary.json", "summary.md", "devices.csv", "report.html"} {
		if info, err := os.Stat(filepath.Join(kept, name)); err != nil || info.Size() == 0 {
			t.Errorf("muster report: %s: %v", name, err)
		}
	}
	muster(t, "report", recorded(t, long, total)).ends(t, 110, "the generator was saturated: wake p99 30", "")
	muster(t, "report", recorded(t, little, "jobs.lock.total.p99 < 50ms")).ends(t, 99, "FAIL  recorded", "")
	muster(t, "report", recorded(t, little, "jobs.lock.uplink.p99 < 2s")).ends(t, 99, "threshold jobs.lock.uplink.p99 < 2s had no data", "")
	muster(t, "report", t.TempDir()).ends(t, 1, "", "read run: open ")
	muster(t, "report").ends(t, 2, "", "requires at least 1 arg(s), only received 0")
}

// summary reads summary.json of a results folder.
func summary(t *testing.T, dir string) report.Summary {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s report.Summary
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRunInMemory(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	got := muster(t, "run", "--in-process", "--progress", "plain", "--out", out, "--devices", "7", "--seed", "3", write(t, "tiny.yaml", tiny))
	got.ends(t, 0, "PASS  tiny", "job lock 2/2 ")
	for _, name := range []string{"scenario.yaml", "run.json", "samples/records", "summary.md", "devices.csv"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	s := summary(t, out)
	if s.Verdict != report.Pass || s.Fleet.Connected != 7 || s.Seed != 3 || len(s.Jobs) != 1 {
		t.Fatalf("verdict %s, %d devices connected, seed %d, %d jobs; want pass, 7, 3, 1", s.Verdict, s.Fleet.Connected, s.Seed, len(s.Jobs))
	}
	if j := s.Jobs[0]; j.Targeted != 14 || j.Succeeded != 14 || !j.LedgerBalanced || j.Phases["total"].Count != 14 {
		t.Errorf("targeted %d, succeeded %d, balanced %v, %d totals; want 14 in 2 repetitions on 7 devices",
			j.Targeted, j.Succeeded, j.LedgerBalanced, j.Phases["total"].Count)
	}
}

func TestRunWithoutDataFails(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	got := muster(t, "run", "--in-process", "--progress", "none", "--out", out,
		"--set", "jobs.lock.queryCondition=tags.site = 'nowhere'", write(t, "tiny.yaml", tiny))
	got.ends(t, 99, "threshold jobs.lock.succeeded == 100% had no data", "")
	if s := summary(t, out); s.Verdict != report.Fail || s.Jobs[0].Targeted != 0 {
		t.Errorf("verdict %s, targeted %d; want fail, 0", s.Verdict, s.Jobs[0].Targeted)
	}
}

// trigger is a stream that calls do when a text has been written to it.
type trigger struct {
	mu   sync.Mutex // guards seen
	seen strings.Builder
	text string
	do   func()
}

func (w *trigger) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.seen.Write(p)
	found := strings.Contains(w.seen.String(), w.text)
	w.mu.Unlock()
	if found {
		w.do()
	}
	return len(p), nil
}

// TestInterruptedRun cancels a run of many repetitions when the first is over.
func TestInterruptedRun(t *testing.T) {
	withoutVariables(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := filepath.Join(t.TempDir(), "out")
	var stdout bytes.Buffer
	stderr := &trigger{text: ": completed", do: cancel}
	args := []string{
		"run", "--in-process", "--progress", "plain", "--out", out,
		"--set", "jobs.lock.repeat={times: 1000, every: 1h}", write(t, "tiny.yaml", tiny),
	}
	status := cli.Main(ctx, args, cli.Stdio{In: strings.NewReader(""), Out: &stdout, Err: stderr})
	outcome{status, stdout.String(), stderr.seen.String()}.ends(t, 105, "INTERRUPTED  tiny", stderr.text)
	if s := summary(t, out); s.Verdict != report.Interrupted || s.Jobs[0].Unknown != 0 || s.Jobs[0].Targeted == 0 {
		t.Errorf("verdict %s, %d of %d executions unknown; want interrupted, 0", s.Verdict, s.Jobs[0].Unknown, s.Jobs[0].Targeted)
	}
}

// TestHubUntilEndOfInput starts a hub, asks it for something, and ends it by
// closing its standard input.
func TestHubUntilEndOfInput(t *testing.T) {
	withoutVariables(t)
	in, input := io.Pipe()
	output, out := io.Pipe()
	var stderr bytes.Buffer
	ended := make(chan int, 1) // its one value is the exit status
	var running sync.WaitGroup
	running.Go(func() {
		args := []string{"hub", "--json", "--until-eof", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--hostname", "test.hub"}
		ended <- cli.Main(t.Context(), args, cli.Stdio{In: in, Out: out, Err: &stderr})
		_ = out.Close() // ends the copy below; never fails
	})
	defer running.Wait()
	defer input.Close()
	defer output.Close()

	lines := bufio.NewReader(output)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var ready struct{ MQTT, HTTP, ConnectionString string }
	if err := json.Unmarshal([]byte(line), &ready); err != nil || ready.MQTT == "" {
		t.Fatalf("muster hub --json printed %q: %v", line, err)
	}
	cs, err := iothub.ParseConnectionString(ready.ConnectionString)
	if err != nil || cs.HostName != "test.hub" {
		t.Fatalf("connection string of %q: %v", cs.HostName, err)
	}
	client, err := iothub.NewClient(cs, &iothub.ClientOptions{BaseURL: "http://" + ready.HTTP})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Device(t.Context(), "nobody"); !iothub.HasCode(err, iothub.CodeDeviceNotFound) {
		t.Errorf("the hub answers a look at a device that is not there with %v", err)
	}

	_ = input.Close() // never fails
	more, err := io.ReadAll(lines)
	if status := <-ended; status != 0 || len(more) > 0 || err != nil || stderr.String() != "" {
		t.Errorf("exit status %d, more on stdout %q, %v, on stderr %q; want 0 and nothing", status, more, err, stderr.String())
	}
}

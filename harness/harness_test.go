package harness_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"muster/harness"
	"muster/hub"
	"muster/internal/goheap"
	"muster/internal/sample"
	"muster/report"
	"muster/scenarios"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// steady is a generator that keeps up: on the fake clock the machine's own
// load must not show.
func steady(ctx context.Context, clock *sample.Clock, emit func(sample.Wake)) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			emit(sample.Wake{Sent: clock.Now(), Delay: 50 * time.Microsecond})
		}
	}
}

// plenty is a host that lacks nothing, as this one may.
func plenty() harness.HostReading {
	return harness.ReadingOf([2]int64{8 << 30, 1 << 30}, [2]int64{}, [2]int64{}, goheap.State{})
}

// parse loads a scenario for the memory transport.
func parse(t *testing.T, src string, set ...string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Parse("test.yaml", []byte(src), scenarios.Options{Set: append(set, "target.embedded.transport=memory")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs s on the fake clock and returns its summary and folder.
func run(ctx context.Context, t *testing.T, s *scenarios.Scenario, opts harness.Options) (*report.Summary, string, error) {
	t.Helper()
	harness.SetWakes(&opts, steady)
	harness.SetReadings(&opts, plenty)
	if opts.Out == "" {
		opts.Out = filepath.Join(t.TempDir(), "out")
	}
	result, err := harness.Run(ctx, s, &opts)
	if result == nil || result.Report == nil {
		t.Fatalf("Run() = %v, %v", result, err)
	}
	return &result.Report.Summary, result.Dir, err
}

func TestShippedScenariosPassAtReducedSize(t *testing.T) {
	for _, name := range scenarios.ShippedNames() {
		t.Run(name, func(t *testing.T) {
			src, err := os.ReadFile(filepath.Join("..", "scenarios", name+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				s, err := scenarios.Parse(name, src, scenarios.Options{Set: []string{"target.embedded.transport=memory"}})
				if err != nil {
					t.Fatal(err)
				}
				if s.Devices() > 100 {
					if s, err = scenarios.Parse(name, src, scenarios.Options{Set: []string{"target.embedded.transport=memory"}, Devices: 100}); err != nil {
						t.Fatal(err)
					}
				}
				got, _, err := run(t.Context(), t, s, harness.Options{})
				if err != nil || got.Verdict != report.Pass {
					t.Errorf("verdict %s %v, error %v", got.Verdict, got.Reasons, err)
				}
				for _, j := range got.Jobs {
					meant := len(s.Faults) > 0 // what goes wrong then is in its thresholds
					if !j.LedgerBalanced || j.Succeeded != j.Targeted && !meant || j.Duplicates+j.Unexpected != 0 {
						t.Errorf("job %s: balanced %v, %d of %d succeeded, %d duplicates, %d unexpected: %v",
							j.Name, j.LedgerBalanced, j.Succeeded, j.Targeted, j.Duplicates, j.Unexpected, j.LedgerFaults)
					}
				}
			})
		})
	}
}

const doors = `
name: test
target: {embedded: {}}
fleet:
  - group: doors
    devices: 40
    id: "door-{index:03d}"
    tags: {site: "{pick('north', 'south')}", floor: "{random(5)}"}
    methods: {lockDoor: {response: {locked: true}, latency: 2ms}}
connect: {rate: 1000/s}
`

const methodJob = `
jobs:
  - name: lock
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor, payload: {lockTime: 10m}}
    queryCondition: "tags.site = 'north'"
    startTime: +1s
    repeat: {times: 3, every: 2s}
`

func TestTheSeedDecidesTheFleetAndWhomJobsTarget(t *testing.T) {
	targets := func(seed string) []*sample.Targets {
		var all []*sample.Targets
		synctest.Test(t, func(t *testing.T) {
			_, dir, err := run(t.Context(), t, parse(t, doors+methodJob, "seed="+seed), harness.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records(t, dir) {
				if r, ok := r.(*sample.Targets); ok {
					r.ID, r.Due = "", 0 // these are the run's own
					all = append(all, r)
				}
			}
		})
		return all
	}
	first, again, other := targets("7"), targets("7"), targets("8")
	if len(first) != 3 || len(first[0].Devices) == 0 {
		t.Fatalf("%d repetitions, the first targets %v", len(first), first)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the same seed targets others:\n%s", diff)
	}
	if cmp.Equal(first, other) {
		t.Errorf("another seed targets the same: %v", first[0].Devices)
	}
}

// records reads all samples of a run.
func records(t *testing.T, dir string) []sample.Record {
	t.Helper()
	in, err := sample.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var all []sample.Record
	for {
		r, err := in.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		switch rec := r.(type) { // what the reader reads another into
		case *sample.Device:
			r = &[]sample.Device{*rec}[0]
		case *sample.Connect:
			r = &[]sample.Connect{*rec}[0]
		case *sample.Execution:
			r = &[]sample.Execution{*rec}[0]
		}
		all = append(all, r)
	}
}

func TestEveryDeviceHasASampleOfEveryRepetition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, dir, err := run(t.Context(), t, parse(t, doors+methodJob, "jobs.lock.queryCondition=*"), harness.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if j := got.Jobs[0]; j.Targeted != 120 || j.Succeeded != 120 || j.Phases["total"].Count != 120 {
			t.Errorf("targeted %d, succeeded %d, total has %d samples, want 120 each", j.Targeted, j.Succeeded, j.Phases["total"].Count)
		}
		csv, err := os.ReadFile(filepath.Join(dir, "devices.csv"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(csv)), "\n")
		if len(lines) != 41 {
			t.Fatalf("devices.csv has %d lines, want a header and 40", len(lines))
		}
		column := columnOf(t, lines[0], "samples")
		for _, line := range lines[1:] {
			if n := strings.Split(line, ",")[column]; n != "3" {
				t.Errorf("a device has %s samples, want 3: %s", n, line)
			}
		}
	})
}

func columnOf(t *testing.T, header, name string) int {
	t.Helper()
	for i, column := range strings.Split(header, ",") {
		if column == name {
			return i
		}
	}
	t.Fatalf("no column %s in %s", name, header)
	return 0
}

func TestReportAgainGivesTheSameFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dir, err := run(t.Context(), t, parse(t, doors+methodJob), harness.Options{})
		if err != nil {
			t.Fatal(err)
		}
		made := []string{
			"summary.json", "devices.csv", "summary.md", "junit.xml", "bench.txt", "histograms.hlog",
			filepath.Join("percentiles", "fleet.connect.hgrm"), filepath.Join("percentiles", "lock.total.hgrm"),
		}
		first := map[string]string{}
		for _, name := range made {
			first[name] = take(t, filepath.Join(dir, name))
		}
		r, err := report.Build(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Write(); err != nil {
			t.Fatal(err)
		}
		for _, name := range made {
			if diff := cmp.Diff(first[name], take(t, filepath.Join(dir, name))); diff != "" {
				t.Errorf("%s differs when made again:\n%s", name, diff)
			}
		}
	})
}

// take reads a file and removes it.
func take(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// directJob makes 2,000 calls at 500 a second.
const directJob = `
jobs:
  - name: lock
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor, payload: {lockTime: 10m}}
    queryCondition: "*"
    startTime: +1s
    via: direct
    rate: 500/s
`

// pausedRun runs directJob on 2,000 devices, with the hub paused from one
// second into the job for pause, and returns the p99 of total and service.
func pausedRun(t *testing.T, inFlight int, pause time.Duration) (total, service time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var paused sync.WaitGroup
		opts := harness.Options{StartHub: harness.StartInside(func(h *hub.Hub, _ *harness.Hub) {
			paused.Go(func() {
				time.Sleep(5 * time.Second) // two to connect 2,000 devices, one to the start, one of the job, one to be sure
				h.Pause(pause)
			})
		})}
		s := parse(t, doors+directJob, "fleet.doors.devices=2000", fmt.Sprintf("jobs.lock.inFlight=%d", inFlight))
		got, _, err := run(t.Context(), t, s, opts)
		paused.Wait()
		if err != nil {
			t.Fatal(err)
		}
		j := got.Jobs[0]
		if !j.LedgerBalanced || j.Succeeded != 2000 {
			t.Errorf("balanced %v, %d of %d succeeded: %v", j.LedgerBalanced, j.Succeeded, j.Targeted, j.Causes)
		}
		total, service = time.Duration(j.Phases["total"].P99), time.Duration(j.Phases["service"].P99)
	})
	return total, service
}

func TestLatencyOfADirectJobCountsFromDue(t *testing.T) {
	calmTotal, calmService := pausedRun(t, 8, 0)
	total, service := pausedRun(t, 8, time.Second)
	if total < 900*time.Millisecond {
		t.Errorf("with 8 in flight, a pause of a second makes total p99 %v, want it to show (%v without)", total, calmTotal)
	}
	if service > 2*calmService {
		t.Errorf("with 8 in flight, a pause of a second makes service p99 %v, want at most twice the %v without", service, calmService)
	}
	total, service = pausedRun(t, 0, time.Second)
	if total < 900*time.Millisecond || service < 900*time.Millisecond {
		t.Errorf("without a cap, a pause of a second makes total p99 %v and service p99 %v, want it to show in both", total, service)
	}
}

// mutedConn is a connection whose device stops to read once mute is set.
type mutedConn struct {
	net.Conn
	mute   *atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (c *mutedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.mute.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *mutedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func TestDevicesThatNeverReadDelayNobody(t *testing.T) {
	p99 := func(silent int64) time.Duration {
		var total time.Duration
		synctest.Test(t, func(t *testing.T) {
			var mute atomic.Bool
			var dialed atomic.Int64
			opts := harness.Options{StartHub: harness.StartInside(func(_ *hub.Hub, running *harness.Hub) {
				dial := running.Dial
				running.Dial = func(ctx context.Context) (net.Conn, error) {
					c, err := dial(ctx)
					if err != nil || dialed.Add(1) > silent {
						return c, err
					}
					return &mutedConn{Conn: c, mute: &mute, closed: make(chan struct{})}, nil
				}
			})}
			opts.Observe = func(p harness.Progress) {
				if p.Stage == harness.Running {
					mute.Store(true)
				}
			}
			got, _, err := run(t.Context(), t, parse(t, doors+methodJob, "fleet.doors.devices=200", "jobs.lock.queryCondition=*", "jobs.lock.repeat.times=1"), opts)
			if err != nil {
				t.Fatal(err)
			}
			j := got.Jobs[0]
			if j.Succeeded != 200-silent || j.Targeted != 200 || !j.LedgerBalanced {
				t.Errorf("with %d silent devices %d of %d succeeded, balanced %v", silent, j.Succeeded, j.Targeted, j.LedgerBalanced)
			}
			phase := j.Phases["total"]
			if by, ok := j.PhasesByOutcome["succeeded"]; ok {
				phase = by["total"]
			}
			total = time.Duration(phase.P99)
		})
		return total
	}
	alone, beside := p99(0), p99(20)
	if beside > 2*alone {
		t.Errorf("beside 20 devices that never read, total p99 of the others is %v, want at most twice the %v without", beside, alone)
	}
}

func TestAnInterruptEndsAWaitForTheNextArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		got, _, err := run(ctx, t, parse(t, doors+methodJob, "jobs.lock.repeat.every=10m"), harness.Options{Drain: 10 * time.Second})
		if err != nil {
			t.Errorf("Run() = %v", err)
		}
		if took := time.Since(began); took > 71*time.Second {
			t.Errorf("interrupted after a minute, the run took %v", took)
		}
		if got.Verdict != report.Interrupted || got.Jobs[0].Succeeded == 0 || got.Jobs[0].Unknown != 0 {
			t.Errorf("verdict %s, %d succeeded, %d unknown, want interrupted with the first repetition's successes",
				got.Verdict, got.Jobs[0].Succeeded, got.Jobs[0].Unknown)
		}
	})
}

func TestAHubThatDiesLeavesWhatWasMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		var dying sync.WaitGroup
		opts := harness.Options{StartHub: harness.StartInside(func(h *hub.Hub, running *harness.Hub) {
			running.Done, running.Ended = done, func() error { return errors.New("exit status 2") }
			dying.Go(func() {
				time.Sleep(2 * time.Second) // after the first of three repetitions
				if err := h.Close(); err != nil {
					t.Error(err)
				}
				close(done)
			})
		})}
		began := time.Now()
		got, _, err := run(t.Context(), t, parse(t, doors+methodJob), opts)
		dying.Wait()
		if !errors.Is(err, harness.ErrHubDied) {
			t.Errorf("Run() = %v, want %v", err, harness.ErrHubDied)
		}
		if got.Verdict != report.Incomplete || got.Jobs[0].Phases["device"] == nil {
			t.Errorf("verdict %s with phases %v, want incomplete with what the first repetition measured", got.Verdict, got.Jobs[0].Phases)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("the run went on for %v after its hub had died", took-2*time.Second)
		}
	})
}

func TestAQueryThatMatchesNobodyFailsItsThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := doors + methodJob + "thresholds: [jobs.lock.total.p99 < 1s, jobs.lock.succeeded == 100%]"
		got, _, err := run(t.Context(), t, parse(t, src, "jobs.lock.queryCondition=tags.site = 'west'"), harness.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Verdict != report.Fail || !got.Thresholds[0].NoData || !got.Thresholds[1].NoData {
			t.Errorf("verdict %s, thresholds %+v, want a fail without data", got.Verdict, got.Thresholds)
		}
		if len(got.Jobs[0].Warnings) == 0 {
			t.Error("no warning that the query matched nobody")
		}
	})
}

func TestAFolderThatHoldsARunIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "run.json"), []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := harness.Run(t.Context(), parse(t, doors), &harness.Options{Out: dir})
	if err == nil || !strings.Contains(err.Error(), "it holds a run already") {
		t.Errorf("Run() = %v, want a refusal", err)
	}
}

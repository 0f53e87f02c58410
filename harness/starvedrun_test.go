package harness_test

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"muster/harness"
	"muster/hub"
	"muster/internal/goheap"
	"muster/internal/memnet"
	"muster/report"
)

// long is a job that is repeated for longer than these runs may last.
const long = `
jobs:
  - name: lock
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor}
    queryCondition: "*"
    startTime: +1s
    repeat: {times: 30, every: 2s}
thresholds: [jobs.lock.succeeded == 100%]
`

// wantStarved fails unless a run of 40 doors ended with such an error and its
// results until then.
func wantStarved(t *testing.T, got *report.Summary, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("Run() = %v, want %q in it", err, word)
		}
	}
	if got.Verdict != report.Incomplete || !slices.Contains(got.Reasons, "the run failed: "+err.Error()) {
		t.Errorf("verdict %s %q, want incomplete and why", got.Verdict, got.Reasons)
	}
}

// A host that comes to lack something ends the run, and the results until then
// are kept.
func TestAStarvedRunEndsWithItsResults(t *testing.T) {
	none := [2]int64{}
	calm := [2]int64{8 << 30, 1 << 30}
	check := func(name string, starving harness.HostReading, within time.Duration, words ...string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, over := time.Now(), 10*time.Second
				var opts harness.Options
				reads := func() harness.HostReading {
					if time.Since(start) > over {
						return starving
					}
					return plenty()
				}
				got, err := runReading(t, &opts, reads)
				wantStarved(t, got, err, append(words, "; 40 of 40 devices were online; ")...)
				if took := time.Since(start); took < over || took > over+within {
					t.Errorf("the run took %v, want up to %v more than %v", took, within, over)
				}
				if j := got.Jobs[0]; j.Succeeded < 3*40 || got.Fleet.Connected != 40 {
					t.Errorf("%d executions and %d devices are in the results, want those of ten seconds", j.Succeeded, got.Fleet.Connected)
				}
			})
		})
	}
	check("host", harness.ReadingOf([2]int64{8 << 30, 8<<30 - 100*mib}, none, none, goheap.State{}), time.Second,
		"starved of memory: 100 MiB of this host's 8192 MiB are available, and the kernel kills when there are none (the generator has ", "free memory, use fewer devices (--devices 32)")
	check("group", harness.ReadingOf(calm, [2]int64{200 * mib, 195 * mib}, none, goheap.State{}), time.Second,
		"starved of memory: 5 MiB of the control group's limit of 200 MiB are left", "raise memory.max", "--driver lean")
	check("threads", harness.ReadingOf(calm, none, [2]int64{100, 95}, goheap.State{}), 2*time.Second,
		"starved of threads: 5 of the control group's limit of 100 are left", "raise pids.max")
	check("GOMEMLIMIT", harness.ReadingOf(calm, none, none, goheap.State{Limit: 50 * mib, Need: 60 * mib}), 6*time.Second,
		"starved of memory: the generator needs 60 MiB and GOMEMLIMIT gives it 50 MiB", "raise GOMEMLIMIT")
}

func runReading(t *testing.T, opts *harness.Options, reads func() harness.HostReading) (*report.Summary, error) {
	t.Helper()
	harness.SetWakes(opts, steady)
	harness.SetReadings(opts, reads)
	opts.Out = t.TempDir() + "/out"
	result, err := harness.Run(t.Context(), parse(t, doors+long), opts)
	if result == nil || result.Report == nil {
		t.Fatalf("Run() = %v, %v", result, err)
	}
	return &result.Report.Summary, err
}

// lacking starts a hub in memory whose dial lacks something of this host where
// it says so, by how many connections were opened before.
func lacking(number syscall.Errno, lacks func(opened int) bool) harness.StartHub {
	return harness.StartInside(func(_ *hub.Hub, h *harness.Hub) {
		var mu sync.Mutex
		opened, dial := 0, h.Dial
		h.Dial = func(ctx context.Context) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if lacks(opened) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", number)}
			}
			opened++
			return dial(ctx)
		}
	})
}

func TestAFleetThatThisHostKeepsSmallEndsTheRun(t *testing.T) {
	check := func(number syscall.Errno, words ...string) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			opts := harness.Options{StartHub: lacking(number, func(opened int) bool { return opened >= 25 })}
			got, _, err := run(t.Context(), t, parse(t, doors+long), opts)
			wantStarved(t, got, err, append(words, "15 devices could not connect (socket: ", "; 25 of 40 devices were online; ", "--devices 20")...)
			if took := time.Since(start); took > 8*time.Second {
				t.Errorf("the run took %v, though nothing more could come of it", took)
			}
			if got.Fleet.Connected != 25 || got.Fleet.Devices != 40 {
				t.Errorf("%d of %d devices connected, want 25 of 40", got.Fleet.Connected, got.Fleet.Devices)
			}
		})
	}
	check(syscall.EMFILE, "starved of open files: ", "a process may open ", "prlimit")
	check(syscall.EADDRNOTAVAIL, "starved of local ports: ", "1 source address", "connect.sourceAddresses")
	check(syscall.ENOBUFS, "starved of memory for sockets: ")
}

// What passes within seconds is no reason to end a run.
func TestAShortageThatPassesIsSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		opts := harness.Options{StartHub: lacking(syscall.EADDRNOTAVAIL, func(opened int) bool {
			return opened >= 25 && time.Since(start) < 4*time.Second
		})}
		got, _, err := run(t.Context(), t, parse(t, doors+methodJob+"thresholds: [fleet.connected == 100%]"), opts)
		if err != nil || got.Verdict != report.Pass {
			t.Errorf("verdict %s %v, error %v; want a pass", got.Verdict, got.Reasons, err)
		}
	})
}

// A run is over before a shortage has lasted: its fleet was smaller all the same.
func TestAShortageAtTheEndIsToldToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := strings.Replace(doors, "latency: 2ms}", "latency: 2ms, then: {disconnect: 1ms}}", 1) + `
jobs:
  - {name: lock, type: scheduleDeviceMethod, cloudToDeviceMethod: {methodName: lockDoor}, queryCondition: "*"}
thresholds: [jobs.lock.succeeded == 100%]
`
		opts := harness.Options{StartHub: lacking(syscall.EMFILE, func(opened int) bool { return opened >= 40 })}
		got, _, err := run(t.Context(), t, parse(t, src), opts)
		wantStarved(t, got, err, "starved of open files: 40 devices could not connect")
		if got.Jobs[0].Succeeded != 40 {
			t.Errorf("%d executions succeeded, want those of all 40 devices", got.Jobs[0].Succeeded)
		}
	})
}

// full is a listener whose process has descriptors for so many connections.
type full struct {
	net.Listener
	left int
}

func (l *full) Accept() (net.Conn, error) {
	if l.left == 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	l.left--
	return l.Listener.Accept()
}

// A hub in a process of its own says that it has no descriptors.
func TestAHubWithoutDescriptorsEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := func(_ context.Context, _ harness.HubOptions) (*harness.Hub, error) {
			h := hub.New(nil)
			mqtt, rest := memnet.Listen("mqtt"), memnet.Listen("rest")
			var serving sync.WaitGroup
			serving.Go(func() { _ = h.ServeMQTT(&full{mqtt, 25}) })
			serving.Go(func() { _ = h.ServeREST(rest) })
			transport := harness.MemoryTransport(rest)
			return &harness.Hub{
				ConnectionString: h.ConnectionString(), BaseURL: "http://memory", Transport: transport,
				Dial: func(ctx context.Context) (net.Conn, error) { return mqtt.DialContext(ctx, "", "") },
				Done: make(chan struct{}), Ended: func() error { return nil },
				Stop: func() error {
					transport.CloseIdleConnections()
					err := h.Close()
					serving.Wait()
					return err
				},
			}, nil
		}
		begun := time.Now()
		got, _, err := run(t.Context(), t, parse(t, doors+long), harness.Options{StartHub: start})
		wantStarved(t, got, err, "starved of open files: the hub could not accept connections for 5s", " of 40 devices were online; ")
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("the run took %v, though the devices' own timeout is 30 s", took)
		}
	})
}

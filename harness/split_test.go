package harness_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/fleet"
	"muster/harness"
	"muster/harness/wire"
	"muster/hub"
	"muster/internal/sample"
	"muster/report"
	"muster/scenarios"
)

func TestGeneratorsComeToWhatOneProcessDoes(t *testing.T) {
	for name, src := range troubled {
		for _, driver := range scenarios.Drivers() {
			t.Run(name+", "+string(driver), func(t *testing.T) {
				comesTo := func(generators int) came {
					c := dividedComesTo(t, src, driver, generators)
					if strings.Contains(src, "faults:") {
						// Generators take turns on the ramp, so that the hub refuses others first, which come back at other times.
						c.Failed = nil
					}
					return c
				}
				alone := comesTo(1)
				if len(alone.Executions) == 0 || len(alone.Twins) == 0 || len(alone.Devices) < 2 {
					t.Fatalf("%d executions, %d twins, %d devices", len(alone.Executions), len(alone.Twins), len(alone.Devices))
				}
				counts := []int{2, 3}
				if driver == scenarios.Paho { // which takes longer, and tells them apart no better
					counts = counts[:1]
				}
				for _, n := range counts {
					if diff := cmp.Diff(alone, comesTo(n)); diff != "" {
						t.Errorf("in one process (-) and with %d generators (+):\n%s", n, diff)
					}
				}
			})
		}
	}
}

// divided are the options of a run of two generators whose hub is in memory.
// change, unless nil, changes what is started as the n-th of them, from 1.
func divided(change func(n int, g *harness.Generator) error) harness.Options {
	var dial fleet.DialFunc
	opts := harness.Options{Generators: 2, StartHub: harness.StartInMemory(func(_ *hub.Hub, running *harness.Hub) { dial = running.Dial })}
	start := harness.GeneratorsInside(func(ctx context.Context) (net.Conn, error) { return dial(ctx) }, steady)
	started := 0
	opts.StartGenerator = func(ctx context.Context) (*harness.Generator, error) {
		g, err := start(ctx)
		if started++; err == nil && change != nil {
			if err = change(started, g); err != nil {
				_ = g.Stop()
				return nil, err
			}
		}
		return g, err
	}
	return opts
}

// overTCP parses a scenario that says so; its hub is in memory all the same.
func overTCP(t *testing.T, src string, set ...string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Parse("test.yaml", []byte(src), scenarios.Options{Set: set})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ending is what a generator says until it ends at a moment.
type ending struct {
	io.Reader
	ended <-chan struct{}
}

func (e *ending) Read(b []byte) (int, error) {
	n, err := e.Reader.Read(b)
	select {
	case <-e.ended:
		return 0, io.EOF
	default:
		return n, err
	}
}

func TestAGeneratorThatDiesEndsTheRunWithWhatThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := divided(func(n int, g *harness.Generator) error {
			if n == 2 {
				ended := make(chan struct{})
				time.AfterFunc(4*time.Second, func() { close(ended) }) // in the second of three repetitions
				g.Out = &ending{g.Out, ended}
			}
			return nil
		})
		got, dir, err := run(t.Context(), t, overTCP(t, doors+methodJob, "jobs.lock.queryCondition=*"), opts)
		if !errors.Is(err, harness.ErrGeneratorDied) || !strings.Contains(err.Error(), "generator 2 of 2 (devices 20 to 39) ended in the middle of the run") {
			t.Errorf("Run() = %v, want that generator 2 has died", err)
		}
		if j := got.Jobs[0]; got.Verdict != report.Incomplete || j.Succeeded < 40 || j.Succeeded >= 120 || !j.LedgerBalanced {
			t.Errorf("verdict %s, %d succeeded, balanced %v; want incomplete, with the first repetition", got.Verdict, j.Succeeded, j.LedgerBalanced)
		}
		if len(groupsIn(t, dir)) == 0 {
			t.Error("run.json has no groups")
		}
	})
}

// told is what a generator is told, watched.
type told struct {
	io.WriteCloser
	watch func(wire.Kind)
}

func (o *told) Write(frame []byte) (int, error) {
	o.watch(wire.Kind(frame[4]))
	return o.WriteCloser.Write(frame)
}

// What a generator has not told when it disconnects is missing.
func TestAGeneratorThatDiesAtTheEndEndsTheRunToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := divided(func(n int, g *harness.Generator) error {
			if n == 2 {
				ended := make(chan struct{})
				g.Out = &ending{g.Out, ended}
				g.In = &told{g.In, func(k wire.Kind) {
					if k == wire.Stop {
						close(ended)
					}
				}}
			}
			return nil
		})
		got, _, err := run(t.Context(), t, overTCP(t, doors+methodJob), opts)
		if !errors.Is(err, harness.ErrGeneratorDied) || got.Verdict != report.Incomplete {
			t.Errorf("Run() = %v, verdict %s; want that generator 2 has died, and incomplete", err, got.Verdict)
		}
	})
}

// stalling is what a generator says, read no more for a while once it stalls.
type stalling struct {
	io.Reader
	stalls *atomic.Bool
	until  <-chan struct{}
}

func (s *stalling) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if s.stalls.Load() {
		<-s.until
	}
	return n, err
}

// A ledger that is closed before all receipts came would be short of them.
func TestAGeneratorThatDoesNotTellEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := divided(func(n int, g *harness.Generator) error {
			if n == 2 {
				stalls, until := new(atomic.Bool), make(chan struct{})
				time.AfterFunc(1500*time.Millisecond, func() { stalls.Store(true) })
				time.AfterFunc(20*time.Second, func() { close(until) })
				g.Out = &stalling{g.Out, stalls, until}
			}
			return nil
		})
		got, _, err := run(t.Context(), t, overTCP(t, doors+methodJob, "jobs.lock.queryCondition=*"), opts)
		if err == nil || !strings.Contains(err.Error(), "generator 2 of 2 (devices 20 to 39) did not tell within 10s what had happened") || got.Verdict != report.Incomplete {
			t.Errorf("Run() = %v, verdict %s, want that generator 2 did not tell, and incomplete", err, got.Verdict)
		}
	})
}

func TestAGeneratorThatDoesNotStartEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := divided(func(n int, _ *harness.Generator) error {
			if n == 2 {
				return errors.New("no more processes")
			}
			return nil
		})
		got, _, err := run(t.Context(), t, overTCP(t, doors+methodJob), opts)
		if err == nil || !strings.HasSuffix(err.Error(), "start generator 2 of 2 (devices 20 to 39): no more processes") || got.Verdict != report.Incomplete {
			t.Errorf("Run() = %v, verdict %s", err, got.Verdict)
		}
	})
}

// TestWhatNoGeneratorSaysEndsTheRun has the second generator say something else.
func TestWhatNoGeneratorSaysEndsTheRun(t *testing.T) {
	frame := func(k wire.Kind, payload string) string {
		b, err := wire.AppendFrame(nil, k, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var enc wire.Encoder
	enc.Moved(7, true) // a device of the first one's
	hello := frame(wire.Hello, "\x01")
	for says, want := range map[string]string{
		frame(wire.Fault, "no files"):                     "generator 2 of 2 (devices 20 to 39): no files",
		frame(wire.Ready, ""):                             "it began with frame",
		frame(wire.Hello, "\x63"):                         "it does not speak version 1",
		hello + hello:                                     "it does not speak version 1",
		hello + frame(wire.Events, string(enc.Take(nil))): "it tells of device 7, which is not its own",
		hello + frame(wire.Events, "\xff"):                "malformed events",
		hello + frame(wire.Health, "\x80"):                "malformed events",
		hello + frame(wire.Stats, "{"):                    "unexpected end of JSON input",
		hello + frame(wire.Settled, "\x01"):               "it answers what nobody asked",
		hello + frame(wire.Ended, ""):                     "it ended by itself",
		hello + frame(wire.Connect, ""):                   "it said frame",
		hello + "nonsense":                                "no frame begins with",
		hello[:3]:                                         "ended in the middle of the run",
		"":                                                "was not ready within 1m0s",
	} {
		synctest.Test(t, func(t *testing.T) {
			opts := divided(func(n int, g *harness.Generator) error {
				if n == 2 {
					stop := g.Stop
					silent, end := io.Pipe()
					if says != "" {
						_ = end.Close()
					}
					g.Out = io.MultiReader(strings.NewReader(says), silent)
					g.Stop = func() error {
						_ = end.Close()
						return stop()
					}
				}
				return nil
			})
			if _, _, err := run(t.Context(), t, overTCP(t, doors+methodJob), opts); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Run() where a generator says %q = %v, want %q", says, err, want)
			}
		})
	}
}

func TestAnInterruptDrainsGeneratorsToo(t *testing.T) {
	for _, after := range []time.Duration{time.Microsecond, 30 * time.Millisecond, 1500 * time.Millisecond} { // starting, connecting, running
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			got, _, err := run(ctx, t, overTCP(t, doors+methodJob), divided(nil))
			if err != nil || got.Verdict != report.Interrupted {
				t.Errorf("interrupted after %v: %v, verdict %s", after, err, got.Verdict)
			}
		})
	}
}

func TestARunThatCannotBeDividedSaysSo(t *testing.T) {
	check := func(opts harness.Options, want string, set ...string) {
		t.Helper()
		opts.Out = t.TempDir()
		if _, err := harness.Run(t.Context(), overTCP(t, doors+methodJob, set...), &opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run(%d generators, %v) = %v, want %q", opts.Generators, set, err, want)
		}
	}
	with := func(n int) harness.Options {
		opts := divided(nil)
		opts.Generators = n
		return opts
	}
	check(with(-1), "divide the fleet: -1 generators for 40 devices")
	check(with(41), "divide the fleet: 41 generators for 40 devices")
	check(with(2), "is in this process", inMemory)
	check(harness.Options{Generators: 2}, "is in this process")
	alone := with(2)
	alone.StartHub = nil
	check(alone, "is in this process")
}

func TestAGeneratorRefusesWhatItCannotDo(t *testing.T) {
	check := func(opts *harness.GeneratorOptions, kind wire.Kind, order any, want string) {
		t.Helper()
		payload, err := json.Marshal(order)
		if err != nil {
			t.Fatal(err)
		}
		in, err := wire.AppendFrame(nil, kind, payload)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		got := harness.Generate(t.Context(), bytes.NewReader(in), &out, opts)
		if got == nil || !strings.Contains(got.Error(), want) {
			t.Errorf("Generate(%d %s) = %v, want %q", kind, payload, got, want)
		}
		if kind != wire.Start {
			return
		}
		if k, said, err := wire.NewReader(&out).Next(); k != wire.Fault || !strings.Contains(string(said), want) || err != nil {
			t.Errorf("Generate(%d %s) tells frame %d, %q, %v; want a fault of %q", kind, payload, k, said, err, want)
		}
	}
	epoch, err := sample.NewClock().Share()
	if err != nil {
		t.Fatal(err)
	}
	order := func(part fleet.Part, id string) map[string]any {
		return map[string]any{
			"Version": 1, "Part": part, "Epoch": epoch, "HostName": "h", "Groups": []map[string]any{{"Name": "g", "Devices": 100, "ID": id}},
		}
	}
	half := fleet.Part{To: 50, Of: 2}
	check(nil, wire.Stop, nil, "the run began with frame")
	check(nil, wire.Start, "x", "read what to simulate")
	check(nil, wire.Start, map[string]any{"Version": 99}, "the run speaks version 99")
	check(nil, wire.Start, order(fleet.Part{To: 500, Of: 2}, "d-{index}"), "is none of 100 devices")
	check(nil, wire.Start, order(half, "d-{"), "group g: id: ")
	check(harness.FewFiles(240), wire.Start, order(half, "d-{index}"), "250 open files are needed in its process, and its limit is 240")
	if err := harness.Generate(t.Context(), strings.NewReader(""), io.Discard, nil); err == nil {
		t.Error("Generate() of nothing succeeds")
	}
}

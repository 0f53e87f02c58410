package fleet_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"muster/fleet"
	"muster/fleet/fleettest"
	"muster/fleet/paho"
	"muster/internal/mqtt"
	"muster/internal/sample"
	"muster/internal/template"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// parse returns a template that must be right.
func parse(t testing.TB, text string) *template.Template {
	t.Helper()
	parsed, err := template.Parse(text)
	if err != nil {
		t.Fatalf("template %s: %v", text, err)
	}
	return parsed
}

// tree returns a tree that must be right.
func tree(t testing.TB, v map[string]any) *template.Tree {
	t.Helper()
	parsed, err := template.ParseTree(v)
	if err != nil {
		t.Fatalf("tree %v: %v", v, err)
	}
	return parsed
}

// doors is a group of devices named door-0, door-1, …
func doors(t testing.TB, n int) fleet.Group {
	return fleet.Group{Name: "doors", Devices: n, ID: parse(t, "door-{index}")}
}

// world is a fleet, its hub and what both have seen.
type world struct {
	*testing.T
	hub   *fleettest.Hub
	fleet *fleet.Fleet
	clock *sample.Clock
	seen  *watcher
	stop  func() // ends the run and waits for it
}

// watcher is the Observer and Recorder of a test.
type watcher struct {
	mu       sync.Mutex // guards the fields below
	receipts []sample.Receipt
	events   []string // answered and finished, with their times
	connects []sample.Connect
	losses   []sample.Lost
}

func (w *watcher) Received(r sample.Receipt) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Payload = slices.Clone(r.Payload)
	w.receipts = append(w.receipts, r)
	return uint64(len(w.receipts))
}

func (w *watcher) Answered(ticket uint64, status int32, at sample.Moment) {
	w.note("answered %d with %d at %v", ticket, status, time.Duration(at).Round(time.Millisecond))
}

func (w *watcher) Finished(ticket uint64, at sample.Moment) {
	w.note("finished %d at %v", ticket, time.Duration(at).Round(time.Millisecond))
}

func (w *watcher) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf(format, args...))
}

func (w *watcher) Connect(c *sample.Connect) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.connects = append(w.connects, *c)
}

func (w *watcher) Lost(l *sample.Lost) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.losses = append(w.losses, *l)
}

// took returns what was noted since the last call.
func (w *watcher) took() (receipts []sample.Receipt, events []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	receipts, events = w.receipts, w.events
	w.receipts, w.events = nil, nil
	return receipts, events
}

// attempts returns the recorded attempts so far, by device and in order.
func (w *watcher) attempts() []sample.Connect {
	w.mu.Lock()
	defer w.mu.Unlock()
	connects := slices.Clone(w.connects)
	slices.SortStableFunc(connects, func(a, b sample.Connect) int { return int(a.Device) - int(b.Device) })
	return connects
}

// start runs a fleet of the group against a hub. It must be called in a bubble.
func start(t *testing.T, hub *fleettest.HubOptions, cfg fleet.Config) *world {
	t.Helper()
	w := &world{T: t, hub: fleettest.StartHub(t, hub), clock: sample.NewClock(), seen: &watcher{}}
	cfg.HostName, cfg.Driver, cfg.Dial, cfg.Clock = "hub.test", paho.Driver{}, w.hub.Dial, w.clock
	cfg.Observer, cfg.Samples = w.seen, w.seen
	f, err := fleet.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	w.fleet = f
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	w.stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(w.stop)
	return w
}

// ready waits until the fleet is.
func (w *world) ready() *world {
	<-w.fleet.Ready()
	synctest.Wait()
	return w
}

func (w *world) now() time.Duration { return time.Duration(w.clock.Now()) }

// want compares what a test got with what it wants.
func want[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func (w *world) wantEvents(events ...string) {
	w.Helper()
	synctest.Wait()
	_, got := w.seen.took()
	want(w, "events", got, events)
}

func TestDeviceSubscribesThenReadsItsTwin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, fleet.Config{Seed: 1, Groups: []fleet.Group{doors(t, 3)}}).ready()
		want(t, "SUBSCRIBE packets", len(w.hub.Events(mqtt.TypeSubscribe)), 3)
		for _, device := range []string{"door-0", "door-1", "door-2"} {
			var got []mqtt.Type
			for _, typ := range []mqtt.Type{mqtt.TypeConnect, mqtt.TypeSubscribe, mqtt.TypePublish} {
				for _, e := range w.hub.Events(typ) {
					if e.Device == device {
						got = append(got, e.Type)
					}
				}
			}
			want(t, "packets of "+device, got, []mqtt.Type{mqtt.TypeConnect, mqtt.TypeSubscribe, mqtt.TypePublish})
		}
		stats := w.fleet.Stats()
		want(t, "online", stats.Online, 3)
		want(t, "connections", stats.Connections, 3)
		w.stop()
		synctest.Wait()
		stats = w.fleet.Stats()
		want(t, "closed", stats.Closed, 3)
		want(t, "connections after Run", stats.Connections, 0)
		want(t, "lost", stats.Lost, 0)
		want(t, "DISCONNECT packets", len(w.hub.Events(mqtt.TypeDisconnect)), 3)
	})
}

func TestRampIsOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, fleet.Config{
			Groups: []fleet.Group{doors(t, 40)}, Connect: fleet.Connect{Rate: 20},
		}).ready()
		begin := w.seen.attempts()[0].Due
		for i, c := range w.seen.attempts() {
			due := begin.Add(time.Duration(i) * 50 * time.Millisecond)
			if c.Due != due || c.Dialed != due || c.Accepted < due || c.Ready < c.Accepted || c.Attempt != 1 || c.Error != "" {
				t.Errorf("attempt of device %d: got %+v, want it due and dialed at %v", i, c, due)
			}
		}
	})
}

func TestRampWaitsForPlacesAndShiftsNoDueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := &fleettest.HubOptions{Connack: func(string, int) (byte, bool) { return 0, false }}
		w := start(t, silent, fleet.Config{
			Groups:  []fleet.Group{doors(t, 6)},
			Connect: fleet.Connect{Rate: 10, InFlight: 2, Timeout: 10 * time.Second, BackoffBase: time.Hour, BackoffCap: time.Hour},
		})
		time.Sleep(time.Second)
		want(t, "connections being opened", len(w.hub.Events(mqtt.TypeConnect)), 2)
		want(t, "connecting", w.fleet.Stats().Connecting, 2)
		want(t, "idle", w.fleet.Stats().Idle, 4)
		w.ready()
		attempts := w.seen.attempts()
		begin := attempts[0].Due
		for i, c := range attempts[:6] {
			due := begin.Add(time.Duration(i) * 100 * time.Millisecond)
			place := begin.Add(time.Duration(i/2)*10*time.Second + time.Duration(i%2)*100*time.Millisecond)
			if c.Due != due || c.Dialed != place || c.Ready.Seen() || c.Error != "timeout" {
				t.Errorf("attempt of device %d: got %+v, want it due at %v and dialed at %v", i, c, due, place)
			}
		}
		want(t, "failed", w.fleet.Stats().Failed, 6)
	})
}

func TestReadyWaitsForRetriesUntilTheTimeout(t *testing.T) {
	for _, c := range []struct {
		name    string
		refuse  int // how many attempts
		online  int64
		at, max time.Duration
	}{
		{"a device that is refused for good is waited for until its timeout", 1000, 1, 10 * time.Second, 10 * time.Second},
		{"a device that comes online before is waited for until then", 1, 2, 0, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := &fleettest.HubOptions{Connack: func(device string, n int) (byte, bool) {
					if device == "door-1" && n <= c.refuse {
						return 5, true
					}
					return 0, true
				}}
				w := start(t, hub, fleet.Config{
					Groups: []fleet.Group{doors(t, 2)}, Connect: fleet.Connect{Timeout: 10 * time.Second, BackoffBase: 5 * time.Second},
				}).ready()
				if now := w.now(); now < c.at || now > c.max+time.Second {
					t.Errorf("the fleet was ready after %v, want %v to %v", now, c.at, c.max)
				}
				want(t, "online", w.fleet.Stats().Online, c.online)
				want(t, "failed", w.fleet.Stats().Failed, 2-c.online)
				want(t, "first error of door-1", w.seen.attempts()[1].Error, "refused: not authorized")
			})
		})
	}
}

func TestFailedAttempts(t *testing.T) {
	for _, c := range []struct {
		hub  fleettest.HubOptions
		want string
	}{
		{fleettest.HubOptions{Connack: func(string, int) (byte, bool) { return 3, true }}, "refused: server unavailable"},
		{fleettest.HubOptions{Connack: func(string, int) (byte, bool) { return 9, true }}, "refused: reserved return code 9"},
		{fleettest.HubOptions{TwinStatus: 429}, "read twin: status 429"},
		{fleettest.HubOptions{TwinStatus: -1}, "timeout"},
	} {
		t.Run(c.want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, &c.hub, fleet.Config{Groups: []fleet.Group{doors(t, 1)}})
				time.Sleep(45 * time.Second)
				want(t, "error", w.seen.attempts()[0].Error, c.want)
				w.stop()
				want(t, "connections", w.fleet.Stats().Connections, 0)
				want(t, "connect failures", w.fleet.Stats().ConnectFailures > 0, w.hub.Events(mqtt.TypeSubscribe) == nil)
			})
		})
	}
}

// reconnects returns when a device was due to come back after each of three
// losses, the hub refusing it twice each time, relative to the failure before.
func reconnects(t *testing.T, seed uint64) (waits []time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		hub := &fleettest.HubOptions{Connack: func(_ string, n int) (byte, bool) {
			if n%3 == 1 {
				return 0, true
			}
			return 3, true
		}}
		w := start(t, hub, fleet.Config{Seed: seed, Groups: []fleet.Group{doors(t, 1)}}).ready()
		for range 3 {
			before := len(w.seen.attempts())
			from := w.clock.Now()
			if err := w.hub.Drop("door-0"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			want(t, "offline", w.fleet.Stats().Offline, 1)
			time.Sleep(time.Minute)
			attempts := w.seen.attempts()[before:]
			want(t, "attempts", len(attempts), 3)
			for i, c := range attempts {
				if wait, limit := time.Duration(c.Due-from), time.Second<<i; wait < 0 || wait > limit+time.Millisecond {
					t.Errorf("attempt %d is due after %v, want at most %v", i+1, wait, limit)
				}
				if c.Attempt != uint32(i+1) || !c.Reconnect || c.Dialed != c.Due {
					t.Errorf("attempt %d: got %+v", i+1, c)
				}
				waits = append(waits, time.Duration(c.Due-from))
				from = c.Due
			}
			want(t, "online", w.fleet.Stats().Online, 1)
		}
		want(t, "lost", w.fleet.Stats().Lost, 3)
	})
	return waits
}

func TestReconnectsWithSeededFullJitter(t *testing.T) {
	first := reconnects(t, 7)
	want(t, "waits of the same seed", reconnects(t, 7), first)
	if cmp.Equal(reconnects(t, 8), first) {
		t.Errorf("two seeds have the same waits %v", first)
	}
	if len(slices.Compact(slices.Sorted(slices.Values(first)))) != len(first) {
		t.Errorf("waits repeat: %v", first)
	}
}

// TestReconnectsWaitForTheirTurnAheadOfTheirTimeout has a hub that takes one
// connect a second lose many devices at once: the last waits for longer than a
// connect may take.
func TestReconnectsWaitForTheirTurnAheadOfTheirTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices = 20
		var asked atomic.Int64
		begin := time.Now()
		turn := func(ctx context.Context) error {
			select {
			case <-time.After(time.Until(begin.Add(time.Duration(asked.Add(1)) * time.Second))):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		w := start(t, nil, fleet.Config{
			Groups:  []fleet.Group{doors(t, devices)},
			Connect: fleet.Connect{Timeout: 3 * time.Second, Turn: turn},
		}).ready()
		for i := range devices {
			if err := w.hub.Drop(fmt.Sprintf("door-%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * devices * time.Second)
		attempts := slices.DeleteFunc(w.seen.attempts(), func(c sample.Connect) bool { return !c.Reconnect })
		slices.SortFunc(attempts, func(a, b sample.Connect) int { return int(a.Dialed - b.Dialed) })
		want(t, "attempts", len(attempts), devices)
		for i, c := range attempts {
			if took, _ := c.Ready.Since(c.Dialed); c.Error != "" || took > time.Second {
				t.Errorf("attempt %d took %v and failed with %q, want its wait for a turn in neither", i+1, took, c.Error)
			}
			if i > 0 && c.Dialed < attempts[i-1].Dialed.Add(time.Second) {
				t.Errorf("attempt %d began at %v, %v after the one before, want its turn awaited", i+1, c.Dialed, c.Dialed-attempts[i-1].Dialed)
			}
		}
	})
}

func TestRunEndsWhateverDevicesDo(t *testing.T) {
	for _, c := range []struct {
		name string
		hub  fleettest.HubOptions
		wait time.Duration // until the run is ended
	}{
		{"while idle", fleettest.HubOptions{}, 5 * time.Millisecond},
		{"while connecting", fleettest.HubOptions{Connack: func(string, int) (byte, bool) { return 0, false }}, 2 * time.Second},
		{"while reading twins", fleettest.HubOptions{TwinStatus: -1}, 2 * time.Second},
		{"while backing off", fleettest.HubOptions{Connack: func(string, int) (byte, bool) { return 3, true }}, 100 * time.Second},
		{"while online", fleettest.HubOptions{}, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, &c.hub, fleet.Config{Groups: []fleet.Group{doors(t, 20)}, Connect: fleet.Connect{Rate: 100, InFlight: 5}})
				time.Sleep(c.wait)
				begin := time.Now()
				w.stop()
				if took := time.Since(begin); took > 2*time.Second {
					t.Errorf("Run took %v to end", took)
				}
				want(t, "closed", w.fleet.Stats().Closed, 20)
				want(t, "connections", w.fleet.Stats().Connections, 0)
				before := len(w.hub.Events(mqtt.TypeConnect))
				time.Sleep(time.Hour)
				want(t, "connects after Run", len(w.hub.Events(mqtt.TypeConnect)), before)
			})
		})
	}
}

func TestRunNeedsADriverAndRunsOnce(t *testing.T) {
	f, err := fleet.New(fleet.Config{HostName: "hub.test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Run(t.Context()); err == nil {
		t.Error("Run without a driver returned no error")
	}
	<-f.Ready() // of a fleet without devices
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, fleet.Config{Groups: []fleet.Group{doors(t, 1)}}).ready()
		if err := w.fleet.Run(t.Context()); err == nil {
			t.Error("a second Run returned no error")
		}
	})
}

// TestSessionsAreWholeLines wants sessions to begin where a line of the
// processor's cache does, as what is of so many bytes does.
func TestSessionsAreWholeLines(t *testing.T) {
	if fleet.SessionBytes != 192 {
		t.Errorf("a session takes %d bytes, want 192: three lines", fleet.SessionBytes)
	}
}

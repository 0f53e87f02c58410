package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"muster/fleet"
	"muster/fleet/fleettest"
	"muster/fleet/lean"
	"muster/fleet/paho"
)

func TestShortageOf(t *testing.T) {
	failed := func(call string, number syscall.Errno) error {
		return fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError(call, number)})
	}
	check := func(err error, shortage fleet.Shortage) {
		t.Helper()
		if got := fleet.ShortageOf(err); got != shortage {
			t.Errorf("ShortageOf(%v) = %q, want %q", err, got, shortage)
		}
	}
	check(nil, fleet.NoShortage)
	check(errors.New("too many open files"), fleet.NoShortage)
	check(&fleet.RefusedError{Code: 3}, fleet.NoShortage)
	check(failed("connect", syscall.ECONNREFUSED), fleet.NoShortage)
	check(failed("connect", syscall.ETIMEDOUT), fleet.NoShortage)
	check(failed("socket", syscall.EMFILE), fleet.NoFiles)
	check(failed("socket", syscall.ENFILE), fleet.NoFiles)
	check(failed("connect", syscall.EADDRNOTAVAIL), fleet.NoPorts)
	check(failed("bind", syscall.EADDRINUSE), fleet.NoPorts)
	check(failed("socket", syscall.ENOBUFS), fleet.NoBuffers)
	check(failed("socket", syscall.ENOMEM), fleet.NoBuffers)
}

// cramped is a hub and a host that lacks descriptors from a device's first
// attempt on, for so long.
type cramped struct {
	*fleettest.Hub
	over  time.Time
	tries atomic.Int64
}

func (c *cramped) dial(ctx context.Context) (net.Conn, error) {
	c.tries.Add(1)
	if time.Now().Before(c.over) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	}
	return c.Dial(ctx)
}

// A device that this host kept from connecting is no failure of the hub's: it
// does not back off further and further, and it is told apart until it is
// online.
func TestAShortageIsToldApartUntilItIsOver(t *testing.T) {
	for name, driver := range map[string]fleet.Driver{"paho": paho.Driver{}, "lean": new(lean.Driver)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cramped{Hub: fleettest.StartHub(t, nil), over: time.Now().Add(20 * time.Second)}
				f, err := fleet.New(fleet.Config{
					Seed: 1, HostName: "hub.test", Groups: []fleet.Group{doors(t, 5)}, Driver: driver, Dial: c.dial,
					Connect: fleet.Connect{Timeout: time.Minute},
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { _ = f.Run(ctx) }) // nil, as other tests hold
				defer running.Wait()
				defer cancel()

				time.Sleep(19*time.Second + 900*time.Millisecond)
				short, err := f.Short()
				if short != 5 || fleet.ShortageOf(err) != fleet.NoFiles {
					t.Errorf("Short() = %d, %v; want 5 and why", short, err)
				}
				if got := c.tries.Load(); got != 5*40 {
					t.Errorf("%d attempts in 19.9 s, want one each half second of five devices", got)
				}
				time.Sleep(time.Second)
				short, err = f.Short()
				if short != 0 || f.Stats().Online != 5 {
					t.Errorf("afterwards Short() = %d, %v and %d are online; want 0 and 5", short, err, f.Stats().Online)
				}
			})
		})
	}
}

func TestConnectionsComeFromTheSourcesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := fleettest.StartHub(t, nil)
		var mu sync.Mutex
		from := map[string]string{}
		sources := []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
		f, err := fleet.New(fleet.Config{
			Seed: 1, HostName: "hub.test", Groups: []fleet.Group{doors(t, 3), {Name: "lamps", Devices: 2, ID: parse(t, "lamp-{index}")}},
			Driver: paho.Driver{}, Connect: fleet.Connect{Sources: sources},
			Dial: func(ctx context.Context) (net.Conn, error) {
				mu.Lock()
				from[fleet.Dialing(ctx)] = fleet.Source(ctx).String()
				mu.Unlock()
				return hub.Dial(ctx)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = f.Run(ctx) }) // nil, as other tests hold
		<-f.Ready()
		cancel()
		running.Wait()
		want(t, "sources", from, map[string]string{
			"door-0": "127.0.0.2", "door-1": "127.0.0.3", "door-2": "127.0.0.2", "lamp-0": "127.0.0.3", "lamp-1": "127.0.0.2",
		})
		if got := fleet.Source(t.Context()); got.IsValid() {
			t.Errorf("Source of another context is %v, want none", got)
		}
	})
}

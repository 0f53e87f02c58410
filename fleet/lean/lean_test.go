package lean_test

import (
	"context"
	"net"
	"testing"

	"go.uber.org/goleak"

	"muster/fleet"
	"muster/fleet/fleettest"
	"muster/fleet/lean"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Connections in memory tell when there is something to read, those of plainDriver
// have a goroutine each, as on a network.
func TestDriver(t *testing.T) { fleettest.TestDriver(t, new(lean.Driver)) }

func TestDriverWithGoroutines(t *testing.T) { fleettest.TestDriver(t, plainDriver{new(lean.Driver)}) }

// plainDriver is a driver whose network connections tell nothing.
type plainDriver struct{ fleet.Driver }

func (d plainDriver) Dial(ctx context.Context, dial fleet.DialFunc, s fleet.Session) (fleet.Conn, error) {
	return d.Driver.Dial(ctx, func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return struct{ net.Conn }{c}, nil
	}, s)
}

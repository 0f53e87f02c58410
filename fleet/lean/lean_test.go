package lean_test

import (
	"testing"

	"go.uber.org/goleak"

	"muster/fleet/fleettest"
	"muster/fleet/lean"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDriver(t *testing.T) { fleettest.TestDriver(t, new(lean.Driver)) }

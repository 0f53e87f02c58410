//go:build !race

package lean_test

import (
	"testing"

	"muster/fleet/fleettest"
	"muster/fleet/lean"
)

// An idle device holds 6.5 KB: the reader's goroutine, the codec's buffer of
// half a KB, the fleet's state. The race detector adds to all bounds.
const maxIdleBytes = 8 << 10

func TestIdleDeviceIsSmall(t *testing.T) {
	if bytes, goroutines := fleettest.IdleDevice(t, new(lean.Driver), 1000); bytes > maxIdleBytes || goroutines > 1.05 {
		t.Errorf("an idle device holds %.0f bytes and %.2f goroutines, want at most %d and 1", bytes, goroutines, maxIdleBytes)
	}
}

package hub_test

import (
	"fmt"
	"runtime"
	"testing"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/iothub"
)

// What a twin may cost, of a fleet whose tags are alike and of one whose tags are all different; and a connection with the
// test's own end, goroutines' stacks not counted. What they do cost is in docs/performance.md.
const (
	twinBudget      = 720
	ownTwinBudget   = 800
	connectedBudget = 4200
)

func TestTwinsFitTheirBudget(t *testing.T) {
	const n = 20_000
	tests := func(name string, budget int, tags func(i int) string) {
		t.Run(name, func(t *testing.T) {
			s := hubtest.Start(t, nil)
			registerMany(t, s, 100, tags) // what is there once
			before := heapInUse()
			registerMore(t, s, 100, n, tags)
			s.HTTPClient().CloseIdleConnections()
			got := int(heapInUse()-before) / (n - 100)
			t.Logf("%d bytes a twin", got)
			if got > budget {
				t.Errorf("a twin takes %d bytes, want at most %d", got, budget)
			}
			runtime.KeepAlive(s)
		})
	}
	tests("alike", twinBudget, func(i int) string {
		return fmt.Sprintf(`{"site":"site-%d","building":%d,"floor":%d}`, i%10, i%5, i%3)
	})
	tests("different", ownTwinBudget, func(i int) string {
		return fmt.Sprintf(`{"site":"site-%d","building":%d,"serial":"%08d"}`, i%10, i%5, i)
	})
}

func TestConnectionsFitTheirBudget(t *testing.T) {
	const n = 2_000
	s := hubtest.Start(t, nil)
	register(t, s, ids(n)...)
	before := heapInUse()
	clients := make([]*bare, 0, n)
	for _, id := range ids(n) {
		clients = append(clients, reconnect(t, s, id, iothub.FilterMethods))
	}
	got := int(heapInUse()-before) / n
	t.Logf("%d bytes a connection, both ends", got)
	if got > connectedBudget {
		t.Errorf("a connection takes %d bytes, want at most %d", got, connectedBudget)
	}
	runtime.KeepAlive(clients)
}

func TestQueriesReadOneLine(t *testing.T) {
	if size, line := hub.DeviceSize(); size%64 != 0 || line > 64 {
		t.Errorf("a device has %d bytes and what a query reads of it ends at %d: not one cache line", size, line)
	}
}

package hub_test

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

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
	rowBudget       = 72
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

// An ended job keeps a row a device: what the devices said, and what went wrong, is there once as far as it is alike.
func TestJobRowsFitTheirBudget(t *testing.T) {
	const n = 20_000
	synctest.Test(t, func(t *testing.T) {
		s := hubtest.Start(t, nil)
		register(t, s, ids(n)...)
		before := heapInUse()
		schedule(t, s, "offline", methodJob("*", 0, 60))
		wantsJob(t, s, "offline", iothub.JobCompleted, n, 0, 0, 0, n)
		schedule(t, s, "twins", twinJob("*", `"tags":{}`))
		wantsJob(t, s, "twins", iothub.JobCompleted, n, 0, 0, n, 0)
		got := int(heapInUse()-before) / (2 * n)
		t.Logf("%d bytes a row", got)
		if got > rowBudget {
			t.Errorf("a row takes %d bytes, want at most %d", got, rowBudget)
		}
		runtime.KeepAlive(s)
	})
}

// What rows share is still each row's own: alike and different answers and errors, in turn.
func TestRowsShowTheirOwnOutcome(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, ids(6)...)
		var devices []*bare // two stay offline
		for _, i := range []int{1, 2, 3, 5} {
			devices = append(devices, reconnect(t, s, ids(6)[i], iothub.FilterMethods))
		}
		schedule(t, s, "job-1", methodJob("*", 0, 60))
		devices[0].answerMethod("m", `{"a":1}`, 200, `{"a":1}`)
		devices[1].answerMethod("m", `{"a":1}`, 200, `{"a":1}`)
		devices[2].answerMethod("m", `{"a":1}`, 200, `{"a":2}`)
		devices[3].answerMethod("m", `{"a":1}`, 404, `{"a":1}`)
		wantsJob(t, s, "job-1", iothub.JobCompleted, 6, 0, 0, 4, 2)
		var got []string
		for _, row := range query[map[string]any](t, s, "SELECT * FROM devices.jobs", 10) {
			got = append(got, fmt.Sprintf("%v %v %t", row["status"], row["outcome"], row["error"] != nil))
		}
		want := []string{
			"failed <nil> true",
			"completed map[deviceMethodResponse:map[payload:map[a:1] status:200]] false",
			"completed map[deviceMethodResponse:map[payload:map[a:1] status:200]] false",
			"completed map[deviceMethodResponse:map[payload:map[a:2] status:200]] false",
			"failed <nil> true",
			"completed map[deviceMethodResponse:map[payload:map[a:1] status:404]] false",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
	})
}

func TestQueriesReadOneLine(t *testing.T) {
	if size, line := hub.DeviceSize(); size%64 != 0 || line > 64 {
		t.Errorf("a device has %d bytes and what a query reads of it ends at %d: not one cache line", size, line)
	}
}

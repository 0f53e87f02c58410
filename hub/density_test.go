package hub_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/iothub"
)

// What may be taken by a twin, of a fleet whose tags are alike and of one whose tags are all different; by a connection in
// memory, its pipe included, which has no goroutine; and by a row of a job, and by the call of one that runs. What they do
// take is in docs/performance.md.
const (
	twinBudget      = 720
	ownTwinBudget   = 800
	connectedBudget = 1200
	callBudget      = 144
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
	const n = 5_000
	s := hubtest.Start(t, nil)
	all := ids(n)
	register(t, s, all...)
	s.HTTPClient().CloseIdleConnections()
	before, goroutines := heapInUse(), runtime.NumGoroutine()
	devices := gather(t, s, n, func(i int) string { return all[i] })
	got, more := int(heapInUse()-before)/n, runtime.NumGoroutine()-goroutines
	t.Logf("%d bytes a connection, %d goroutines more", got, more)
	if got > connectedBudget {
		t.Errorf("a connection takes %d bytes, want at most %d", got, connectedBudget)
	}
	if more > n/10 {
		t.Errorf("%d connections have %d goroutines, want none", n, more)
	}
	devices.leave()
	runtime.KeepAlive(s)
}

// A job that runs keeps a row a device, and a call for each that was not answered. What a call takes is what there is less once
// it has ended: goroutines that were made on the way are there as well, and more or fewer of them each time.
func TestOpenJobRowsFitTheirBudget(t *testing.T) {
	const n = 20_000
	tests := func(name string, opts *hub.Options, pending, running int, check func(before, open, ended uint64) (bytes, budget int)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := hubtest.Start(t, opts)
				all := ids(n)
				register(t, s, all...)
				devices := gather(t, s, n, func(i int) string { return all[i] })
				devices.silent.Store(true)
				before := heapInUse()
				schedule(t, s, "job-1", strings.Replace(methodJob("*", 0, 60), `InSeconds":10}`, `InSeconds":300}`, 1))
				wantsJob(t, s, "job-1", iothub.JobRunning, n, pending, running, 0, 0)
				open := heapInUse()
				time.Sleep(time.Minute)
				wantsJob(t, s, "job-1", iothub.JobCompleted, n, 0, 0, 0, n)
				got, budget := check(before, open, heapInUse())
				t.Logf("%d bytes", got/n)
				if got/n > budget {
					t.Errorf("it takes %d bytes, want at most %d", got/n, budget)
				}
				devices.leave()
				runtime.KeepAlive(s)
			})
		})
	}
	tests("pending row", &hub.Options{JobRate: 0.001}, n-1, 1, func(before, open, _ uint64) (int, int) {
		return int(open - before), rowBudget
	})
	tests("call", nil, 0, n, func(_, open, ended uint64) (int, int) { return int(open) - int(ended), callBudget })
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

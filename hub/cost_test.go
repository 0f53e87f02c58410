//go:build !race

package hub_test

import (
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"muster/hub/hubtest"
	"muster/iothub"
)

// TestMethodsDoNotAllocate has a job call devices over sockets, and in memory, from the dispatch of their methods to the
// booking of their answers. What a whole job allocates does not count: a job of many devices is held against one of few.
func TestMethodsDoNotAllocate(t *testing.T) {
	t.Run("sockets", func(t *testing.T) { methodsDoNotAllocate(t, connectSockets) })
	t.Run("memory", func(t *testing.T) { methodsDoNotAllocate(t, connectAll) })
}

func methodsDoNotAllocate(t *testing.T, connect func(t testing.TB, s *hubtest.Server, n int) []net.Conn) {
	const few, many = 50, 2050
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which takes what pools hold
	s := hubtest.Start(t, nil)
	var devices, answers sync.WaitGroup
	for _, conn := range connect(t, s, many) {
		devices.Go(func() { answerEach(conn, answers.Done) })
		defer conn.Close()
	}
	t.Cleanup(devices.Wait)
	jobs := 0
	call := func(n int) float64 {
		run := func() {
			jobs++
			id := fmt.Sprintf("job-%d", jobs)
			answers.Add(n)
			rest(t, s, "PUT /jobs/v2/"+id, methodJob(fmt.Sprintf("deviceId < '%s'", ids(many + 1)[n]), 0, 60))
			answers.Wait()
			for job(t, s, id).Status != iothub.JobCompleted {
				time.Sleep(10 * time.Millisecond)
			}
			if got := job(t, s, id).DeviceJobStatistics.SucceededCount; got != n {
				t.Fatalf("%d devices succeeded, want %d", got, n)
			}
		}
		run()
		least := testing.AllocsPerRun(1, run)
		for range 9 { // how often a job's state is asked for differs
			least = min(least, testing.AllocsPerRun(1, run))
		}
		return least
	}
	// Rows, calls and flushers serve many each: they are some allocations, and far from one a call.
	if of := (call(many) - call(few)) / (many - few); of > 0.5 {
		t.Errorf("a job's call of a device allocates %.2f times, want none", of)
	}
}

package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/iothub"
)

// BenchmarkMillion takes -twins devices through the life of a hub, on one after the other of which it reports: what they and
// their connections take, a job that nobody answers and that its window's end cuts off while all its rows run, a job that all
// answer, its rows read page by page, a twin job, and the hub's end.
func BenchmarkMillion(b *testing.B) {
	n := *benchTwins
	s := hubtest.Start(b, nil)
	m := &meter{TB: b, n: n, heap: heapInUse()}
	m.begin()
	id := func(i int) string { return fmt.Sprintf("dev-%06d", i) }
	registerMany(b, s, n, func(i int) string { return fmt.Sprintf(`{"site":"site-%d","building":%d,"floor":%d}`, i%10, i%50, i%7) })
	m.lap("registered")
	goroutines := runtime.NumGoroutine()
	devices := gather(b, s, n, id)
	m.lap("connected")
	b.Logf("%d goroutines more", runtime.NumGoroutine()-goroutines)

	devices.silent.Store(true)
	m.begin()
	window := 20 + n/50_000
	rest(b, s, "PUT /jobs/v2/silent", fmt.Sprintf(`{"type":"scheduleDeviceMethod","queryCondition":"*","maxExecutionTimeInSeconds":%d,`+
		`"cloudToDeviceMethod":{"methodName":"lockDoor","payload":{"lockTime":"10m"},"responseTimeoutInSeconds":300}}`, window))
	await(b, s, "silent", func(j iothub.Job) bool {
		return j.DeviceJobStatistics != nil && j.DeviceJobStatistics.RunningCount == n
	})
	m.lap("all rows running")
	m.paging(s, "silent", n)
	begun := hub.JobStarted(s.Hub, "silent").Add(time.Duration(window) * time.Second)
	time.Sleep(time.Until(begun))
	m.begin()
	ended := await(b, s, "silent", func(j iothub.Job) bool { return j.Status == iothub.JobCompleted })
	m.lap(fmt.Sprintf("cut off by the window's end: %d failed, %d succeeded", ended.FailedCount, ended.SucceededCount))

	devices.silent.Store(false)
	m.begin()
	rest(b, s, "PUT /jobs/v2/all", `{"type":"scheduleDeviceMethod","queryCondition":"*","cloudToDeviceMethod":{"methodName":"lockDoor","payload":{"lockTime":"10m"}}}`)
	ended = await(b, s, "all", func(j iothub.Job) bool { return j.Status == iothub.JobCompleted })
	m.lap(fmt.Sprintf("all answered: %d failed, %d succeeded", ended.FailedCount, ended.SucceededCount))
	if ended.SucceededCount != n {
		b.Errorf("%d of %d rows have succeeded", ended.SucceededCount, n)
	}
	m.paging(s, "all", n)
	m.begin()
	m.readAll(s, "all", n)
	m.lap("rows read")
	rest(b, s, "PUT /jobs/v2/twins", twinJob("*", `"properties":{"desired":{"building":43,"floor":3}}`))
	ended = await(b, s, "twins", func(j iothub.Job) bool { return j.Status == iothub.JobCompleted })
	m.lap(fmt.Sprintf("twins changed: %d failed, %d succeeded", ended.FailedCount, ended.SucceededCount))
	m.begin()
	if err := s.Hub.Close(); err != nil {
		b.Error(err)
	}
	b.Logf("hub closed: %s", m.since())
	devices.leave()
	b.ReportMetric(0, "ns/op")
	runtime.KeepAlive(s)
}

// meter tells what each step took.
type meter struct {
	testing.TB
	n    int
	heap uint64
	at   time.Time
	cpu  time.Duration
}

func (m *meter) begin() { m.at, m.cpu = time.Now(), cpuTime() }

// since returns how long a step took, and the processor time of all processors.
func (m *meter) since() string {
	return fmt.Sprintf("%.1f s, %.1f s of processor time", time.Since(m.at).Seconds(), (cpuTime() - m.cpu).Seconds())
}

func (m *meter) lap(what string) {
	took := m.since()
	heap := heapInUse()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	m.Logf("%s: %s, %d bytes each; in all %d MB of heap, %d of stacks, %d from the system",
		what, took, (int64(heap)-int64(m.heap))/int64(m.n), heap>>20, ms.StackInuse>>20, ms.Sys>>20)
	m.heap = heap
	m.begin()
}

// await asks for a job until it is so.
func await(tb testing.TB, s *hubtest.Server, id string, so func(iothub.Job) bool) iothub.DeviceJobStatistics {
	for tb.Context().Err() == nil {
		if j := job(tb, s, id); so(j) {
			return *j.DeviceJobStatistics
		}
		time.Sleep(10 * time.Millisecond)
	}
	return iothub.DeviceJobStatistics{}
}

// paging times pages of a job's rows: the first ones, and the last ones.
func (m *meter) paging(s *hubtest.Server, job string, n int) {
	sql := "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '" + job + "'"
	page := func(what, token string) string {
		begun := time.Now()
		a, next := queryPage(m, s, sql, 100, token)
		m.Logf("%s page: %v, %d rows", what, time.Since(begun).Round(time.Microsecond), len(decoded[[]json.RawMessage](m, a.body)))
		return next
	}
	page("second", page("first", ""))
	page("last", hub.RowToken(s.Hub, job, sql, n-100))
	sql = "SELECT * FROM devices.jobs WHERE devices.jobs.deviceId = '" + fmt.Sprintf("dev-%06d", n-1) + "'"
	page("one device's", "")
	begun := time.Now()
	ok[iothub.Job](m, s, "GET /jobs/v2/"+job, "")
	m.Logf("statistics: %v", time.Since(begun).Round(time.Microsecond))
}

func (m *meter) readAll(s *hubtest.Server, job string, n int) {
	got := 0
	for _, err := range s.Client().DeviceJobs(context.Background(), job) {
		if err != nil {
			m.Fatal(err)
		}
		got++
	}
	if got != n {
		m.Errorf("%d rows of %d were read", got, n)
	}
}

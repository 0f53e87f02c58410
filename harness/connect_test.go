//go:build !race

package harness_test

import (
	"context"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"muster/fleet"
	"muster/fleet/lean"
	"muster/harness"
	"muster/hub/hubtest"
	"muster/internal/template"
)

// connecting is how many devices connect in one go.
const connecting = 1000

// connector brings fleets of lean online at one hub, one after the other.
type connector struct {
	hub *hubtest.Server
	cfg fleet.Config
}

func newConnector(t testing.TB) *connector {
	t.Helper()
	id, err := template.Parse("door-{index:06d}")
	if err != nil {
		t.Fatal(err)
	}
	c := &connector{hub: hubtest.Start(t, nil)}
	c.cfg = fleet.Config{
		Seed: 1, HostName: c.hub.ConnectionString().HostName, Driver: new(lean.Driver),
		Groups:  []fleet.Group{{Name: "doors", Devices: connecting, ID: id}},
		Connect: fleet.Connect{Timeout: time.Minute},
		Dial:    func(ctx context.Context) (net.Conn, error) { return c.hub.MQTT.DialContext(ctx, "", "") },
	}
	f, err := fleet.New(c.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Register(t.Context(), c.hub.Client()); err != nil {
		t.Fatal(err)
	}
	return c
}

// overTCP lets the next fleet connect over TCP, to a port of its own: those of
// the ones before are not free again at once.
func (c *connector) overTCP(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = c.hub.ServeMQTT(l) }) // until the hub is closed
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { _ = c.hub.Close() })
	c.cfg.Dial = harness.DialTCP(l.Addr().String())
}

// connect brings a fleet online between begin and end.
func (c *connector) connect(t testing.TB, begin, end func()) {
	t.Helper()
	f, err := fleet.New(c.cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	begin()
	running.Go(func() { _ = f.Run(ctx) }) // nil, as other tests hold
	<-f.Ready()
	end()
	if got := f.Stats().Online; got != connecting {
		t.Fatalf("%d devices are online, want %d", got, connecting)
	}
}

// BenchmarkConnect brings devices online: CONNECT with a token, three
// subscriptions, twin read. What it reports is of a device, its and the hub's
// part together.
func BenchmarkConnect(b *testing.B) {
	b.Run("memory", func(b *testing.B) { benchmarkConnect(b, func(*connector) {}) })
	b.Run("tcp", func(b *testing.B) { benchmarkConnect(b, func(c *connector) { c.overTCP(b) }) })
}

func benchmarkConnect(b *testing.B, prepare func(*connector)) {
	c := newConnector(b)
	var before, after runtime.MemStats
	var began, spent time.Duration
	var bytes, mallocs uint64
	for b.Loop() {
		b.StopTimer()
		prepare(c)
		c.connect(b, func() {
			runtime.ReadMemStats(&before)
			began = processorTime()
			b.StartTimer()
		}, func() {
			b.StopTimer()
			spent += processorTime() - began
			runtime.ReadMemStats(&after)
		})
		bytes += after.TotalAlloc - before.TotalAlloc
		mallocs += after.Mallocs - before.Mallocs
		b.StartTimer()
	}
	devices := float64(b.N) * connecting
	b.ReportMetric(float64(spent.Microseconds())/devices, "cpu-µs/connect")
	b.ReportMetric(float64(bytes)/devices, "B/connect")
	b.ReportMetric(float64(mallocs)/devices, "allocs/connect")
}

// TestConnectAllocatesLittle holds a connect in memory, with the device's part
// and the hub's, to the allocations that it has.
func TestConnectAllocatesLittle(t *testing.T) {
	c := newConnector(t)
	var before, after runtime.MemStats
	c.connect(t, func() {}, func() {}) // fills the caches
	c.connect(t, func() { runtime.ReadMemStats(&before) }, func() { runtime.ReadMemStats(&after) })
	bytes, mallocs := (after.TotalAlloc-before.TotalAlloc)/connecting, (after.Mallocs-before.Mallocs)/connecting
	t.Logf("%d bytes, %d allocations", bytes, mallocs)
	if bytes > 4000 || mallocs > 60 {
		t.Errorf("a connect allocates %d bytes in %d pieces, want at most 4000 in 60", bytes, mallocs)
	}
}

// processorTime returns what the process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

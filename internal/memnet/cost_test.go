package memnet_test

import (
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"muster/internal/memnet"
)

// idleBytes is what one of n connections that have been used costs while it is
// idle, both ends together.
func idleBytes(tb testing.TB, n int, use func(a, b net.Conn)) (perConn float64, goroutines int) {
	tb.Helper()
	l := memnet.Listen("idle")
	conns := make([][2]net.Conn, n)
	goroutines = runtime.NumGoroutine()
	before := heap()
	for i := range conns {
		a, b := connect(tb, l)
		use(a, b)
		conns[i] = [2]net.Conn{a, b}
	}
	perConn = float64(heap()-before) / float64(n)
	goroutines = runtime.NumGoroutine() - goroutines
	for _, c := range conns {
		c[0].Close()
		c[1].Close()
	}
	return perConn, goroutines
}

// heap returns the bytes of live objects. Two collections empty the pools.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func nothing(net.Conn, net.Conn) {}

func roundTrip(a, b net.Conn) {
	buf := make([]byte, 100)
	a.Write(buf)
	io.ReadFull(b, buf)
	b.Write(buf)
	io.ReadFull(a, buf)
}

func keepAlive(a, b net.Conn) {
	roundTrip(a, b)
	b.SetReadDeadline(time.Now().Add(time.Hour))
}

func closeUnread(a, b net.Conn) {
	a.Write(make([]byte, 60<<10))
	b.Close()
}

// TestIdleCost wants an idle connection small, whatever it has carried, and
// without goroutines: there can be 100,000 of them.
func TestIdleCost(t *testing.T) {
	check := func(name string, limit float64, use func(a, b net.Conn)) {
		t.Helper()
		got, goroutines := idleBytes(t, 2000, use)
		if got > limit || goroutines > 0 {
			t.Errorf("%s: %.0f bytes and %d goroutines, want at most %.0f and none", name, got, goroutines, limit)
		}
	}
	check("unused", 280, nothing)
	check("used", 280, roundTrip)
	check("used, with a deadline", 280, keepAlive)
	check("closed by the peer before it has read", 280, closeUnread)
}

func BenchmarkIdle(b *testing.B) {
	run := func(name string, use func(a, b net.Conn)) {
		b.Run(name, func(b *testing.B) {
			perConn, _ := idleBytes(b, max(b.N, 1000), use)
			b.ReportMetric(perConn, "B/conn")
		})
	}
	run("unused", nothing)
	run("used", roundTrip)
	run("deadline", keepAlive)
}

func BenchmarkWriteRead(b *testing.B) {
	p, q := memnet.Pipe()
	buf := make([]byte, 256)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		p.Write(buf)
		q.Read(buf)
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	p, q := memnet.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(q, q) })
	buf := make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		p.Write(buf)
		io.ReadFull(p, buf)
	}
	p.Close()
	wg.Wait()
}

func BenchmarkThroughput(b *testing.B) {
	p, q := memnet.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(struct{ io.Writer }{io.Discard}, q) })
	buf := make([]byte, 32<<10)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		p.Write(buf)
	}
	p.Close()
	wg.Wait()
}

func BenchmarkSetReadDeadline(b *testing.B) {
	p, _ := memnet.Pipe()
	defer p.Close()
	b.ReportAllocs()
	for b.Loop() {
		p.SetReadDeadline(time.Now().Add(time.Hour))
	}
}

func BenchmarkDialAccept(b *testing.B) {
	l := memnet.Listen("bench")
	b.ReportAllocs()
	for b.Loop() {
		p, q := connect(b, l)
		p.Close()
		q.Close()
	}
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("pools drop what they are given, with the race detector")
	}
	check := func(name string, f func(a, b telling)) {
		t.Helper()
		p, q := memnet.Pipe()
		defer p.Close()
		a, b := p.(telling), q.(telling)
		f(a, b)
		if n := testing.AllocsPerRun(500, func() { f(a, b) }); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
	buf := make([]byte, 300)
	check("write and read", func(a, b telling) { a.Write(buf); b.Read(buf) })
	check("with deadlines", func(a, b telling) {
		a.SetWriteDeadline(time.Now().Add(time.Second))
		b.SetReadDeadline(time.Now().Add(time.Second))
		a.Write(buf)
		b.Read(buf)
	})
	check("told", func(a, b telling) {
		if _, err := b.TryRead(buf); err == nil {
			t.Error("TryRead before a write has read something")
		}
		a.Write(buf)
		b.TryRead(buf)
	})
}

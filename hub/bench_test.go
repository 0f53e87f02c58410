package hub_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

const benchFleet = 10_000

// connectAll registers and connects devices that listen to methods.
func connectAll(b testing.TB, s *hubtest.Server, n int) []net.Conn {
	b.Helper()
	register(b, s, ids(n)...)
	conns := make([]net.Conn, 0, n)
	for _, id := range ids(n) {
		conns = append(conns, reconnect(b, s, id, iothub.FilterMethods).conn)
	}
	return conns
}

// BenchmarkIdleConnection tells what a connected device costs: all of the hub's part (goroutine, buffers, identity, twin)
// and the connection in memory itself.
func BenchmarkIdleConnection(b *testing.B) {
	s := hubtest.Start(b, nil)
	used := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := used()
	conns := connectAll(b, s, benchFleet)
	for b.Loop() {
	}
	b.ReportMetric(float64(used()-before)/benchFleet, "B/conn")
	b.ReportMetric(0, "ns/op")
	runtime.KeepAlive(conns)
}

// BenchmarkBroadcast runs a method job over 10,000 connected devices until its last row is done; the devices answer at
// once. CPU is that of hub and devices together.
func BenchmarkBroadcast(b *testing.B) { broadcast(b, hubtest.Start(b, nil), connectAll) }

func BenchmarkBroadcastStore(b *testing.B) { broadcast(b, startStoring(b), connectAll) }

// BenchmarkBroadcastSockets is BenchmarkBroadcast over TCP on loopback, with fewer devices than a process may have descriptors.
func BenchmarkBroadcastSockets(b *testing.B) {
	broadcast(b, hubtest.Start(b, nil), func(b testing.TB, s *hubtest.Server, n int) []net.Conn { return connectSockets(b, s, n/2) })
}

func broadcast(b *testing.B, s *hubtest.Server, connect func(b testing.TB, s *hubtest.Server, n int) []net.Conn) {
	b.Helper()
	conns := connect(b, s, benchFleet)
	var devices sync.WaitGroup
	for _, conn := range conns {
		devices.Go(func() { answerAll(conn) })
	}
	cpu := cpuTime()
	n := 0
	for b.Loop() {
		n++
		id := fmt.Sprintf("bench-%d-%d", time.Now().UnixNano(), n)
		schedule := `{"type":"scheduleDeviceMethod","queryCondition":"*","cloudToDeviceMethod":{"methodName":"lockDoor","payload":{"lockTime":"10m"}}}`
		rest(b, s, "PUT /jobs/v2/"+id, schedule)
		for job(b, s, id).Status != iothub.JobCompleted {
			time.Sleep(time.Millisecond)
		}
		if got := job(b, s, id).DeviceJobStatistics.SucceededCount; got != len(conns) {
			b.Fatalf("%d succeeded, want %d", got, len(conns))
		}
	}
	trips := float64(n * len(conns))
	b.ReportMetric(trips/b.Elapsed().Seconds(), "roundtrips/s")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/trips, "cpu-µs/roundtrip")
	for _, conn := range conns {
		_ = conn.Close()
	}
	devices.Wait()
}

// connectSockets registers devices that listen to methods, and connects them over TCP.
func connectSockets(t testing.TB, s *hubtest.Server, n int) []net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.ServeMQTT(l) }) // until the hub is closed
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { _ = s.Close() })
	register(t, s, ids(n)...)
	conns := make([]net.Conn, n)
	for i, id := range ids(n) {
		if conns[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		device := &bare{t: t, conn: conns[i], rd: mqtt.NewReader(conns[i], 1<<16)}
		if code := device.connect(valid(s, id), true, 60); code != mqtt.Accepted {
			t.Fatalf("connect %s: CONNACK %d", id, code)
		}
		device.subscribe(iothub.FilterMethods)
	}
	return conns
}

// answerAll answers method requests until the connection ends, as cheaply as can be: it stands for many devices.
func answerAll(conn net.Conn) { answerEach(conn, func() {}) }

// answerEach is answerAll that tells of each answer that it is written.
func answerEach(conn net.Conn, written func()) {
	rd := mqtt.NewReader(conn, 1<<16)
	var out, topic []byte
	for {
		h, body, err := rd.Next()
		if err != nil {
			return
		}
		p, err := mqtt.ParsePublish(h, body)
		if err != nil {
			return
		}
		_, rid, ok := bytes.Cut(p.Topic, []byte("?$rid="))
		if !ok {
			return
		}
		topic = append(append(topic[:0], "$iothub/methods/res/200/?$rid="...), rid...)
		out, _ = mqtt.AppendPublish(out[:0], mqtt.Publish{Topic: topic, Payload: []byte(`{"Response":"ok"}`)})
		if _, err := conn.Write(out); err != nil {
			return
		}
		written()
	}
}

// BenchmarkDirectMethod calls methods over the REST side, by many callers at once.
func BenchmarkDirectMethod(b *testing.B) {
	s := hubtest.Start(b, nil)
	const n = 64
	conns := connectAll(b, s, n)
	var devices sync.WaitGroup
	for _, conn := range conns {
		devices.Go(func() { answerAll(conn) })
	}
	cpu := cpuTime()
	b.ReportAllocs()
	var next sync.Mutex
	device := 0
	b.RunParallel(func(pb *testing.PB) {
		next.Lock()
		id := ids(n)[device%n]
		device++
		next.Unlock()
		for pb.Next() {
			if _, err := s.Client().InvokeMethod(context.Background(), id, iothub.Method{MethodName: "lockDoor"}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/call")
	for _, conn := range conns {
		_ = conn.Close()
	}
	devices.Wait()
}

// BenchmarkTwinJob patches the twins of 10,000 devices by a job.
func BenchmarkTwinJob(b *testing.B) { twinJobs(b, hubtest.Start(b, nil)) }

func BenchmarkTwinJobStore(b *testing.B) { twinJobs(b, startStoring(b)) }

func twinJobs(b *testing.B, s *hubtest.Server) {
	b.Helper()
	register(b, s, ids(benchFleet)...)
	n := 0
	for b.Loop() {
		n++
		id := fmt.Sprintf("bench-%d-%d", time.Now().UnixNano(), n)
		rest(b, s, "PUT /jobs/v2/"+id, twinJob("*", `"properties":{"desired":{"building":`+strconv.Itoa(n)+`,"floor":3}}`))
		for job(b, s, id).Status != iothub.JobCompleted {
			time.Sleep(time.Millisecond)
		}
	}
	b.ReportMetric(float64(n)*benchFleet/b.Elapsed().Seconds(), "updates/s")
}

// BenchmarkRows reads the 10,000 rows of a job, page by page.
func BenchmarkRows(b *testing.B) {
	s := hubtest.Start(b, nil)
	register(b, s, ids(benchFleet)...)
	rest(b, s, "PUT /jobs/v2/rows", twinJob("*", `"tags":{"a":1}`))
	for job(b, s, "rows").Status != iothub.JobCompleted {
		time.Sleep(time.Millisecond)
	}
	for b.Loop() {
		n := 0
		for _, err := range s.Client().DeviceJobs(context.Background(), "rows") {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != benchFleet {
			b.Fatalf("%d rows, want %d", n, benchFleet)
		}
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTelemetry takes in telemetry messages of one device, each with properties and half a kilobyte.
func BenchmarkTelemetry(b *testing.B) {
	s := hubtest.Start(b, nil)
	device := online(b, s, "dev1")
	message := mqtt.Publish{
		Topic:   []byte(iothub.EventsTopic("dev1") + "%24.mid=1&%24.ct=application%2Fjson&%24.ce=utf-8&alert=true"),
		Payload: bytes.Repeat([]byte("x"), 512),
	}
	const burst = 64 // messages in one write, the last of which is acknowledged
	packet, _ := mqtt.AppendPublish(nil, message)
	packets := bytes.Repeat(packet, burst-1)
	message.QoS, message.ID = 1, 1
	packets, _ = mqtt.AppendPublish(packets, message)
	b.ReportAllocs()
	for sent := 0; sent < b.N; sent += burst {
		device.write(packets)
		device.expect(mqtt.TypePuback)
	}
}

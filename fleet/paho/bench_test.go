package paho_test

import (
	"context"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"muster/fleet"
	"muster/fleet/fleettest"
	"muster/fleet/paho"
	"muster/internal/mqtt"
	"muster/internal/template"
)

func config(b testing.TB, devices int, dial fleet.DialFunc) fleet.Config {
	id, err := template.Parse("door-{index:05d}")
	if err != nil {
		b.Fatal(err)
	}
	return fleet.Config{
		HostName: "hub.test", Driver: paho.Driver{}, Dial: dial,
		Groups: []fleet.Group{{Name: "doors", Devices: devices, ID: id, Methods: map[string]fleet.Method{
			"lockDoor": {Response: []byte(`{"Response":"lockDoor called successfully"}`)},
		}}},
	}
}

// start runs a fleet until the returned function is called.
func start(b testing.TB, cfg fleet.Config) (f *fleet.Fleet, stop func()) {
	f, err := fleet.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	return f, func() {
		cancel()
		running.Wait()
	}
}

// live returns the bytes of heap and stacks in use.
func live() float64 {
	var m runtime.MemStats
	for range 3 { // stacks shrink a step with each collection
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// idleDevice measures what an online device holds: heap and stacks, without the
// hub's side of the connection, which is measured alone and taken off.
func idleDevice(b testing.TB, devices int) (bytes, goroutines float64) {
	hub := fleettest.StartHub(b, nil)
	before := live()
	conns := hubAlone(b, hub, devices)
	hubSide := live() - before
	for _, conn := range conns {
		_ = conn.Close()
	}
	hub.Stop()

	hub = fleettest.StartHub(b, nil)
	before = live()
	running := runtime.NumGoroutine()
	f, stop := start(b, config(b, devices, hub.Dial))
	<-f.Ready()
	if online := f.Stats().Online; online != int64(devices) {
		b.Fatalf("%d devices are online, want %d", online, devices)
	}
	bytes = (live() - before - hubSide) / float64(devices)
	goroutines = float64(runtime.NumGoroutine()-running)/float64(devices) - 1
	stop()
	hub.Stop()
	return bytes, goroutines
}

func BenchmarkIdleDevice(b *testing.B) {
	for b.Loop() {
		bytes, goroutines := idleDevice(b, 1000)
		b.ReportMetric(bytes, "B/device")
		b.ReportMetric(goroutines, "goroutines/device")
	}
}

// hubAlone opens connections that say what a device says and have no client.
func hubAlone(b testing.TB, hub *fleettest.Hub, n int) []net.Conn {
	hello, err := mqtt.AppendConnect(nil, mqtt.Connect{
		CleanSession: true, ClientID: []byte("door-00000"), HasUsername: true, Username: []byte(strings.Repeat("x", 60)),
		HasPassword: true, Password: []byte(strings.Repeat("x", 160)),
	})
	if err == nil {
		hello, err = mqtt.AppendSubscribe(hello, 1, mqtt.Filter{Topic: []byte("t")})
	}
	if err == nil {
		hello, err = mqtt.AppendPublish(hello, mqtt.Publish{Topic: []byte("$iothub/twin/GET/?$rid=1")})
	}
	if err != nil {
		b.Fatal(err)
	}
	conns := make([]net.Conn, n)
	for i := range conns {
		if conns[i], err = hub.Dial(context.Background()); err == nil {
			_, err = conns[i].Write(hello)
		}
		answers := mqtt.NewReader(conns[i], 512)
		for range 3 { // CONNACK, SUBACK, the twin
			if err == nil {
				_, _, err = answers.Next()
			}
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return conns
}

// methodCalls connects one device and returns a function that calls it: from
// the hub's request written to the device's answer read. The hub's side does
// not allocate.
func methodCalls(b testing.TB) (call, stop func()) {
	network := fleettest.NewNetwork(b)
	_, stop = start(b, config(b, 1, network.Dial))
	peer := network.Accept()
	peer.Greet(0)
	_, body := peer.Want(mqtt.TypeSubscribe)
	s, err := mqtt.ParseSubscribe(body)
	if err != nil {
		b.Fatal(err)
	}
	peer.Send(mqtt.AppendSuback(nil, s.ID, 0, 0, 0))
	peer.WantPublish()
	peer.SendPublish(mqtt.Publish{
		Topic: []byte("$iothub/twin/res/200/?$rid=1"), Payload: []byte(`{"desired":{"$version":1},"reported":{"$version":1}}`),
	})
	request, err := mqtt.AppendPublish(nil, mqtt.Publish{
		Topic: []byte("$iothub/methods/POST/lockDoor/?$rid=1"), Payload: []byte(`{"lockTime":"10m"}`),
	})
	if err != nil {
		b.Fatal(err)
	}
	answer := make([]byte, 512)
	return func() {
		peer.Send(request)
		if _, err := peer.Read(answer); err != nil {
			b.Fatal(err)
		}
	}, stop
}

func BenchmarkMethodCall(b *testing.B) {
	call, stop := methodCalls(b)
	defer stop()
	b.ReportAllocs()
	for b.Loop() {
		call()
	}
}

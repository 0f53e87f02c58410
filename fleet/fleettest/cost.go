package fleettest

import (
	"context"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"muster/fleet"
	"muster/internal/mqtt"
	"muster/internal/template"
)

// What a driver costs a fleet.

func config(t testing.TB, driver fleet.Driver, devices int, dial fleet.DialFunc) fleet.Config {
	id, err := template.Parse("door-{index:05d}")
	if err != nil {
		t.Fatal(err)
	}
	return fleet.Config{
		HostName: "hub.test", Driver: driver, Dial: dial,
		Groups: []fleet.Group{{Name: "doors", Devices: devices, ID: id, Methods: map[string]fleet.Method{
			"lockDoor": {Response: []byte(`{"Response":"lockDoor called successfully"}`)},
		}}},
	}
}

// start runs a fleet until the returned function is called.
func start(t testing.TB, cfg fleet.Config) (f *fleet.Fleet, stop func()) {
	f, err := fleet.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return f, func() {
		cancel()
		running.Wait()
	}
}

// Idle is what one of many things that are idle holds, in bytes. Stacks depend on
// how deep goroutines have been before, and on the collector.
type Idle struct{ Heap, Stacks, Goroutines float64 }

// held returns what is held now.
func held() Idle {
	var m runtime.MemStats
	for range 3 { // stacks shrink a step with each collection
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return Idle{float64(m.HeapAlloc), float64(m.StackInuse), float64(runtime.NumGoroutine())}
}

// since returns what each of n has added.
func (i Idle) since(before Idle, n int) Idle {
	of := float64(n)
	return Idle{(i.Heap - before.Heap) / of, (i.Stacks - before.Stacks) / of, (i.Goroutines - before.Goroutines) / of}
}

// IdleDevice measures what an online device holds, without the hub's side of the
// connection, which is measured alone and taken off. It calls settle when all are
// online.
func IdleDevice(t testing.TB, driver fleet.Driver, devices int, settle func()) Idle {
	hub := StartHub(t, nil)
	before := held()
	conns := hubAlone(t, hub, devices)
	hubSide := held().since(before, devices)
	for _, conn := range conns {
		_ = conn.Close()
	}
	hub.Stop()

	hub = StartHub(t, nil)
	before = held()
	f, stop := start(t, config(t, driver, devices, hub.Dial))
	<-f.Ready()
	if online := f.Stats().Online; online != int64(devices) {
		t.Fatalf("%d devices are online, want %d", online, devices)
	}
	settle()
	both := held().since(before, devices)
	stop()
	hub.Stop()
	return both.since(hubSide, 1)
}

// hubAlone opens connections that say what a device says and have no client.
func hubAlone(t testing.TB, hub *Hub, n int) []net.Conn {
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
		t.Fatal(err)
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
			t.Fatal(err)
		}
	}
	return conns
}

// MethodCalls connects one device and returns a function that calls it: from
// the hub's request written to the device's answer read. The hub's side does
// not allocate.
func MethodCalls(t testing.TB, driver fleet.Driver) (call, stop func()) {
	network := NewNetwork(t)
	_, stop = start(t, config(t, driver, 1, network.Dial))
	peer := network.Accept()
	peer.Greet(0)
	_, body := peer.Want(mqtt.TypeSubscribe)
	s, err := mqtt.ParseSubscribe(body)
	if err != nil {
		t.Fatal(err)
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
		t.Fatal(err)
	}
	answer := make([]byte, 512)
	return func() {
		peer.Send(request)
		if _, err := peer.Read(answer); err != nil {
			t.Fatal(err)
		}
	}, stop
}

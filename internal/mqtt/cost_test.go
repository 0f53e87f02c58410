package mqtt_test

import (
	"bytes"
	"testing"

	"muster/internal/mqtt"
)

const (
	methodTopic = "$iothub/methods/POST/lockDoor/?$rid=1a2b"
	eventsTopic = "devices/door-00001/messages/events/"
)

// endless is a reader of the same bytes over and over.
type endless struct {
	data []byte
	off  int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.data[e.off:])
	e.off = (e.off + n) % len(e.data)
	return n, nil
}

func publish(tb testing.TB, payload int) []byte {
	tb.Helper()
	b, err := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte(methodTopic), Payload: make([]byte, payload), QoS: 1, ID: 1})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func readPublish(tb testing.TB, r *mqtt.Reader) {
	h, body, err := r.Next()
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := mqtt.ParsePublish(h, body); err != nil {
		tb.Fatal(err)
	}
}

func connectPacket() mqtt.Connect {
	return mqtt.Connect{
		CleanSession: true, KeepAlive: 60, ClientID: []byte("door-00001"),
		HasUsername: true, Username: []byte("hub.example/door-00001/?api-version=2021-04-12"),
		HasPassword: true, Password: bytes.Repeat([]byte("s"), 180),
	}
}

func TestAllocations(t *testing.T) {
	check := func(name string, f func()) {
		t.Helper()
		f() // fills pools
		if n := testing.AllocsPerRun(500, f); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
	buf := make([]byte, 0, 8<<10)
	small := mqtt.NewReader(&endless{data: publish(t, 100)}, 1<<20)
	message := mqtt.Publish{Topic: []byte(eventsTopic), Payload: make([]byte, 100), QoS: 1, ID: 7}
	connect, _ := mqtt.AppendConnect(nil, connectPacket())
	filters := []mqtt.Filter{{Topic: []byte("$iothub/methods/POST/#")}, {Topic: []byte("$iothub/twin/res/#"), QoS: 1}}
	subscribe, _ := mqtt.AppendSubscribe(nil, 1, filters...)
	c := connectPacket()
	granted := 0

	check("read and parse PUBLISH", func() { readPublish(t, small) })
	check("append PUBLISH", func() { _, _ = mqtt.AppendPublish(buf, message) })
	check("parse CONNECT", func() { _, _ = mqtt.ParseConnect(connect[3:]) })
	check("append CONNECT", func() { _, _ = mqtt.AppendConnect(buf, c) })
	check("parse SUBSCRIBE", func() {
		s, _ := mqtt.ParseSubscribe(subscribe[2:])
		for f := range s.Filters() {
			granted += int(f.QoS)
		}
	})
	check("append SUBSCRIBE", func() { _, _ = mqtt.AppendSubscribe(buf, 1, filters...) })
	check("append SUBACK", func() { _ = mqtt.AppendSuback(buf, 1, 0, 1) })
	check("append and parse PUBACK", func() {
		if _, err := mqtt.ParseAck(mqtt.AppendPuback(buf, 1)[2:]); err != nil {
			t.Error(err)
		}
	})
	if !raceEnabled {
		large := mqtt.NewReader(&endless{data: append(publish(t, 4000), publish(t, 20)...)}, 1<<20)
		check("read and parse large PUBLISH", func() { readPublish(t, large) })
	}
}

func BenchmarkReadPublish(b *testing.B) {
	for name, size := range map[string]int{"100B": 100, "4KB": 4 << 10, "64KB": 64 << 10} {
		b.Run(name, func(b *testing.B) {
			packet := publish(b, size)
			r := mqtt.NewReader(&endless{data: packet}, 1<<20)
			b.SetBytes(int64(len(packet)))
			b.ReportAllocs()
			for b.Loop() {
				readPublish(b, r)
			}
		})
	}
}

func BenchmarkParsePublish(b *testing.B) {
	packet := publish(b, 100)
	h := mqtt.Header{Type: mqtt.TypePublish, Flags: 2}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mqtt.ParsePublish(h, packet[3:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendPublish(b *testing.B) {
	message := mqtt.Publish{Topic: []byte(eventsTopic), Payload: make([]byte, 100), QoS: 1, ID: 7}
	buf := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = mqtt.AppendPublish(buf[:0], message)
	}
}

func BenchmarkConnect(b *testing.B) {
	connect := connectPacket()
	buf := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = mqtt.AppendConnect(buf[:0], connect)
		if _, err := mqtt.ParseConnect(buf[3:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewReader(b *testing.B) {
	b.ReportAllocs()
	var r *mqtt.Reader
	for b.Loop() {
		r = mqtt.NewReader(nil, 1<<20)
	}
	_ = r
}

package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// bare is an MQTT client that does nothing by itself: tests say what it sends and see what it gets.
type bare struct {
	t    testing.TB
	id   string
	conn net.Conn
	rd   *mqtt.Reader
}

// dial opens a connection to the hub's MQTT side.
func dial(t testing.TB, s *hubtest.Server) *bare {
	t.Helper()
	conn, err := s.MQTT.DialContext(context.Background(), "", "")
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &bare{t: t, conn: conn, rd: mqtt.NewReader(conn, 1<<20)}
}

// credentials are the fields of a CONNECT that a test may want to be wrong.
type credentials struct{ clientID, username, password string }

// valid returns the credentials with which the device of that id may connect; dev/mod is a module.
func valid(s *hubtest.Server, id string) credentials {
	host := s.ConnectionString().HostName
	return credentials{id, iothub.Username(host, id), token(s, id, time.Now().Add(time.Hour))}
}

func token(s *hubtest.Server, id string, expiry time.Time) string {
	return iothub.NewToken(scope(s.ConnectionString().HostName, id), key(id), "", expiry)
}

// scope returns what a device or module signs its tokens for.
func scope(host, id string) string {
	if device, module, ok := strings.Cut(id, "/"); ok {
		return iothub.ModuleResource(host, device, module)
	}
	return iothub.DeviceResource(host, id)
}

// key returns the primary key of a device that register made.
func key(id string) iothub.Key { return iothub.Key("primary key of " + id) }

// restPath returns where a device or module stands in the paths of the REST side.
func restPath(id string) string { return strings.Replace(id, "/", "/modules/", 1) }

// register creates devices and modules, which are called dev/mod, with known keys.
func register(t testing.TB, s *hubtest.Server, ids ...string) {
	t.Helper()
	for len(ids) > 0 {
		n := min(len(ids), iothub.MaxBulk)
		entries := make([]iothub.BulkEntry, n)
		for i, id := range ids[:n] {
			device, module, _ := strings.Cut(id, "/")
			entries[i] = iothub.BulkEntry{
				ID: device, ModuleID: module, ImportMode: iothub.ImportCreate,
				Authentication: &iothub.Authentication{SymmetricKey: iothub.SymmetricKey{Primary: key(id)}},
			}
		}
		body, err := json.Marshal(entries)
		if err != nil {
			t.Fatal(err)
		}
		if a := rest(t, s, "POST /devices", string(body), hub.ProvisioningHeader, "test"); a.status != http.StatusOK {
			t.Fatalf("register %v: %d %s", ids[:n], a.status, a.body)
		}
		ids = ids[n:]
	}
}

// online registers a device and connects it with a keep-alive of a minute.
func online(t testing.TB, s *hubtest.Server, id string, filters ...string) *bare {
	t.Helper()
	register(t, s, id)
	return reconnect(t, s, id, filters...)
}

// reconnect connects a registered device.
func reconnect(t testing.TB, s *hubtest.Server, id string, filters ...string) *bare {
	t.Helper()
	b := dial(t, s)
	if code := b.connect(valid(s, id), true, 60); code != mqtt.Accepted {
		t.Fatalf("connect %s: CONNACK %d", id, code)
	}
	if len(filters) > 0 {
		b.subscribe(filters...)
	}
	return b
}

// connect sends a CONNECT and returns the code of the CONNACK.
func (b *bare) connect(c credentials, clean bool, keepAlive uint16) byte {
	b.t.Helper()
	return b.connack(mqtt.Connect{CleanSession: clean, KeepAlive: keepAlive}, c).Code
}

func (b *bare) connack(p mqtt.Connect, c credentials) mqtt.Connack {
	b.t.Helper()
	p.ClientID, p.Username, p.Password = []byte(c.clientID), []byte(c.username), []byte(c.password)
	p.HasUsername, p.HasPassword = true, c.password != ""
	b.id = c.clientID
	packet, err := mqtt.AppendConnect(nil, p)
	if err != nil {
		b.t.Fatalf("encode CONNECT: %v", err)
	}
	b.write(packet)
	body := b.expect(mqtt.TypeConnack)
	ack, err := mqtt.ParseConnack(body)
	if err != nil {
		b.t.Fatalf("CONNACK: %v", err)
	}
	return ack
}

// subscribe subscribes to filters, one packet each as SDKs do, and waits for the acknowledgements.
func (b *bare) subscribe(filters ...string) {
	b.t.Helper()
	for i, f := range filters {
		b.sendSubscribe(uint16(i+1), f)
		b.expect(mqtt.TypeSuback)
	}
}

func (b *bare) sendSubscribe(id uint16, filters ...string) {
	b.t.Helper()
	var fs []mqtt.Filter
	for _, f := range filters {
		fs = append(fs, mqtt.Filter{Topic: []byte(f)})
	}
	packet, err := mqtt.AppendSubscribe(nil, id, fs...)
	if err != nil {
		b.t.Fatalf("encode SUBSCRIBE: %v", err)
	}
	b.write(packet)
}

// publish sends a message with QoS 0.
func (b *bare) publish(topic, payload string) {
	b.t.Helper()
	b.send(mqtt.Publish{Topic: []byte(topic), Payload: []byte(payload)})
}

func (b *bare) send(p mqtt.Publish) {
	b.t.Helper()
	packet, err := mqtt.AppendPublish(nil, p)
	if err != nil {
		b.t.Fatalf("encode PUBLISH: %v", err)
	}
	b.write(packet)
}

func (b *bare) write(packet []byte) {
	b.t.Helper()
	if _, err := b.conn.Write(packet); err != nil {
		b.t.Fatalf("%s: write: %v", b.id, err)
	}
}

// expect returns the body of the next packet, which must be of a type.
func (b *bare) expect(want mqtt.Type) []byte {
	b.t.Helper()
	h, body, err := b.rd.Next()
	if err != nil {
		b.t.Fatalf("%s: waiting for %s: %v", b.id, want, err)
	}
	if h.Type != want {
		b.t.Fatalf("%s: got %s, want %s", b.id, h.Type, want)
	}
	return body
}

// message returns the next packet, which must be a PUBLISH.
func (b *bare) message() (topic, payload string) {
	b.t.Helper()
	body := b.expect(mqtt.TypePublish)
	p, err := mqtt.ParsePublish(mqtt.Header{Type: mqtt.TypePublish}, body)
	if err != nil {
		b.t.Fatalf("%s: PUBLISH: %v", b.id, err)
	}
	return string(p.Topic), string(p.Payload)
}

// wants checks the next message.
func (b *bare) wants(topic, payload string) {
	b.t.Helper()
	gotTopic, gotPayload := b.message()
	if gotTopic != topic || gotPayload != payload {
		b.t.Errorf("%s: got %s %s\nwant %s %s", b.id, gotTopic, gotPayload, topic, payload)
	}
}

// silent checks that nothing arrives within d.
func (b *bare) silent(d time.Duration) {
	b.t.Helper()
	_ = b.conn.SetReadDeadline(time.Now().Add(d))
	h, body, err := b.rd.Next()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		b.t.Errorf("%s: got %s %q %v, want nothing", b.id, h.Type, body, err)
	}
	_ = b.conn.SetReadDeadline(time.Time{})
}

// closed waits until the hub has closed the connection, and returns how long that took.
func (b *bare) closed() time.Duration {
	b.t.Helper()
	start := time.Now()
	for {
		h, body, err := b.rd.Next()
		if err != nil {
			return time.Since(start)
		}
		b.t.Logf("%s: before the end: %s %q", b.id, h.Type, body)
	}
}

// alive checks that the hub still serves the connection.
func (b *bare) alive() {
	b.t.Helper()
	b.write(mqtt.AppendPingreq(nil))
	b.expect(mqtt.TypePingresp)
}

// answerMethod answers the next method request, after checking its name and payload.
func (b *bare) answerMethod(name, payload string, status int, response string) {
	b.t.Helper()
	topic, got := b.message()
	parsed, err := iothub.ParseTopic(topic)
	if err != nil || parsed.Kind != iothub.TopicMethodRequest || parsed.Method != name || got != payload {
		b.t.Fatalf("%s: got %s %s (%v), want method %s %s", b.id, topic, got, err, name, payload)
	}
	b.publish(iothub.MethodResponseTopic(status, parsed.RequestID), response)
}

// ids returns n device ids.
func ids(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("dev-%05d", i)
	}
	return list
}

func itoa(n int) string { return fmt.Sprint(n) }

package conformance_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"muster/internal/mqtt"
	"muster/iothub"
)

func itoa(n int) string { return strconv.Itoa(n) }

// device is an MQTT client that does nothing by itself: cases say what it sends and see what it gets.
type device struct {
	t    testing.TB
	h    *subject
	id   string
	conn net.Conn
	rd   *mqtt.Reader
}

// connect is how a device says who it is; the zero value is as SDKs do it.
type connect struct {
	clientID  string // default the device's id
	username  string // default as of the present API version
	password  string // default a token of the device's own key
	clean     bool
	keepAlive uint16 // default 240
	cert      *tls.Certificate
}

// The codes of a CONNACK that the table knows.
const (
	accepted      = int(mqtt.Accepted)
	notAuthorized = int(mqtt.RefusedNotAuthorized)
)

// open connects a device and returns it with the code of its CONNACK, or -1 where the hub closed the connection instead.
func (h *subject) open(t testing.TB, d identity, c connect) (*device, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(h.context(t), h.patience)
	defer cancel()
	conn, err := h.dial(ctx, c.cert)
	if err != nil {
		if c.cert != nil {
			return nil, -1 // a hub may refuse a certificate by TLS
		}
		t.Fatalf("connect %s: %v", d.id, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	dev := &device{t: t, h: h, id: d.id, conn: conn, rd: mqtt.NewReader(conn, 1<<20)}
	p := mqtt.Connect{CleanSession: c.clean, KeepAlive: c.keepAlive, HasUsername: true}
	p.ClientID, p.Username, p.Password = []byte(or(c.clientID, d.id)), []byte(or(c.username, iothub.Username(h.cs.HostName, d.id))), []byte(c.password)
	if c.password == "" && c.cert == nil {
		p.Password = []byte(h.deviceToken(d, time.Now().Add(time.Hour)))
	}
	p.HasPassword = len(p.Password) > 0
	if p.KeepAlive == 0 {
		p.KeepAlive = 240
	}
	packet, err := mqtt.AppendConnect(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write(packet)
	_ = conn.SetReadDeadline(time.Now().Add(h.patience))
	head, body, err := dev.rd.Next()
	if err != nil {
		return dev, -1
	}
	ack, err := mqtt.ParseConnack(body)
	if err != nil || head.Type != mqtt.TypeConnack {
		t.Fatalf("connect %s: %s %q %v, want CONNACK", d.id, head.Type, body, err)
	}
	return dev, int(ack.Code)
}

func or(value, absent string) string {
	if value == "" {
		return absent
	}
	return value
}

func (h *subject) deviceToken(d identity, expiry time.Time) string {
	return iothub.NewToken(iothub.DeviceResource(h.cs.HostName, d.id), d.key, "", expiry)
}

// online connects a device that must be let in.
func (h *subject) online(t testing.TB, d identity, c connect, filters ...string) *device {
	t.Helper()
	dev, code := h.open(t, d, c)
	if code != accepted {
		t.Fatalf("connect %s: CONNACK %d", d.id, code)
	}
	for i, f := range filters {
		dev.subscribe(uint16(i+1), 0, f)
	}
	return dev
}

// subscribe subscribes to one filter and returns what was granted.
func (d *device) subscribe(id uint16, qos byte, filter string) byte {
	d.t.Helper()
	packet, err := mqtt.AppendSubscribe(nil, id, mqtt.Filter{Topic: []byte(filter), QoS: qos})
	if err != nil {
		d.t.Fatal(err)
	}
	d.write(packet)
	ack, err := mqtt.ParseSuback(d.expect(mqtt.TypeSuback))
	if err != nil || ack.ID != id || len(ack.Codes) != 1 {
		d.t.Fatalf("subscribe %s: %+v %v", filter, ack, err)
	}
	return ack.Codes[0]
}

func (d *device) write(packet []byte) {
	d.t.Helper()
	if _, err := d.conn.Write(packet); err != nil {
		d.t.Fatalf("%s: write: %v", d.id, err)
	}
}

func (d *device) publish(qos byte, topic, payload string) {
	d.t.Helper()
	packet, err := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte(topic), Payload: []byte(payload), QoS: qos, ID: uint16(qos) * 77})
	if err != nil {
		d.t.Fatal(err)
	}
	d.write(packet)
	if qos == 1 {
		if id, err := mqtt.ParseAck(d.expect(mqtt.TypePuback)); err != nil || id != 77 {
			d.t.Errorf("PUBACK of %d (%v), want 77", id, err)
		}
	}
}

// expect returns the body of the next packet, which must be of a type.
func (d *device) expect(want mqtt.Type) []byte {
	d.t.Helper()
	_ = d.conn.SetReadDeadline(time.Now().Add(d.h.patience))
	head, body, err := d.rd.Next()
	if err != nil || head.Type != want {
		d.t.Fatalf("%s: got %s %q %v, want %s", d.id, head.Type, body, err, want)
	}
	return body
}

// message returns the next message.
func (d *device) message() (iothub.Topic, string) {
	d.t.Helper()
	p, err := mqtt.ParsePublish(mqtt.Header{Type: mqtt.TypePublish}, d.expect(mqtt.TypePublish))
	if err != nil {
		d.t.Fatalf("%s: PUBLISH: %v", d.id, err)
	}
	topic, err := iothub.ParseTopic(string(p.Topic))
	if err != nil {
		d.t.Fatalf("%s: topic %s: %v", d.id, p.Topic, err)
	}
	return topic, string(p.Payload)
}

// response returns the answer to a twin request.
func (d *device) response(requestID string, status int) (iothub.Topic, string) {
	d.t.Helper()
	topic, body := d.message()
	if topic.Kind != iothub.TopicTwinResponse || topic.RequestID != requestID || topic.Status != status {
		d.t.Fatalf("%s: got %+v %s, want the answer %d to %s", d.id, topic, body, status, requestID)
	}
	return topic, body
}

// alive checks that the connection is served, and that nothing came meanwhile.
func (d *device) alive() {
	d.t.Helper()
	d.write(mqtt.AppendPingreq(nil))
	d.expect(mqtt.TypePingresp)
}

// closed waits until the hub closes the connection, and returns how long that took.
func (d *device) closed(patience time.Duration) time.Duration {
	d.t.Helper()
	start := time.Now()
	_ = d.conn.SetReadDeadline(start.Add(patience))
	for {
		head, body, err := d.rd.Next()
		var timeout net.Error
		switch {
		case err == nil:
			d.t.Logf("%s: before the end: %s %q", d.id, head.Type, body)
		case errors.As(err, &timeout) && timeout.Timeout():
			d.t.Fatalf("%s: the connection is open after %v", d.id, patience)
		default:
			return time.Since(start)
		}
	}
}

func (d *device) leave() {
	d.write(mqtt.AppendDisconnect(nil))
	_ = d.conn.Close()
}

// answerMethod answers the next method request.
func (d *device) answerMethod(name string, status int, response string) (requestID, payload string) {
	d.t.Helper()
	topic, payload := d.message()
	if topic.Kind != iothub.TopicMethodRequest || topic.Method != name || topic.RequestID == "" {
		d.t.Fatalf("%s: got %+v %s, want method %s", d.id, topic, payload, name)
	}
	d.publish(0, iothub.MethodResponseTopic(status, topic.RequestID), response)
	return topic.RequestID, payload
}

// socket is a WebSocket as a stream of bytes.
type socket struct {
	*websocket.Conn
	message io.Reader
}

// dialSocket opens a WebSocket as devices do.
func dialSocket(ctx context.Context, host string, config *tls.Config, dial func(ctx context.Context, network, address string) (net.Conn, error)) (net.Conn, error) {
	d := websocket.Dialer{NetDialContext: dial, TLSClientConfig: config, Subprotocols: []string{"mqtt"}}
	ws, resp, err := d.DialContext(ctx, "wss://"+host+"/$iothub/websocket", nil)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	if !strings.EqualFold(ws.Subprotocol(), "mqtt") {
		_ = ws.Close()
		return nil, errors.New("the subprotocol is not mqtt")
	}
	return &socket{Conn: ws}, nil
}

func (s *socket) Read(p []byte) (int, error) {
	for {
		if s.message == nil {
			_, r, err := s.NextReader()
			if err != nil {
				return 0, err
			}
			s.message = r
		}
		n, err := s.message.Read(p)
		if err == io.EOF {
			s.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (s *socket) Write(p []byte) (int, error) {
	return len(p), s.WriteMessage(websocket.BinaryMessage, p)
}

func (s *socket) SetDeadline(at time.Time) error {
	_ = s.SetWriteDeadline(at)
	return s.SetReadDeadline(at)
}

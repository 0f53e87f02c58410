package fleettest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/internal/memnet"
	"muster/internal/mqtt"
)

// HubOptions script a Hub. The zero value is a hub that accepts all and answers
// at once.
type HubOptions struct {
	// Connack says how the n-th CONNECT of a device, from 1, is answered: with
	// which code, and whether at all. Default: accepted.
	Connack func(device string, n int) (code byte, answer bool)
	// TwinVersion is the desired version that a twin GET returns. Default 1.
	TwinVersion int64
	// TwinStatus and PatchStatus are the statuses of twin GETs and reported
	// PATCHes; negative: no answer. Defaults 200 and 204.
	TwinStatus, PatchStatus int
}

// Event is a packet that reached a Hub.
type Event struct {
	At       time.Time
	Device   string
	Type     mqtt.Type
	Topic    string // of a PUBLISH
	Payload  string // of a PUBLISH; the password of a CONNECT
	Username string // of a CONNECT
}

// Hub answers devices as an IoT hub would and remembers what they sent.
type Hub struct {
	opts     HubOptions
	listener *memnet.Listener
	serving  sync.WaitGroup // the accept loop and one goroutine a connection; stop joins them

	mu       sync.Mutex // guards the fields below
	conns    map[string]net.Conn
	all      []net.Conn
	events   []Event
	connects map[string]int
}

// StartHub starts a hub that lasts until the end of the test.
func StartHub(t testing.TB, opts *HubOptions) *Hub {
	t.Helper()
	h := &Hub{listener: memnet.Listen(t.Name()), conns: map[string]net.Conn{}, connects: map[string]int{}}
	if opts != nil {
		h.opts = *opts
	}
	if h.opts.TwinVersion == 0 {
		h.opts.TwinVersion = 1
	}
	if h.opts.TwinStatus == 0 {
		h.opts.TwinStatus = 200
	}
	if h.opts.PatchStatus == 0 {
		h.opts.PatchStatus = 204
	}
	h.serving.Go(h.accept)
	t.Cleanup(h.Stop)
	return h
}

// Stop closes the listener and all connections and waits until they are over.
func (h *Hub) Stop() {
	_ = h.listener.Close()
	h.mu.Lock()
	all := h.all
	h.mu.Unlock()
	for _, conn := range all {
		_ = conn.Close()
	}
	h.serving.Wait()
}

// Dial is the fleet.DialFunc that leads to the hub.
func (h *Hub) Dial(ctx context.Context) (net.Conn, error) {
	return h.listener.DialContext(ctx, "", "")
}

func (h *Hub) accept() {
	for {
		conn, err := h.listener.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		h.all = append(h.all, conn)
		h.mu.Unlock()
		h.serving.Go(func() { h.serve(conn) })
	}
}

// serve answers one connection until it ends.
func (h *Hub) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	r := mqtt.NewReader(conn, maxPacket)
	head, body, err := r.Next()
	if err != nil || head.Type != mqtt.TypeConnect {
		return
	}
	device, ok := h.greet(conn, body)
	for ok {
		head, body, err := r.Next()
		if err != nil {
			return
		}
		ok = h.packet(conn, device, head, body)
	}
}

// greet answers the CONNECT.
func (h *Hub) greet(conn net.Conn, body []byte) (device string, ok bool) {
	c, err := mqtt.ParseConnect(body)
	if err != nil {
		return "", false
	}
	device = string(c.ClientID)
	h.record(Event{Device: device, Type: mqtt.TypeConnect, Username: string(c.Username), Payload: string(c.Password)})
	h.mu.Lock()
	h.connects[device]++
	n := h.connects[device]
	h.conns[device] = conn
	h.mu.Unlock()
	if h.opts.Connack == nil {
		return device, send(conn, mqtt.AppendConnack(nil, false, mqtt.Accepted))
	}
	code, answer := h.opts.Connack(device, n)
	if !answer {
		return device, true
	}
	return device, send(conn, mqtt.AppendConnack(nil, false, code)) && code == 0
}

// packet answers one packet and reports whether the connection goes on.
func (h *Hub) packet(conn net.Conn, device string, head mqtt.Header, body []byte) bool {
	event := Event{Device: device, Type: head.Type}
	switch head.Type {
	case mqtt.TypeSubscribe:
		h.record(event)
		s, err := mqtt.ParseSubscribe(body)
		if err != nil {
			return false
		}
		var codes []byte
		for range s.Filters() {
			codes = append(codes, 0)
		}
		return send(conn, mqtt.AppendSuback(nil, s.ID, codes...))
	case mqtt.TypePublish:
		m, err := mqtt.ParsePublish(head, body)
		if err != nil {
			return false
		}
		event.Topic, event.Payload = string(m.Topic), string(m.Payload)
		h.record(event)
		return h.published(conn, event)
	case mqtt.TypePingreq:
		return send(conn, mqtt.AppendPingresp(nil))
	}
	h.record(event)
	return head.Type != mqtt.TypeDisconnect
}

// published answers a twin request; nothing else is answered.
func (h *Hub) published(conn net.Conn, e Event) bool {
	_, rid, _ := strings.Cut(e.Topic, "$rid=")
	status, version, payload := 0, "", ""
	switch {
	case strings.HasPrefix(e.Topic, "$iothub/twin/GET/"):
		status = h.opts.TwinStatus
		payload = fmt.Sprintf(`{"desired":{"$version":%d},"reported":{"$version":1}}`, h.opts.TwinVersion)
	case strings.HasPrefix(e.Topic, "$iothub/twin/PATCH/"):
		status, version = h.opts.PatchStatus, "&$version=2"
	}
	if status <= 0 {
		return true
	}
	topic := fmt.Sprintf("$iothub/twin/res/%d/?$rid=%s%s", status, rid, version)
	return publish(conn, topic, payload) == nil
}

func (h *Hub) record(e Event) {
	e.At = time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// Events returns what arrived so far of the type, in order.
func (h *Hub) Events(typ mqtt.Type) []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	var events []Event
	for _, e := range h.events {
		if e.Type == typ {
			events = append(events, e)
		}
	}
	return events
}

// Published returns the PUBLISH packets so far whose topics begin with prefix.
func (h *Hub) Published(prefix string) []Event {
	var events []Event
	for _, e := range h.Events(mqtt.TypePublish) {
		if strings.HasPrefix(e.Topic, prefix) {
			events = append(events, e)
		}
	}
	return events
}

// Call sends a direct method request to a device.
func (h *Hub) Call(device, method, rid, payload string) error {
	return h.Send(device, "$iothub/methods/POST/"+method+"/?$rid="+rid, payload)
}

// Desired sends a device a notification with the body as given.
func (h *Hub) Desired(device string, version int64, body string) error {
	return h.Send(device, fmt.Sprintf("$iothub/twin/PATCH/properties/desired/?$version=%d", version), body)
}

// Drop ends a device's connection.
func (h *Hub) Drop(device string) error { return h.conn(device).Close() }

func (h *Hub) conn(device string) net.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conns[device]
}

// Send publishes a message to a device.
func (h *Hub) Send(device, topic, payload string) error {
	conn := h.conn(device)
	if conn == nil {
		return fmt.Errorf("device %s has not connected", device)
	}
	return publish(conn, topic, payload)
}

func publish(conn net.Conn, topic, payload string) error {
	b, err := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte(topic), Payload: []byte(payload)})
	if err == nil {
		_, err = conn.Write(b)
	}
	return err
}

func send(conn net.Conn, b []byte) bool {
	_, err := conn.Write(b)
	return err == nil
}

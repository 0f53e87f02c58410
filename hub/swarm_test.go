package hub_test

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// swarm is many devices that cost next to nothing: each is its end of a connection in memory, and whoever writes to it makes
// it act.
type swarm struct {
	conns   []net.Conn
	silent  atomic.Bool // they answer nothing
	answers atomic.Int64
	codecs  mqtt.ReaderPool
}

// gather connects registered devices that listen to methods, by a token of the hub's owner.
func gather(tb testing.TB, s *hubtest.Server, n int, id func(i int) string) *swarm {
	tb.Helper()
	sw := &swarm{conns: make([]net.Conn, n)}
	cs := s.ConnectionString()
	token := []byte(iothub.NewToken(cs.HostName, cs.SharedAccessKey, cs.SharedAccessKeyName, time.Now().Add(24*time.Hour)))
	subscribe, err := mqtt.AppendSubscribe(nil, 1, mqtt.Filter{Topic: []byte(iothub.FilterMethods)})
	if err != nil {
		tb.Fatal(err)
	}
	var joining errgroup.Group
	joining.SetLimit(64)
	for i := range n {
		joining.Go(func() error {
			hello, err := mqtt.AppendConnect(nil, mqtt.Connect{
				CleanSession: true, KeepAlive: 1000, ClientID: []byte(id(i)), HasUsername: true, HasPassword: true,
				Username: []byte(iothub.Username(cs.HostName, id(i))), Password: token,
			})
			if err == nil {
				sw.conns[i], err = sw.join(tb, s, append(hello, subscribe...))
			}
			return err
		})
	}
	if err := joining.Wait(); err != nil {
		tb.Fatalf("connect %d devices: %v", n, err)
	}
	return sw
}

// join connects one device.
func (sw *swarm) join(tb testing.TB, s *hubtest.Server, hello []byte) (net.Conn, error) {
	conn, err := s.MQTT.DialContext(tb.Context(), "", "")
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(hello); err != nil {
		return nil, err
	}
	var answer [9]byte // CONNACK and SUBACK
	if _, err := io.ReadFull(conn, answer[:]); err != nil || answer[3] != mqtt.Accepted || answer[8] > 1 {
		return nil, fmt.Errorf("the hub answers % x, %w", answer, err)
	}
	nt := conn.(telling)
	nt.TellRead(func() { sw.act(nt) })
	return conn, nil
}

// telling is what a connection in memory has beside net.Conn.
type telling interface {
	net.Conn
	TryRead(p []byte) (int, error)
	TellRead(tell func())
}

// source reads from a connection without waiting.
type source struct{ telling }

func (s source) Read(p []byte) (int, error) { return s.TryRead(p) }

// act takes what came for a device, always whole packets, and answers methods.
func (sw *swarm) act(conn telling) {
	rd := sw.codecs.Take(source{conn}, 1<<16)
	defer sw.codecs.Give(rd)
	for {
		h, body, err := rd.Next()
		if err != nil { // there is no more
			return
		}
		p, err := mqtt.ParsePublish(h, body)
		if err != nil || sw.silent.Load() {
			continue
		}
		request, err := iothub.ParseTopic(string(p.Topic))
		if err != nil {
			continue
		}
		var space [128]byte
		topic := append(append(space[:0], "$iothub/methods/res/200/?$rid="...), request.RequestID...)
		out, _ := mqtt.AppendPublish(nil, mqtt.Publish{Topic: topic, Payload: []byte(`{"Response":"ok"}`)})
		if _, err := conn.Write(out); err == nil {
			sw.answers.Add(1)
		}
	}
}

// leave closes all connections.
func (sw *swarm) leave() {
	for _, c := range sw.conns {
		_ = c.Close()
	}
}

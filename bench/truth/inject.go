package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/fleet"
	"muster/harness"
	"muster/hub"
)

// delays is how long the n-th call is delayed, counted from 0, that comes so
// long after the first.
type delays func(n uint64, since time.Duration) time.Duration

// journal applies delays and logs each with its own begin and end.
type journal struct {
	delays delays

	mu    sync.Mutex // guards the fields below; never held across a delay
	first time.Time
	n     uint64
	took  []time.Duration
	begun map[string]time.Time // by device and request: delays that another call ends
}

// next returns the delay of a call that comes now.
func (j *journal) next(now time.Time) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.n == 0 {
		j.first = now
	}
	n := j.n
	j.n++
	return j.delays(n, now.Sub(j.first))
}

func (j *journal) note(took time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.took = append(j.took, took)
}

func (j *journal) sorted() []time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Sorted(slices.Values(j.took))
}

// hold waits, and logs from begin until it has waited.
func (j *journal) hold(begin time.Time) {
	timer := time.NewTimer(time.Until(begin.Add(j.next(begin))))
	defer timer.Stop()
	<-timer.C
	j.note(time.Since(begin))
}

// The topics of a method request and of its answer.
const (
	requestTopic = "$iothub/methods/POST/"
	answerTopic  = "$iothub/methods/res/"
)

// delaying is a driver whose devices answer a call later: from when the call is
// handed to the device to when its answer goes to the network.
type delaying struct {
	fleet.Driver
	journal *journal
}

// Dial implements fleet.Driver.
func (d delaying) Dial(ctx context.Context, dial fleet.DialFunc, s fleet.Session) (fleet.Conn, error) {
	inner, id := s.OnMessage, s.ClientID
	s.OnMessage = func(topic string, payload []byte) {
		if strings.HasPrefix(topic, requestTopic) {
			d.journal.begin(id + requestID(topic))
		}
		inner(topic, payload)
	}
	conn, err := d.Driver.Dial(ctx, dial, s)
	if err != nil {
		return nil, err
	}
	return delayingConn{conn, d.journal, id}, nil
}

func requestID(topic string) string { return topic[strings.LastIndexByte(topic, '='):] }

// begin notes when a call reached its device.
func (j *journal) begin(call string) {
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.begun == nil {
		j.begun = map[string]time.Time{}
	}
	j.begun[call] = now
}

type delayingConn struct {
	fleet.Conn
	journal *journal
	id      string
}

// Publish implements fleet.Conn.
func (c delayingConn) Publish(ctx context.Context, topic string, payload []byte, qos byte) error {
	if strings.HasPrefix(topic, answerTopic) {
		c.journal.mu.Lock()
		begin := c.journal.begun[c.id+requestID(topic)]
		c.journal.mu.Unlock()
		c.journal.hold(begin)
	}
	return c.Conn.Publish(ctx, topic, payload, qos)
}

// startHub starts the embedded hub in this process on loopback. With a journal
// it sends method requests later: from when it writes one to the connection to
// when that goes to the network.
func startHub(j *journal) harness.StartHub {
	return func(_ context.Context, opts harness.HubOptions) (*harness.Hub, error) {
		h := hub.New(&hub.Options{JobRate: opts.JobRate, Logger: opts.Logger})
		mqtt, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		rest, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(err, mqtt.Close())
		}
		running := &harness.Hub{
			ConnectionString: h.ConnectionString(), BaseURL: "http://" + rest.Addr().String(), Dial: harness.DialTCP(mqtt.Addr().String()),
			Inside: true, Done: make(chan struct{}), Ended: func() error { return nil },
		}
		if j != nil {
			mqtt = delayingListener{mqtt, j}
		}
		var servers errgroup.Group
		servers.Go(func() error { return h.ServeMQTT(mqtt) })
		servers.Go(func() error { return h.ServeREST(rest) })
		running.Stop = func() error { return errors.Join(h.Close(), servers.Wait()) }
		return running, nil
	}
}

type delayingListener struct {
	net.Listener
	journal *journal
}

// Accept implements net.Listener.
func (l delayingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return lateConn{conn, l.journal}, nil
}

// lateConn is the hub's end of a device's connection.
type lateConn struct {
	net.Conn
	journal *journal
}

// Write implements net.Conn. The hub has one writer a connection, so what one
// device waits for delays no other.
func (c lateConn) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(requestTopic)) {
		c.journal.hold(time.Now())
	}
	return c.Conn.Write(p)
}

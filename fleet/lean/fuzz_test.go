package lean_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/fleet"
	"muster/fleet/lean"
	"muster/internal/mqtt"
)

// script is a network connection on which the server sends what is given, in
// pieces, and then hangs up. What is written to it is counted.
type script struct {
	net.Conn // nil: nothing else is called
	rest     []byte
	piece    int
	wrote    atomic.Int64
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest[:min(s.piece, len(s.rest))])
	s.rest = s.rest[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error) {
	s.wrote.Add(int64(len(p)))
	return len(p), nil
}

func (s *script) Close() error { return nil }

// FuzzServer lets a server send anything. The connection is refused or lost
// once, and until then delivers the messages that were sent and nothing else.
func FuzzServer(f *testing.F) {
	hello := mqtt.AppendConnack(nil, false, mqtt.Accepted)
	message := packet(mqtt.Publish{Topic: []byte("t"), Payload: []byte("x")})
	f.Add([]byte{}, uint8(1))
	f.Add(mqtt.AppendConnack(nil, false, 5), uint8(2))
	f.Add(append(hello, message...), uint8(3))
	f.Add(append(append(hello, packet(mqtt.Publish{Topic: []byte("a/b"), QoS: 1, ID: 7, Payload: make([]byte, 700)})...), message...), uint8(100))
	f.Add(append(hello, 0x30, 0xff, 0xff, 0xff, 0x7f), uint8(255))
	f.Add(append(append(hello, mqtt.AppendPuback(nil, 1)...), mqtt.AppendSuback(mqtt.AppendPingresp(nil), 1, 0x80)...), uint8(1))
	f.Fuzz(func(t *testing.T, sent []byte, piece uint8) {
		var mu sync.Mutex
		var got []string
		var lost atomic.Int32
		told := make(chan struct{}, 2) // room for a loss too many
		s := fleet.Session{
			ClientID: "dev", KeepAlive: time.Hour,
			OnMessage: func(topic string, payload []byte) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, topic+"\x00"+string(payload))
			},
			OnLost: func(error) {
				lost.Add(1)
				told <- struct{}{}
			},
		}
		server := &script{rest: sent, piece: int(piece) + 1}
		dial := func(context.Context) (net.Conn, error) { return server, nil }
		conn, err := new(lean.Driver).Dial(context.Background(), dial, s)
		if err != nil {
			if lost.Load() != 0 || bytes.HasPrefix(sent, hello) {
				t.Errorf("Dial returned %v, %d losses", err, lost.Load())
			}
			return
		}
		<-told
		if err := conn.Close(); err != nil || lost.Load() != 1 {
			t.Errorf("Close returned %v, OnLost was called %d times", err, lost.Load())
		}
		mu.Lock()
		defer mu.Unlock()
		want := published(sent)
		for _, m := range got {
			if want[m]--; want[m] < 0 {
				t.Errorf("message %.80q was not sent", m)
			}
		}
	})
}

// published counts the messages in what a server sends, up to what is none.
func published(sent []byte) map[string]int {
	found := map[string]int{}
	r := mqtt.NewReader(bytes.NewReader(sent), 1<<20)
	for {
		h, body, err := r.Next()
		if err != nil {
			return found
		}
		if m, err := mqtt.ParsePublish(h, body); h.Type == mqtt.TypePublish && err == nil {
			found[string(m.Topic)+"\x00"+string(m.Payload)]++
		}
	}
}

package fleettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"muster/fleet"
	"muster/internal/mqtt"
)

// The rows of TestDriver that use connections and end them.

var filters = []string{"$iothub/methods/POST/#", "$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#"}

// subscribe subscribes while answer plays the peer, and returns the error.
func (k *kit) subscribe(ctx context.Context, conn fleet.Conn, peer *Peer, answer func(s mqtt.Subscribe)) error {
	k.Helper()
	result := k.begin(func() error { return conn.Subscribe(ctx, filters...) })
	_, body := peer.Want(mqtt.TypeSubscribe)
	s, err := mqtt.ParseSubscribe(body)
	if err != nil {
		k.Fatalf("parse the SUBSCRIBE: %v", err)
	}
	answer(s)
	return <-result
}

func subscribes(k *kit) {
	conn, peer := k.connect(k.session())
	got := map[string]byte{}
	err := k.subscribe(k.ctx, conn, peer, func(s mqtt.Subscribe) {
		for f := range s.Filters() {
			got[string(f.Topic)] = f.QoS
		}
		peer.Send(mqtt.AppendSuback(nil, s.ID, 0, 0, 0))
	})
	if err != nil {
		k.Errorf("Subscribe: %v", err)
	}
	want := map[string]byte{filters[0]: 0, filters[1]: 0, filters[2]: 0}
	if diff := cmp.Diff(want, got); diff != "" {
		k.Errorf("filters (-want +got):\n%s", diff)
	}
}

func subscribeRefused(k *kit) {
	conn, peer := k.connect(k.session())
	err := k.subscribe(k.ctx, conn, peer, func(s mqtt.Subscribe) {
		peer.Send(mqtt.AppendSuback(nil, s.ID, 0, mqtt.SubackFailure, 0))
	})
	if err == nil {
		k.Error("Subscribe returned no error")
	}
}

func subscribeEnds(k *kit) {
	conn, peer := k.connect(k.session())
	ctx, cancel := context.WithCancel(k.ctx)
	err := k.subscribe(ctx, conn, peer, func(mqtt.Subscribe) { cancel() })
	if !errors.Is(err, context.Canceled) {
		k.Errorf("Subscribe returned %v, want %v", err, context.Canceled)
	}
}

func publishes(k *kit) {
	conn, peer := k.connect(k.session())
	if err := conn.Publish(k.ctx, "a/b", []byte("payload"), 0); err != nil {
		k.Fatalf("Publish: %v", err)
	}
	want := mqtt.Publish{Topic: []byte("a/b"), Payload: []byte("payload")}
	if diff := cmp.Diff(want, peer.WantPublish()); diff != "" {
		k.Errorf("PUBLISH (-want +got):\n%s", diff)
	}
	if err := conn.Publish(k.ctx, "a/b", []byte{}, 0); err != nil {
		k.Fatalf("Publish without a payload: %v", err)
	}
	if got := peer.WantPublish(); len(got.Payload) != 0 {
		k.Errorf("Publish without a payload sent %q", got.Payload)
	}
}

func publishLends(k *kit) {
	conn, peer := k.connect(k.session())
	text := []byte("a/b")
	if err := conn.Publish(k.ctx, unsafe.String(&text[0], len(text)), []byte("payload"), 0); err != nil {
		k.Fatalf("Publish: %v", err)
	}
	copy(text, "xxx")
	if got := peer.WantPublish(); string(got.Topic) != "a/b" {
		k.Errorf("a topic whose text was used again arrived as %q", got.Topic)
	}
}

func publishAcknowledged(k *kit) {
	conn, peer := k.connect(k.session())
	result := k.begin(func() error { return conn.Publish(k.ctx, "t", []byte("x"), 1) })
	m := peer.WantPublish()
	synctest.Wait()
	select {
	case err := <-result:
		k.Errorf("Publish returned %v before the PUBACK", err)
	default:
	}
	peer.Send(mqtt.AppendPuback(nil, m.ID))
	if err := <-result; err != nil || m.QoS != 1 {
		k.Errorf("Publish at QoS %d returned %v", m.QoS, err)
	}
}

func publishEnds(k *kit) {
	conn, peer := k.connect(k.session())
	ctx, cancel := context.WithCancel(k.ctx)
	result := k.begin(func() error { return conn.Publish(ctx, "t", []byte("x"), 1) })
	peer.WantPublish()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		k.Errorf("Publish returned %v, want %v", err, context.Canceled)
	}
}

func publishLost(k *kit) {
	for _, clean := range []bool{true, false} {
		s := k.session()
		s.CleanSession = clean
		conn, peer := k.connect(s)
		result := k.begin(func() error { return conn.Publish(k.ctx, "t", []byte("x"), 1) })
		peer.WantPublish()
		_ = peer.Close()
		k.within("Publish", func() {
			if err := <-result; err == nil {
				k.Errorf("clean session %t: Publish returned no error", clean)
			}
		})
	}
}

func noAck(k *kit) {
	conn, peer := k.connect(k.session())
	result := k.begin(func() error { return conn.Publish(k.ctx, "t", []byte("x"), 1) })
	peer.WantPublish()
	k.within("Publish", func() {
		if err := <-result; err == nil {
			k.Error("Publish that is not acknowledged returned no error")
		}
	})
	k.within("Subscribe", func() {
		if err := k.subscribe(k.ctx, conn, peer, func(mqtt.Subscribe) {}); err == nil {
			k.Error("Subscribe that is not acknowledged returned no error")
		}
	})
	k.wantLost(0)
}

func publishAfter(k *kit) {
	after := map[string]func(conn fleet.Conn, peer *Peer){
		"loss":  func(_ fleet.Conn, peer *Peer) { _ = peer.Close() },
		"close": func(conn fleet.Conn, _ *Peer) { _ = conn.Close() },
	}
	for name, end := range after {
		conn, peer := k.connect(k.session())
		end(conn, peer)
		synctest.Wait()
		k.within("Publish", func() {
			for qos := range byte(2) {
				if err := conn.Publish(k.ctx, "t", []byte("x"), qos); err == nil {
					k.Errorf("Publish at QoS %d after a %s returned no error", qos, name)
				}
			}
		})
	}
}

func publishMany(k *kit) {
	const senders, each = 20, 10
	conn, peer := k.connect(k.session())
	var sending sync.WaitGroup
	for n := range senders {
		sending.Go(func() {
			for m := range each {
				if err := conn.Publish(k.ctx, fmt.Sprintf("t/%d/%d", n, m), bytes.Repeat([]byte{byte(n)}, 300), 0); err != nil {
					k.Errorf("Publish: %v", err)
				}
			}
		})
	}
	seen := map[string]bool{}
	for range senders * each {
		seen[string(peer.WantPublish().Topic)] = true
	}
	sending.Wait()
	if len(seen) != senders*each {
		k.Errorf("%d different messages arrived, want %d", len(seen), senders*each)
	}
}

// message is what OnMessage was given.
type message struct {
	topic   string
	payload string
}

// listen returns a session whose messages come on the channel.
func (k *kit) listen() (fleet.Session, chan message) {
	messages := make(chan message, 16)
	s := k.session()
	s.OnMessage = func(topic string, payload []byte) { messages <- message{strings.Clone(topic), string(payload)} }
	return s, messages
}

func (k *kit) wantMessage(messages chan message, want message) {
	k.Helper()
	synctest.Wait()
	select {
	case got := <-messages:
		if got != want {
			k.Errorf("message: got %.60q, want %.60q", got, want)
		}
	default:
		k.Errorf("no message, want %.60q", want)
	}
}

func largeMessages(k *kit) {
	payload := bytes.Repeat([]byte("0123456789"), 20_000)
	s, messages := k.listen()
	conn, peer := k.connect(s)
	var sending sync.WaitGroup
	sending.Go(func() { peer.SendPublish(mqtt.Publish{Topic: []byte("in"), Payload: payload}) })
	k.wantMessage(messages, message{"in", string(payload)})
	sending.Wait()
	sending.Go(func() {
		if err := conn.Publish(k.ctx, "out", payload, 0); err != nil {
			k.Errorf("Publish: %v", err)
		}
	})
	if got := peer.WantPublish(); !bytes.Equal(got.Payload, payload) {
		k.Errorf("%d bytes arrived, want %d", len(got.Payload), len(payload))
	}
	sending.Wait()
}

func pieces(k *kit) {
	s, messages := k.listen()
	_, peer := k.connect(s)
	b, err := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte("t"), Payload: bytes.Repeat([]byte("x"), 200)})
	if err != nil {
		k.Fatal(err)
	}
	for i := range b {
		peer.Send(b[i : i+1])
		synctest.Wait()
	}
	k.wantMessage(messages, message{"t", string(bytes.Repeat([]byte("x"), 200))})
}

func earlyMessage(k *kit) {
	s, messages := k.listen()
	var conn fleet.Conn
	result := k.begin(func() (err error) {
		conn, err = k.driver.Dial(k.ctx, k.net.Dial, s)
		return err
	})
	peer := k.net.Accept()
	peer.Want(mqtt.TypeConnect)
	b, err := mqtt.AppendPublish(mqtt.AppendConnack(nil, false, mqtt.Accepted), mqtt.Publish{Topic: []byte("t"), Payload: []byte("early")})
	if err != nil {
		k.Fatal(err)
	}
	peer.Send(b)
	if err := <-result; err != nil {
		k.Fatalf("Dial: %v", err)
	}
	k.wantMessage(messages, message{"t", "early"})
	_ = conn.Close()
}

func goesOn(k *kit) {
	s, messages := k.listen()
	s.CleanSession = false
	var conn fleet.Conn
	result := k.begin(func() (err error) {
		conn, err = k.driver.Dial(k.ctx, k.net.Dial, s)
		return err
	})
	peer := k.net.Accept()
	_, body := peer.Want(mqtt.TypeConnect)
	if c, err := mqtt.ParseConnect(body); err != nil || c.CleanSession {
		k.Errorf("CONNECT: %v, clean session %t, want one that is not clean", err, c.CleanSession)
	}
	peer.Send(mqtt.AppendConnack(nil, true, mqtt.Accepted))
	peer.SendPublish(mqtt.Publish{Topic: []byte("t"), Payload: []byte("waited"), QoS: 1, ID: 9, Dup: true})
	peer.Want(mqtt.TypePuback)
	if err := <-result; err != nil {
		k.Fatalf("Dial: %v", err)
	}
	k.wantMessage(messages, message{"t", "waited"})
	_ = conn.Close()
}

func handlersBlock(k *kit) {
	s, messages := k.listen()
	deliver, blocked := s.OnMessage, make(chan struct{})
	s.OnMessage = func(topic string, payload []byte) {
		if topic == "block" {
			<-blocked
		}
		deliver(topic, payload)
	}
	_, peer := k.connect(s)
	peer.SendPublish(mqtt.Publish{Topic: []byte("block")})
	peer.SendPublish(mqtt.Publish{Topic: []byte("next")})
	k.wantMessage(messages, message{"next", ""})
	close(blocked)
	k.wantMessage(messages, message{"block", ""})
}

func handlerPublishes(k *kit) {
	s := k.session()
	var conn fleet.Conn
	s.OnMessage = func(topic string, payload []byte) {
		if err := conn.Publish(k.ctx, "re/"+topic, payload, 0); err != nil {
			k.Errorf("Publish in a handler: %v", err)
		}
	}
	conn, peer := k.connect(s)
	for n := range 5 {
		peer.SendPublish(mqtt.Publish{Topic: []byte("t"), Payload: []byte{byte(n)}})
		if got := peer.WantPublish(); string(got.Topic) != "re/t" || got.Payload[0] != byte(n) {
			k.Errorf("answer: got %q %v", got.Topic, got.Payload)
		}
	}
	synctest.Wait() // the last Publish may not have returned yet
}

func acknowledges(k *kit) {
	s, messages := k.listen()
	_, peer := k.connect(s)
	peer.SendPublish(mqtt.Publish{Topic: []byte("t"), QoS: 1, ID: 77})
	_, body := peer.Want(mqtt.TypePuback)
	if id, err := mqtt.ParseAck(body); err != nil || id != 77 {
		k.Errorf("PUBACK: got %d, %v, want 77", id, err)
	}
	k.wantMessage(messages, message{"t", ""})
}

func losses(k *kit) {
	conn, peer := k.connect(k.session())
	k.wantLost(0)
	_ = peer.Close()
	k.wantLost(1)
	k.within("Close", func() { _ = conn.Close() })
	k.wantLost(1)
}

func malformed(k *kit) {
	_, peer := k.connect(k.session())
	peer.Send([]byte{0x00, 0x00}) // a reserved packet type
	k.wantLost(1)
	peer.WantEnd()
}

func pings(k *kit) {
	s := k.session()
	s.KeepAlive = 20 * time.Second
	_, peer := k.connect(s)
	for range 3 {
		start := time.Now()
		peer.Want(mqtt.TypePingreq)
		if idle := time.Since(start); idle > 30*time.Second {
			k.Errorf("the connection was idle for %v, want at most 1.5 keep-alives", idle)
		}
		peer.Send(mqtt.AppendPingresp(nil))
	}
	k.wantLost(0)
}

func noPong(k *kit) {
	s := k.session()
	s.KeepAlive = 10 * time.Second
	_, peer := k.connect(s)
	k.within("the loss", func() { peer.WantEnd() })
	k.wantLost(1)
}

func closes(k *kit) {
	conn, peer := k.connect(k.session())
	for range 2 {
		if err := conn.Close(); err != nil {
			k.Errorf("Close: %v", err)
		}
	}
	if !peer.WantEnd() {
		k.Error("the connection ended without a DISCONNECT")
	}
	k.wantLost(0)
}

func silentPeer(k *kit) {
	conn, _ := k.connect(k.session())
	var sending sync.WaitGroup
	for range 3 {
		sending.Go(func() {
			k.within("Publish to a silent peer", func() {
				if err := conn.Publish(k.ctx, "t", make([]byte, 200_000), 0); err == nil {
					k.Error("Publish to a silent peer returned no error")
				}
			})
		})
	}
	synctest.Wait()
	k.within("Close", func() { _ = conn.Close() })
	sending.Wait()
	k.wantLost(0)
}

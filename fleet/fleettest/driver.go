package fleettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/fleet"
	"muster/internal/mqtt"
)

// TestDriver holds a driver to what fleet.Driver, fleet.Session and fleet.Conn
// promise. Each row of its table runs in a bubble of its own, in which whatever
// a connection leaves running is found.
func TestDriver(t *testing.T, driver fleet.Driver) {
	for _, row := range []struct {
		name string
		run  func(k *kit)
	}{
		{"connect says who and how", connectFields},
		{"keep-alive is rounded up", keepAliveRounded},
		{"each refusal has its code and is not tried again", refusals},
		{"a failed dial is the error", dialFails},
		{"a peer that hangs up before its CONNACK is an error", hangUp},
		{"a first packet that is no CONNACK is an error", noConnack},
		{"a dial ends with its context", dialEnds},
		{"a handshake ends with its context", handshakeEnds},
		{"a connection outlives the context of its dial", outlives},
		{"subscribe asks for all filters in one packet", subscribes},
		{"a filter that is refused is an error", subscribeRefused},
		{"subscribe ends with its context", subscribeEnds},
		{"publish at QoS 0 returns once written", publishes},
		{"publish at QoS 1 returns once acknowledged", publishAcknowledged},
		{"publish ends with its context", publishEnds},
		{"publish ends with its connection", publishLost},
		{"publish after a loss or close is an error", publishAfter},
		{"publishes side by side arrive whole", publishMany},
		{"large messages pass both ways", largeMessages},
		{"messages in pieces are put together", pieces},
		{"a message right behind the CONNACK is not lost", earlyMessage},
		{"a handler that blocks delays no other", handlersBlock},
		{"a handler may publish", handlerPublishes},
		{"a message at QoS 1 is acknowledged", acknowledges},
		{"a loss is told once", losses},
		{"a malformed packet is a loss", malformed},
		{"an idle connection pings", pings},
		{"a peer that does not answer pings is a loss", noPong},
		{"close disconnects, tells no loss, and may be repeated", closes},
		{"close and publish return although the peer is silent", silentPeer},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { row.run(newKit(t, driver)) })
		})
	}
}

// bounded is how long anything may take that must end by itself.
const bounded = 2 * time.Minute

// kit is what each row needs.
type kit struct {
	*testing.T
	driver fleet.Driver
	net    *Network
	lost   atomic.Int32
	ctx    context.Context
}

func newKit(t *testing.T, driver fleet.Driver) *kit {
	return &kit{T: t, driver: driver, net: NewNetwork(t), ctx: t.Context()}
}

// session returns a session that counts losses and ignores messages.
func (k *kit) session() fleet.Session {
	return fleet.Session{
		ClientID: "dev", Username: "hub/dev/", Password: "token", CleanSession: true,
		OnMessage: func(string, []byte) {},
		OnLost:    func(error) { k.lost.Add(1) },
	}
}

// connect opens a connection that is closed at the end of the row.
func (k *kit) connect(s fleet.Session) (fleet.Conn, *Peer) {
	k.Helper()
	type opened struct {
		conn fleet.Conn
		err  error
	}
	result := make(chan opened, 1)
	go func() {
		conn, err := k.driver.Dial(k.ctx, k.net.Dial, s)
		result <- opened{conn, err}
	}()
	peer := k.net.Accept()
	peer.Greet(0)
	o := <-result
	if o.err != nil {
		k.Fatalf("Dial: %v", o.err)
	}
	k.Cleanup(func() { _ = o.conn.Close() })
	return o.conn, peer
}

// dial dials while serve plays the peer, and returns Dial's error.
func (k *kit) dial(ctx context.Context, s fleet.Session, serve func(p *Peer)) error {
	k.Helper()
	result := make(chan error, 1)
	go func() {
		conn, err := k.driver.Dial(ctx, k.net.Dial, s)
		if err == nil {
			_ = conn.Close()
		}
		result <- err
	}()
	serve(k.net.Accept())
	return <-result
}

func (k *kit) wantLost(want int32) {
	k.Helper()
	synctest.Wait()
	if got := k.lost.Load(); got != want {
		k.Errorf("OnLost was called %d times, want %d", got, want)
	}
}

// within runs f and fails if it takes longer than bounded.
func (k *kit) within(what string, f func()) {
	k.Helper()
	start := time.Now()
	f()
	if took := time.Since(start); took > bounded {
		k.Errorf("%s took %v, want at most %v", what, took, bounded)
	}
}

func connectFields(k *kit) {
	s := k.session()
	s.KeepAlive = 180 * time.Second
	var got mqtt.Connect
	if err := k.dial(k.ctx, s, func(p *Peer) { got = p.Greet(0) }); err != nil {
		k.Fatalf("Dial: %v", err)
	}
	want := mqtt.Connect{
		Protocol: []byte("MQTT"), Level: 4, CleanSession: true, KeepAlive: 180, ClientID: []byte("dev"),
		HasUsername: true, HasPassword: true, Username: []byte("hub/dev/"), Password: []byte("token"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		k.Errorf("CONNECT (-want +got):\n%s", diff)
	}
}

func keepAliveRounded(k *kit) {
	for given, want := range map[time.Duration]uint16{0: 0, time.Millisecond: 1, 1500 * time.Millisecond: 2} {
		s := k.session()
		s.KeepAlive = given
		err := k.dial(k.ctx, s, func(p *Peer) {
			if got := p.Greet(0).KeepAlive; got != want {
				k.Errorf("keep-alive %v: CONNECT says %d, want %d", given, got, want)
			}
		})
		if err != nil {
			k.Fatalf("Dial: %v", err)
		}
	}
}

func refusals(k *kit) {
	for code := byte(1); code <= 7; code++ {
		err := k.dial(k.ctx, k.session(), func(p *Peer) {
			p.Greet(code)
			p.WantEnd()
		})
		var refused *fleet.RefusedError
		if !errors.As(err, &refused) || refused.Code != code {
			k.Errorf("CONNACK %d: Dial returned %v, want a RefusedError with the code", code, err)
		}
	}
	k.wantNoMore()
	k.wantLost(0)
}

// wantNoMore fails if another connection is dialed.
func (k *kit) wantNoMore() {
	k.Helper()
	time.Sleep(bounded)
	if err := k.net.listener.Close(); err != nil {
		k.Fatalf("close listener: %v", err)
	}
	if conn, err := k.net.listener.Accept(); err == nil {
		_ = conn.Close()
		k.Error("the driver dialed again")
	}
}

func dialFails(k *kit) {
	fault := errors.New("no route")
	dial := func(context.Context) (net.Conn, error) { return nil, fault }
	if _, err := k.driver.Dial(k.ctx, dial, k.session()); !errors.Is(err, fault) {
		k.Errorf("Dial returned %v, want an error that wraps %v", err, fault)
	}
}

func hangUp(k *kit) {
	err := k.dial(k.ctx, k.session(), func(p *Peer) {
		p.Want(mqtt.TypeConnect)
		_ = p.Close()
	})
	if err == nil {
		k.Error("Dial returned no error")
	}
	k.wantLost(0)
}

func noConnack(k *kit) {
	err := k.dial(k.ctx, k.session(), func(p *Peer) {
		p.Want(mqtt.TypeConnect)
		p.Send(mqtt.AppendPingresp(nil))
		_ = p.Close()
	})
	if err == nil {
		k.Error("Dial returned no error")
	}
}

func dialEnds(k *kit) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(k.ctx)
	dial := func(ctx context.Context) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.AfterFunc(time.Second, func() { cancel(cause) })
	if _, err := k.driver.Dial(ctx, dial, k.session()); !errors.Is(err, cause) {
		k.Errorf("Dial returned %v, want an error that wraps the cause", err)
	}
}

func handshakeEnds(k *kit) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(k.ctx)
	err := k.dial(ctx, k.session(), func(p *Peer) {
		p.Want(mqtt.TypeConnect)
		cancel(cause)
		p.WantEnd()
	})
	if !errors.Is(err, cause) {
		k.Errorf("Dial returned %v, want an error that wraps the cause", err)
	}
	k.wantLost(0)
}

func outlives(k *kit) {
	ctx, cancel := context.WithCancel(k.ctx)
	background := k.ctx
	k.ctx = ctx
	conn, peer := k.connect(k.session())
	cancel()
	synctest.Wait()
	if err := conn.Publish(background, "t", []byte("x"), 0); err != nil {
		k.Errorf("Publish: %v", err)
	}
	peer.WantPublish()
	k.wantLost(0)
}

var filters = []string{"$iothub/methods/POST/#", "$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#"}

// subscribe subscribes while answer plays the peer, and returns the error.
func (k *kit) subscribe(ctx context.Context, conn fleet.Conn, peer *Peer, answer func(s mqtt.Subscribe)) error {
	k.Helper()
	result := make(chan error, 1)
	go func() { result <- conn.Subscribe(ctx, filters...) }()
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

func publishAcknowledged(k *kit) {
	conn, peer := k.connect(k.session())
	result := make(chan error, 1)
	go func() { result <- conn.Publish(k.ctx, "t", []byte("x"), 1) }()
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
	result := make(chan error, 1)
	go func() { result <- conn.Publish(ctx, "t", []byte("x"), 1) }()
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
		result := make(chan error, 1)
		go func() { result <- conn.Publish(k.ctx, "t", []byte("x"), 1) }()
		peer.WantPublish()
		_ = peer.Close()
		k.within("Publish", func() {
			if err := <-result; err == nil {
				k.Errorf("clean session %t: Publish returned no error", clean)
			}
		})
	}
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
	s.OnMessage = func(topic string, payload []byte) { messages <- message{topic, string(payload)} }
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
	result := make(chan fleet.Conn, 1)
	go func() {
		conn, err := k.driver.Dial(k.ctx, k.net.Dial, s)
		if err != nil {
			k.Errorf("Dial: %v", err)
		}
		result <- conn
	}()
	peer := k.net.Accept()
	peer.Want(mqtt.TypeConnect)
	b, err := mqtt.AppendPublish(mqtt.AppendConnack(nil, false, mqtt.Accepted), mqtt.Publish{Topic: []byte("t"), Payload: []byte("early")})
	if err != nil {
		k.Fatal(err)
	}
	peer.Send(b)
	if conn := <-result; conn != nil {
		k.wantMessage(messages, message{"t", "early"})
		_ = conn.Close()
	}
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

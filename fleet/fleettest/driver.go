package fleettest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"muster/fleet"
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
		{"a session that goes on gets what waited for it", goesOn},
		{"subscribe asks for all filters in one packet", subscribes},
		{"a filter that is refused is an error", subscribeRefused},
		{"subscribe ends with its context", subscribeEnds},
		{"publish at QoS 0 returns once written", publishes},
		{"publish does not keep the topic's text", publishLends},
		{"publish at QoS 1 returns once acknowledged", publishAcknowledged},
		{"publish ends with its context", publishEnds},
		{"publish ends with its connection", publishLost},
		{"an acknowledgement that does not come is an error", noAck},
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
	begun  sync.WaitGroup // what begin started; joined last at the row's end
}

func newKit(t *testing.T, driver fleet.Driver) *kit {
	k := &kit{T: t, driver: driver, ctx: t.Context()}
	t.Cleanup(k.begun.Wait)
	k.net = NewNetwork(t)
	return k
}

// begin runs f beside the row and returns where its error comes.
func (k *kit) begin(f func() error) <-chan error {
	result := make(chan error, 1) // so that f ends though nobody may want its error
	k.begun.Go(func() { result <- f() })
	return result
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
	var conn fleet.Conn
	result := k.begin(func() (err error) {
		conn, err = k.driver.Dial(k.ctx, k.net.Dial, s)
		return err
	})
	peer := k.net.Accept()
	peer.Greet(0)
	if err := <-result; err != nil {
		k.Fatalf("Dial: %v", err)
	}
	k.Cleanup(func() { _ = conn.Close() })
	return conn, peer
}

// dial dials while serve plays the peer, and returns Dial's error.
func (k *kit) dial(ctx context.Context, s fleet.Session, serve func(p *Peer)) error {
	k.Helper()
	result := k.begin(func() error {
		conn, err := k.driver.Dial(ctx, k.net.Dial, s)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
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

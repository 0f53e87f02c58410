package fleettest

import (
	"context"
	"errors"
	"net"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/fleet"
	"muster/internal/mqtt"
)

// The rows of TestDriver that open connections.

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

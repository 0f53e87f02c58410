// Package fleettest tests the drivers of a fleet against one table of promises,
// and gives fleets a small scripted hub to meet in tests. Everything in it runs
// in memory, so it works in testing/synctest bubbles.
//
// # Concurrency
//
// A Hub serves each connection in a goroutine and is closed at the end of the
// test. A Peer belongs to one goroutine.
package fleettest

import (
	"context"
	"net"
	"testing"

	"muster/internal/memnet"
	"muster/internal/mqtt"
)

const maxPacket = 1 << 20

// Peer is the server's end of one connection, played by hand.
type Peer struct {
	net.Conn
	t testing.TB
	r *mqtt.Reader
}

// Network is a listener that hands out Peers.
type Network struct {
	t        testing.TB
	listener *memnet.Listener
}

// NewNetwork returns a network that lasts until the end of the test.
func NewNetwork(t testing.TB) *Network {
	t.Helper()
	n := &Network{t: t, listener: memnet.Listen(t.Name())}
	t.Cleanup(func() { _ = n.listener.Close() })
	return n
}

// Dial is the fleet.DialFunc that leads to the network's peers.
func (n *Network) Dial(ctx context.Context) (net.Conn, error) {
	return n.listener.DialContext(ctx, "", "")
}

// Accept returns the peer of the next connection. The test's end closes it.
func (n *Network) Accept() *Peer {
	n.t.Helper()
	conn, err := n.listener.Accept()
	if err != nil {
		n.t.Fatalf("accept: %v", err)
	}
	p := newPeer(n.t, conn)
	n.t.Cleanup(func() { _ = conn.Close() })
	return p
}

func newPeer(t testing.TB, conn net.Conn) *Peer {
	return &Peer{Conn: conn, t: t, r: mqtt.NewReader(conn, maxPacket)}
}

// Want reads the next packet, which must be of the type, and returns its header
// and a copy of its body.
func (p *Peer) Want(typ mqtt.Type) (mqtt.Header, []byte) {
	p.t.Helper()
	h, body, err := p.r.Next()
	if err != nil {
		p.t.Fatalf("read a packet: got error %v, want a %v", err, typ)
	}
	if h.Type != typ {
		p.t.Fatalf("read a packet: got a %v, want a %v", h.Type, typ)
	}
	return h, append([]byte(nil), body...)
}

// WantPublish reads the next packet, which must be a PUBLISH.
func (p *Peer) WantPublish() mqtt.Publish {
	p.t.Helper()
	h, body := p.Want(mqtt.TypePublish)
	m, err := mqtt.ParsePublish(h, body)
	if err != nil {
		p.t.Fatalf("parse a PUBLISH: %v", err)
	}
	return m
}

// WantEnd reads until the connection ends, and reports whether a DISCONNECT
// came before.
func (p *Peer) WantEnd() (disconnected bool) {
	for {
		h, _, err := p.r.Next()
		if err != nil {
			return disconnected
		}
		disconnected = disconnected || h.Type == mqtt.TypeDisconnect
	}
}

// Send writes bytes as they are.
func (p *Peer) Send(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatalf("write to the client: %v", err)
	}
}

// SendPublish writes a PUBLISH.
func (p *Peer) SendPublish(m mqtt.Publish) {
	p.t.Helper()
	b, err := mqtt.AppendPublish(nil, m)
	if err != nil {
		p.t.Fatalf("encode a PUBLISH: %v", err)
	}
	p.Send(b)
}

// Greet reads the CONNECT and answers it with code.
func (p *Peer) Greet(code byte) mqtt.Connect {
	p.t.Helper()
	_, body := p.Want(mqtt.TypeConnect)
	c, err := mqtt.ParseConnect(body)
	if err != nil {
		p.t.Fatalf("parse the CONNECT: %v", err)
	}
	p.Send([]byte{0x20, 2, 0, code}) // also codes that the codec would not write
	return c
}

package floor

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// A pipe in memory hands each message over as it is, in one channel each way:
// the simplest that there is. Bytes are copied where they are read, so what was
// written is its writer's again when it has been answered. That each message is
// answered before the next one is what it relies on, and what makes it the floor
// under muster's own network in memory, which keeps to all that net.Conn
// promises.
type pipeEnd struct {
	in, out chan []byte
	rest    []byte // of the message that is being read
	closed  atomic.Bool
}

// words is what a channel must hold without a reader: one message, and a nil
// from either end that closes.
const words = 3

func newPipe() (a, b *pipeEnd) {
	there, back := make(chan []byte, words), make(chan []byte, words)
	return &pipeEnd{in: back, out: there}, &pipeEnd{in: there, out: back}
}

func (p *pipeEnd) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		if p.rest = <-p.in; p.rest == nil {
			p.in <- nil // for the next one that asks; it has room, as one was just taken
			return 0, io.EOF
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

func (p *pipeEnd) Write(b []byte) (int, error) {
	p.out <- b
	return len(b), nil
}

// Close ends both directions, once. Whoever reads finds out after what was
// written.
func (p *pipeEnd) Close() error {
	if !p.closed.Swap(true) {
		p.in <- nil
		p.out <- nil
	}
	return nil
}

// Room is a Listener whose devices are in the same process.
type Room struct {
	dialed chan io.ReadWriteCloser // without a buffer: a device waits until it is accepted
	closed chan struct{}
	close  sync.Once
}

// NewRoom returns an open Room.
func NewRoom() *Room {
	return &Room{dialed: make(chan io.ReadWriteCloser), closed: make(chan struct{})}
}

// Dial is a DialFunc.
func (m *Room) Dial(ctx context.Context) (io.ReadWriteCloser, error) {
	client, server := newPipe()
	select {
	case m.dialed <- server:
		return client, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept returns the next connection.
func (m *Room) Accept() (io.ReadWriteCloser, error) {
	select {
	case conn := <-m.dialed:
		return conn, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

// Close ends listening. Connections stay.
func (m *Room) Close() error {
	m.close.Do(func() { close(m.closed) })
	return nil
}

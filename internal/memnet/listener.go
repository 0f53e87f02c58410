package memnet

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// backlog is how many dialed connections may wait for Accept: enough that a burst
// of dialers need not take turns with the accept loop. Further ones wait in
// DialContext, which keeps the queue of a listener that accepts nothing short.
const backlog = 128

// Listener is a net.Listener whose connections come from its DialContext.
type Listener struct {
	addr    net.Addr
	waiting chan *conn    // dialed and not yet accepted; never closed
	closed  chan struct{} // closed by Close
	close   sync.Once
}

// Listen returns a listener with the address "memory:" and name. Names need not
// be unique: only who has the listener can dial it.
func Listen(name string) *Listener {
	return &Listener{
		addr:    address(name),
		waiting: make(chan *conn, backlog),
		closed:  make(chan struct{}),
	}
}

// Accept waits for the next connection. After Close the error is net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed: // first, so that a closed listener never accepts
		return nil, l.opError("accept", net.ErrClosed)
	default:
	}
	select {
	case c := <-l.waiting:
		return c, nil
	case <-l.closed:
		return nil, l.opError("accept", net.ErrClosed)
	}
}

// DialContext connects to the listener; network and address are ignored. It
// returns before the connection is accepted, as with TCP, and waits only while too
// many others are waiting. After Close the error is syscall.ECONNREFUSED. It fits
// http.Transport's DialContext.
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, l.opError("dial", err)
	}
	select {
	case <-l.closed:
		return nil, l.opError("dial", syscall.ECONNREFUSED)
	default:
	}
	p := newPipe(l.addr)
	select {
	case l.waiting <- &p.ends[1]:
		l.refuseIfClosed()
		return &p.ends[0], nil
	case <-l.closed:
		return nil, l.opError("dial", syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, l.opError("dial", ctx.Err())
	}
}

// Close ends the listener and the connections that nobody has accepted.
func (l *Listener) Close() error {
	err := l.opError("close", net.ErrClosed)
	l.close.Do(func() {
		close(l.closed)
		l.refuseIfClosed()
		err = nil
	})
	return err
}

// refuseIfClosed closes waiting connections of a closed listener. Close calls it,
// and who put one into the queue after that, so that none stays there.
func (l *Listener) refuseIfClosed() {
	select {
	case <-l.closed:
	default:
		return
	}
	for {
		select {
		case c := <-l.waiting:
			_ = c.Close() // it was open: nobody had it
		default:
			return
		}
	}
}

// Addr returns the listener's address.
func (l *Listener) Addr() net.Addr { return l.addr }

func (l *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: network, Addr: l.addr, Err: err}
}

package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// Telling is a connection that tells when there is something to read: a *Conn, or
// one in memory.
type Telling interface {
	net.Conn
	TryRead(p []byte) (int, error)
	TryWrite(p []byte) (int, error)
	TellRead(tell func())
}

// Secure is a TLS connection, of this package or package tls.
type Secure interface {
	net.Conn
	Handshake() error
	HandshakeContext(ctx context.Context) error
	ConnectionState() tls.ConnectionState
	NetConn() net.Conn
}

// Client returns the client's end of a TLS connection. It is a *TLS if the one
// below it tells.
func Client(below net.Conn, config *tls.Config) Secure { return secure(below, config, tls.Client) }

// Server returns the server's end of a TLS connection, as Client does the client's.
func Server(below net.Conn, config *tls.Config) Secure { return secure(below, config, tls.Server) }

func secure(below net.Conn, config *tls.Config, end func(net.Conn, *tls.Config) *tls.Conn) Secure {
	tells, ok := below.(Telling)
	if !ok {
		return end(below, config)
	}
	l := &lower{Telling: tells}
	return &TLS{Conn: end(l, config), lower: l}
}

// TLS is a TLS connection that tells when there may be something to read. Until
// TellRead is called it is like any other, then it is read by TryRead alone.
type TLS struct {
	*tls.Conn
	lower *lower
}

// TellRead is that of the connection below, which may have got no more than a part
// of a record. It is for a connection whose handshake is done.
func (c *TLS) TellRead(tell func()) {
	c.lower.tells.Store(true)
	c.lower.TellRead(tell)
}

// TryRead reads what has arrived as Read does, and never waits: if there is
// nothing to read yet its error is syscall.EAGAIN.
func (c *TLS) TryRead(p []byte) (int, error) {
	n, err := c.Read(p)
	switch {
	case !errors.Is(err, errNothingYet):
		return n, err
	case n > 0: // it was about to look at what comes behind
		return n, nil
	}
	return 0, syscall.EAGAIN
}

// Write writes all of p, or less with an error.
func (c *TLS) Write(p []byte) (written int, err error) {
	for {
		n, err := c.Conn.Write(p[written:min(len(p), written+maxRecord)])
		written += n
		if err == nil {
			err = c.lower.drain()
		}
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// maxRecord is how much of what is written may be on its way at once.
const maxRecord = 16 << 10

// NetConn returns the connection below.
func (c *TLS) NetConn() net.Conn { return c.lower.Telling }

// lower is the connection below as package tls has it. Once it tells, neither a
// read nor a write waits. Package tls goes on after an error that is temporary
// where it stood, in the middle of a record too. It may write in a read, what a
// peer that does not take it must not hold up: what there is no room for waits in
// unsent, until drain.
type lower struct {
	Telling
	tells atomic.Bool

	mu       sync.Mutex // guards the fields below; never held across a write that waits
	unsent   []byte
	draining bool
	err      error // what a write met, after which there is none
}

func (l *lower) Read(p []byte) (int, error) {
	if !l.tells.Load() {
		return l.Telling.Read(p)
	}
	n, err := l.TryRead(p)
	if err == syscall.EAGAIN {
		err = errNothingYet
	}
	return n, err
}

// maxUnsent bounds what waits to be sent: a record that is written, and what
// package tls has said meanwhile.
const maxUnsent = 64 << 10

var errUnread = errors.New("the peer does not read")

// Write is called by one at a time: package tls sees to that.
func (l *lower) Write(p []byte) (n int, err error) {
	if !l.tells.Load() {
		return l.Telling.Write(p)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && len(l.unsent) == 0 && !l.draining {
		n, l.err = l.TryWrite(p)
	}
	if l.err == nil && len(l.unsent)+len(p)-n > maxUnsent {
		l.err = errUnread
	}
	if l.err != nil {
		return n, l.err
	}
	l.unsent = append(l.unsent, p[n:]...)
	return len(p), nil
}

// drain waits until what was unsent is sent. If another call does that, it may
// return before.
func (l *lower) drain() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && len(l.unsent) > 0 && !l.draining {
		sending := l.unsent
		l.unsent, l.draining = nil, true
		l.mu.Unlock()
		_, err := l.Telling.Write(sending)
		l.mu.Lock()
		l.draining = false
		l.err = err
	}
	return l.err
}

var errNothingYet = nothingYet{}

// nothingYet is a net.Error.
type nothingYet struct{}

func (nothingYet) Error() string   { return "there is nothing to read yet" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }

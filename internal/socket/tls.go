package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
)

// Telling is a connection that tells when there is something to read: a *Conn, or
// one in memory.
type Telling interface {
	net.Conn
	TryRead(p []byte) (int, error)
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

// NetConn returns the connection below.
func (c *TLS) NetConn() net.Conn { return c.lower.Telling }

// lower is the connection below as package tls reads it. Once it tells, a read
// does not wait. Package tls goes on after an error that is temporary where it
// stood, in the middle of a record too.
type lower struct {
	Telling
	tells atomic.Bool
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

var errNothingYet = nothingYet{}

// nothingYet is a net.Error.
type nothingYet struct{}

func (nothingYet) Error() string   { return "there is nothing to read yet" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }

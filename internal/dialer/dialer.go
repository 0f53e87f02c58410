// Package dialer opens the connections of devices to an IoT hub over TLS: MQTT
// on its own port, or in a WebSocket.
//
// # Concurrency
//
// A Dialer may be used from many goroutines at once. What it has opened is its
// caller's.
package dialer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"muster/internal/socket"
)

// Transport is what carries MQTT.
type Transport string

// The transports. Both are over TLS.
const (
	MQTT      Transport = "mqtt"
	WebSocket Transport = "websocket"
)

// The service's path of WebSockets, and their subprotocol.
const (
	webSocketPath     = "/$iothub/websocket"
	webSocketProtocol = "mqtt"
)

const (
	tryTimeout       = 10 * time.Second // to find out whether a hub can be reached
	handshakeTimeout = 30 * time.Second // of a WebSocket
)

// Options are where a hub is.
type Options struct {
	MQTT      string // host and port of MQTT over TLS
	WebSocket string // host and port of WebSockets
	// TLS says whom to trust. Default: the system's authorities.
	TLS *tls.Config
	// Network opens what is below TLS. Default: TCP, and for WebSockets the proxy
	// that the environment names.
	Network func(ctx context.Context, network, addr string) (net.Conn, error)
	// Source tells of a Dial's context which address of this host its connection
	// comes from. Default: the system chooses. With a Network it is not asked.
	Source func(ctx context.Context) netip.Addr
	// Tells says of a Dial's context whether its connection, if it is of MQTT, should
	// tell when there is something to read. Default: none does.
	Tells func(ctx context.Context) bool
	// Sockets has the connections that tell. Default: one of the Dialer's own.
	Sockets *socket.Network
}

// Dialer opens connections.
type Dialer struct {
	opts     Options
	proxy    func(*http.Request) (*url.URL, error)
	sessions sessions
	buffers  sync.Pool // of WebSockets: an idle one has none
}

// New returns a Dialer. It opens nothing.
func New(o Options) *Dialer {
	d := &Dialer{opts: o}
	if d.opts.Sockets == nil {
		d.opts.Sockets = new(socket.Network)
	}
	if d.opts.Network == nil {
		d.opts.Network = d.dialTCP
		d.proxy = http.ProxyFromEnvironment
	}
	return d
}

// dialTCP is the default network.
func (d *Dialer) dialTCP(ctx context.Context, network, addr string) (net.Conn, error) {
	var source netip.Addr
	if d.opts.Source != nil {
		source = d.opts.Source(ctx)
	}
	return From(net.Dialer{Timeout: tryTimeout, KeepAlive: 30 * time.Second}, source).DialContext(ctx, network, addr)
}

// Dial opens a connection for a device, whose TLS sessions are its own: a
// device resumes what it had, and nothing of another.
func (d *Dialer) Dial(ctx context.Context, t Transport, device string) (net.Conn, error) {
	if t == WebSocket {
		return d.dialWebSocket(ctx, device)
	}
	below, err := d.opts.Network(ctx, "tcp", d.opts.MQTT)
	if err == nil && d.opts.Tells != nil && d.opts.Tells(ctx) {
		below, err = d.opts.Sockets.Adopt(below)
	}
	if err != nil {
		return nil, err
	}
	conn := socket.Client(below, d.config(d.opts.MQTT, device))
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = below.Close() // nobody has used it
		return nil, err
	}
	return conn, nil
}

// config returns the configuration for one connection of a device.
func (d *Dialer) config(addr, device string) *tls.Config {
	config := &tls.Config{}
	if d.opts.TLS != nil {
		config = d.opts.TLS.Clone()
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	// Without the hybrid of X25519 and ML-KEM a handshake takes half the time, and
	// the load should be the hub's.
	config.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr) // the address was made of both
	}
	if device != "" {
		config.ClientSessionCache = deviceSessions{&d.sessions, device}
	}
	return config
}

func (d *Dialer) dialWebSocket(ctx context.Context, device string) (net.Conn, error) {
	stop := func() bool { return true }
	dialer := websocket.Dialer{
		// Once it is connected the handshake heeds deadlines alone.
		NetDialContext: func(dialing context.Context, network, addr string) (net.Conn, error) {
			below, err := d.opts.Network(dialing, network, addr)
			if err == nil {
				stop = context.AfterFunc(ctx, func() { _ = below.Close() }) // nobody waits for it any more
			}
			return below, err
		},
		Proxy: d.proxy, HandshakeTimeout: handshakeTimeout, TLSClientConfig: d.config(d.opts.WebSocket, device),
		Subprotocols: []string{webSocketProtocol}, ReadBufferSize: 512, WriteBufferSize: 1024, WriteBufferPool: &d.buffers,
	}
	ws, answer, err := dialer.DialContext(ctx, "wss://"+d.opts.WebSocket+webSocketPath, nil)
	if !stop() {
		if err == nil {
			_ = ws.Close() // nobody has used it
		}
		return nil, context.Cause(ctx)
	}
	if answer != nil && errors.Is(err, websocket.ErrBadHandshake) {
		return nil, fmt.Errorf("websocket: the hub answers %s", answer.Status)
	}
	if err != nil {
		return nil, err
	}
	if ws.Subprotocol() != webSocketProtocol { // [MQTT-6.0.0-4]
		_ = ws.Close() // nobody has used it
		return nil, errors.New("websocket: the hub does not speak mqtt in it")
	}
	return &stream{Conn: ws}, nil
}

// Try opens and closes a connection, to see whether a transport gets through.
func (d *Dialer) Try(ctx context.Context, t Transport) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	conn, err := d.Dial(ctx, t, "")
	if err != nil {
		addr := d.opts.MQTT
		if t == WebSocket {
			addr = d.opts.WebSocket
		}
		return fmt.Errorf("reach %s by %s: %w", addr, t, err)
	}
	_ = conn.Close() // it has shown what it should
	return nil
}

// Choose returns MQTT, or WebSocket where that gets through and MQTT does not,
// with the reason. A hub that shows a certificate which is not trusted has been
// reached: there it tries nothing else.
func (d *Dialer) Choose(ctx context.Context) (t Transport, instead, err error) {
	instead = d.Try(ctx, MQTT)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](instead)
	switch {
	case instead == nil:
		return MQTT, nil, nil
	case untrusted || ctx.Err() != nil:
		return "", nil, instead
	}
	if err := d.Try(ctx, WebSocket); err != nil {
		return "", nil, errors.Join(instead, err)
	}
	return WebSocket, instead, nil
}

// sessions are the devices' TLS sessions, one each.
type sessions struct {
	mu       sync.Mutex // guards byDevice
	byDevice map[string]*tls.ClientSessionState
}

// deviceSessions is the cache of one device, whatever the server is called.
type deviceSessions struct {
	all    *sessions
	device string
}

// Get implements tls.ClientSessionCache.
func (c deviceSessions) Get(string) (*tls.ClientSessionState, bool) {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	s, ok := c.all.byDevice[c.device]
	return s, ok
}

// Put implements tls.ClientSessionCache.
func (c deviceSessions) Put(_ string, s *tls.ClientSessionState) {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if c.all.byDevice == nil {
		c.all.byDevice = map[string]*tls.ClientSessionState{}
	}
	if s == nil {
		delete(c.all.byDevice, c.device)
	} else {
		c.all.byDevice[c.device] = s
	}
}

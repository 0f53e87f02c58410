// Package paho drives the fleet's connections with the Eclipse Paho MQTT
// client, one client object for each connection attempt.
//
// Paho is used for its protocol code alone: it neither reconnects nor stores
// messages, since both would hide from a load test what happened.
//
// # Concurrency
//
// A Driver and its connections are safe for concurrent use. A connection with
// pings costs ten goroutines of paho's, one without nine; they end with Close,
// or by themselves shortly after the connection was lost.
package paho

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"muster/fleet"
)

const (
	connectTimeout = 30 * time.Second // from the open network connection to the CONNACK
	pingTimeout    = 30 * time.Second
	writeTimeout   = 10 * time.Second
	// killAfter is how long Close lets a silent peer hold up the DISCONNECT,
	// closeTimeout how long it waits for paho altogether, in milliseconds.
	killAfter    = 250 * time.Millisecond
	closeTimeout = 2000

	subscribeFailed = 0x80 // MQTT 3.1.1, 3.9.3
)

// servers and dialer stand where paho wants something that the custom open
// function makes needless. All clients share them, and none changes them.
var (
	servers = []*url.URL{{Scheme: "tcp", Host: "hub"}}
	dialer  = &net.Dialer{}

	errClosed = errors.New("connection is closed")
	errNoAck  = errors.New("no acknowledgement in time")
)

// Driver is a fleet.Driver. Its zero value is ready for use.
type Driver struct{}

// Dial connects as fleet.Driver says.
func (Driver) Dial(ctx context.Context, dial fleet.DialFunc, s fleet.Session) (fleet.Conn, error) {
	c := &conn{done: make(chan struct{}), lost: s.OnLost}
	c.client = mqtt.NewClient(c.options(ctx, dial, s))
	token := c.client.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		c.abandon(token)
		return nil, context.Cause(ctx)
	}
	if err := token.Error(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, cause(err)
	}
	if !c.stream.detach() {
		_ = c.Close()
		return nil, context.Cause(ctx)
	}
	return c, nil
}

// abandon waits for the end of an attempt whose context has ended. The dial and
// the handshake end with it, see open; a dial that does not is left behind, and
// what it opens is closed.
func (c *conn) abandon(token mqtt.Token) {
	patience := time.NewTimer(closeTimeout * time.Millisecond)
	defer patience.Stop()
	select {
	case <-token.Done():
		if token.Error() == nil {
			_ = c.Close() // it was accepted just then
		}
	case <-patience.C:
		c.client.Disconnect(0)
	}
}

// cause returns what went wrong on the network: paho joins it to an error of
// its own, which tells nothing more.
func cause(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, part := range joined.Unwrap() {
			if part != packets.ErrorNetworkError {
				return part
			}
		}
	}
	return err
}

// conn is one connection and the client made for it.
type conn struct {
	client mqtt.Client
	lost   func(error)

	once sync.Once
	done chan struct{} // closed when the connection is lost or closed; wakes who waits for it

	mu     sync.Mutex // guards stream, which paho's goroutine sets
	stream *stream
}

// options returns the settings of a client for one attempt. Those that are left
// alone are as paho has them by default and play no role.
func (c *conn) options(ctx context.Context, dial fleet.DialFunc, s fleet.Session) *mqtt.ClientOptions {
	o := mqtt.NewClientOptions()
	o.Servers = servers
	o.HTTPHeaders, o.WebsocketOptions = nil, nil // made for each client, used by none
	o.SetClientID(s.ClientID).SetUsername(s.Username).SetPassword(s.Password)
	o.SetProtocolVersion(4) // else each refusal is tried again as MQTT 3.1
	o.SetCleanSession(s.CleanSession)
	o.SetAutoReconnect(false) // the fleet reconnects, with jitter and on the record
	o.SetConnectRetry(false)
	o.SetOrderMatters(false) // each message in a goroutine of its own: handlers sleep and publish
	o.SetKeepAlive(wholeSeconds(s.KeepAlive))
	o.SetPingTimeout(pingTimeout)
	o.SetConnectTimeout(connectTimeout)
	o.Dialer = dialer               // after SetConnectTimeout, which writes to the one in place
	o.SetWriteTimeout(writeTimeout) // also of the hand-off to paho's writer
	o.SetStore(nullStore{})
	o.SetResumeSubs(false)
	o.SetAutoAckDisabled(false)
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { s.OnMessage(m.Topic(), m.Payload()) })
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { c.end(err) })
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return c.open(ctx, dial) })
	return o
}

// wholeSeconds rounds a keep-alive up to what MQTT can say.
func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

// open makes the network connection, which ctx closes until it is detached.
func (c *conn) open(ctx context.Context, dial fleet.DialFunc) (net.Conn, error) {
	nc, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	s := newStream(ctx, nc)
	c.mu.Lock()
	c.stream = s
	c.mu.Unlock()
	return s, nil
}

// Publish sends a message as fleet.Conn says.
func (c *conn) Publish(ctx context.Context, topic string, payload []byte, qos byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	token := c.client.Publish(strings.Clone(topic), qos, false, payload) // paho may write it after this has returned
	if qos == 0 {
		return c.wait(ctx, token, nil)
	}
	return c.waitForAck(ctx, token)
}

// Subscribe asks for the filters as fleet.Conn says.
func (c *conn) Subscribe(ctx context.Context, filters ...string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	wanted := make(map[string]byte, len(filters))
	for _, filter := range filters {
		wanted[filter] = 0
	}
	// Without a callback paho's list of routes stays empty, and no message is
	// matched against it.
	token := c.client.SubscribeMultiple(wanted, nil)
	if err := c.waitForAck(ctx, token); err != nil {
		return err
	}
	for filter, granted := range token.(*mqtt.SubscribeToken).Result() {
		if granted == subscribeFailed {
			return fmt.Errorf("filter %s is refused", filter)
		}
	}
	return nil
}

// waitForAck waits for the token of what the server acknowledges.
func (c *conn) waitForAck(ctx context.Context, token mqtt.Token) error {
	late := time.NewTimer(fleet.AckTimeout)
	defer late.Stop()
	return c.wait(ctx, token, late.C)
}

// wait waits for a token until late comes, if it is not nil. Paho leaves some
// tokens pending for ever when their connection ends, so that is waited for too.
func (c *conn) wait(ctx context.Context, token mqtt.Token, late <-chan time.Time) error {
	select {
	case <-token.Done():
		return token.Error()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.done:
		return errClosed
	case <-late:
		return errNoAck
	}
}

// end marks the connection as over, once, and reports a loss.
func (c *conn) end(lost error) {
	first := false
	c.once.Do(func() {
		close(c.done)
		first = true
	})
	if first && lost != nil && c.lost != nil {
		c.lost(lost)
	}
}

// Close disconnects. If the peer does not take the DISCONNECT, the network
// connection is closed under paho, which frees its writer.
func (c *conn) Close() error {
	c.end(nil)
	kill := time.AfterFunc(killAfter, c.kill)
	defer kill.Stop()
	c.client.Disconnect(closeTimeout)
	c.kill()
	return nil
}

func (c *conn) kill() {
	c.mu.Lock()
	s := c.stream
	c.mu.Unlock()
	if s != nil {
		_ = s.Close() // it may be closed already
	}
}

package harness

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"golang.org/x/sync/errgroup"

	"muster/fleet"
	"muster/hub"
	"muster/internal/dialer"
	"muster/internal/memnet"
	"muster/internal/socket"
)

// startInside starts the hub in this process.
func startInside(_ context.Context, opts HubOptions) (*Hub, error) {
	return serveInside(hub.New(&hub.Options{JobRate: opts.JobRate, Tier: opts.Tier, Units: opts.Units, Logger: opts.Logger}), opts)
}

// serveInside serves h. Its two servers belong to one group, which Stop ends
// by closing the hub and then joins.
func serveInside(h *hub.Hub, opts HubOptions) (*Hub, error) {
	running := &Hub{ConnectionString: h.ConnectionString(), Inside: true, Done: make(chan struct{})}
	running.Ended = func() error { return nil }
	mqtt, rest, err := running.listen(h, opts)
	if err != nil {
		return nil, fmt.Errorf("start the hub: %w", err)
	}
	var servers errgroup.Group
	servers.Go(func() error {
		if opts.TLS {
			return h.ServeMQTTS(mqtt)
		}
		return h.ServeMQTT(mqtt)
	})
	servers.Go(func() error { return h.ServeREST(rest) })
	running.Stop = func() error {
		if t, ok := running.Transport.(*http.Transport); ok {
			t.CloseIdleConnections()
		}
		return errors.Join(h.Close(), servers.Wait())
	}
	return running, nil
}

// listen opens the hub's two listeners and fills in how to reach them.
func (h *Hub) listen(of *hub.Hub, opts HubOptions) (mqtt, rest net.Listener, err error) {
	if opts.Memory {
		m, r := memnet.Listen("mqtt"), memnet.Listen("rest")
		h.Dial = func(ctx context.Context) (net.Conn, error) { return m.DialContext(ctx, "", "") }
		h.BaseURL, h.Transport = "http://memory", memoryTransport(r)
		return m, r, nil
	}
	if mqtt, rest, err = loopbackListeners(); err != nil {
		return nil, nil, err
	}
	h.BaseURL = "http://" + rest.Addr().String()
	var authority []byte
	if opts.TLS {
		var ca *hub.CA
		if ca, err = of.CA(); err != nil {
			return nil, nil, errors.Join(err, mqtt.Close(), rest.Close())
		}
		authority = ca.PEM()
	}
	if err = h.ConnectTo(mqtt.Addr().String(), authority); err != nil {
		return nil, nil, errors.Join(err, mqtt.Close(), rest.Close())
	}
	return mqtt, rest, nil
}

// ConnectTo has devices connect to addr, over TLS if there is an authority to trust (as
// PEM), and child generators do the same.
func (h *Hub) ConnectTo(addr string, authority []byte) (err error) {
	h.addr, h.authority = addr, authority
	h.Dial, err = dialTo(addr, authority)
	return err
}

func dialTo(addr string, authority []byte) (fleet.DialFunc, error) {
	if len(authority) == 0 {
		return DialTCP(addr), nil
	}
	return DialTLS(addr, authority)
}

// sockets are those of this process's devices, whatever hub they connect to: as
// with the runtime's poller, one goroutine tells all of them, and the wake canary
// waits for it.
var sockets socket.Network

// DialTCP returns what opens a device's connection to a hub at addr, from the
// address that the fleet asks for.
func DialTCP(addr string) fleet.DialFunc {
	to, err := netip.ParseAddrPort(addr)
	return func(ctx context.Context) (net.Conn, error) {
		if err != nil || !fleet.TellingAsked(ctx) { // a name must be looked up
			return dialer.From(net.Dialer{}, fleet.Source(ctx)).DialContext(ctx, "tcp", addr)
		}
		return sockets.Dial(ctx, fleet.Source(ctx), to)
	}
}

// DialTLS is DialTCP over TLS. It trusts the authorities in a PEM text alone.
func DialTLS(addr string, authorities []byte) (fleet.DialFunc, error) {
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("reach the hub at %s over TLS: no certificate of an authority", addr)
	}
	d := dialer.New(dialer.Options{MQTT: addr, TLS: &tls.Config{RootCAs: trusted}, Source: fleet.Source, Tells: fleet.TellingAsked, Sockets: &sockets})
	return func(ctx context.Context) (net.Conn, error) { return d.Dial(ctx, dialer.MQTT, fleet.Dialing(ctx)) }, nil
}

// memoryTransport reaches the REST side in memory. It keeps a connection for
// each call that is in flight.
func memoryTransport(l *memnet.Listener) *http.Transport {
	return &http.Transport{
		DialContext: l.DialContext, DisableCompression: true,
		MaxIdleConns: 4096, MaxIdleConnsPerHost: 4096, // as many as a Client keeps on a network
	}
}

func loopbackListeners() (mqtt, rest net.Listener, err error) {
	mqtt, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	rest, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		_ = mqtt.Close() // nothing has used it
		return nil, nil, err
	}
	return mqtt, rest, nil
}

package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"muster/fleet"
	"muster/hub"
	"muster/internal/dialer"
	"muster/internal/memnet"
)

// startInside starts the hub in this process.
func startInside(_ context.Context, opts HubOptions) (*Hub, error) {
	return serveInside(hub.New(&hub.Options{JobRate: opts.JobRate, Tier: opts.Tier, Units: opts.Units, Logger: opts.Logger}), opts.Memory)
}

// serveInside serves h. Its two servers belong to one group, which Stop ends
// by closing the hub and then joins.
func serveInside(h *hub.Hub, memory bool) (*Hub, error) {
	running := &Hub{ConnectionString: h.ConnectionString(), Inside: true, Done: make(chan struct{})}
	running.Ended = func() error { return nil }
	mqtt, rest, err := running.listen(memory)
	if err != nil {
		return nil, fmt.Errorf("start the hub: %w", err)
	}
	var servers errgroup.Group
	servers.Go(func() error { return h.ServeMQTT(mqtt) })
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
func (h *Hub) listen(memory bool) (mqtt, rest net.Listener, err error) {
	if memory {
		m, r := memnet.Listen("mqtt"), memnet.Listen("rest")
		h.Dial = func(ctx context.Context) (net.Conn, error) { return m.DialContext(ctx, "", "") }
		h.BaseURL, h.Transport = "http://memory", memoryTransport(r)
		return m, r, nil
	}
	if mqtt, rest, err = loopbackListeners(); err != nil {
		return nil, nil, err
	}
	h.Addr = mqtt.Addr().String()
	h.Dial, h.BaseURL = DialTCP(h.Addr), "http://"+rest.Addr().String()
	return mqtt, rest, nil
}

// DialTCP returns what opens a device's connection to a hub at addr, from the
// address that the fleet asks for.
func DialTCP(addr string) fleet.DialFunc {
	return func(ctx context.Context) (net.Conn, error) {
		return dialer.From(net.Dialer{}, fleet.Source(ctx)).DialContext(ctx, "tcp", addr)
	}
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

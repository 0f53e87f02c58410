package harness

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"muster/hub"
	"muster/internal/memnet"
)

// startInside starts the hub in this process. Its two servers belong to one
// group, which Stop ends by closing the hub and then joins.
func startInside(_ context.Context, opts HubOptions) (*Hub, error) {
	h := hub.New(&hub.Options{JobRate: opts.JobRate, Logger: opts.Logger})
	running := &Hub{ConnectionString: h.ConnectionString(), Inside: true}
	var mqtt, rest net.Listener
	if opts.Memory {
		m, r := memnet.Listen("mqtt"), memnet.Listen("rest")
		running.Dial = func(ctx context.Context) (net.Conn, error) { return m.DialContext(ctx, "", "") }
		running.Transport = memoryTransport(r)
		running.BaseURL = "http://memory"
		mqtt, rest = m, r
	} else {
		var err error
		if mqtt, rest, err = loopbackListeners(); err != nil {
			return nil, fmt.Errorf("start the hub: %w", err)
		}
		addr := mqtt.Addr().String()
		running.Dial = func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
		running.BaseURL = "http://" + rest.Addr().String()
	}
	var group errgroup.Group
	group.Go(func() error { return h.ServeMQTT(mqtt) })
	group.Go(func() error { return h.ServeREST(rest) })
	done := make(chan struct{})
	running.Done = done
	running.Ended = func() error { return nil }
	running.Stop = func() error {
		if t, ok := running.Transport.(*http.Transport); ok {
			t.CloseIdleConnections()
		}
		err := h.Close()
		if werr := group.Wait(); err == nil {
			err = werr
		}
		return err
	}
	return running, nil
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

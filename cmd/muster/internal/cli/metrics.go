package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"muster/harness"
	"muster/harness/metrics"
	"muster/report"
	"muster/scenarios"
)

// metricsServer serves a run's metrics from before it starts until stop.
type metricsServer struct {
	*metrics.Metrics
	server  http.Server
	serving sync.WaitGroup // of server; stop ends it
}

// serveMetrics opens the endpoint for Prometheus and says where it is. A
// port alone is one of loopback: who may read a run's numbers is for its
// owner to say.
func serveMetrics(addr string, s *scenarios.Scenario, driver string, live *report.Live, stderr io.Writer) (*metricsServer, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, withStatus(exitUsage, fmt.Errorf("--metrics %s: want HOST:PORT, or :PORT for loopback", addr))
	}
	if host == "" {
		host = "127.0.0.1"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("--metrics %s: %w", addr, err)
	}
	m := &metricsServer{Metrics: metrics.New(metrics.Info{Scenario: s.Name, Target: "embedded", Driver: driver, Version: version}, live)}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	m.server = http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	m.serving.Go(func() { _ = m.server.Serve(l) }) // it ends with ErrServerClosed
	fmt.Fprintf(stderr, "metrics on http://%s/metrics\n", l.Addr())
	return m, nil
}

// watch has opts tell m how the run goes.
func (m *metricsServer) watch(opts *harness.Options, live *report.Live) {
	show := opts.Observe
	opts.Live = live
	opts.Observe = func(p harness.Progress) {
		m.Observe(p)
		show(p)
	}
}

// stop lets a scrape end, for a second, and waits until nothing is served.
func (m *metricsServer) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := m.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = m.server.Close()
	}
	m.serving.Wait()
	return err
}

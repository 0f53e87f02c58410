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
	server  http.Server
	serving sync.WaitGroup // of server; stop ends it
}

// serveMetrics serves the metrics of the run of s until stop is called, if
// --metrics asks for it, and has opts tell how the run goes.
func (f *runFlags) serveMetrics(s *scenarios.Scenario, opts *harness.Options, stderr io.Writer) (stop func() error, err error) {
	if f.metrics == "" {
		return func() error { return nil }, nil
	}
	l, err := listenForMetrics(f.metrics)
	if err != nil {
		return nil, err
	}
	info := metrics.Info{Scenario: s.Name, Target: "embedded", Driver: opts.DriverName, Version: version}
	if s.Target.IoTHub != nil {
		info.Target = "iothub"
	}
	opts.Live = report.NewLive(harness.RunJobs(s))
	m, show := metrics.New(info, opts.Live), opts.Observe
	opts.Observe = func(p harness.Progress) {
		m.Observe(p)
		show(p)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	server := &metricsServer{server: http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}}
	server.serving.Go(func() { _ = server.server.Serve(l) }) // it ends with ErrServerClosed
	fmt.Fprintf(stderr, "metrics on http://%s/metrics\n", l.Addr())
	return server.stop, nil
}

// listenForMetrics opens addr. A port alone is one of loopback: who may read a
// run's numbers is for its owner to say.
func listenForMetrics(addr string) (net.Listener, error) {
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
	return l, nil
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
	if err != nil {
		err = fmt.Errorf("stop serving metrics: %w", err)
	}
	return err
}

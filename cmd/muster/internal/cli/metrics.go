package cli

import (
	"fmt"
	"io"
	"net"
	"net/http"

	"muster/harness"
	"muster/harness/metrics"
	"muster/scenarios"
)

// serveMetrics serves the metrics of the run of s until stop is called, if
// --metrics asks for it, and has opts tell how the run goes.
func (f *runFlags) serveMetrics(s *scenarios.Scenario, opts *harness.Options, stderr io.Writer) (stop func() error, err error) {
	if f.metrics == "" {
		return func() error { return nil }, nil
	}
	info := metrics.Info{Scenario: s.Name, Target: "embedded", Driver: harness.DriverName(s), Version: version}
	if s.Target.IoTHub != nil {
		info.Target = "iothub"
	}
	m, show := metrics.New(info, opts.Live), opts.Observe
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	server, err := serve("--metrics", f.metrics, "metrics", func(net.Addr) http.Handler { return mux })
	if err != nil {
		return nil, err
	}
	opts.Observe = func(p harness.Progress) {
		m.Observe(p)
		show(p)
	}
	fmt.Fprintf(stderr, "metrics on http://%s/metrics\n", server.addr)
	return server.stop, nil
}

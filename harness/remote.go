package harness

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"muster/fleet"
	"muster/fleet/provision"
	"muster/internal/dialer"
	"muster/internal/quota"
	"muster/iothub"
	"muster/report"
	"muster/scenarios"
)

const (
	mqttPort      = "8883"
	tokenLifetime = time.Hour // of a device on a hub that is not ours

	// A hub far away may not answer for longer than one on this host, has few
	// queries and job operations a minute, and many rows.
	remotePatience  = 2 * time.Minute
	remoteQueryTime = time.Hour
	remotePollTime  = 5 * time.Second
)

// network opens connections; nil is TCP.
type network func(ctx context.Context, network, addr string) (net.Conn, error)

// remote is a hub that is not ours: an IoT hub of the service, or what stands
// in for one.
type remote struct {
	target *scenarios.IoTHub
	cs     iothub.ConnectionString
	tls    *tls.Config
	below  network
	limits *quota.Limits // nil without a tier
	clocks clockWatch
	logger *slog.Logger
}

// newRemote reads what a target says. It opens nothing.
func newRemote(h *scenarios.IoTHub, below network, logger *slog.Logger) (*remote, error) {
	r := &remote{target: h, below: below, logger: logger}
	var err error
	if r.cs, err = iothub.ParseConnectionString(h.ConnectionString.Reveal()); err != nil {
		return nil, fmt.Errorf("target.iothub.connectionString: %w", err)
	}
	if r.tls, err = trust(h.CA); err != nil {
		return nil, fmt.Errorf("target.iothub.ca: %w", err)
	}
	if h.Tier != "" {
		l, err := quota.For(h.Tier, h.Units)
		if err != nil {
			return nil, fmt.Errorf("target.iothub: %w", err)
		}
		r.limits = &l
	}
	return r, nil
}

// trust returns a configuration that trusts the authorities of a PEM file, or
// the system's without one.
func trust(file string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return config, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return config, nil
}

// client returns a client of the REST side and what closes it. The paced one,
// which is the run's, waits for its turn by the hub's tier and watches its clock.
func (r *remote) client(retry iothub.RetryOptions, timeout time.Duration, paced bool) (*iothub.Client, func(), error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: r.below, TLSClientConfig: r.tls.Clone(), TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 4096, // one for each direct call in flight
		IdleConnTimeout:     90 * time.Second, DisableCompression: true,
	}
	if r.below == nil {
		transport.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	} else {
		transport.Proxy = nil
	}
	opts := &iothub.ClientOptions{BaseURL: r.target.URL, Transport: transport, Retry: retry, Timeout: timeout, Logger: r.logger}
	if paced {
		r.clocks.below = transport
		opts.Transport = &r.clocks
		opts.Pace = newPacer(r.limits).wait
	}
	client, err := iothub.NewClient(r.cs, opts)
	if err != nil {
		return nil, nil, fmt.Errorf("make the hub's client: %w", err)
	}
	return client, transport.CloseIdleConnections, nil
}

// greet makes sure that the REST side can be reached and takes the connection
// string, in seconds, where a run would try for minutes.
func (r *remote) greet(ctx context.Context) error {
	hello := iothub.RetryOptions{Base: 200 * time.Millisecond, ThrottledBase: time.Second, MaxAttempts: 3}
	client, closeIdle, err := r.client(hello, 10*time.Second, false)
	if err != nil {
		return err
	}
	defer closeIdle()
	for _, err = range client.Query(ctx, "SELECT COUNT() AS devices FROM devices WHERE deviceId = 'muster'", 1) {
		break
	}
	var refused *iothub.Error
	if errors.As(err, &refused) && refused.StatusCode == http.StatusTooManyRequests {
		return nil // it is there
	}
	return r.explain(err)
}

// explain says what a user can do about an error of the hub's.
func (r *remote) explain(err error) error {
	var refused *iothub.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused) && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden):
		return fmt.Errorf("hub %s does not take the policy %s of the connection string, or not for this (it needs service connect, "+
			"and registry read and write to provision): %w", r.cs.HostName, r.cs.SharedAccessKeyName, err)
	}
	return fmt.Errorf("hub %s: %w", r.cs.HostName, err)
}

// dialer returns what opens the devices' connections.
func (r *remote) dialer() *dialer.Dialer {
	host := r.target.Gateway
	if host == "" {
		host = r.cs.HostName
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), mqttPort
	}
	return dialer.New(dialer.Options{
		MQTT:      net.JoinHostPort(name, port),
		WebSocket: net.JoinHostPort(name, strconv.Itoa(r.target.WebSocketPort)),
		TLS:       r.tls, Network: r.below, Source: fleet.Source, Tells: fleet.TellingAsked, Sockets: &sockets,
	})
}

// choose finds out which transport gets through. A reason says why it is not
// the first choice.
func (r *remote) choose(ctx context.Context, d *dialer.Dialer) (t dialer.Transport, instead error, err error) {
	if r.target.Transport == scenarios.Auto {
		return d.Choose(ctx)
	}
	t = dialer.Transport(r.target.Transport)
	return t, nil, d.Try(ctx, t)
}

// hub reaches the hub and returns it as a run uses it. A reason says why
// devices do not connect by MQTT alone.
func (r *remote) hub(ctx context.Context) (h *Hub, t dialer.Transport, instead, err error) {
	if err := r.greet(ctx); err != nil {
		return nil, "", nil, err
	}
	d := r.dialer()
	t, instead, err = r.choose(ctx, d)
	if err != nil {
		return nil, "", nil, fmt.Errorf("hub %s: %w", r.cs.HostName, err)
	}
	pace := newPacer(r.limits)
	return &Hub{
		ConnectionString: r.cs, carrier: t,
		Dial: func(ctx context.Context) (net.Conn, error) { return d.Dial(ctx, t, fleet.Dialing(ctx)) },
		turn: func(ctx context.Context) error { return pace.connects.Wait(ctx, 1) },
	}, t, instead, nil
}

// startRemote reaches the hub of an iothub target, and makes the client that
// jobs go through.
func (r *run) startRemote(ctx context.Context) error {
	h, t, instead, err := r.remote.hub(ctx)
	if err != nil {
		return err
	}
	client, closeIdle, err := r.remote.client(iothub.RetryOptions{}, 0, true)
	if err != nil {
		return err
	}
	h.Stop = func() error {
		closeIdle()
		return nil
	}
	r.hub, r.client = h, client
	r.header.Target.Transport = string(t)
	if instead != nil {
		r.header.Warnings = append(r.header.Warnings, fmt.Sprintf("devices connect by websocket: %v", instead))
	}
	return report.WriteRun(r.opts.Out, r.header) // what a run that is killed knows
}

// checkFleet makes sure that the hub has the fleet, and takes over its twins.
func (r *run) checkFleet(ctx context.Context, f *fleet.Fleet) error {
	r.enter(Checking)
	return r.remote.explain(provision.Check(ctx, provision.Options{
		Client: r.client, Fleet: f, Name: r.scenario.Name, Secret: r.opts.FleetSecret, Logger: r.opts.Logger,
	}))
}

// isRemote reports whether a scenario's hub is not ours.
func isRemote(s *scenarios.Scenario) bool { return s.Target.IoTHub != nil }

// quotaOf returns the tier of a scenario's hub, "" if it has none or it is not
// known, and its units.
func quotaOf(s *scenarios.Scenario) (quota.Tier, int) {
	if h := s.Target.IoTHub; h != nil {
		return h.Tier, h.Units
	}
	return s.Target.Embedded.Tier, s.Target.Embedded.Units
}

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"muster/hub"
	"muster/internal/quota"
)

type hubFlags struct {
	mqtt, mqtts, ws, http, https string
	hostname, data               string
	deviceCAs                    []string
	jobRate                      float64
	tier                         string
	units                        int
	json, untilEOF               bool
	verbose                      bool
}

func newHub(stdio Stdio) *cobra.Command {
	var flags hubFlags
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "Run the embedded IoT hub alone",
		Long: `Run the embedded IoT hub alone: devices connect over MQTT, services over REST.
When it is ready it prints its endpoints, the service connection string and, if
it speaks TLS, the file with the CA that clients must trust.
It ends with an interrupt. Without --data all but the CA ends with it.

With --data it keeps identities, twins, subscriptions of persistent sessions,
jobs and the keys of its connection strings: what it has acknowledged is there
when it starts again in that folder, also after a crash. A folder is for one
hub at a time. When it cannot be written the hub ends with status 1.

An address without a host, such as :8883, is on every interface. An empty
address is no listener.`,
		Args: cobra.NoArgs,
		RunE: action(func(ctx context.Context, _ []string) error { return runHub(ctx, flags, stdio) }),
	}
	f := cmd.Flags()
	f.StringVar(&flags.mqtt, "mqtt", "127.0.0.1:1883", "`address` for devices, MQTT 3.1.1 over TCP")
	f.StringVar(&flags.mqtts, "mqtts", "", "`address` for devices, MQTT over TLS")
	f.StringVar(&flags.ws, "ws", "", "`address` for devices, MQTT over WebSocket and TLS")
	f.StringVar(&flags.http, "http", "127.0.0.1:8080", "`address` for services, REST over HTTP")
	f.StringVar(&flags.https, "https", "", "`address` for services, REST over HTTPS, and for devices on WebSockets")
	f.StringVar(&flags.hostname, "hostname", "localhost", "the hub's name in connection strings, tokens and its certificate")
	f.StringVar(&flags.data, "data", "", "`folder` to keep everything in (default: only the CA, in muster/hub in the user's cache folder)")
	f.StringArrayVar(&flags.deviceCAs, "device-ca", nil, "PEM `file` of a CA that vouches for devices; may be repeated")
	f.Float64Var(&flags.jobRate, "job-rate", 0, "job executions dispatched a second, 0 for as fast as it can")
	f.StringVar(&flags.tier, "tier", "", "keep the quotas of this tier: F1, S1, S2 or S3 (default none)")
	f.IntVar(&flags.units, "units", 1, "units of the tier")
	f.BoolVar(&flags.json, "json", false, "print the endpoints as one line of JSON")
	f.BoolVarP(&flags.verbose, "verbose", "v", false, "log details too")
	f.BoolVar(&flags.untilEOF, "until-eof", false, "end when standard input does")
	if err := f.MarkHidden("until-eof"); err != nil {
		panic("cli: " + err.Error())
	}
	return cmd
}

// runHub serves until ctx ends, a listener fails or, if asked, standard input ends.
func runHub(ctx context.Context, flags hubFlags, stdio Stdio) error {
	opts, err := flags.options(newLogger(stdio.Err, flags.verbose))
	if err != nil {
		return err
	}
	var ready endpoints
	h, doors, err := openHub(flags, opts, &ready)
	if err != nil {
		return err
	}
	ready.ConnectionString = h.ConnectionString().Reveal()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if flags.untilEOF {
		var reading sync.WaitGroup // not joined: a read of standard input cannot be interrupted
		reading.Go(func() {
			_, _ = io.Copy(io.Discard, stdio.In) // however it ends, it has ended
			stop()
		})
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, d := range doors {
		group.Go(func() error { return d.serve(h, d.listener) })
	}
	group.Go(func() error {
		<-ctx.Done()
		return h.Close()
	})
	if opts.Store != nil {
		group.Go(func() error { return watch(ctx, opts.Store) })
	}
	if err := printReady(stdio.Out, ready, flags.json); err != nil {
		stop()
		return errors.Join(err, group.Wait())
	}
	return group.Wait()
}

// openHub opens what the hub serves and what it keeps, and makes it.
func openHub(flags hubFlags, opts *hub.Options, ready *endpoints) (*hub.Hub, []door, error) {
	var err error
	if flags.data != "" { // before anything else is done to the folder
		if opts.Store, err = hub.OpenStore(flags.data); err != nil {
			return nil, nil, err
		}
	}
	var doors []door
	if opts.CA, err = flags.openCA(); err == nil {
		doors, err = openDoors(flags, ready)
	}
	switch {
	case err == nil:
		if opts.CA != nil {
			ready.CAFile = opts.CA.File()
		}
		return hub.New(opts), doors, nil
	case opts.Store != nil:
		err = errors.Join(err, opts.Store.Close())
	}
	return nil, nil, err
}

// watch returns why a store cannot be written, or nil when ctx ends.
func watch(ctx context.Context, s *hub.Store) error {
	select {
	case <-s.Failed():
		return s.Err()
	case <-ctx.Done():
		return nil
	}
}

// options returns what the flags ask of the hub.
func (f *hubFlags) options(logger *slog.Logger) (*hub.Options, error) {
	if !(f.jobRate >= 0) || math.IsInf(f.jobRate, 0) {
		return nil, withStatus(exitUsage, fmt.Errorf("--job-rate %v: must be a number and not negative", f.jobRate))
	}
	if f.mqtt+f.mqtts+f.ws+f.http+f.https == "" {
		return nil, withStatus(exitUsage, errors.New("no address is given: the hub would listen nowhere"))
	}
	if !validHostName(f.hostname) {
		return nil, withStatus(exitUsage, fmt.Errorf("--hostname %q: is not a host name; connection strings and tokens could not have it", f.hostname))
	}
	if f.tier != "" {
		if _, err := quota.For(hub.Tier(f.tier), f.units); err != nil {
			return nil, withStatus(exitUsage, fmt.Errorf("--tier %s --units %d: %w", f.tier, f.units, err))
		}
	} else if f.units != 1 {
		return nil, withStatus(exitUsage, errors.New("--units: a hub has units of a tier; give --tier"))
	}
	vouchers, err := readDeviceCAs(f.deviceCAs)
	if err != nil {
		return nil, err
	}
	return &hub.Options{
		HostName: f.hostname, DeviceCAs: vouchers, JobRate: f.jobRate,
		Tier: hub.Tier(f.tier), Units: f.units, Logger: logger,
	}, nil
}

// validHostName says whether a name can stand in connection strings, user names and tokens, with or without a port.
func validHostName(name string) bool {
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`;/\?#@%&="<>`, r) }
	return name != "" && !strings.ContainsFunc(name, bad)
}

// printReady is the one place where the hub's secret is shown: on purpose, to
// who started it.
func printReady(w io.Writer, ready endpoints, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(ready)
	}
	text := "muster hub is ready\n"
	for _, line := range []struct{ label, scheme, value string }{
		{"devices (MQTT)", "mqtt://", ready.MQTT},
		{"devices (TLS)", "mqtts://", ready.MQTTS},
		{"devices (WebSocket)", "wss://", ready.WS},
		{"services (REST)", "http://", ready.HTTP},
		{"services (HTTPS)", "https://", ready.HTTPS},
		{"connection string", "", ready.ConnectionString},
		{"CA file", "", ready.CAFile},
	} {
		if line.value != "" {
			text += fmt.Sprintf("  %-20s %s%s\n", line.label, line.scheme, line.value)
		}
	}
	_, err := io.WriteString(w, text)
	return err
}

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"muster/hub"
	"muster/internal/quota"
)

type hubFlags struct {
	mqtt, http, hostname string
	jobRate              float64
	tier                 string
	units                int
	json, untilEOF       bool
	verbose              bool
}

func newHub(stdio Stdio) *cobra.Command {
	var flags hubFlags
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "Run the embedded IoT hub alone",
		Long: `Run the embedded IoT hub alone: devices connect over MQTT, services over REST.
When it is ready it prints its endpoints and the service connection string.
It holds everything in memory and ends with an interrupt.`,
		Args: cobra.NoArgs,
		RunE: action(func(ctx context.Context, _ []string) error { return runHub(ctx, flags, stdio) }),
	}
	f := cmd.Flags()
	f.StringVar(&flags.mqtt, "mqtt", "127.0.0.1:1883", "address for devices, MQTT 3.1.1 over TCP")
	f.StringVar(&flags.http, "http", "127.0.0.1:8080", "address for services, REST over HTTP")
	f.StringVar(&flags.hostname, "hostname", "localhost", "the hub's name in connection strings and tokens")
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
	if !(flags.jobRate >= 0) || math.IsInf(flags.jobRate, 0) {
		return withStatus(exitUsage, fmt.Errorf("--job-rate %v: must be a number and not negative", flags.jobRate))
	}
	if flags.tier != "" {
		if _, err := quota.For(hub.Tier(flags.tier), flags.units); err != nil {
			return withStatus(exitUsage, fmt.Errorf("--tier %s --units %d: %w", flags.tier, flags.units, err))
		}
	} else if flags.units != 1 {
		return withStatus(exitUsage, errors.New("--units: a hub has units of a tier; give --tier"))
	}
	mqtt, err := listen("--mqtt", flags.mqtt)
	if err != nil {
		return err
	}
	rest, err := listen("--http", flags.http)
	if err != nil {
		return errors.Join(err, mqtt.Close())
	}
	h := hub.New(&hub.Options{
		HostName: flags.hostname, JobRate: flags.jobRate,
		Tier: hub.Tier(flags.tier), Units: flags.units, Logger: newLogger(stdio.Err, flags.verbose),
	})
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
	group.Go(func() error { return h.ServeMQTT(mqtt) })
	group.Go(func() error { return h.ServeREST(rest) })
	group.Go(func() error {
		<-ctx.Done()
		return h.Close()
	})
	ready := endpoints{MQTT: mqtt.Addr().String(), HTTP: rest.Addr().String(), ConnectionString: h.ConnectionString().Reveal()}
	if err := printReady(stdio.Out, ready, flags.json); err != nil {
		stop()
		return errors.Join(err, group.Wait())
	}
	return group.Wait()
}

func listen(flag, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, addr, err)
	}
	return l, nil
}

// printReady is the one place where the hub's secret is shown: on purpose, to
// who started it.
func printReady(w io.Writer, ready endpoints, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(ready)
	}
	_, err := fmt.Fprintf(w, "muster hub is ready\n  devices (MQTT)     mqtt://%s\n  services (REST)    http://%s\n  connection string  %s\n",
		ready.MQTT, ready.HTTP, ready.ConnectionString)
	return err
}

package harness

import (
	"context"
	"net"
	"time"

	"muster/hub"
	"muster/internal/sample"
	"muster/report"
)

// StartInside returns what starts the hub in this process and shows it.
func StartInside(show func(*hub.Hub, *Hub)) StartHub {
	return func(_ context.Context, opts HubOptions) (*Hub, error) {
		h := hub.New(&hub.Options{JobRate: opts.JobRate, Logger: opts.Logger})
		running, err := serveInside(h, opts)
		if err == nil {
			show(h, running)
		}
		return running, err
	}
}

// SetWakes replaces the canary.
func SetWakes(o *Options, wakes func(context.Context, *sample.Clock, func(sample.Wake, time.Duration)) error) {
	o.wakes = wakes
}

// SetNetwork replaces TCP below the connections to a hub that is not ours.
func SetNetwork(o *Options, below func(ctx context.Context, network, addr string) (net.Conn, error)) {
	o.below = below
}

// SetFleetNetwork is SetNetwork for provisioning.
func SetFleetNetwork(o *FleetOptions, below func(ctx context.Context, network, addr string) (net.Conn, error)) {
	o.below = below
}

// ReadHost reads a host's files below another root.
func ReadHost(root string) report.Host { return readHost(root) }

// HostUse returns what the processors did between two states of /proc/stat;
// nil if one cannot be read.
func HostUse(before, after string) *report.HostUse {
	from, ok := parseUse(before)
	to, alsoOK := parseUse(after)
	if !ok || !alsoOK {
		return nil
	}
	return to.since(from)
}

package harness

import (
	"context"

	"muster/hub"
)

// StartInside returns what starts the hub in this process and shows it.
func StartInside(show func(*hub.Hub, *Hub)) StartHub {
	return func(_ context.Context, opts HubOptions) (*Hub, error) {
		h := hub.New(&hub.Options{JobRate: opts.JobRate, Logger: opts.Logger})
		running, err := serveInside(h, opts.Memory)
		if err == nil {
			show(h, running)
		}
		return running, err
	}
}

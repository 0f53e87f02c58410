package harness

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"muster/hub"
	"muster/internal/goheap"
	"muster/internal/sample"
	"muster/iothub"
	"muster/scenarios"
)

// startHub brings the target up and makes the client that jobs go through.
func (r *run) startHub(ctx context.Context) error {
	if r.remote != nil {
		return r.startRemote(ctx)
	}
	embedded := r.scenario.Target.Embedded
	h, err := r.opts.StartHub(ctx, HubOptions{
		JobRate: embedded.JobRate, Tier: embedded.Tier, Units: embedded.Units,
		Memory: inMemory(r.scenario), TLS: embeddedOver(r.scenario, scenarios.TLS), Logger: r.opts.Logger,
	})
	if err != nil {
		return err
	}
	r.hub = h
	r.client, err = iothub.NewClient(h.ConnectionString, &iothub.ClientOptions{
		BaseURL: h.BaseURL, Transport: h.Transport, Logger: r.opts.Logger,
	})
	if err != nil {
		r.stopHub()
		return fmt.Errorf("make the hub's client: %w", err)
	}
	return nil
}

func (r *run) stopHub() {
	if err := r.hub.Stop(); err != nil {
		r.opts.Logger.Warn("the hub did not end well", "error", err)
	}
}

// watchHub ends the run when the hub ends before it.
func (r *run) watchHub(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-r.hub.Done:
	}
	if ctx.Err() != nil {
		return nil // both: it was stopped
	}
	return hubDeath(r.hub.Ended(), r.watch.hubNow(), oomKills(os.DirFS("/"))-r.oomKills)
}

// accountHub records the hub's own account of itself once a second. A hub that
// is not ours gives none.
func (r *run) accountHub(ctx context.Context) error {
	if r.remote != nil {
		return nil
	}
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		r.noteHub(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// account records the accounts of this process and of the hub now.
func (r *run) account(ctx context.Context) {
	r.health.now(ctx)
	r.noteHub(ctx)
}

// noteHub records the hub's account now, if the hub gives one.
func (r *run) noteHub(ctx context.Context) {
	if r.remote != nil {
		return
	}
	if err := r.recordHub(ctx); err != nil && ctx.Err() == nil {
		r.opts.Logger.Debug("no account of the hub", "error", err)
	}
}

// recordHub asks the hub for its account. The endpoint is muster's own: a
// real hub has none.
func (r *run) recordHub(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthEvery)
	defer cancel()
	var account struct {
		hub.Stats
		CPUSeconds  float64 `json:"cpuSeconds"`
		RSSBytes    int64   `json:"rssBytes"`
		MaxRSSBytes int64   `json:"maxRSSBytes"`

		Heap goheap.State `json:"heap"`
	}
	if err := r.hub.own(ctx, r.hub.transport(), http.MethodGet, "stats", nil, &account); err != nil {
		return err
	}
	stats := &sample.HubStats{At: r.clock.Now(), Connections: account.Connections, SlowClosed: account.SlowClosed}
	if !r.hub.Inside { // a hub inside has no process of its own to account for
		stats.CPU = time.Duration(account.CPUSeconds * float64(time.Second))
		stats.RSS, stats.MaxRSS = account.RSSBytes, account.MaxRSSBytes
		r.watch.account(hubReading{at: time.Duration(stats.At), unaccepted: account.Unaccepted, rss: account.RSSBytes, heap: account.Heap})
	}
	r.samples.Write(stats)
	return nil
}

package harness

import (
	"context"
	"time"

	"muster/fleet"
	"muster/scheduler"
)

// Stage is what a run is doing.
type Stage string

// The stages of a run, in order.
const (
	Starting    Stage = "starting"    // the hub comes up
	Registering Stage = "registering" // identities and twins are made
	Connecting  Stage = "connecting"  // devices connect along the ramp
	Running     Stage = "running"     // jobs are waited for, fired and followed
	Draining    Stage = "draining"    // interrupted: what has begun is awaited
	Closing     Stage = "closing"     // connections are closed
	Reporting   Stage = "reporting"   // the report is made from the samples
)

// Progress is a run at one moment.
type Progress struct {
	Stage   Stage
	Elapsed time.Duration // since the run began
	Fleet   fleet.Stats
	Jobs    []scheduler.Progress
}

// observeEvery is often enough for a bar that moves.
const observeEvery = 250 * time.Millisecond

// observe tells the observer how the run goes until ctx ends.
func (r *run) observe(ctx context.Context) error {
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.opts.Observe(r.progress())
		}
	}
}

func (r *run) progress() Progress {
	p := Progress{Stage: *r.stage.Load(), Elapsed: time.Duration(r.clock.Now())}
	if f := r.fleet.Load(); f != nil {
		p.Fleet = f.Stats()
	}
	if s := r.scheduler.Load(); s != nil {
		p.Jobs = s.Progress()
	}
	return p
}

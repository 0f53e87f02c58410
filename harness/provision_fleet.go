package harness

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"muster/fleet"
	"muster/fleet/provision"
	"muster/iothub"
	"muster/scenarios"
)

// ErrNoIoTHub says that a scenario's hub needs no provisioning.
var ErrNoIoTHub = errors.New("only the fleet of target.iothub is provisioned; a run makes that of the embedded hub")

// FleetOptions are the settings of ProvisionFleet and DeprovisionFleet. Secret
// is required.
type FleetOptions struct {
	Secret iothub.Secret // of the fleet, from which its keys derive
	DryRun bool          // change nothing
	Keys   bool          // read every identity, and mend keys that were changed
	// Settle is how long the hub's queries may lag. Default 2 min.
	Settle time.Duration
	// Observe is told how far a step is, from several goroutines. Default nobody.
	Observe func(step string, done, total int)
	Logger  *slog.Logger // default: discarded

	below network
}

// ProvisionFleet makes the devices of a scenario's fleet on its IoT hub, or
// brings them back to what the scenario says. It does nothing where all is so.
func ProvisionFleet(ctx context.Context, s *scenarios.Scenario, o FleetOptions) (provision.Summary, error) {
	return o.call(ctx, s, provision.Provision)
}

// DeprovisionFleet deletes the devices of a scenario's fleet from its IoT hub.
func DeprovisionFleet(ctx context.Context, s *scenarios.Scenario, o FleetOptions) (provision.Summary, error) {
	return o.call(ctx, s, provision.Deprovision)
}

func (o *FleetOptions) call(ctx context.Context, s *scenarios.Scenario, do func(context.Context, provision.Options) (provision.Summary, error)) (provision.Summary, error) {
	if !isRemote(s) {
		return provision.Summary{}, ErrNoIoTHub
	}
	if err := fleet.CheckSecret(o.Secret); err != nil {
		return provision.Summary{}, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r, err := newRemote(s.Target.IoTHub, o.below, o.Logger)
	if err != nil {
		return provision.Summary{}, err
	}
	f, err := fleet.New(fleet.Config{Seed: s.Seed, Groups: groupsOf(s), HostName: r.cs.HostName})
	if err != nil {
		return provision.Summary{}, err
	}
	if err := r.greet(ctx); err != nil {
		return provision.Summary{}, err
	}
	client, closeIdle, err := r.client(iothub.RetryOptions{For: 10 * time.Minute}, 0, false)
	if err != nil {
		return provision.Summary{}, err
	}
	defer closeIdle()
	summary, err := do(ctx, provision.Options{
		Client: client, Fleet: f, Name: s.Name, Secret: o.Secret, Limits: r.limits,
		Keys: o.Keys, DryRun: o.DryRun, Settle: o.Settle, Observe: o.Observe, Logger: o.Logger,
	})
	var foreign *provision.ForeignError
	if err == nil || errors.As(err, &foreign) || ctx.Err() != nil {
		return summary, err
	}
	return summary, r.explain(err)
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"muster/fleet"
	"muster/fleet/provision"
	"muster/harness"
	"muster/iothub"
	"muster/scenarios"
	"muster/scheduler"
)

// secretVariable holds what the keys of a fleet derive from on an IoT hub.
const secretVariable = "MUSTER_FLEET_SECRET"

// fleetFlags are what both fleet commands share.
type fleetFlags struct {
	load          scenarios.Options
	seed          uint64
	dryRun, keys  bool
	settle        time.Duration
	verbose       bool
	seedIsChanged func() bool
}

func newFleet(stdio Stdio) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Make a scenario's devices on an IoT hub, and delete them",
		Long: `Make the devices of a scenario on its IoT hub (target.iothub), and delete them. A run does
neither: it looks whether they are there.

The devices' keys derive from a secret of at least 16 bytes in $` + secretVariable + `, which
runs need too. Only devices with the ids that the scenario gives are touched, and of those
only muster's own: the others are told, and left alone.`,
		Args: cobra.NoArgs, // else a command that is not there would be shown the help, with status 0
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newProvision(stdio), newDeprovision(stdio))
	return cmd
}

func newProvision(stdio Stdio) *cobra.Command {
	var flags fleetFlags
	cmd := &cobra.Command{
		Use:   "provision FILE",
		Short: "Make the scenario's devices, or bring them back to what it says",
		Long: `Make the devices of a scenario on its IoT hub: identities with keys from $` + secretVariable + `, and
twins with tags, desired and reported properties. Of devices that are there tags and desired
properties are brought back to what the scenario says; those that are so already are left.
It ends when the hub's queries see the whole fleet. After an interrupt, the same command goes on.

Exit status: 0 the fleet is there, 1 it could not be made, 2 wrong usage or no secret, 104 the
scenario is bad or an id is that of somebody else's device, which is left (nothing is changed
if queries show it beforehand), 105 interrupted.`,
		Args: cobra.ExactArgs(1),
	}
	flags.register(cmd.Flags())
	cmd.Flags().BoolVar(&flags.keys, "keys", false, "read every identity too, and mend keys that were changed: one more operation a device")
	cmd.RunE = action(func(ctx context.Context, args []string) error {
		return flags.run(ctx, args[0], stdio, harness.ProvisionFleet, provisioned)
	})
	return cmd
}

func newDeprovision(stdio Stdio) *cobra.Command {
	var flags fleetFlags
	cmd := &cobra.Command{
		Use:   "deprovision FILE",
		Short: "Delete the scenario's devices",
		Long: `Delete the devices of a scenario from its IoT hub: those of its ids that muster has made for it
with the secret in $` + secretVariable + `. It asks nothing; --dry-run tells what would go. It
ends when the hub's queries see none of them. After an interrupt, the same command goes on.

Exit status: 0 none of them is left, 1 some could not be deleted, 2 wrong usage or no secret,
104 the scenario is bad or some of the ids are of somebody else's devices, which are left, 105
interrupted.`,
		Args: cobra.ExactArgs(1),
	}
	flags.register(cmd.Flags())
	cmd.RunE = action(func(ctx context.Context, args []string) error {
		return flags.run(ctx, args[0], stdio, harness.DeprovisionFleet, deprovisioned)
	})
	return cmd
}

func (f *fleetFlags) register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.load.Set, "set", nil, "change a value of the scenario, as in target.iothub.tier=S1 (repeatable)")
	flags.IntVar(&f.load.Devices, "devices", 0, "scale the fleet to this many devices in all")
	flags.Uint64Var(&f.seed, "seed", 0, "seed of everything random (default: the scenario's)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "tell what would be done, and do nothing")
	flags.DurationVar(&f.settle, "settle", 2*time.Minute, "how long the hub's queries may lag behind")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log details too")
	f.seedIsChanged = func() bool { return flags.Changed("seed") }
}

// fleetCall is ProvisionFleet or DeprovisionFleet.
type fleetCall func(context.Context, *scenarios.Scenario, harness.FleetOptions) (provision.Summary, error)

// run makes a call and prints what became of it, also of a part.
func (f *fleetFlags) run(ctx context.Context, file string, stdio Stdio, call fleetCall, words func(provision.Summary) []string) error {
	switch {
	case f.load.Devices < 0:
		return withStatus(exitUsage, fmt.Errorf("--devices %d: must not be negative", f.load.Devices))
	case f.settle <= 0:
		return withStatus(exitUsage, fmt.Errorf("--settle %v: must be above 0", f.settle))
	case f.seedIsChanged():
		f.load.Seed = &f.seed
	}
	s, err := loadScenario(file, f.load)
	if err != nil {
		return err
	}
	secret, err := fleetSecret(s)
	if err != nil {
		return err
	}
	steps := &stepLines{w: stdio.Err}
	summary, err := call(ctx, s, harness.FleetOptions{
		Secret: secret, DryRun: f.dryRun, Keys: f.keys, Settle: f.settle, Observe: steps.observe, Logger: newLogger(stdio.Err, f.verbose),
	})
	done := strings.Join(words(summary), ", ")
	if err == nil || summary != (provision.Summary{Devices: summary.Devices}) {
		if _, werr := fmt.Fprintf(stdio.Out, "%s: %d devices: %s%s\n", s.Name, summary.Devices, map[bool]string{true: "would be "}[f.dryRun], done); werr != nil {
			return errors.Join(err, werr)
		}
	}
	if err != nil && ctx.Err() != nil {
		return withStatus(exitInterrupted, errors.New("interrupted: the same command goes on from here"))
	}
	return remoteStatus(err, file)
}

// provisioned says what was made.
func provisioned(s provision.Summary) []string {
	if s.Unchanged == s.Devices {
		return []string{"unchanged"}
	}
	return []string{fmt.Sprintf("%d created", s.Created), fmt.Sprintf("%d updated", s.Updated), fmt.Sprintf("%d unchanged", s.Unchanged)}
}

// deprovisioned says what was deleted.
func deprovisioned(s provision.Summary) []string {
	return []string{fmt.Sprintf("%d deleted", s.Deleted), fmt.Sprintf("%d not there", s.Absent)}
}

// fleetSecret returns the secret of a scenario's fleet, none where the hub is
// muster's own.
func fleetSecret(s *scenarios.Scenario) (iothub.Secret, error) {
	secret := iothub.Secret(os.Getenv(secretVariable))
	if s.Target.IoTHub == nil {
		return "", nil
	}
	if err := fleet.CheckSecret(secret); err != nil {
		return "", withStatus(exitUsage, fmt.Errorf("%s: %w; make one with `openssl rand -base64 32`, and keep it: the devices' keys derive from it", secretVariable, err))
	}
	return secret, nil
}

// remoteStatus gives an error its status and says what to do about it.
func remoteStatus(err error, file string) error {
	var refused *provision.ForeignError
	var matched *scheduler.ForeignError
	var missing *provision.NotProvisionedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &matched):
		return withStatus(exitScenario, fmt.Errorf("%w; narrow its queryCondition, or set target.iothub.allowForeignDevices", err))
	case errors.As(err, &refused), errors.Is(err, harness.ErrNoIoTHub):
		return withStatus(exitScenario, err)
	case errors.As(err, &missing):
		return withStatus(exitFailed, fmt.Errorf("%w; make them first, with the same options: muster fleet provision %s", err, file))
	}
	return withStatus(exitFailed, err)
}

// stepsEvery is how often a step says how far it is.
const stepsEvery = time.Second

// stepLines shows how far a step is: at its start, its end, and now and then.
type stepLines struct {
	w io.Writer

	mu    sync.Mutex // guards the fields below, and keeps lines whole
	step  string
	moved bool // something of the step was shown as done
	shown time.Time
}

func (l *stepLines) observe(step string, done, total int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	begun := step == l.step && l.moved
	if begun && done < total && time.Since(l.shown) < stepsEvery {
		return
	}
	l.step, l.moved, l.shown = step, done > 0, time.Now()
	fmt.Fprintf(l.w, "%s: %d of %d\n", step, done, total)
}

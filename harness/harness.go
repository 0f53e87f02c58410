// Package harness is one run from start to end: the hub is brought up, the
// fleet registered and connected, the jobs fired, and the report written. A hub
// that is not muster's own is reached instead, and its fleet made beforehand by
// ProvisionFleet.
//
// Run is the API for programs that want a load test without the command line:
// it takes a scenario and gives back the folder of results and the report.
//
// # Concurrency
//
// Run blocks and leaves nothing running: no goroutine, no connection, no
// child process. Several runs may go on at once in one process, but they
// share its processor, and so their numbers are worth little.
package harness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"muster/fleet"
	"muster/fleet/lean"
	"muster/fleet/paho"
	"muster/hub"
	"muster/internal/dialer"
	"muster/iothub"
	"muster/report"
	"muster/scenarios"
	"muster/scheduler"
)

// Options are the settings of a run that are not the scenario's. The zero
// value is valid.
type Options struct {
	// Out is the folder for the results, which must not hold a run yet.
	// Default results/<start time>-<scenario>.
	Out string
	// StartHub starts the embedded hub. Default: in this process, on loopback
	// TCP, over TLS or in memory, as the scenario says.
	StartHub StartHub
	// StartGenerator starts a child generator, and Generators is how many have the
	// devices: 0 is as many as the limits ask for, 1 always this process alone.
	// Default: the fleet is not divided.
	StartGenerator StartGenerator
	Generators     int
	// Driver is the MQTT client under all devices, and DriverName what the
	// report calls it. Default those that the scenario names.
	Driver     fleet.Driver
	DriverName string
	// Drain is how long an interrupted run waits for what it has begun.
	// Default 10 s.
	Drain time.Duration
	// Observe is told how the run goes, about four times a second, from one
	// goroutine. Default nobody.
	Observe func(Progress)
	// Live counts what the run records while it goes on. Default nobody does.
	Live *report.Live
	// Limits are the limits to check before the run. Default those of this host.
	Limits *Limits
	// Calibrate measures before the run what the harness itself costs, which
	// takes about four seconds, and reports it. Default: it does not.
	Calibrate bool
	// Version and Args are written to run.json. Secrets do not belong in Args.
	Version string
	Args    []string
	// FleetSecret is what the keys of devices derive from on target.iothub, where
	// it is required: at least fleet.LeastSecret bytes.
	FleetSecret iothub.Secret
	// Logger takes what goes wrong on the way. Default nowhere.
	Logger *slog.Logger

	// below opens the connections to a hub that is not ours. Default TCP.
	below network

	// read reads how this host and process stand. Default from the system's files.
	read func() hostReading

	// wakes is the canary that shows whether the generator was saturated.
	// Default runWakes.
	wakes wakeSource
}

// resolved returns the options with their defaults for s filled in.
func (o *Options) resolved(s *scenarios.Scenario, start time.Time) Options {
	var r Options
	if o != nil {
		r = *o
	}
	if r.Out == "" {
		r.Out = filepath.Join("results", start.UTC().Format("20060102T150405Z")+"-"+s.Name)
	}
	memory := inMemory(s)
	if r.StartHub == nil {
		r.StartHub = startInside
	}
	if r.Driver == nil {
		r.DriverName = DriverName(s)
	}
	if r.Drain <= 0 {
		r.Drain = 10 * time.Second
	}
	if r.Observe == nil {
		r.Observe = func(Progress) {}
	}
	if r.wakes == nil {
		r.wakes = runWakes(memory)
	}
	if r.read == nil {
		r.read = newHostFiles().read
	}
	if r.Limits == nil {
		limits := HostLimits()
		r.Limits = &limits
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	return r
}

// StartHub starts a hub that serves until its Stop is called.
type StartHub func(ctx context.Context, opts HubOptions) (*Hub, error)

// HubOptions are what a scenario asks of the embedded hub.
type HubOptions struct {
	JobRate float64  // job executions dispatched a second; 0 is as fast as it can
	Tier    hub.Tier // whose quotas it keeps; "" is none
	Units   int      // of the tier
	Memory  bool     // serve in memory, not on a network
	TLS     bool     // serve devices over TLS
	Logger  *slog.Logger
}

// Hub is a running hub as a run uses it.
type Hub struct {
	ConnectionString iothub.ConnectionString
	BaseURL          string
	Transport        http.RoundTripper           // nil for a hub on the network
	Dial             fleet.DialFunc              // opens a device's connection
	addr             string                      // as ConnectTo has it, for child generators; "" is not known
	authority        []byte                      // as ConnectTo has it
	carrier          dialer.Transport            // of a hub that is not ours
	turn             func(context.Context) error // waits until it takes another connection; nil = it does
	Inside           bool                        // it runs in this process
	Done             <-chan struct{}             // closed when it has ended
	Ended            func() error                // how it ended, after Done
	Stop             func() error                // ends it and waits until it has ended
}

// Check reports everything in a loaded scenario that a run would refuse
// before it starts.
func Check(s *scenarios.Scenario) error {
	err := scheduler.Conflicts(jobsOf(s))
	if isRemote(s) {
		_, bad := newRemote(s.Target.IoTHub, nil, nil)
		err = errors.Join(bad, err)
	}
	return err
}

// Describe says in one line what a scenario does.
func Describe(s *scenarios.Scenario) string {
	names := make([]string, len(s.Jobs))
	repetitions := 0
	for i, j := range s.Jobs {
		names[i] = j.Name
		repetitions += j.Times
	}
	jobs := "no jobs"
	if len(names) > 0 {
		jobs = fmt.Sprintf("%s (%s) in %s", count(len(names), "job"), strings.Join(names, ", "), count(repetitions, "repetition"))
	}
	if n := len(s.Faults); n > 0 {
		jobs += ", " + count(n, "fault")
	}
	return fmt.Sprintf("%s, %s, %s", count(s.Devices(), "device"), jobs, count(len(s.Thresholds), "threshold"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "s") {
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// DriverName returns what reports call the drivers of a scenario: paho, lean, or
// for a mixed fleet paho+lean.
func DriverName(s *scenarios.Scenario) string {
	var names []string
	for _, driver := range s.Drivers() {
		names = append(names, string(driver))
	}
	return strings.Join(names, "+")
}

// drivers returns a driver of each kind.
func drivers() map[scenarios.Driver]fleet.Driver {
	return map[scenarios.Driver]fleet.Driver{scenarios.Paho: paho.Driver{}, scenarios.Lean: new(lean.Driver)}
}

func inMemory(s *scenarios.Scenario) bool { return embeddedOver(s, scenarios.Memory) }

// embeddedOver says whether the target is the embedded hub, over a transport.
func embeddedOver(s *scenarios.Scenario, t scenarios.Transport) bool {
	return s.Target.Embedded != nil && s.Target.Embedded.Transport == t
}

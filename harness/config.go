package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"muster/fleet"
	"muster/internal/sample"
	"muster/iothub"
	"muster/report"
	"muster/scenarios"
	"muster/scheduler"
)

// The functions of this file translate a scenario into what each room takes.

func (r *run) fleetConfig(observer fleet.Observer) fleet.Config {
	s := r.scenario
	c := fleet.Config{
		Seed:     s.Seed,
		Groups:   groupsOf(s),
		HostName: r.hub.ConnectionString.HostName,
		Connect:  connectOf(s.Connect),
		Driver:   r.opts.Driver, Dial: r.hub.Dial, Observer: observer,
		Samples: r.samples, Clock: r.clock, Logger: r.opts.Logger,
	}
	c.Connect.Turn, c.Connect.Sources = r.hub.turn, r.sources.addrs
	if c.Driver == nil {
		of := drivers()
		for i, g := range s.Fleet {
			c.Groups[i].Driver = of[g.Driver]
		}
	}
	if r.remote != nil {
		keepTokens(&c, r.opts.FleetSecret)
	}
	return c
}

func connectOf(c scenarios.Connect) fleet.Connect {
	return fleet.Connect{
		Rate: c.Rate, InFlight: c.InFlight, Timeout: c.Timeout, KeepAlive: c.KeepAlive,
		BackoffBase: c.Backoff.Base, BackoffCap: c.Backoff.Cap,
	}
}

// keepTokens has devices derive their keys from a fleet's secret, and renew
// their tokens.
func keepTokens(c *fleet.Config, secret iothub.Secret) {
	c.DeviceKey = func(_ int, id string) iothub.Key { return fleet.SecretKey(secret, id) }
	c.Connect.TokenLifetime, c.Connect.RenewTokens = tokenLifetime, true
}

func groupsOf(s *scenarios.Scenario) []fleet.Group {
	groups := make([]fleet.Group, len(s.Fleet))
	for i, g := range s.Fleet {
		methods := make(map[string]fleet.Method, len(g.Methods))
		for name, m := range g.Methods {
			methods[name] = methodOf(m)
		}
		groups[i] = fleet.Group{
			Name: g.Name, Devices: g.Devices, ID: g.ID.Template,
			Tags: g.Tags.Tree, Desired: g.Desired.Tree, Reported: g.Reported.Tree,
			Methods: methods, EchoDesired: g.EchoDesired,
		}
	}
	return groups
}

func methodOf(m scenarios.Method) fleet.Method {
	return fleet.Method{
		Status: m.Status, Response: m.Response, Latency: latencyOf(m.Latency),
		FailureRate: m.FailureRate, FailureStatus: m.FailureStatus, SilenceRate: m.SilenceRate,
		Away: m.Then.Disconnect,
	}
}

func latencyOf(l scenarios.Latency) fleet.Latency {
	kind := fleet.Constant
	if l.Kind == scenarios.LogNormal {
		kind = fleet.Lognormal
	}
	return fleet.Latency{Kind: kind, Median: l.Median, Sigma: l.Sigma}
}

func jobsOf(s *scenarios.Scenario) []scheduler.Job {
	jobs := make([]scheduler.Job, len(s.Jobs))
	for i, j := range s.Jobs {
		job := scheduler.Job{
			Name: j.Name, Condition: j.Condition, ConditionText: j.QueryCondition, Device: j.DeviceID,
			After: j.After, At: j.At, Times: j.Times, Every: j.Every, MaxExecution: j.MaxExecution,
			Rate: j.Rate, InFlight: j.InFlight, Mark: j.Mark, Settle: j.Settle, Via: scheduler.Hub,
		}
		if j.Via == scenarios.Direct {
			job.Via = scheduler.Direct
		}
		switch {
		case j.CloudToDeviceMethod != nil:
			m := j.CloudToDeviceMethod
			job.Kind = scheduler.Method
			job.MethodName, job.Payload = m.MethodName, m.Payload
			job.ResponseTimeout, job.ConnectTimeout = m.ResponseTimeout, m.ConnectTimeout
		case j.UpdateTwin.Desired != nil:
			job.Kind = scheduler.Desired
			job.Tags, job.Desired = j.UpdateTwin.Tags, j.UpdateTwin.Desired
		default:
			job.Kind = scheduler.Tags
			job.Tags = j.UpdateTwin.Tags
		}
		jobs[i] = job
	}
	return jobs
}

// headerOf returns run.json as it is known when the run begins.
func (r *run) headerOf() *report.Run {
	s := r.scenario
	h := &report.Run{
		MusterVersion: r.opts.Version, GoVersion: runtime.Version(),
		Scenario: s.Name, Seed: s.Seed, Host: hostOf(),
		Limits: report.Limits{Descriptors: int64(r.opts.Limits.Descriptors), Ports: int64(r.sources.ports(r.opts.Limits.Ports))},
		Args:   r.opts.Args, Driver: r.opts.DriverName, StartedAt: r.clock.Epoch(), Warnings: slices.Clip(s.Warnings),
	}
	tier, units := quotaOf(s)
	h.Target = report.Target{Tier: string(tier), Units: units}
	if r.remote != nil { // the transport is known once the hub was reached
		h.Target.Kind, h.Target.HostName, h.Target.Transport = "iothub", r.remote.cs.HostName, string(s.Target.IoTHub.Transport)
	} else {
		e := s.Target.Embedded
		h.Target.Kind, h.Target.Transport, h.Target.JobRate = "embedded", string(e.Transport), e.JobRate
	}
	for _, g := range s.Fleet {
		h.Groups = append(h.Groups, r.groupOf(&g))
	}
	h.Generators = partsOf(s.Devices(), r.generators)
	h.Jobs = RunJobs(s)
	for _, t := range s.Thresholds {
		h.Thresholds = append(h.Thresholds, t.Text)
	}
	return h
}

// groupOf returns a group as run.json has it.
func (r *run) groupOf(g *scenarios.Group) report.Group {
	driver := string(g.Driver)
	if r.opts.Driver != nil {
		driver = r.opts.DriverName
	}
	return report.Group{Name: g.Name, Devices: g.Devices, Driver: driver}
}

// RunJobs returns the jobs of s as run.json has them.
func RunJobs(s *scenarios.Scenario) []report.RunJob {
	jobs := make([]report.RunJob, len(s.Jobs))
	for i, j := range s.Jobs {
		jobs[i] = report.RunJob{
			Name: j.Name, Type: string(j.Type), Via: string(j.Via), QueryCondition: s.ShownCondition(i), Repetitions: j.Times,
		}
	}
	return jobs
}

// openFolder makes the results folder with all that is known before the run.
// Creating the samples claims it: they must not be there yet.
func (r *run) openFolder() error {
	resolved, err := r.scenario.Resolved()
	if err != nil {
		return fmt.Errorf("write the resolved scenario: %w", err)
	}
	if err := r.claimFolder(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.opts.Out, "scenario.yaml"), resolved, 0o666); err != nil {
		return fmt.Errorf("write the resolved scenario: %w", err)
	}
	r.header = r.headerOf()
	return report.WriteRun(r.opts.Out, r.header)
}

// claimFolder creates the samples in Options.Out. A default name that is taken,
// by a run that began in the same second, gets a number.
func (r *run) claimFolder() error {
	for n, dir := 2, r.opts.Out; ; n++ {
		_, taken := os.Stat(filepath.Join(dir, "run.json"))
		err := error(fs.ErrExist)
		if taken != nil {
			err = r.create(dir)
		}
		switch {
		case err == nil:
			r.opts.Out = dir
			return nil
		case errors.Is(err, fs.ErrExist) && !r.named:
			dir = fmt.Sprintf("%s-%d", r.opts.Out, n)
		case errors.Is(err, fs.ErrExist):
			return fmt.Errorf("open results folder %s: it holds a run already", dir)
		default:
			return fmt.Errorf("open results folder %s: %w", dir, err)
		}
	}
}

func (r *run) create(dir string) error {
	w, err := sample.Create(dir, nil)
	r.samples = &recorder{Writer: w, live: r.opts.Live}
	return err
}

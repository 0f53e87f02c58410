package harness_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"muster/fleet"
	"muster/fleet/provision"
	"muster/harness"
	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/sample"
	"muster/iothub"
	"muster/report"
	"muster/scenarios"
	"muster/scheduler"
)

// The embedded hub, over TLS and in memory, stands in for the service.

const fleetSecret = iothub.Secret("a secret that only this test knows")

// standIn is a hub with the service's ports.
type standIn struct {
	*hubtest.Server
	ca     string
	closed map[string]bool // ports that refuse
}

func startStandIn(t *testing.T, opts hub.Options) *standIn {
	t.Helper()
	opts.HostName = "hub.test"
	s := &standIn{Server: hubtest.Start(t, &opts), ca: filepath.Join(t.TempDir(), "ca.pem"), closed: map[string]bool{}}
	authority, err := s.CA()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.ca, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// network is what TCP is elsewhere.
func (s *standIn) network(ctx context.Context, _, addr string) (net.Conn, error) {
	switch {
	case s.closed[addr]:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case addr == "hub.test:8883":
		return s.MQTTS.DialContext(ctx, "", "")
	case addr == "hub.test:443":
		return s.RESTS.DialContext(ctx, "", "")
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("nobody is at %s", addr)}
}

// scenario loads a scenario whose target is the hub.
func (s *standIn) scenario(t *testing.T, jobs string, set ...string) *scenarios.Scenario {
	t.Helper()
	src := strings.Replace(doors, "target: {embedded: {}}", "target: {iothub: {ca: '"+s.ca+"'}}", 1) + jobs
	loaded, err := scenarios.Parse("test.yaml", []byte(src), scenarios.Options{
		Set: set, Getenv: func(string) (string, bool) { return s.ConnectionString().Reveal(), true },
	})
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func (s *standIn) options() harness.FleetOptions {
	o := harness.FleetOptions{Secret: fleetSecret}
	harness.SetFleetNetwork(&o, s.network)
	return o
}

// provisions provisions, and checks what was done.
func (s *standIn) provisions(t *testing.T, sc *scenarios.Scenario, want provision.Summary, change func(*harness.FleetOptions)) {
	t.Helper()
	o := s.options()
	if change != nil {
		change(&o)
	}
	if got, err := harness.ProvisionFleet(t.Context(), sc, o); err != nil || got != want {
		t.Errorf("ProvisionFleet() = %+v, %v; want %+v", got, err, want)
	}
}

// run runs a scenario and returns its summary, its folder, and the error.
func (s *standIn) run(t *testing.T, sc *scenarios.Scenario) (*report.Summary, string, error) {
	t.Helper()
	o := harness.Options{FleetSecret: fleetSecret}
	harness.SetNetwork(&o, s.network)
	return run(t.Context(), t, sc, o)
}

const bothWays = `
jobs:
  - name: lock
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor, payload: {lockTime: 10m}}
    queryCondition: "tags.site = 'north'"
    startTime: +1s
    repeat: {times: 2, every: 10s}
  - name: call
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor, payload: {by: muster}}
    queryCondition: "*"
    via: direct
    startTime: +40s
  - name: place
    type: scheduleUpdateTwin
    updateTwin: {properties: {desired: {floor: 3}}}
    queryCondition: "tags.floor < 3"
    startTime: +60s
thresholds:
  - jobs.lock.succeeded == 100%
  - jobs.call.succeeded == 100%
  - jobs.place.succeeded == 100%
`

// TestAFleetOnAHubThatIsNotOurs follows a fleet from its identities to their
// end.
func TestAFleetOnAHubThatIsNotOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStandIn(t, hub.Options{})
		sc := s.scenario(t, bothWays)
		s.provisions(t, sc, provision.Summary{Devices: 40, Created: 40}, func(o *harness.FleetOptions) { o.DryRun = true })
		if n, err := s.Client().DeviceStatistics(t.Context()); err != nil || n.Total != 0 {
			t.Errorf("after a dry run there are %d devices, %v; want none", n.Total, err)
		}
		s.provisions(t, sc, provision.Summary{Devices: 40, Created: 40}, nil)
		s.provisions(t, sc, provision.Summary{Devices: 40, Unchanged: 40}, nil)

		got, dir, err := s.run(t, sc)
		if err != nil || got.Verdict != report.Pass {
			t.Fatalf("verdict %s %v, error %v; want pass", got.Verdict, got.Reasons, err)
		}
		ahead := got.Target.ClockAhead
		if ahead == nil || ahead.Min > 0 || ahead.Max < 0 || ahead.Max-ahead.Min > report.Millis(time.Second) {
			t.Errorf("the hub's clock is ahead by %+v; want bounds around 0, a second apart at most", ahead)
		}
		want := report.Target{Kind: "iothub", HostName: "hub.test", Transport: "mqtt", ClockAhead: ahead}
		if got.Target != want || got.Hub != nil {
			t.Errorf("target %+v, hub %+v; want %+v, and no account of the hub", got.Target, got.Hub, want)
		}
		lock := got.Jobs[0]
		if lock.Phases["lag"] != nil || lock.Phases["booking"] != nil || lock.Phases["total"] == nil || !hasText(lock.Warnings, "difference of two clocks") {
			t.Errorf("phases %v, warnings %q; want none on the hub's clock, and a word on the clocks", lock.Phases, lock.Warnings)
		}
		for _, j := range got.Jobs {
			if j.Missing == nil || *j.Missing+*j.Extra != 0 || !j.LedgerBalanced {
				t.Errorf("job %s: missing %v, extra %v, balanced %v", j.Name, j.Missing, j.Extra, j.LedgerBalanced)
			}
		}
		holdsNoSecret(t, dir, s.ConnectionString().SharedAccessKey.Base64(), string(fleetSecret), fleet.SecretKey(fleetSecret, "door-001").Base64(), "SharedAccessSignature")

		// The job has changed twins. The next run takes them as they are, and
		// provisioning brings them back.
		if again, _, err := s.run(t, sc); err != nil || *again.Jobs[2].Missing+*again.Jobs[2].Extra != 0 {
			t.Errorf("a second run: %v, %+v; want it to know whom its jobs match", err, again.Jobs[2])
		}
		o := s.options()
		if back, err := harness.ProvisionFleet(t.Context(), sc, o); err != nil || back.Updated == 0 || back.Created != 0 {
			t.Errorf("ProvisionFleet() = %+v, %v; want the changed twins updated", back, err)
		}
		s.provisions(t, sc, provision.Summary{Devices: 40, Unchanged: 40}, nil)

		deleted, err := harness.DeprovisionFleet(t.Context(), sc, o)
		if want := (provision.Summary{Devices: 40, Deleted: 40}); err != nil || deleted != want {
			t.Errorf("DeprovisionFleet() = %+v, %v; want %+v", deleted, err, want)
		}
		deleted, err = harness.DeprovisionFleet(t.Context(), sc, o)
		if want := (provision.Summary{Devices: 40, Absent: 40}); err != nil || deleted != want {
			t.Errorf("DeprovisionFleet() again = %+v, %v; want %+v", deleted, err, want)
		}
		var missing *provision.NotProvisionedError
		if _, _, err := s.run(t, sc); !errors.As(err, &missing) || missing.Missing != 40 {
			t.Errorf("a run without its fleet: %v, want a NotProvisionedError of 40", err)
		}
	})
}

func hasText(all []string, text string) bool {
	for _, s := range all {
		if strings.Contains(s, text) {
			return true
		}
	}
	return false
}

// holdsNoSecret looks for secrets in every file of a folder.
func holdsNoSecret(t *testing.T, dir string, secrets ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for n, secret := range secrets {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s holds secret %d", path, n)
			}
		}
		return err
	})
	if err != nil || files < 5 {
		t.Errorf("looked into %d files: %v", files, err)
	}
}

// TestDirectCallsKeepToTheTier has 200 calls without a rate on S1, which takes
// 40 a second.
func TestDirectCallsKeepToTheTier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStandIn(t, hub.Options{})
		sc := s.scenario(t, strings.Replace(methodJob, "startTime: +1s", "via: direct", 1),
			"target.iothub.tier=S1", "fleet.doors.devices=200", "jobs.lock.queryCondition=*", "jobs.lock.repeat.times=1")
		s.provisions(t, sc, provision.Summary{Devices: 200, Created: 200}, nil)
		got, _, err := s.run(t, sc)
		if err != nil || got.Jobs[0].Succeeded != 200 || !hasText(got.Warnings, "job lock: its calls are held to 40/s") {
			t.Fatalf("run: %d of 200 succeeded, warnings %q, %v", got.Jobs[0].Succeeded, got.Warnings, err)
		}
		if p99 := time.Duration(got.Jobs[0].Phases["total"].P99); p99 > 100*time.Millisecond {
			t.Errorf("total p99 is %v: calls were due when the hub would not take them", p99)
		}
		if got.DurationSeconds < 5 {
			t.Errorf("the run took %v s, want 5 s of calls at least", got.DurationSeconds)
		}
	})
}

// TestDirectJobsShareTheTier has two at once, each of which alone is all that
// S1 takes. Their calls wait longer for their turn than for their answer.
func TestDirectJobsShareTheTier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStandIn(t, hub.Options{})
		job := func(name string) string {
			payload := `{` + name + `: ` + strings.Repeat("x", 80<<10) + `}` // two of 80 KB a second
			return `
  - name: ` + name + `
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor, payload: ` + payload + `, responseTimeoutInSeconds: 5}
    queryCondition: "*"
    via: direct`
		}
		sc := s.scenario(t, "\njobs:"+job("one")+job("other"), "target.iothub.tier=S1", "fleet.doors.devices=100")
		s.provisions(t, sc, provision.Summary{Devices: 100, Created: 100}, nil)
		got, _, err := s.run(t, sc)
		if err != nil || got.DurationSeconds < 90 {
			t.Errorf("run: %v after %v s, want 100 s of calls", err, got.DurationSeconds)
		}
		for _, j := range got.Jobs {
			if j.Succeeded != 100 {
				t.Errorf("job %s: %d of 100 succeeded, causes %v; want all", j.Name, j.Succeeded, j.Causes)
			}
		}
	})
}

// TestJobsReachNobodyElse has a neighbour on the hub whom a job matches.
func TestJobsReachNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStandIn(t, hub.Options{})
		sc := s.scenario(t, methodJob, "jobs.lock.repeat.times=1")
		s.provisions(t, sc, provision.Summary{Devices: 40, Created: 40}, nil)
		if _, err := s.Client().CreateDevice(t.Context(), iothub.Device{DeviceID: "neighbour"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Client().PatchTwin(t.Context(), "neighbour", []byte(`{"tags":{"site":"north"}}`), "*"); err != nil {
			t.Fatal(err)
		}
		var foreign *scheduler.ForeignError
		got, _, err := s.run(t, sc)
		if !errors.As(err, &foreign) || foreign.IDs[0] != "neighbour" || got.Jobs[0].Targeted != 0 || got.Verdict == report.Pass {
			t.Errorf("run: %v, verdict %s, targeted %d; want a ForeignError of neighbour, and nobody targeted", err, got.Verdict, got.Jobs[0].Targeted)
		}
		for range s.Client().Jobs(t.Context(), "", "") {
			t.Error("the hub has a job, want none")
		}
		allowed := s.scenario(t, methodJob, "jobs.lock.repeat.times=1", "target.iothub.allowForeignDevices=true")
		if got, _, err := s.run(t, allowed); err != nil || got.Jobs[0].Offline != 1 || *got.Jobs[0].Extra != 1 {
			t.Errorf("run that allows foreign devices: %v, %+v; want the neighbour offline and extra", err, got.Jobs[0])
		}
	})
}

// TestScenariosKeepTheMarkFree: rooms that may not know each other have one
// name for it.
func TestScenariosKeepTheMarkFree(t *testing.T) {
	if scenarios.MarkTag != provision.MarkTag {
		t.Errorf("scenarios keep the tag %q free, fleets are marked with %q", scenarios.MarkTag, provision.MarkTag)
	}
}

// TestTransports closes ports and looks at what devices do.
func TestTransports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStandIn(t, hub.Options{})
		sc := s.scenario(t, methodJob, "jobs.lock.repeat.times=1")
		s.provisions(t, sc, provision.Summary{Devices: 40, Created: 40}, nil)
		passes := func(transport, warning string, set ...string) {
			t.Helper()
			got, _, err := s.run(t, s.scenario(t, methodJob, append(set, "jobs.lock.repeat.times=1")...))
			if err != nil || got.Target.Transport != transport || got.Fleet.Connected != 40 || got.Jobs[0].Succeeded == 0 || hasText(got.Warnings, "websocket") != (warning != "") || !hasText(append(got.Warnings, ""), warning) {
				t.Errorf("%v, closed %v: %v over %s, %d connected, warnings %q; want 40 over %s, warning %q",
					set, s.closed, err, got.Target.Transport, got.Fleet.Connected, got.Warnings, transport, warning)
			}
		}
		fails := func(want string, set ...string) {
			t.Helper()
			_, _, err := s.run(t, s.scenario(t, methodJob, set...))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, closed %v: %v, want %q in it", set, s.closed, err, want)
			}
		}
		passes("mqtt", "")
		passes("websocket", "", "target.iothub.transport=websocket")
		passes("mqtt", "", "fleet.doors.driver=lean")
		passes("websocket", "", "target.iothub.transport=websocket", "fleet.doors.driver=lean")
		s.closed["hub.test:8883"] = true
		passes("websocket", "devices connect by websocket: reach hub.test:8883 by mqtt: dial tcp: connection refused")
		fails("hub hub.test: reach hub.test:8883 by mqtt: dial tcp: connection refused", "target.iothub.transport=mqtt")
		fails("nobody is at other.test:8883", "target.iothub.gateway=other.test", "target.iothub.url=https://hub.test")
		s.closed["hub.test:443"] = true
		fails("connection refused")
		clear(s.closed)
		other, err := hub.NewCA()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.ca, other.PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
		fails("failed to verify certificate") // whose word nothing else replaces
	})
}

// TestRefusedConnectionStrings have a wrong key, or too little permission.
func TestRefusedConnectionStrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStandIn(t, hub.Options{})
		wrong := s.ConnectionString()
		wrong.SharedAccessKey = iothub.Key("a key that the hub does not know")
		src := strings.Replace(doors, "target: {embedded: {}}", "target: {iothub: {ca: '"+s.ca+"'}}", 1)
		sc, err := scenarios.Parse("test.yaml", []byte(src), scenarios.Options{Getenv: func(string) (string, bool) { return wrong.Reveal(), true }})
		if err != nil {
			t.Fatal(err)
		}
		_, err = harness.ProvisionFleet(t.Context(), sc, s.options())
		if err == nil || !strings.Contains(err.Error(), "does not take the policy iothubowner of the connection string") || strings.Contains(err.Error(), wrong.SharedAccessKey.Base64()) {
			t.Errorf("ProvisionFleet() with a wrong key = %v", err)
		}
		_, _, err = s.run(t, sc)
		if err == nil || !strings.Contains(err.Error(), "does not take the policy iothubowner") {
			t.Errorf("Run() with a wrong key = %v", err)
		}
		if err := servicePolicySuffices(t, s); err != nil {
			t.Error(err)
		}
		o := harness.Options{FleetSecret: "short"}
		if _, err := harness.Run(t.Context(), sc, &o); err == nil || !strings.Contains(err.Error(), "the fleet's secret has 5 bytes") {
			t.Errorf("Run() with a short secret = %v", err)
		}
		bad := s.options()
		bad.Secret = ""
		if _, err := harness.ProvisionFleet(t.Context(), sc, bad); err == nil || !strings.Contains(err.Error(), "secret is missing") {
			t.Errorf("ProvisionFleet() without a secret = %v", err)
		}
		if _, err := harness.ProvisionFleet(t.Context(), parse(t, doors), s.options()); !errors.Is(err, harness.ErrNoIoTHub) {
			t.Errorf("ProvisionFleet() of an embedded hub = %v, want ErrNoIoTHub", err)
		}
	})
}

// servicePolicySuffices provisions as iothubowner and runs with the policy
// service, which cannot provision.
func servicePolicySuffices(t *testing.T, s *standIn) error {
	t.Helper()
	s.provisions(t, s.scenario(t, bothWays), provision.Summary{Devices: 40, Created: 40}, nil)
	service, ok := s.PolicyConnectionString("service")
	if !ok {
		t.Fatal("the hub has no policy service")
	}
	src := strings.Replace(doors, "target: {embedded: {}}", "target: {iothub: {ca: '"+s.ca+"'}}", 1) + bothWays
	sc, err := scenarios.Parse("test.yaml", []byte(src), scenarios.Options{Getenv: func(string) (string, bool) { return service.Reveal(), true }})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.run(t, sc); err != nil || got.Verdict != report.Pass {
		return fmt.Errorf("run with the policy service: %s, %w", got.Verdict, err)
	}
	more, err := scenarios.Parse("test.yaml", []byte(src), scenarios.Options{Devices: 41, Getenv: func(string) (string, bool) { return service.Reveal(), true }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := harness.ProvisionFleet(t.Context(), more, s.options()); err == nil || !strings.Contains(err.Error(), "does not take the policy service") {
		return fmt.Errorf("ProvisionFleet() with the policy service = %w", err)
	}
	return nil
}

// TestALongRunRenewsItsTokens has its job three hours after its start.
func TestALongRunRenewsItsTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStandIn(t, hub.Options{})
		sc := s.scenario(t, strings.Replace(methodJob, "startTime: +1s", "startTime: +3h", 1), "jobs.lock.repeat.times=1")
		s.provisions(t, sc, provision.Summary{Devices: 40, Created: 40}, nil)
		o := harness.Options{FleetSecret: fleetSecret, Out: filepath.Join(t.TempDir(), "out")}
		harness.SetNetwork(&o, s.network)
		harness.SetWakes(&o, func(ctx context.Context, _ *sample.Clock, _ func(sample.Wake)) error {
			<-ctx.Done() // ten million wakes would show nothing here
			return nil
		})
		harness.SetReadings(&o, plenty)
		result, err := harness.Run(t.Context(), sc, &o)
		if err != nil {
			t.Fatal(err)
		}
		got := &result.Report.Summary
		if got.Jobs[0].Succeeded == 0 || got.Jobs[0].Succeeded != got.Jobs[0].Targeted || got.Fleet.Reconnects < 3*40 {
			t.Errorf("%d of %d succeeded, %d reconnects; want all, and each device with a new token three times at least",
				got.Jobs[0].Succeeded, got.Jobs[0].Targeted, got.Fleet.Reconnects)
		}
		if len(got.Fleet.Errors) != 0 {
			t.Errorf("connects failed: %v", got.Fleet.Errors)
		}
	})
}

// TestActiveJobsOfOthers has a job of somebody else's in the one place that S1
// has for active jobs, for a minute or for an hour.
func TestActiveJobsOfOthers(t *testing.T) {
	for _, c := range []struct {
		theirs time.Duration
		fault  string
	}{{time.Minute, ""}, {time.Hour, "the hub had no place for another active job"}} {
		synctest.Test(t, func(t *testing.T) {
			s := startStandIn(t, hub.Options{Tier: hub.S1, Units: 1})
			sc := s.scenario(t, methodJob, "jobs.lock.repeat.times=1", "target.iothub.tier=S1")
			s.provisions(t, sc, provision.Summary{Devices: 40, Created: 40}, nil)
			_, err := s.Client().CreateJob(t.Context(), iothub.JobRequest{
				JobID: "theirs", Type: iothub.JobMethod, CloudToDeviceMethod: &iothub.Method{MethodName: "x"},
				QueryCondition: "deviceId = 'nobody'", StartTime: iothub.Time{Time: time.Now().Add(c.theirs)}, MaxExecutionTimeInSeconds: 10,
			})
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := s.run(t, sc)
			switch {
			case c.fault == "" && (err != nil || got.Jobs[0].Succeeded == 0):
				t.Errorf("theirs ends in %v: %v, %+v; want ours to wait", c.theirs, err, got.Jobs[0])
			case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
				t.Errorf("theirs ends in %v: %v, want %q in it", c.theirs, err, c.fault)
			}
		})
	}
}

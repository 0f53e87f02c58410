package harness_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/harness"
	"muster/hub"
	"muster/internal/sample"
	"muster/report"
)

// twenty is a fleet whose doors take three seconds for slowLock.
const twenty = `
name: test
target: {embedded: {}}
fleet:
  - group: doors
    devices: 20
    id: "door-{index:02d}"
    methods:
      lockDoor: {response: {locked: true}, latency: 2ms}
      slowLock: {response: {locked: true}, latency: 3s}
connect: {rate: 1000/s, timeout: 10s, backoff: {base: 100ms, cap: 500ms}}
`

// jobOf is a job on all doors, two seconds after they are ready.
func jobOf(via, method, more string) string {
	return fmt.Sprintf(`
jobs:
  - name: lock
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: %s, payload: {n: 1}, responseTimeoutInSeconds: 5}
    queryCondition: "*"
    startTime: +2s
    via: %s
    %s
`, method, via, more)
}

// ledgerOf shows how a job's executions ended and why: "succeeded 15, failed 5 (ServerError 5)".
func ledgerOf(j *report.Job) string {
	counts := map[sample.Outcome]int64{
		sample.Succeeded: j.Succeeded, sample.Failed: j.Failed, sample.TimedOut: j.TimedOut, sample.Offline: j.Offline,
		sample.Cancelled: j.Cancelled, sample.NotDispatched: j.NotDispatched, sample.Unknown: j.Unknown,
	}
	var parts []string
	for _, o := range sample.Outcomes {
		if n := counts[o]; n > 0 {
			part := fmt.Sprintf("%v %d", o, n)
			if by := j.CausesByOutcome[o.String()]; len(by) > 0 {
				part += " (" + countsOf(by) + ")"
			}
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ", ")
}

func countsOf(m map[string]int64) string {
	var parts []string
	for name, n := range m {
		parts = append(parts, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// TestEachFaultHasItsOutcomeAndCause runs one job beside each kind of fault, on the fake clock.
func TestEachFaultHasItsOutcomeAndCause(t *testing.T) {
	const direct, viaHub = "direct", "hub"
	for _, c := range []struct {
		name, faults, via, method, more string
		want                            string
		check                           func(*report.Summary) string // more that must hold; "" is well
	}{
		{"throttled for longer than the job", `{kind: errors, code: 429001, operations: [methods], at: +1s, for: 1m}`, direct, "lockDoor", "maxExecutionTimeInSeconds: 10", "failed 20 (ThrottlingException 20)", nil},
		{"throttled in a burst", `{kind: errors, code: 429001, operations: [methods], at: +1s, for: 1010ms}`, direct, "lockDoor", "", "succeeded 20", func(s *report.Summary) string {
			if s.Jobs[0].Attempts < 40 { // the draw of a retry may fall into the burst's last 10 ms
				return fmt.Sprintf("%d attempts, want 40 at least", s.Jobs[0].Attempts)
			}
			return ""
		}},
		{"a share is throttled", `{kind: errors, code: 500001, operations: [methods], at: +1s, for: 5s, share: 0.25}`, direct, "lockDoor", "", "succeeded 17, failed 3 (ServerError 3)", nil},
		{"unavailable", `{kind: errors, code: 503001, operations: [methods], at: +1s, for: 5s}`, direct, "lockDoor", "", "failed 20 (ServiceUnavailable 20)", nil},
		{"busy for some", `{kind: errors, code: 503005, operations: [methods], at: +1s, for: 5s, devices: [door-00, door-07]}`, direct, "lockDoor", "", "succeeded 18, failed 2 (ServerBusy 2)", nil},
		{"a twin update outlasts a burst", `{kind: errors, code: 503001, at: +1s, for: 3s}`, direct, "", "", "succeeded 20", nil},
		{"the call's connection is cut", `{kind: drop, part: rest, at: +3s}`, direct, "slowLock", "", "failed 20 (ConnectionLost 20)", nil},
		{"requests are cut", `{kind: drop, part: rest, operations: [methods], at: +1s, for: 5s}`, direct, "lockDoor", "", "failed 20 (ConnectionLost 20)", nil},
		{"the device's connection is cut", `{kind: drop, at: +3s}`, direct, "slowLock", "", "timedOut 20 (GatewayTimeout 20)", lostAndBack},
		{"the device's connection is cut, via hub", `{kind: drop, at: +3s}`, viaHub, "slowLock", "", "timedOut 20 (GatewayTimeout 20)", lostAndBack},
		{"devices are away", `{kind: drop, at: +1s, for: 5s}`, direct, "lockDoor", "", "offline 20 (DeviceNotOnline 20)", lostAndBack},
		{"devices are away, via hub", `{kind: drop, at: +1s, for: 5s}`, viaHub, "lockDoor", "", "offline 20 (DeviceNotOnline 20)", nil},
		{"reconnects are refused", "{kind: drop, at: +1s}\n  - {kind: refuse, at: +1s, for: 5s}", direct, "lockDoor", "", "offline 20 (DeviceNotOnline 20)", func(s *report.Summary) string {
			if got := countsOf(s.Fleet.ReconnectErrors); !strings.HasPrefix(got, "refused: server unavailable ") || s.Fleet.Lost != 20 {
				return fmt.Sprintf("lost %d, reconnect errors %s", s.Fleet.Lost, got)
			}
			return ""
		}},
		{"connects are refused", `{kind: refuse, at: start, answer: notAuthorized, count: 7}`, direct, "lockDoor", "", "succeeded 20", func(s *report.Summary) string {
			if got := countsOf(s.Fleet.Errors); got != "refused: not authorized 7" || s.Fleet.Connect.Count != 20 || len(s.Fleet.ReconnectErrors) > 0 {
				return fmt.Sprintf("errors %s, %d connects", got, s.Fleet.Connect.Count)
			}
			return ""
		}},
		{"connects are not answered", `{kind: silent, part: connect, at: start, for: 1m, devices: [door-03]}`, direct, "lockDoor", "", "succeeded 19, offline 1 (DeviceNotOnline 1)", func(s *report.Summary) string {
			if got := countsOf(s.Fleet.Errors); s.Fleet.Failed != 1 || !strings.Contains(got, "timeout 1") {
				return fmt.Sprintf("failed %d, errors %s", s.Fleet.Failed, got)
			}
			return ""
		}},
		{"the hub is silent", `{kind: silent, operations: [methods], at: +1s}`, direct, "lockDoor", "maxExecutionTimeInSeconds: 10", "timedOut 20 (NoAnswer 20)", nil},
		{"the hub is silent and nothing bounds the job", `{kind: silent, operations: [methods], at: +1s}`, direct, "lockDoor", "", "timedOut 20 (NoAnswer 20)", nil},
		{"the hub breaks its silence", `{kind: silent, operations: [methods], at: +1s, for: 2s}`, direct, "lockDoor", "", "failed 20 (ConnectionLost 20)", nil},
		{"methods get lost", `{kind: silent, part: methods, at: +1s, for: 5s}`, direct, "lockDoor", "", "timedOut 20 (GatewayTimeout 20)", nil},
		{"methods get lost, via hub", `{kind: silent, part: methods, at: +1s, for: 5s, share: 0.5}`, viaHub, "lockDoor", "", "succeeded 9, timedOut 11 (GatewayTimeout 11)", nil},
		{"methods are late", `{kind: latency, part: methods, at: +1s, for: 5s, delay: 1s}`, viaHub, "lockDoor", "", "succeeded 20", func(s *report.Summary) string {
			if p := s.Jobs[0].Phases["delivery"]; time.Duration(p.Min) < time.Second {
				return fmt.Sprintf("delivery %v at least, want 1 s", time.Duration(p.Min))
			}
			return ""
		}},
		{"answers are late", `{kind: latency, at: +1s, for: 5s, operations: [methods], delay: {from: 100ms, to: 2s}}`, direct, "lockDoor", "", "succeeded 20", func(s *report.Summary) string {
			if p := s.Jobs[0].Phases["uplink"]; time.Duration(p.Min) < 100*time.Millisecond || time.Duration(p.Max) > 2100*time.Millisecond || p.Max == p.Min {
				return fmt.Sprintf("uplink %v to %v, want 100 ms to 2 s", time.Duration(p.Min), time.Duration(p.Max))
			}
			return ""
		}},
		{"the hub restarts in a direct job", `{kind: restart, at: +3s, for: 2s}`, direct, "slowLock", "", "failed 20 (ConnectionLost 20)", nil}, // the run ends with the job
		{"the hub restarts in a job of its own", `{kind: restart, at: +3s, for: 2s}`, viaHub, "slowLock", "", "timedOut 20 (GatewayTimeout 20)", lostAndBack},
		{"the hub restarts while it dispatches", `{kind: restart, at: +2520ms, for: 3s}`, viaHub, "lockDoor", "", "succeeded 11, offline 9 (DeviceNotOnline 9)", nil},
		{"the hub is down when its job is followed", `{kind: errors, code: 503005, operations: [jobs, query], at: +1s, for: 10s}`, viaHub, "lockDoor", "", "succeeded 20", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := twenty + "faults:\n  - " + c.faults + jobOf(c.via, c.method, c.more)
				if c.method == "" {
					src = twenty + "faults:\n  - " + c.faults +
						"\njobs:\n  - {name: lock, type: scheduleUpdateTwin, updateTwin: {tags: {a: 1}}, queryCondition: '*', startTime: +2s, via: direct}\n"
				}
				began := time.Now()
				s := parse(t, src, "target.embedded.jobRate=20/s")
				got, _, err := run(t.Context(), t, s, harness.Options{})
				if err != nil {
					t.Fatalf("Run() = %v", err)
				}
				j := &got.Jobs[0]
				if l := ledgerOf(j); l != c.want || !j.LedgerBalanced || j.Targeted != 20 || j.Unexpected+j.Duplicates > 0 {
					t.Errorf("ledger: %s of %d, balanced %v %q, %d duplicates, %d unexpected\n  want: %s of 20",
						l, j.Targeted, j.LedgerBalanced, j.LedgerFaults, j.Duplicates, j.Unexpected, c.want)
				}
				if took := time.Since(began); took > 90*time.Second {
					t.Errorf("the run took %v", took)
				}
				for _, f := range got.Faults {
					if f.Begun == nil || f.Struck == 0 || f.Error != "" || f.Lasted == nil {
						t.Errorf("fault %+v, want it begun, ended and striking", f)
					}
				}
				if c.check != nil {
					if msg := c.check(got); msg != "" {
						t.Error(msg)
					}
				}
			})
		})
	}
}

// lostAndBack wants every device's connection lost once.
func lostAndBack(s *report.Summary) string {
	if s.Fleet.Lost != 20 || countsOf(s.Fleet.LostBy) != "EOF 20" {
		return fmt.Sprintf("lost %d: %s; want EOF 20", s.Fleet.Lost, countsOf(s.Fleet.LostBy))
	}
	return ""
}

// A hub whose REST side stays silent ends the run with an error in bounded time.
func TestASilentHubEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		src := twenty + "faults:\n  - {kind: silent, operations: [jobs, query], at: +1s}" + jobOf("hub", "lockDoor", "")
		got, _, err := run(t.Context(), t, parse(t, src), harness.Options{})
		if err == nil || !strings.Contains(err.Error(), "job lock: follow job") {
			t.Errorf("Run() = %v, want that the job could not be followed", err)
		}
		if l := ledgerOf(&got.Jobs[0]); l != "unknown 20 (NoRow 20)" || got.Verdict != report.Incomplete {
			t.Errorf("ledger %s, verdict %s; want unknown 20 (NoRow 20), incomplete", l, got.Verdict)
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("the run took %v", took)
		}
	})
}

// refusing is a hub that does not take faults.
type refusing struct{ http.RoundTripper }

func (r refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPost && strings.HasPrefix(req.URL.Path, "/muster/faults") {
		req = req.Clone(req.Context())
		req.URL.Path = "/muster/nosuch"
	}
	return r.RoundTripper.RoundTrip(req)
}

func TestAFaultThatCannotBeSetFailsTheRun(t *testing.T) {
	for _, at := range []string{"start", "+1s"} {
		synctest.Test(t, func(t *testing.T) {
			opts := harness.Options{StartHub: harness.StartInside(func(_ *hub.Hub, running *harness.Hub) {
				running.Transport = refusing{running.Transport}
			})}
			src := twenty + "faults:\n  - {kind: drop, at: " + at + "}" + jobOf("direct", "lockDoor", "")
			began := time.Now()
			got, _, err := run(t.Context(), t, parse(t, src), opts)
			if want := "set fault 1 (drop on connect, at " + at + "): POST /muster/faults: hub answered 400"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Run() = %v, want %s", err, want)
			}
			if got.Verdict != report.Incomplete || len(got.Faults) != 1 || got.Faults[0].Begun != nil || got.Faults[0].Error == "" {
				t.Errorf("verdict %s, faults %+v; want incomplete with a fault that did not begin", got.Verdict, got.Faults)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("the run took %v", took)
			}
		})
	}
}

func TestFaultsThatTheRunDoesNotComeTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var stopping sync.WaitGroup
		stopping.Go(func() {
			time.Sleep(5 * time.Second)
			cancel()
		})
		src := twenty + "faults:\n  - {kind: silent, at: +1s, part: methods}\n  - {kind: drop, at: +1h}" + jobOf("direct", "lockDoor", "startTime: +30m")
		src = strings.Replace(src, "    startTime: +2s\n", "", 1)
		got, _, err := run(ctx, t, parse(t, src), harness.Options{})
		stopping.Wait()
		if err != nil || got.Verdict != report.Interrupted || len(got.Faults) != 2 {
			t.Fatalf("Run() = %v, verdict %s, faults %+v; want interrupted with 2 faults", err, got.Verdict, got.Faults)
		}
		open, never := got.Faults[0], got.Faults[1]
		if open.Begun == nil || open.Lasted == nil || never.Begun != nil || never.Error != "the run was over before" {
			t.Errorf("faults %+v and %+v; want one ended with the run, and one that never began", open, never)
		}
		if want := "the fault silent on methods at +1s struck nothing"; !slices.Contains(got.Warnings, want) {
			t.Errorf("warnings %q, want %q", got.Warnings, want)
		}
	})
}

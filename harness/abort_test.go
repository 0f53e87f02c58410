package harness_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/harness"
	"muster/report"
)

const slowDoors = `
name: test
target: {embedded: {jobRate: 10/s}}
fleet:
  - {group: doors, devices: 100, id: "door-{index:03d}", methods: {lockDoor: {latency: 2ms}}}
  - {group: lamps, devices: 100, id: "lamp-{index:03d}", methods: {lockDoor: {latency: 300ms}}}
connect: {rate: 1000/s}
jobs:
  - name: lock
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor}
    queryCondition: "*"
    startTime: +1s
`

// A run of twenty seconds ends soon after the threshold fails, in order: what
// was under way is in the ledger, and nothing is begun any more.
func TestAThresholdAbortsTheRun(t *testing.T) {
	check := func(name, keys, threshold string, from, to time.Duration, reason string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := parse(t, slowDoors+keys+"thresholds: ["+threshold+"]")
				got, _, err := run(t.Context(), t, s, harness.Options{Drain: 2 * time.Second})
				took := time.Duration(got.DurationSeconds * float64(time.Second))
				if err != nil || took < from || took > to {
					t.Errorf("%s: took %v, error %v; want %v to %v", threshold, took, err, from, to)
				}
				j := got.Jobs[0]
				if reason == "" {
					if got.Verdict != report.Pass || got.Ended != "completed" || j.Succeeded != 200 {
						t.Errorf("%s: verdict %v %q, %+v; want a pass", threshold, got.Verdict, got.Reasons, j)
					}
					return
				}
				if got.Verdict != report.Fail || got.Ended != "aborted" || !strings.Contains(got.Reasons[0], "aborted: threshold ") || !strings.Contains(got.Reasons[0], reason) {
					t.Errorf("%s: verdict %v %q, ended %s; want fail, aborted: …%s…", threshold, got.Verdict, got.Reasons, got.Ended, reason)
				}
				if j.Succeeded == 0 || j.Succeeded > 100 || j.Succeeded+j.Failed+j.TimedOut+j.Cancelled+j.NotDispatched+j.Unknown != j.Targeted {
					t.Errorf("%s: ledger %+v, want some that succeeded and nobody left out", threshold, j)
				}
			})
		})
	}
	const direct = "    via: direct\n    rate: 10/s\n    inFlight: 0\n"
	// Devices are called in the order of their ids: doors first.
	check("hub, total", "", `{expression: "jobs.lock.total.p99 < 3s", abortOnFail: true}`, 4*time.Second, 9*time.Second, "jobs.lock.total.p99 < 3s failed: measured 3")
	check("hub, grace", "", `{expression: "jobs.lock.total.p99 < 3s", abortOnFail: true, grace: 6s}`, 7*time.Second, 12*time.Second, "measured 6")
	check("hub, rate", "", `{expression: "jobs.lock.rate > 50/s over every 2s", abortOnFail: true}`, 3*time.Second, 8*time.Second, "over every 2s failed: measured ") // 9 or 10, as the parts begin
	check("direct, count", direct, `{expression: "jobs.lock.succeeded < 30", abortOnFail: true}`, 3*time.Second, 8*time.Second, "measured 3")
	check("direct, group", direct, `{expression: "jobs.lock{group=doors}.total.p99 < 200ms", abortOnFail: true}`, 20*time.Second, 30*time.Second, "")
	check("holds", "", `{expression: "jobs.lock.device.p99 < 2s over every 3s", abortOnFail: true}`, 20*time.Second, 90*time.Second, "")
}

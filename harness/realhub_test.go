package harness_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/harness"
	"muster/iothub"
	"muster/report"
	"muster/scenarios"
)

// onRealHub runs on any hub that the environment names, with few devices and
// both ways of a job.
const onRealHub = `
name: muster-test
target: {iothub: {}}
fleet:
  - group: doors
    devices: 10
    id: "muster-test-door-{index:03d}"
    tags: {mustertest: {site: "{pick('north', 'south')}"}, floor: "{index % 2}"}
    desired: {color: red}
    methods: {lockDoor: {response: {locked: true}, latency: 5ms}}
jobs:
  - name: call
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor, payload: {by: muster}}
    queryCondition: "is_defined(tags.mustertest)"
    via: direct
  - name: lock
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor, payload: {lockTime: 10m}}
    queryCondition: "is_defined(tags.mustertest)"
    startTime: +10s
  - name: place
    type: scheduleUpdateTwin
    updateTwin: {properties: {desired: {color: blue}}}
    queryCondition: "is_defined(tags.mustertest) AND tags.floor = 1"
    startTime: +60s
thresholds:
  - jobs.call.succeeded == 100%
  - jobs.lock.succeeded == 100%
  - jobs.place.succeeded == 100%
`

// TestOnTheHubOfTheEnvironment takes a fleet from nothing to nothing on the
// hub of IOTHUB_CONNECTION_STRING. MUSTER_TEST_SET holds further path=value
// arguments, one a line.
func TestOnTheHubOfTheEnvironment(t *testing.T) {
	secret := iothub.Secret(os.Getenv("MUSTER_FLEET_SECRET"))
	if os.Getenv("IOTHUB_CONNECTION_STRING") == "" || secret == "" {
		t.Skip("IOTHUB_CONNECTION_STRING and MUSTER_FLEET_SECRET name no hub")
	}
	set := strings.Fields(os.Getenv("MUSTER_TEST_SET"))
	cs, err := iothub.ParseConnectionString(os.Getenv("IOTHUB_CONNECTION_STRING"))
	if err != nil {
		t.Fatal(err) // it does not quote the text
	}
	s, err := scenarios.Parse("real.yaml", []byte(onRealHub), scenarios.Options{Set: set})
	if err != nil {
		t.Fatal(err)
	}
	o := harness.FleetOptions{Secret: secret}
	if got, err := harness.ProvisionFleet(t.Context(), s, o); err != nil || got.Created+got.Updated+got.Unchanged != 10 {
		t.Fatalf("ProvisionFleet() = %+v, %v", got, err)
	}
	t.Cleanup(func() {
		if got, err := harness.DeprovisionFleet(context.WithoutCancel(t.Context()), s, o); err != nil {
			t.Errorf("DeprovisionFleet() = %+v, %v: delete the devices muster-test-door-* yourself", got, err)
		}
	})
	if got, err := harness.ProvisionFleet(t.Context(), s, o); err != nil || got.Unchanged != 10 {
		t.Errorf("ProvisionFleet() again = %+v, %v; want all unchanged", got, err)
	}
	out := filepath.Join(t.TempDir(), "out")
	result, err := harness.Run(t.Context(), s, &harness.Options{FleetSecret: secret, Out: out})
	if err != nil {
		t.Fatal(err)
	}
	if got := result.Report.Summary; got.Verdict != report.Pass {
		t.Errorf("verdict %s %v, want pass", got.Verdict, got.Reasons)
	}
	holdsNoSecret(t, out, secret.Reveal(), cs.SharedAccessKey.Base64(), "SharedAccessSignature")
}

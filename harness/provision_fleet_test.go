package harness_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/fleet/provision"
	"muster/harness"
	"muster/hub"
	"muster/internal/sample"
	"muster/iothub"
)

// TestForeignDevicesAreNeverTouched puts somebody else's device where the
// fleet would have one.
func TestForeignDevicesAreNeverTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStandIn(t, hub.Options{})
		sc := s.scenario(t, bothWays)
		theirs := iothub.Device{DeviceID: "door-007", Status: iothub.StatusEnabled}
		theirs, err := s.Client().CreateDevice(t.Context(), theirs)
		if err != nil {
			t.Fatal(err)
		}
		untouched := func() {
			t.Helper()
			now, err := s.Client().Device(t.Context(), "door-007")
			if err != nil || now.ETag != theirs.ETag || now.GenerationID != theirs.GenerationID {
				t.Errorf("the foreign device is %+v, %v; want it as it was", now, err)
			}
			twin, err := s.Client().Twin(t.Context(), "door-007")
			if err != nil || twin.Version != 1 || strings.Contains(string(twin.Tags), "muster") {
				t.Errorf("the foreign twin is %+v, %v; want it as it was", twin, err)
			}
		}
		total := func(want int) {
			t.Helper()
			if n, err := s.Client().DeviceStatistics(t.Context()); err != nil || n.Total != want {
				t.Errorf("there are %d devices, %v; want %d", n.Total, err, want)
			}
		}
		refuses := func(what string, err error) {
			t.Helper()
			var foreign *provision.ForeignError
			if !errors.As(err, &foreign) || foreign.Count != 1 || foreign.IDs[0] != "door-007" {
				t.Errorf("%s: %v, want a ForeignError of door-007", what, err)
			}
			untouched()
		}
		o := s.options()
		_, err = harness.ProvisionFleet(t.Context(), sc, o)
		refuses("provision", err)
		total(1)
		_, err = harness.DeprovisionFleet(t.Context(), sc, o)
		refuses("deprovision", err)
		_, _, err = s.run(t, sc)
		refuses("run", err)

		// One that comes when the others are there: they alone go.
		if err := s.Client().DeleteDevice(t.Context(), "door-007", "*"); err != nil {
			t.Fatal(err)
		}
		s.provisions(t, sc, provision.Summary{Devices: 40, Created: 40}, nil)
		if err := s.Client().DeleteDevice(t.Context(), "door-007", "*"); err != nil {
			t.Fatal(err)
		}
		theirs, err = s.Client().CreateDevice(t.Context(), iothub.Device{DeviceID: "door-007", Status: iothub.StatusEnabled})
		if err != nil {
			t.Fatal(err)
		}
		_, err = harness.ProvisionFleet(t.Context(), sc, o)
		refuses("provision again", err)

		other := o
		other.Secret = "another secret of sixteen bytes"
		_, err = harness.DeprovisionFleet(t.Context(), sc, other)
		var foreign *provision.ForeignError
		if !errors.As(err, &foreign) || foreign.Count != 40 {
			t.Errorf("deprovision with another secret: %v, want all 40 to be foreign", err)
		}
		total(40)
		renamed := s.scenario(t, bothWays, "name=other")
		if _, err = harness.DeprovisionFleet(t.Context(), renamed, o); !errors.As(err, &foreign) || foreign.Count != 40 {
			t.Errorf("deprovision of another fleet with these ids: %v, want all 40 to be foreign", err)
		}
		total(40)
		sum, err := harness.DeprovisionFleet(t.Context(), sc, o)
		refuses("deprovision again", err)
		if want := (provision.Summary{Devices: 40, Deleted: 39}); sum != want {
			t.Errorf("DeprovisionFleet() = %+v, want %+v", sum, want)
		}
		total(1)
	})
}

// TestProvisioningMendsItsOwn changes devices in every way that users can.
func TestProvisioningMendsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStandIn(t, hub.Options{})
		sc := s.scenario(t, "")
		s.provisions(t, sc, provision.Summary{Devices: 40, Created: 40}, nil)
		ctx, c := t.Context(), s.Client()
		must := func(_ any, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(c.ReplaceTwin(ctx, "door-001", []byte(`{"tags":{"site":"moon"}}`), "*")) // the mark is gone, the key is not
		must(c.PatchTwin(ctx, "door-002", []byte(`{"tags":{"site":"moon"}}`), "*"))
		must(c.PatchTwin(ctx, "door-003", []byte(`{"properties":{"desired":{"more":1}}}`), "*"))
		must(c.UpdateDevice(ctx, iothub.Device{DeviceID: "door-004", Status: iothub.StatusDisabled}, "*"))
		key := iothub.Key("somebody else's key for a device")
		must(c.UpdateDevice(ctx, iothub.Device{
			DeviceID: "door-005", Status: iothub.StatusEnabled,
			Authentication: &iothub.Authentication{Type: iothub.AuthenticationSAS, SymmetricKey: iothub.SymmetricKey{Primary: key, Secondary: key}},
		}, "*"))
		must(nil, c.DeleteDevice(ctx, "door-006", "*"))
		s.provisions(t, sc, provision.Summary{Devices: 40, Created: 1, Updated: 4, Unchanged: 35}, nil)
		s.provisions(t, sc, provision.Summary{Devices: 40, Unchanged: 40}, nil)
		s.provisions(t, sc, provision.Summary{Devices: 40, Updated: 1, Unchanged: 39}, func(o *harness.FleetOptions) { o.Keys = true })
		s.provisions(t, sc, provision.Summary{Devices: 40, Unchanged: 40}, func(o *harness.FleetOptions) { o.Keys = true })
		if got, _, err := s.run(t, sc); err != nil || got.Fleet.Connected != 40 {
			t.Errorf("run: %d connected, %v; want all 40", got.Fleet.Connected, err)
		}
	})
}

// TestProvisioningKeepsToTheTier holds the time that each step takes on S1.
func TestProvisioningKeepsToTheTier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStandIn(t, hub.Options{Tier: hub.S1, Units: 1})
		sc := s.scenario(t, methodJob, "target.iothub.tier=S1", "fleet.doors.devices=450", "jobs.lock.maxExecutionTimeInSeconds=100", "jobs.lock.repeat.times=1")
		began := time.Now()
		s.provisions(t, sc, provision.Summary{Devices: 450, Created: 450}, nil)
		// A hundred at once, then 350 at 100 a minute.
		if took := time.Since(began); took < 210*time.Second || took > 215*time.Second {
			t.Errorf("450 devices took %v on S1, want 3m30s", took)
		}
		time.Sleep(time.Minute)
		got, dir, err := s.run(t, sc)
		if err != nil || got.Fleet.Connected != 450 || got.Target.Tier != "S1" || got.Jobs[0].Succeeded != got.Jobs[0].Targeted {
			t.Fatalf("run: %d connected, target %+v, %v", got.Fleet.Connected, got.Target, err)
		}
		var first, last sample.Moment
		for _, r := range records(t, dir) {
			if c, ok := r.(*sample.Connect); ok {
				if first == 0 {
					first = c.Dialed
				}
				last = max(last, c.Dialed)
			}
		}
		if ramp := time.Duration(last - first); ramp < 4400*time.Millisecond || ramp > 5*time.Second {
			t.Errorf("450 connects took %v on S1, want 4.5s", ramp)
		}
		if stats := s.Stats(); stats.Throttled != 0 {
			t.Errorf("the hub refused %d operations, want none", stats.Throttled)
		}
	})
}

// TestProvisioningGoesOnAfterAnInterrupt interrupts it in the middle.
func TestProvisioningGoesOnAfterAnInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startStandIn(t, hub.Options{})
		sc := s.scenario(t, "", "target.iothub.tier=S1", "fleet.doors.devices=450")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		got, err := harness.ProvisionFleet(ctx, sc, s.options())
		if !errors.Is(err, context.DeadlineExceeded) || got.Created != 200 {
			t.Errorf("ProvisionFleet() interrupted after 100s = %+v, %v; want 200 made", got, err)
		}
		var missing *provision.NotProvisionedError
		if _, _, err := s.run(t, sc); !errors.As(err, &missing) || missing.Missing != 250 {
			t.Errorf("a run meanwhile: %v, want 250 missing", err)
		}
		s.provisions(t, sc, provision.Summary{Devices: 450, Created: 250, Unchanged: 200}, nil)
		ctx, cancel = context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		if got, err = harness.DeprovisionFleet(ctx, sc, s.options()); !errors.Is(err, context.DeadlineExceeded) || got.Deleted != 200 {
			t.Errorf("DeprovisionFleet() interrupted after 100s = %+v, %v; want 200 deleted", got, err)
		}
		got, err = harness.DeprovisionFleet(t.Context(), sc, s.options())
		if want := (provision.Summary{Devices: 450, Deleted: 250, Absent: 200}); err != nil || got != want {
			t.Errorf("DeprovisionFleet() = %+v, %v; want %+v", got, err, want)
		}
	})
}

package harness_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"muster/harness"
)

func TestACalibrationCostsNothingOnTheFakeClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		c, err := harness.Calibrate(t.Context())
		if err != nil || c.RoundTrips != 3000 || c.CPUMicros <= 0 || c.P50 != 0 || c.Max != 0 {
			t.Errorf("Calibrate() = %+v, %v; want 3000 round trips that take no time and some CPU", c, err)
		}
		if took := time.Since(begun); took < 3*time.Second || took > 6*time.Second {
			t.Errorf("it took %v, want about four seconds", took)
		}
	})
}

func TestACalibrationEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if c, err := harness.Calibrate(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Calibrate() with a second = %+v, %v, want its end", c, err)
		}
	})
}

func TestARunReportsItsCalibration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := parse(t, doors+methodJob)
		got, _, err := run(t.Context(), t, s, harness.Options{Calibrate: true})
		if err != nil || got.Generator.Calibration == nil || got.Generator.Calibration.RoundTrips != 3000 {
			t.Errorf("generator %+v, %v, want a calibration", got.Generator, err)
		}
		got, _, err = run(t.Context(), t, s, harness.Options{})
		if err != nil || got.Generator.Calibration != nil || got.Generator.Samples == nil || got.Generator.Samples.Records == 0 {
			t.Errorf("generator %+v, %v, want samples and no calibration", got.Generator, err)
		}
	})
}

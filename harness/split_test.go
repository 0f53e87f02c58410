package harness_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/scenarios"
)

func TestGeneratorsComeToWhatOneProcessDoes(t *testing.T) {
	for name, src := range troubled {
		for _, driver := range scenarios.Drivers() {
			t.Run(name+", "+string(driver), func(t *testing.T) {
				comesTo := func(generators int) came {
					c := dividedComesTo(t, src, driver, generators)
					if strings.Contains(src, "faults:") {
						// Generators take turns on the ramp, so that the hub refuses others first, which come back at other times.
						c.Failed = nil
					}
					return c
				}
				alone := comesTo(1)
				if len(alone.Executions) == 0 || len(alone.Twins) == 0 || len(alone.Devices) < 2 {
					t.Fatalf("%d executions, %d twins, %d devices", len(alone.Executions), len(alone.Twins), len(alone.Devices))
				}
				for _, n := range []int{2, 3} {
					if diff := cmp.Diff(alone, comesTo(n)); diff != "" {
						t.Errorf("in one process (-) and with %d generators (+):\n%s", n, diff)
					}
				}
			})
		}
	}
}

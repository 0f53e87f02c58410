package scenarios_test

import (
	"errors"
	"io/fs"
	"testing"

	"muster/scenarios"
)

// FuzzParse checks that no text makes the loader panic, that every fault has a
// place inside of the text, and that what loads can be printed and loads again
// as the same.
func FuzzParse(f *testing.F) {
	f.Add(full, "")
	f.Add(top(doors), "jobs.lock.repeat={times: 2, every: 9s}")
	f.Add(top("seed: ${N}"), "fleet.g.id=${SHORT}-{index}")
	f.Add(method("queryCondition: \"a = \\u0041 = 'x'\""), "jobs[0].via=direct")
	f.Add(top("thresholds: [{expression: 'jobs.lock{group=doors}.rate > 5/s over last 10s', abortOnFail: true, grace: 5s}]"), "thresholds[0].grace=1m")
	f.Add(top("thresholds: ['jobs[\"lock all\"].total.p99 < 2s', fleet.connect.p50 < 1h]"), "thresholds[0]=fleet.failed == 0")
	f.Add(bomb, `fleet["x y"]["\x00"].z=[1, {a: "b"}]`)
	for _, name := range scenarios.ShippedNames() {
		src, err := fs.ReadFile(scenarios.Shipped(), name+".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(src), "connect.rate=5/m")
	}
	f.Fuzz(func(t *testing.T, src, set string) {
		opts := scenarios.Options{Devices: 20} // else a number in the text makes a million ids
		if set != "" {
			opts.Set = []string{set}
		}
		s, err := parse(src, opts)
		if err != nil {
			checkFaults(t, src, err)
			return
		}
		resolved(t, s)
	})
}

func checkFaults(t *testing.T, src string, err error) {
	t.Helper()
	var faults scenarios.Errors
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("Parse(%q) = %T, want scenarios.Errors", src, err)
	}
	lines := 2
	for _, c := range src {
		if c == '\n' || c == '\r' || c == '\u0085' || c == '\u2028' || c == '\u2029' {
			lines++
		}
	}
	for _, e := range faults {
		if e.Line < 0 || e.Line > lines || e.Column < 0 || e.Msg == "" || e.File == "" || e.Error() == "" {
			t.Errorf("Parse(%q): fault %+v has no place in %d lines", src, e, lines)
		}
	}
}

package hub_test

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"muster/hub/hubtest"
)

// TestRowsOfNamedDevices wants the rows that a condition selects by device ids to be those that it selects when no id says
// where they stand, whoever had the ids when the jobs ran; page by page.
func TestRowsOfNamedDevices(t *testing.T) {
	const all = "SELECT * FROM devices.jobs WHERE "
	check := func(t *testing.T, s *hubtest.Server, want int, condition string) {
		t.Helper()
		scanned := pages(t, s, all+"NOT NOT ("+condition+")", 100)
		if len(scanned) != want {
			t.Errorf("%s: %d rows, want %d", condition, len(scanned), want)
		}
		for _, size := range []int{1, 2, 100} {
			if diff := cmp.Diff(scanned, pages(t, s, all+condition, size)); diff != "" {
				t.Errorf("%s by %d (-scanned +looked up):\n%s", condition, size, diff)
			}
		}
	}
	run := func(t *testing.T, s *hubtest.Server, id, condition string) {
		t.Helper()
		schedule(t, s, id, twinJob(condition, `"tags":{"a":1}`))
		synctest.Wait()
	}
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, append(ids(8), "dev-00002/m")...)
		run(t, s, "all", "*")
		run(t, s, "some", "deviceId IN ['dev-00001', 'dev-00003']")
		run(t, s, "modules", "FROM devices.modules WHERE moduleId = 'm'")
		run(t, s, "none", "deviceId = 'nobody'")
		register(t, s, "late")
		both := func(t *testing.T) {
			t.Helper()
			check(t, s, 2, "devices.jobs.deviceId = 'dev-00001'")
			check(t, s, 2, "devices.jobs.deviceId = 'dev-00002'")
			check(t, s, 1, "devices.jobs.deviceId = 'dev-00007'")
			check(t, s, 0, "devices.jobs.deviceId = 'nobody'")
			check(t, s, 0, "devices.jobs.deviceId = 'late'")
			check(t, s, 5, "devices.jobs.deviceId IN ['dev-00003', 'nobody', 'dev-00001', 'late', 'dev-00005']")
			check(t, s, 1, "devices.jobs.deviceId = 'dev-00003' AND devices.jobs.jobId = 'some'")
			check(t, s, 0, "devices.jobs.deviceId = 'dev-00003' AND devices.jobs.status = 'failed'")
			check(t, s, 2, "devices.jobs.deviceId = 'dev-00003' OR devices.jobs.deviceId = 'dev-00005' AND devices.jobs.jobId = 'all' AND devices.jobs.status = 'failed'")
		}
		both(t)
		// The same ids are somebody else's now, or nobody's.
		for _, id := range []string{"dev-00001", "dev-00005"} {
			if a := rest(t, s, "DELETE /devices/"+id, "", "If-Match", "*"); a.status != 204 {
				t.Fatalf("delete %s: %d %s", id, a.status, a.body)
			}
		}
		both(t)
		register(t, s, "dev-00001")
		both(t)
		run(t, s, "again", "*")
		check(t, s, 3, "devices.jobs.deviceId = 'dev-00001'")
		check(t, s, 1, "devices.jobs.deviceId = 'late'")
		if a := rest(t, s, "DELETE /devices/dev-00002/modules/m", "", "If-Match", "*"); a.status != 204 {
			t.Fatalf("delete the module: %d %s", a.status, a.body)
		}
		check(t, s, 3, "devices.jobs.deviceId = 'dev-00002'")
	})
}

package hub_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/iothub"
)

// pace begins another hub, which dispatches one execution a second.
func (l *life) pace() {
	l.t.Helper()
	if err := l.Close(); err != nil {
		l.t.Errorf("close the hub: %v", err)
	}
	opts := storing(l.t, nil, l.dir)
	opts.JobRate = 1
	l.Server = hubtest.Start(l.t, opts)
}

// rowsAre checks the rows of a job, with times counted from start.
func rowsAre(t *testing.T, s *hubtest.Server, id string, start time.Time, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, brief(start, rows(t, s, id))); diff != "" {
		t.Errorf("rows of %s (-want +got):\n%s", id, diff)
	}
}

// A job that waits for its start fires then, or at once if it has passed, or misses everybody if its window has too.
func TestRestartScheduledJob(t *testing.T) {
	tests := func(name string, down time.Duration, want ...string) {
		t.Run(name, func(t *testing.T) {
			lives(t, func(t *testing.T, l *life) {
				register(t, l.Server, "dev1")
				start := time.Now()
				schedule(t, l.Server, "job-1", twinJob("*", `"properties":{"desired":{"a":1}}`))
				schedule(t, l.Server, "job-2", methodJob("*", 10*time.Minute, 60))
				l.crash(down)
				rowsAre(t, l.Server, "job-1", start, `dev1 completed 0s 0s`)
				dev := reconnect(t, l.Server, "dev1", iothub.FilterMethods)
				if wait := time.Until(start.Add(10 * time.Minute)); wait > 0 {
					wantsJob(t, l.Server, "job-2", iothub.JobScheduled)
					time.Sleep(wait - time.Second)
					dev.alive()
					time.Sleep(time.Second)
					dev.answerMethod("m", `{"a":1}`, 200, "1")
				}
				synctest.Wait()
				rowsAre(t, l.Server, "job-2", start, want...)
				if j := job(t, l.Server, "job-2"); j.Status != iothub.JobCompleted || j.CreatedTime.Sub(start) != 0 || j.StartTime.Sub(start) != 10*time.Minute {
					t.Errorf("job-2: %+v", j)
				}
			})
		})
	}
	tests("before its start", 9*time.Minute, `dev1 completed 10m0s 10m0s 200 1`)
	tests("within its window", 10*time.Minute+time.Second, `dev1 failed 10m1s 10m1s DeviceNotOnline`)
	tests("after its window", 12*time.Minute, `dev1 failed - 12m0s GenericTimeout`)
}

// What a method job has dispatched is not dispatched again: it is answered, or lost. The rest goes on in the same order.
func TestRestartMethodJob(t *testing.T) {
	lives(t, func(t *testing.T, l *life) {
		l.pace()
		start := time.Now()
		names := ids(14)
		devices := map[string]*bare{}
		for _, id := range names {
			devices[id] = online(t, l.Server, id, iothub.FilterMethods)
		}
		schedule(t, l.Server, "job-1", methodJob("*", 0, 300))
		devices[names[0]].answerMethod("m", `{"a":1}`, 200, "0")
		time.Sleep(time.Second)
		devices[names[1]].message()
		rest(t, l.Server, "DELETE /devices/"+names[9], "")
		wantsJob(t, l.Server, "job-1", iothub.JobRunning, 14, 12, 1, 1, 0)
		l.crash(time.Minute)
		// The first block had eight rows: two were dispatched, six may have been.
		wantsJob(t, l.Server, "job-1", iothub.JobCompleted, 14, 0, 0, 1, 13)
		want := []string{names[0] + " completed 0s 0s 200 0", names[1] + " failed 1s 1m1s ServerError"}
		for _, id := range names[2:8] {
			want = append(want, id+" failed - 1m1s ServerError")
		}
		for _, id := range names[8:] {
			code := "DeviceNotOnline"
			if id == names[9] {
				code = "DeviceNotFound"
			}
			want = append(want, fmt.Sprintf("%s failed 1m1s 1m1s %s", id, code))
		}
		rowsAre(t, l.Server, "job-1", start, want...)
		got := rows(t, l.Server, "job-1")[1].Error.Description
		if want := "The hub was restarted meanwhile. Whether the device got the request is not known."; got != want {
			t.Errorf("error of a lost row: %q, want %q", got, want)
		}
		l.crash(time.Hour)
		rowsAre(t, l.Server, "job-1", start, want...)
	})
}

// The mark of a paced job is never far ahead of what is dispatched.
func TestRestartSlowJob(t *testing.T) {
	lives(t, func(t *testing.T, l *life) {
		l.pace()
		register(t, l.Server, ids(100)...)
		schedule(t, l.Server, "job-1", methodJob("*", 0, 300))
		time.Sleep(49*time.Second + time.Second/2)
		l.crash(0)
		lost := 0
		for _, r := range rows(t, l.Server, "job-1") {
			if r.Error != nil && r.Error.Code == iothub.CodeServerError.Name() {
				lost++
			}
		}
		if lost > 1 {
			t.Errorf("%d rows are lost that were not dispatched, want 1 at most", lost)
		}
	})
}

// A twin job goes on where it was, and changes no twin twice.
func TestRestartTwinJob(t *testing.T) {
	lives(t, func(t *testing.T, l *life) {
		l.pace()
		register(t, l.Server, ids(20)...)
		start := time.Now()
		schedule(t, l.Server, "job-1", twinJob("*", `"properties":{"desired":{"a":1}}`))
		time.Sleep(4*time.Second + time.Second/2)
		wantsJob(t, l.Server, "job-1", iothub.JobRunning, 20, 15, 0, 5, 0)
		rest(t, l.Server, "PATCH /twins/dev-00004", `{"properties":{"desired":{"a":2}}}`)
		l.crash(time.Minute)
		wantsJob(t, l.Server, "job-1", iothub.JobCompleted, 20, 0, 0, 20, 0)
		var want []string
		for i, id := range ids(20) {
			at := time.Duration(i) * time.Second
			if i >= 5 {
				at = time.Minute + 4*time.Second + time.Second/2
			}
			want = append(want, fmt.Sprintf("%s completed %s %s", id, at, at))
			twin := ok[iothub.Twin](t, l.Server, "GET /twins/"+id, "")
			wantDesired := `"a":1`
			wantVersion := 2
			if i == 4 {
				wantDesired, wantVersion = `"a":2`, 3
			}
			if got := string(twin.Properties.Desired); len(got) < 7 || got[1:6] != wantDesired || twin.Version != int64(wantVersion) {
				t.Errorf("%s: desired %s, version %d; want %s, %d", id, got, twin.Version, wantDesired, wantVersion)
			}
		}
		rowsAre(t, l.Server, "job-1", start, want...)
	})
}

// A twin and the row that has changed it are kept together.
func TestRestartBetweenTwinAndRow(t *testing.T) {
	lives(t, func(t *testing.T, l *life) {
		l.pace()
		register(t, l.Server, ids(3)...)
		start := time.Now()
		schedule(t, l.Server, "job-1", twinJob("*", `"tags":{"a":1}`))
		if err := hub.ApplyNext(l.Hub, "job-1"); err != nil {
			t.Fatal(err)
		}
		l.crash(time.Minute)
		rowsAre(t, l.Server, "job-1", start, `dev-00000 completed 0s 0s`, `dev-00001 completed 0s 0s`, `dev-00002 completed 1m0s 1m0s`)
		for _, id := range ids(3) {
			if twin := ok[iothub.Twin](t, l.Server, "GET /twins/"+id, ""); twin.Version != 2 {
				t.Errorf("%s: version %d, want 2: it was changed once", id, twin.Version)
			}
		}
	})
}

// A job whose window ends while the hub is down ends as it would have: what was dispatched is lost, the rest too late.
func TestRestartAfterWindow(t *testing.T) {
	lives(t, func(t *testing.T, l *life) {
		l.pace()
		register(t, l.Server, ids(3)...)
		online(t, l.Server, "e", iothub.FilterMethods)
		register(t, l.Server, ids(12)[3:]...)
		start := time.Now()
		schedule(t, l.Server, "method", methodJob("deviceId = 'e'", 0, 60))
		time.Sleep(time.Second)
		schedule(t, l.Server, "twin", twinJob("*", `"tags":{"a":1}`))
		time.Sleep(time.Second)
		l.crash(2 * time.Hour)
		wantsJob(t, l.Server, "method", iothub.JobCompleted, 1, 0, 0, 0, 1)
		rowsAre(t, l.Server, "method", start, "e failed 0s 2h0m2s ServerError")
		j := job(t, l.Server, "twin")
		if n := j.DeviceJobStatistics; j.Status != iothub.JobCompleted || n.SucceededCount+n.FailedCount != 13 || n.FailedCount < 10 {
			t.Errorf("twin job: %s %+v", j.Status, n)
		}
		last := rows(t, l.Server, "twin")[12]
		if last.Error == nil || last.Error.Code != iothub.CodeGenericTimeout.Name() {
			t.Errorf("the last row of the twin job: %+v, want GenericTimeout", last)
		}
	})
}

// The quota of active jobs and the history count kept jobs too.
func TestRestartForgetsOldJobs(t *testing.T) {
	lives(t, func(t *testing.T, l *life) {
		register(t, l.Server, "dev1")
		schedule(t, l.Server, "old", twinJob("*", `"tags":{"a":1}`))
		l.crash(31 * 24 * time.Hour)
		wantsJob(t, l.Server, "old", iothub.JobCompleted, 1, 0, 0, 1, 0)
		schedule(t, l.Server, "new", twinJob("*", `"tags":{"a":1}`))
		l.crash(0)
		if j := job(t, l.Server, "old"); j.Status != iothub.JobUnknown {
			t.Errorf("a job that was forgotten is %s after a restart", j.Status)
		}
		if got := len(query[iothub.DeviceJob](t, l.Server, "SELECT * FROM devices.jobs", 100)); got != 1 {
			t.Errorf("%d rows, want that of the new job", got)
		}
		_ = l.Close()
		opts := storing(t, &hub.Options{Tier: hub.S1}, l.dir)
		l.Server = hubtest.Start(t, opts)
		schedule(t, l.Server, "next", methodJob("*", time.Hour, 60))
		_ = l.Close()
		l.Server = hubtest.Start(t, storing(t, &hub.Options{Tier: hub.S1}, l.dir))
		a := rest(t, l.Server, "PUT /jobs/v2/too-many", methodJob("*", time.Hour, 60))
		refused(t, "a second job", a, iothub.CodeThrottlingMaxActiveJobCountExceeded)
	})
}

// A job of more rows than are put into the store at once is kept whole.
func TestRestartLargeJob(t *testing.T) {
	const n = 1<<14 + 100
	lives(t, func(t *testing.T, l *life) {
		registerMany(t, l.Server, n, func(int) string { return `{}` })
		schedule(t, l.Server, "job-1", twinJob("*", `"tags":{"a":1}`))
		wantsJob(t, l.Server, "job-1", iothub.JobCompleted, n, 0, 0, n, 0)
		l.crash(time.Minute)
		wantsJob(t, l.Server, "job-1", iothub.JobCompleted, n, 0, 0, n, 0)
		if a, _ := queryPage(t, l.Server, "SELECT COUNT() AS n FROM devices WHERE tags.a = 1", 1, ""); a.body != fmt.Sprintf(`[{"n":%d}]`, n) {
			t.Errorf("twins that the job changed: %s, want %d", a.body, n)
		}
	})
}

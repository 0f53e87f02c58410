package harness_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/harness"
	"muster/report"
	"muster/scenarios"
)

const planned = `
name: planned
target: {embedded: {tier: S1}}
connect: {rate: 100/s}
fleet:
  - group: doors
    devices: 200
    tags: {floor: "{index % 10}"}
    methods: {lockDoor: {}}
jobs:
  - name: lock
    type: scheduleDeviceMethod
    cloudToDeviceMethod: {methodName: lockDoor}
    queryCondition: "*"
    startTime: +6s
thresholds: ["jobs.lock.succeeded == 100%"]
`

// makePlan plans a scenario with some values changed, for a host.
func makePlan(t *testing.T, host harness.Host, src string, set ...string) *harness.Plan {
	t.Helper()
	s, err := scenarios.Parse("test.yaml", []byte(src), scenarios.Options{Set: set})
	if err != nil {
		t.Fatal(err)
	}
	p, err := harness.NewPlan(s, host)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// outline shows what of a plan the quotas decide.
func outline(p *harness.Plan) []string {
	var lines []string
	for _, s := range p.Steps {
		lines = append(lines, fmt.Sprintf("%s %v: %s", s.Name, s.Takes, s.Because))
	}
	lines = append(lines, fmt.Sprintf("all %v", p.Total))
	for _, text := range p.Impossible {
		lines = append(lines, "not: "+text)
	}
	return lines
}

func TestPlanTimes(t *testing.T) {
	tests := func(want string, set ...string) {
		t.Helper()
		got := outline(makePlan(t, harness.Host{}, planned, set...))
		if diff := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), got); diff != "" {
			t.Errorf("plan with %v: -want +got\n%s", set, diff)
		}
	}
	const tenThousand = "fleet.doors.devices=10000"
	tests(`
register 2m0s: 200 identities at 100/min (tier); a run seeds the embedded hub at once
connect 2s: 200 connects at 100/s (connect.rate)
job lock 20s: 200 executions at 10/s (tier)
job lock: rows 0s: 2 pages at 20/min (tier)
all 28s`)
	tests(`
register 1h40m0s: 10000 identities at 100/min (tier); a run seeds the embedded hub at once
connect 1m40s: 10000 connects at 100/s (connect.rate)
job lock 16m40s: 10000 executions at 10/s (tier)
job lock: rows 4m0s: 100 pages at 20/min (tier)
all 22m26s`, tenThousand, "jobs.lock.maxExecutionTimeInSeconds=1000", "jobs.lock.settle=4m")
	tests(`
register 1h40m0s: 10000 identities at 100/min (tier); a run seeds the embedded hub at once
connect 1m40s: 10000 connects at 100/s (connect.rate)
job lock 16m40s: 10000 executions at 10/s (tier)
job lock: rows 4m0s: 100 pages at 20/min (tier)
all 22m26s
not: jobs[0] (lock): 10000 executions at 10/s (tier) take 16m40s, more than maxExecutionTimeInSeconds: 999; set it to at least 1030
not: jobs[0] (lock): its rows, 100 pages at 20/min (tier), take 4m0s, more than settle: 3m59s; set it to at least 5m0s`,
		tenThousand, "jobs.lock.maxExecutionTimeInSeconds=999", "jobs.lock.settle=239s")
	tests(`
register 12s: 200 identities at 1000/min (tier); a run seeds the embedded hub at once
connect 2s: 200 connects at 100/s (connect.rate)
job lock 20s: 200 executions at 10/s (tier)
job lock: rows 0s: 2 pages at 200/min (tier)
all 28s`, "target.embedded.tier=S2", "target.embedded.units=10")
	tests(`
connect 2s: 200 connects at 100/s (connect.rate)
job lock 0s: 200 executions, as fast as they go, each of 3 times
all 28s`, "target.embedded={}", "jobs.lock.repeat={times: 3, every: 10s}")
	tests(`
connect 2s: 200 connects at 100/s (connect.rate)
job lock 1s: 20 executions at 20/s (target.embedded.jobRate)
all 9s`, "target.embedded={jobRate: 20/s}", "jobs.lock.queryCondition=tags.floor = 3")
	// Who is targeted cannot be told: the time is not counted, and nothing is refused for it.
	tests(`
register 2m0s: 200 identities at 100/min (tier); a run seeds the embedded hub at once
connect 2s: 200 connects at 100/s (connect.rate)
job lock 20s: up to 200 executions at 10/s (tier)
job lock: rows 0s: up to 2 pages at 20/min (tier)
all 8s`, "jobs.lock.queryCondition=etag = 'x'", "jobs.lock.maxExecutionTimeInSeconds=10")
	// A repetition waits for the one before it; its rows are read before it begins.
	tests(`
register 2m0s: 200 identities at 100/min (tier); a run seeds the embedded hub at once
connect 2s: 200 connects at 100/s (connect.rate)
job lock 20s: 200 executions at 10/s (tier), each of 3 times
job lock: rows 0s: 2 pages at 20/min (tier)
all 1m8s`, "jobs.lock.repeat={times: 3, every: 4s}")
}

func TestPlanOfDirectJobs(t *testing.T) {
	tests := func(want string, set ...string) {
		t.Helper()
		got := strings.Join(outline(makePlan(t, harness.Host{}, planned, append(set, "jobs.lock.via=direct", "jobs.lock.inFlight=0")...)), "\n")
		if !strings.Contains(got, strings.TrimSpace(want)) {
			t.Errorf("plan with %v:\n%s\nwant in it:\n%s", set, got, want)
		}
	}
	twin := func(patch string) []string {
		return []string{
			"thresholds=[]",
			"jobs=[{name: lock, type: scheduleUpdateTwin, updateTwin: " + patch + `, queryCondition: "*", startTime: +6s}]`,
		}
	}
	tests("job lock 5s: 200 blocks of 4 KB of method payloads at 40/s (tier)\njob lock: query 0s: 2 pages at 20/min (tier)")
	tests("job lock 10s: 400 blocks of 4 KB", `jobs.lock.cloudToDeviceMethod.payload="`+strings.Repeat("x", 5000)+`"`)
	tests("job lock 1m40s: 200 executions at 2/s (jobs[0].rate)", "jobs.lock.rate=2/s")
	tests("job lock 4s: 200 twin updates at 50/s (tier)", twin("{tags: {a: 1}}")...)
	tests("job lock 8s: 400 twin updates, echoes included, at 50/s (tier)", twin("{properties: {desired: {a: 1}}}")...)
	tests("job lock 4s: 200 twin updates, echoes included, at 50/s (tier)",
		append(twin("{properties: {desired: {a: 1}}}"), "fleet.doors.echoDesired=false")...)
	tests("not: jobs[0] (lock): 200 blocks of 4 KB of method payloads at 40/s (tier) take 4s, more than maxExecutionTimeInSeconds: 3; set it to at least 34",
		"jobs.lock.maxExecutionTimeInSeconds=3")
}

func TestPlanRefuses(t *testing.T) {
	refuses := func(src, want string, set ...string) {
		t.Helper()
		if got := strings.Join(makePlan(t, harness.Host{}, src, set...).Impossible, "\n"); got != want {
			t.Errorf("plan with %v refuses\n%s\nwant\n%s", set, got, want)
		}
	}
	refuses(planned, "")
	refuses(planned, "fleet: 501 devices are more than a hub of tier F1 holds, which is 500",
		"target.embedded.tier=F1", "fleet.doors.devices=501")
	refuses(planned, "", "target.embedded.tier=F1", "fleet.doors.devices=500")
	refuses(planned, "connect: 5000 connects at 100/s (tier) take 50s, but the last device gives up after 35s (connect.rate, connect.timeout): set connect.rate to 100/s",
		"fleet.doors.devices=5000", "jobs=[]", "thresholds=[]", "connect.rate=1000/s")
	refuses(planned, "", "fleet.doors.devices=5000", "jobs=[]", "thresholds=[]", "connect.rate=1000/s", "connect.timeout=45s")

	jobs := func(starts ...string) string {
		var list []string
		for i, start := range starts {
			list = append(list, fmt.Sprintf(`{name: job-%d, type: scheduleUpdateTwin, updateTwin: {tags: {n: %d}}, queryCondition: "*", %s}`, i, i, start))
		}
		return "jobs=[" + strings.Join(list, ", ") + "]"
	}
	const crowd = " are active at the same time (each from 5s before its start), and tier S1 allows 1"
	none := "thresholds=[]"
	refuses(planned, "", none, jobs("startTime: +5s", "startTime: +30s"))
	refuses(planned, "jobs: job-0, job-1"+crowd, none, jobs("startTime: +5s", "startTime: +29s"))
	refuses(planned, "jobs: job-1, job-0"+crowd, none, jobs("startTime: +29s", "startTime: +5s"))
	refuses(planned, "jobs: job-0, job-0"+crowd, none, jobs("repeat: {times: 2, every: 20s}, mark: true"))
	refuses(planned, "", none, jobs("repeat: {times: 2, every: 25s}, mark: true"))
	refuses(planned, "", none, jobs("repeat: {times: 9, every: 1s}"))
	refuses(planned, "", none, jobs("startTime: 2030-01-01T00:00:00Z", "startTime: +5s")) // cannot be compared
	refuses(planned, "jobs: job-0, job-1"+crowd, none, jobs("startTime: 2030-01-01T00:00:00Z", "startTime: 2030-01-01T00:00:20Z"))
	refuses(planned, "", none, jobs("startTime: 2030-01-01T00:00:00Z", "startTime: 2030-01-01T00:00:30Z"))
	refuses(planned, "", none, jobs("startTime: +5s", "startTime: +6s", "startTime: +7s", "startTime: +8s", "startTime: +9s"), "target.embedded.tier=S2")
	refuses(planned, "", none, jobs("startTime: +5s", "startTime: +6s, via: direct"))
	refuses(planned, "", none, jobs("startTime: +5s", "startTime: +6s"), "target.embedded={}")
}

func TestPlanNeeds(t *testing.T) {
	p := makePlan(t, harness.Host{}, planned, "fleet.doors.devices=10000")
	want := harness.Needs{Descriptors: 10_200, Generators: 1, Ports: 10_000, GeneratorBytes: 20<<20 + 10_000*43<<10, HubBytes: 20<<20 + 10_000*4<<10}
	if p.Needs != want || p.Lacking != nil {
		t.Errorf("needs %+v, lacking %v; want %+v", p.Needs, p.Lacking, want)
	}
	memory := makePlan(t, harness.Host{Limits: harness.Limits{Descriptors: 100, Ports: 100}}, planned, "target.embedded.transport=memory")
	if want := (harness.Needs{GeneratorBytes: 20<<20 + 200*47<<10}); memory.Needs != want || memory.Lacking != nil {
		t.Errorf("in memory: needs %+v, lacking %v; want %+v", memory.Needs, memory.Lacking, want)
	}
	light := makePlan(t, harness.Host{}, planned, "fleet.doors.driver=lean")
	if want := int64(20<<20 + 200*5<<10); light.Needs.GeneratorBytes != want {
		t.Errorf("with the lean driver: needs %+v, want %d bytes in the generator", light.Needs, want)
	}
	lacks := func(host harness.Host, want string, set ...string) {
		t.Helper()
		if got := strings.Join(makePlan(t, host, planned, set...).Lacking, "\n"); !strings.HasPrefix(got, want) || (want == "") != (got == "") {
			t.Errorf("on %+v lacks %q, want %q", host, got, want)
		}
	}
	lacks(harness.Host{Limits: harness.Limits{Descriptors: 400, Ports: 200}, MemoryBytes: 40<<20 + 200*47<<10}, "")
	lacks(harness.Host{Limits: harness.Limits{Descriptors: 399}}, "check limits: 200 devices over tcp need 400 open files")
	lacks(harness.Host{Limits: harness.Limits{Ports: 199}}, "")
	lacks(harness.Host{Limits: harness.Limits{Ports: 199}}, "check limits: 200 devices over tcp need as many local ports", oneSource)
	// A direct job has a REST connection for each call in flight; the first hundred are always counted.
	files, direct := harness.Host{Limits: harness.Limits{Descriptors: 400}}, "jobs.lock.via=direct"
	lacks(files, "", direct)
	lacks(files, "check limits: 200 devices over tcp need 450 open files", direct, "jobs.lock.inFlight=150")
	lacks(files, "check limits: 200 devices over tcp need 500 open files", direct, "jobs.lock.inFlight=300")
	lacks(files, "check limits: 200 devices over tcp need 500 open files", direct, "jobs.lock.inFlight=0")
	lacks(harness.Host{MemoryBytes: 40<<20 + 200*47<<10 - 1}, "check memory: 200 devices take about 49 MiB, and this host has 49 MiB available")
	if p := makePlan(t, harness.Host{Limits: harness.Limits{Ports: 100}}, planned); p.Needs.Sources != 4 || harness.First(p.Bounds)[0].Devices != 1_000_000 {
		t.Errorf("with 100 ports: needs %+v, bound by %+v; want four source addresses, and no bound by ports", p.Needs, harness.First(p.Bounds))
	}
}

// What a plan says is what a run takes: 200 devices on S1, on the fake clock.
func TestRunKeepsToItsPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := makePlan(t, harness.Host{}, planned)
		start := time.Now()
		got, _, err := run(context.Background(), t, parse(t, planned), harness.Options{})
		if err != nil || got.Verdict != report.Pass {
			t.Errorf("verdict %s %v, error %v", got.Verdict, got.Reasons, err)
		}
		// The first execution is dispatched at once, the connects have a burst, and the job's status is looked at once a second.
		if took := time.Since(start); took < p.Total-2*time.Second || took > p.Total+2*time.Second {
			t.Errorf("the run took %v, planned %v", took, p.Total)
		}
		slowest := time.Duration(got.Jobs[0].Phases["total"].Max)
		if slowest < 19*time.Second || slowest > 21*time.Second {
			t.Errorf("the last device was done after %v, want 20 s ± 1 s", slowest)
		}
	})
}

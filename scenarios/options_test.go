package scenarios_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/scenarios"
)

// TestSetChangesTheScenario holds one argument on each line, and how the
// changed value reads in the resolved scenario.
func TestSetChangesTheScenario(t *testing.T) {
	set := func(want string, args ...string) {
		t.Helper()
		s, err := parse(full, scenarios.Options{Set: args})
		if err != nil {
			t.Errorf("--set %q: %v", args, err)
			return
		}
		if out := resolved(t, s); !strings.Contains(out, want) {
			t.Errorf("--set %q: %q is not in\n%s", args, want, out)
		}
	}
	set("times: 2\n", "jobs[0].repeat.times=2")
	set("times: 3\n", "jobs.lock.repeat.times=3")
	set("times: 4\n", `jobs["lock"].repeat.times=4`)
	set("times: 6\n", "jobs.lock.repeat.times=9", "jobs.lock.repeat.times=6")
	set("devices: 100\n", "fleet.doors.devices=100")
	set("jobRate: 8000/s\n", "target.embedded.jobRate=8000/s")
	set("transport: tcp\n", "target={embedded: {transport: tcp}}")
	set("every: 9s\n", "jobs.one.repeat={times: 2, every: 9s}")
	set("times: 7\n", "jobs.one.repeat.times=7", "jobs.one.repeat.every=1s")
	set("queryCondition: '*'\n", "jobs.lock.queryCondition=*")
	set("queryCondition: tags.a = 'b=c'\n", "jobs.lock.queryCondition=tags.a = 'b=c'")
	set("id: '{index}-d'\n", "fleet.doors.id={index}-d")
	set("id: d{index}\n", `fleet.doors.id="d{index}"`)
	set("site: 5\n", "fleet.doors.tags.site=5")
	set("site: '5'\n", "fleet.doors.tags.site='5'")
	set("a=b: 1\n", `fleet.doors.tags["a=b"]=1`)
	set("- jobs.lock.unknown == 0\n", "thresholds[0]=jobs.lock.unknown == 0")
	set("median: 9ms\n", "fleet.doors.methods.slow.latency.lognormal.median=9ms")
	set("status: 204\n", "fleet.doors.methods.bare.status=204")
	set("failureRate: 0.5\n", "fleet.doors.methods.lockDoor.failureRate=0.5")
	set("timeout: ${N}s\n", "connect.timeout=${N}s")
}

// TestSetReportsEveryFault holds one bad argument on each line.
func TestSetReportsEveryFault(t *testing.T) {
	set := func(arg, want string) {
		t.Helper()
		_, err := parse(full, scenarios.Options{Set: []string{arg}})
		if got := fmt.Sprint(err); got != want {
			t.Errorf("--set %q:\n got %s\nwant %s", arg, got, want)
		}
	}
	set("", `--set "": expected path=value, as in jobs[0].repeat.times=2 or fleet.doors.devices=100`)
	set("seed", `--set seed: expected path=value, as in jobs[0].repeat.times=2 or fleet.doors.devices=100`)
	set("=5", `--set "=5": expected path=value, as in jobs[0].repeat.times=2 or fleet.doors.devices=100`)
	set("jobs[x].via=hub", `--set jobs[x].via: expected path=value, as in jobs[0].repeat.times=2 or fleet.doors.devices=100`)
	set("jobs[0]via=hub", `--set jobs[0]via: expected path=value, as in jobs[0].repeat.times=2 or fleet.doors.devices=100`)
	set("jobs..via=hub", `--set jobs..via: expected path=value, as in jobs[0].repeat.times=2 or fleet.doors.devices=100`)
	set("sed=5", `--set sed: unknown key "sed"; did you mean "seed"?`)
	set("zzzz=5", `--set zzzz: unknown key "zzzz"; expected "name", "seed", "target", "fleet", "connect", "jobs", "faults" or "thresholds"`)
	set("seed=abc", `--set seed: expected a whole number, found "abc"`)
	set("seed=", `--set seed: expected a whole number, found nothing`)
	set("seed.x=1", `--set seed.x: seed: nothing is below this; it is the number 42`)
	set("jobs.lok.via=hub", `--set jobs.lok.via: jobs: nothing here is named "lok"; there are "lock", "place" and "one"`)
	set("jobs[7].via=hub", `--set jobs[7].via: jobs: no item [7]; the list has 3, counted from [0]`)
	set("jobs.lock.vai=hub", `--set jobs.lock.vai: jobs[0].vai: unknown key "vai"; did you mean "via"?`)
	set("jobs.lock.via=hubb", `--set jobs.lock.via: jobs[0].via: unknown way "hubb"; did you mean "hub"?`)
	set("jobs.lock.repeat.time=5", `--set jobs.lock.repeat.time: jobs[0].repeat.time: unknown key "time"; did you mean "times"?`)
	set("jobs.lock.queryCondition=a = = b", `--set jobs.lock.queryCondition: jobs[0].queryCondition: query: column 5: expected an attribute, a constant or (, found "="`)
	set("fleet[0][1]=5", `--set fleet[0][1]: fleet[0]: this is a mapping, not a list; there are "group", "devices", "id", "tags", "desired", "reported", "methods", "echoDesired" and "driver"`)
	set("fleet.doors.devices={a: 1}", `--set fleet.doors.devices: fleet[0].devices: expected a whole number, found a mapping`)
	set("fleet.doors.id={index", `--set fleet.doors.id: fleet[0].id: template: column 1: { is not closed: the brace itself is written {{`)
	set("fleet.doors.id=fixed", `--set fleet.doors.id: fleet[0].id: device 0 of group "doors" and device 1 of group "doors" get the same id "fixed"; ids must differ over the whole fleet`)
	set("thresholds[0]=jobs.lok.total.p99 < 1s", `--set thresholds[0]: unknown job "lok"; did you mean "lock"?`)
	set("jobs.place.name=lock", `--set jobs.place.name: jobs[1].name: two jobs are named "lock"; the first is jobs[0].name on line 21`)
	set("target.iothub.connectionString=HostName=h;SharedAccessKey=c2VjcmV0", "s.yaml:4:9: target: a run has one target, found embedded and iothub\n--set target.iothub.connectionString: holds a key, which a file must not: take it from the environment, as in ${IOTHUB_CONNECTION_STRING}")
	set("connect.timeout=${SECRET}", `--set connect.timeout: expected a duration such as 500ms, 30s or 1m30s, found "${SECRET}"`)
	set("connect.timeout=${NOPE}", `--set connect.timeout: environment variable NOPE is not set`)
}

func TestDevicesScalesGroupsInProportion(t *testing.T) {
	scale := func(sizes []int, total int, want string) {
		t.Helper()
		var groups []string
		for i, n := range sizes {
			groups = append(groups, fmt.Sprintf("{group: g%d, devices: %d}", i, n))
		}
		s, err := parse(fleet("["+strings.Join(groups, ", ")+"]"), scenarios.Options{Devices: total})
		got := fmt.Sprint(err)
		if err == nil {
			var scaled []int
			for _, g := range s.Fleet {
				scaled = append(scaled, g.Devices)
			}
			got = fmt.Sprint(scaled)
			if s.Devices() != total {
				t.Errorf("%v scaled to %d: Devices() = %d", sizes, total, s.Devices())
			}
		}
		if got != want {
			t.Errorf("%v scaled to %d: got %s, want %s", sizes, total, got, want)
		}
	}
	scale([]int{10}, 3, "[3]")
	scale([]int{60, 40}, 10, "[6 4]")
	scale([]int{60, 40}, 1000, "[600 400]")
	scale([]int{1, 1, 1}, 10, "[4 3 3]")
	scale([]int{100, 1, 1}, 3, "[1 1 1]")
	scale([]int{100, 1, 1}, 10, "[8 1 1]")
	scale([]int{2, 1}, 1_000_000, "[666667 333333]")
	scale([]int{1, 1, 1}, 2, "--devices 2: must be 3 (the number of groups) to 1000000")
	scale([]int{1}, -5, "--devices -5: must be 1 (the number of groups) to 1000000")
	scale([]int{1}, 1_000_001, "--devices 1000001: must be 1 (the number of groups) to 1000000")
}

func TestSetTakesATemplateWithoutQuotes(t *testing.T) {
	s := mustParse(t, fleet("[{group: g, devices: 2, tags: {a: 1}}]"), scenarios.Options{Set: []string{"fleet.g.tags.a={index}", "fleet.g.tags.b={}"}})
	if got := string(s.Fleet[0].Tags.Source); got != `{"a":"{index}","b":{}}` {
		t.Errorf("tags = %s", got)
	}
}

func TestNoCapOnCallsInFlightStaysNoCap(t *testing.T) {
	src := top(doors)
	set := []string{"jobs.lock.via=direct", "jobs.lock.inFlight=0"}
	s := mustParse(t, src, scenarios.Options{Set: set})
	again := mustParse(t, resolved(t, s), scenarios.Options{})
	if s.Jobs[0].InFlight != 0 || again.Jobs[0].InFlight != 0 {
		t.Errorf("inFlight 0 is %d, and %d when its resolved text is loaded; want no cap", s.Jobs[0].InFlight, again.Jobs[0].InFlight)
	}
	if s := mustParse(t, src, scenarios.Options{Set: set[:1]}); s.Jobs[0].InFlight == 0 {
		t.Error("without inFlight a direct job has no cap, want the default")
	}
}

func TestSeedReplacesTheScenarios(t *testing.T) {
	zero := uint64(0)
	if s := mustParse(t, full, scenarios.Options{Seed: &zero}); s.Seed != 0 {
		t.Errorf("Parse with Seed 0: Seed = %d", s.Seed)
	}
}

func TestParseTakesValuesFromTheEnvironment(t *testing.T) {
	is := func(src string, got func(*scenarios.Scenario) any, want any) {
		t.Helper()
		if got := got(mustParse(t, src, scenarios.Options{})); got != want {
			t.Errorf("Parse(%q): got %#v, want %#v", src, got, want)
		}
	}
	name := func(s *scenarios.Scenario) any { return s.Fleet[0].Name }
	seed := func(s *scenarios.Scenario) any { return s.Seed }
	response := func(s *scenarios.Scenario) any { return string(s.Fleet[0].Methods["m"].Response) }
	echo := func(s *scenarios.Scenario) any { return s.Fleet[0].EchoDesired }
	is("name: t\nfleet: [{group: g, devices: 1, methods: {m: {response: \"${SHORT}${SHORT}\"}}}]\n", response, `"xyzxyz"`)
	is("name: t\nfleet: [{group: g, devices: 1, methods: {m: {response: \"a${EMPTY}b\"}}}]\n", response, `"ab"`)
	is(fleet(`[{group: "$${SHORT}", devices: 1, id: "x{index}"}]`), name, "${SHORT}")
	is(fleet(`[{group: "$SHORT$", devices: 1, id: "x{index}"}]`), name, "$SHORT$")
	is("name: t\nseed: ${N}\nfleet: [{group: g, devices: 1}]\n", seed, uint64(12))
	is("name: t\nfleet:\n- group: g\n  devices: 1\n  echoDesired: ${YES}\n", echo, true)
	is("name: t\nfleet:\n- group: g\n  devices: 1\n  methods: {m: {response: {\"${SHORT}\": \"${N}\"}}}\n", response, `{"${SHORT}":"12"}`) // keys are never replaced
}

func TestLoadTellsWhyAFileCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fails := func(path, want string) error {
		t.Helper()
		_, err := scenarios.Load(path, scenarios.Options{})
		if got := strings.ReplaceAll(fmt.Sprint(err), dir+"/", ""); got != want {
			t.Errorf("Load(%s):\n got %s\nwant %s", path, got, want)
		}
		return err
	}
	err := fails(filepath.Join(dir, "none.yaml"), "read scenario none.yaml: no such file or directory")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of a missing file: %v is not fs.ErrNotExist", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	fails(filepath.Join(dir, "folder"), "read scenario folder: is a directory")
	fails(write("empty.yaml", ""), "empty.yaml: the file is empty")
	fails(write("large.yaml", strings.Repeat("# much\n", 200_000)), "large.yaml: the file is larger than 1 MB")
	fails(write("bad.yaml", top("sed: 1")), `bad.yaml:3:1: sed: unknown key "sed"; did you mean "seed"?`)
	if s, err := scenarios.Load(write("good.yaml", "\ufeff"+top("")), scenarios.Options{}); err != nil || s.Name != "t" {
		t.Errorf("Load of a good file = %v, %v", s, err)
	}
}

package fleet_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/fleet"
	"muster/internal/query"
	"muster/iothub"
)

func newFleet(t testing.TB, seed uint64, groups ...fleet.Group) *fleet.Fleet {
	t.Helper()
	f, err := fleet.New(fleet.Config{Seed: seed, HostName: "hub.test", Groups: groups})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f
}

// building is a fleet of two groups with all that templates can vary.
func building(t testing.TB, seed uint64) *fleet.Fleet {
	d := doors(t, 12)
	d.Tags = tree(t, map[string]any{"site": "north", "building": "{index % 3}", "lot": "{random(1000)}"})
	d.Desired = tree(t, map[string]any{"floor": "{index % 2}"})
	d.Reported = tree(t, map[string]any{"fw": map[string]any{"version": "1.{index}"}})
	g := fleet.Group{Name: "gates", Devices: 3, ID: parse(t, "gate-{index:03d}")}
	return newFleet(t, seed, d, g)
}

// describe returns all identities, keys in the open.
func describe(f *fleet.Fleet) string {
	var b strings.Builder
	for i := range f.Len() {
		id := f.Identity(i)
		fmt.Fprintln(&b, id.Index, id.ID, id.Group, id.Key.Base64(), string(id.Tags), string(id.Desired), string(id.Reported))
	}
	return b.String()
}

func TestSameSeedSameFleet(t *testing.T) {
	first := describe(building(t, 42))
	want(t, "fleet of the same seed", describe(building(t, 42)), first)
	other := strings.Split(describe(building(t, 43)), "\n")
	for i, line := range strings.Split(first, "\n") {
		if line != "" && line == other[i] {
			t.Errorf("device %d is the same with another seed: %s", i, line)
		}
	}
	want(t, "an identity", fmt.Sprint(strings.Fields(first)[:3]), "[0 door-0 doors]")
}

func TestKeysDifferAndMayBeGiven(t *testing.T) {
	f := building(t, 1)
	seen := map[string]int{}
	for i := range f.Len() {
		seen[f.Identity(i).Key.Base64()] = i
	}
	want(t, "different keys", len(seen), f.Len())

	f, err := fleet.New(fleet.Config{
		HostName: "hub.test", Groups: []fleet.Group{doors(t, 2)},
		DeviceKey: func(index int, id string) iothub.Key { return iothub.Key(fmt.Sprint(index, id)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "given key", string(f.Identity(1).Key), "1door-1")
}

func TestSessionsDoNotPrintTheirSecret(t *testing.T) {
	s := fleet.Session{ClientID: "door-1", Password: "SharedAccessSignature"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		want(t, format, fmt.Sprintf(format, s), "session of door-1")
	}
}

func TestIndexFindsEachDevice(t *testing.T) {
	f := newFleet(t, 1, doors(t, 5000), fleet.Group{Name: "none", ID: parse(t, "x")},
		fleet.Group{Name: "gates", Devices: 2, ID: parse(t, "gate-{index}")})
	for i := range f.Len() {
		if got, ok := f.Index(f.Identity(i).ID); !ok || int(got) != i {
			t.Errorf("Index(%s) = %d, %t, want %d", f.Identity(i).ID, got, ok, i)
		}
	}
	want(t, "group of the last device", f.Identity(f.Len()-1).Group, "gates")
	if got, ok := f.Index("door-5000"); ok {
		t.Errorf("Index(door-5000) = %d, want none", got)
	}
}

func TestNewReportsEveryFault(t *testing.T) {
	good := doors(t, 1)
	bad := func(change func(g *fleet.Group)) []fleet.Group {
		g := doors(t, 1)
		change(&g)
		return []fleet.Group{g}
	}
	method := func(m fleet.Method) []fleet.Group {
		return bad(func(g *fleet.Group) { g.Methods = map[string]fleet.Method{"lock": m} })
	}
	for _, c := range []struct {
		want string
		cfg  fleet.Config
	}{
		{"hostName: is missing", fleet.Config{}},
		{"groups[0]: id: is missing", fleet.Config{Groups: bad(func(g *fleet.Group) { g.ID = nil })}},
		{"groups[0]: devices: must not be negative", fleet.Config{Groups: bad(func(g *fleet.Group) { g.Devices = -1 })}},
		{"methods.lock: failureRate: must be from 0 to 1", fleet.Config{Groups: method(fleet.Method{FailureRate: 1.1})}},
		{"methods.lock: silenceRate: must be from 0 to 1", fleet.Config{Groups: method(fleet.Method{SilenceRate: -1})}},
		{"methods.lock: latency: must be from 0", fleet.Config{Groups: method(fleet.Method{Latency: fleet.Latency{Median: -1}})}},
		{"methods.lock: response: is not JSON", fleet.Config{Groups: method(fleet.Method{Response: []byte("{")})}},
		{"connect: rate, inFlight and times must not be negative", fleet.Config{Connect: fleet.Connect{Rate: -1}}},
	} {
		_, err := fleet.New(c.cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "hostName") {
			t.Errorf("New: got error %v, want one with %q and the missing host name", err, c.want)
		}
	}
	for _, c := range []struct {
		want   string
		groups []fleet.Group
	}{
		{`device 1: id "door-0" is also the id of device 0`, []fleet.Group{good, good}},
		{`device 2: id "door" is also the id of device 0`, bad(func(g *fleet.Group) { g.ID, g.Devices = parse(t, "door"), 100 })},
		{"further ids are not checked", bad(func(g *fleet.Group) { g.ID, g.Devices = parse(t, "door"), 100 })},
		{`id "a b" is not valid`, bad(func(g *fleet.Group) { g.ID = parse(t, "a b") })},
	} {
		_, err := fleet.New(fleet.Config{HostName: "hub.test", Groups: c.groups})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New: got error %v, want one with %q", err, c.want)
		}
	}
}

func wantMatch(t *testing.T, f *fleet.Fleet, condition string, devices ...uint32) {
	t.Helper()
	c, err := query.ParseCondition(condition)
	if err != nil {
		t.Fatalf("%s: %v", condition, err)
	}
	got, checkable := f.Match(c)
	if diff := cmp.Diff(devices, got); diff != "" || !checkable {
		t.Errorf("Match(%s): checkable %t, devices (-want +got):\n%s", condition, checkable, diff)
	}
}

func TestMatch(t *testing.T) {
	f := building(t, 42)
	wantMatch(t, f, "tags.building = 1", 1, 4, 7, 10)
	wantMatch(t, f, "tags.building = 1 AND properties.desired.floor = 0", 4, 10)
	wantMatch(t, f, "properties.reported.fw.version = '1.3'", 3)
	wantMatch(t, f, "NOT IS_DEFINED(tags.site)", 12, 13, 14)
	wantMatch(t, f, "deviceId IN ['gate-001', 'door-2', 'nobody', 'door-2']", 2, 13)
	wantMatch(t, f, "deviceId = 'door-2' AND tags.building = 1")
	wantMatch(t, f, "status = 'enabled' AND tags.building = 2", 2, 5, 8, 11)
	wantMatch(t, f, "connectionState = 'Connected'")
	wantMatch(t, f, "connectionState = 'Disconnected' AND STARTSWITH(deviceId, 'gate')", 12, 13, 14)
	if devices, checkable := f.Match(nil); len(devices) != f.Len() || !checkable {
		t.Errorf("Match(nil) = %v, %t, want all", devices, checkable)
	}
	for _, condition := range []string{
		"etag = 'x'", "version > 1", "lastActivityTime > '2024'", "tags.building = 1 OR etag = 'x'",
		"properties.reported.$version > 1", "properties.desired.$metadata.$lastUpdated > '2024'", "moduleId = 'x'",
	} {
		c, err := query.ParseCondition(condition)
		if err != nil {
			t.Fatalf("%s: %v", condition, err)
		}
		if devices, checkable := f.Match(c); checkable || devices != nil {
			t.Errorf("Match(%s) = %v, %t, want not checkable", condition, devices, checkable)
		}
	}
}

func TestApplyKeepsTheOwnTwinInStep(t *testing.T) {
	f := building(t, 42)
	f.Apply(4, []byte(`{"building":43,"lot":null}`), []byte(`{"floor":3}`))
	f.Apply(13, nil, []byte(`{"floor":3}`))
	wantMatch(t, f, "tags.building = 43", 4)
	wantMatch(t, f, "tags.site = 'north' AND NOT IS_DEFINED(tags.lot)", 4)
	wantMatch(t, f, "properties.desired.floor = 3", 4, 13)
	wantMatch(t, f, "tags.building = 1", 1, 7, 10)
	f.Apply(4, []byte(`{"building":1}`), nil)
	wantMatch(t, f, "tags.building = 1", 1, 4, 7, 10)
	wantMatch(t, f, "properties.desired.floor = 3", 4, 13)
	f.Apply(5, []byte(`not JSON`), nil)
	wantMatch(t, f, "tags.building = 2", 2, 5, 8, 11)
	want(t, "the seeded twin", string(f.Identity(13).Desired), "{}")
}

func BenchmarkMatch(b *testing.B) {
	g := doors(b, 10_000)
	g.Tags = tree(b, map[string]any{"site": "north", "building": "{index % 50}"})
	f := newFleet(b, 1, g)
	c, err := query.ParseCondition("tags.site = 'north' AND tags.building = 43")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if devices, _ := f.Match(c); len(devices) != 200 {
			b.Fatalf("%d devices match, want 200", len(devices))
		}
	}
}

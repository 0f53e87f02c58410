package query_test

import (
	"strings"
	"testing"

	"muster/internal/query"
)

// door is the twin that conditions are asked about.
const door = twin(`{
	"deviceId": "door-7",
	"connectionState": "Connected",
	"lastActivityTime": "2024-06-01T10:00:00.5Z",
	"tags": {
		"site": "north", "building": 43, "floor": 0, "tilt": -1.5, "open": true, "shut": false,
		"nothing": null, "list": [1, 2], "my-key": "k", "group": "g", "place": {"room": "r\u00fcm"}
	},
	"properties": {
		"desired": {"interval": 30, "$version": 2},
		"reported": {"fw": "2.0", "$metadata": {"fw": {"$lastUpdated": "2024-05-01T00:00:00Z"}}, "$version": 1}
	},
	"capabilities": {"iotEdge": false}
}`)

// A condition is true, false or undefined, which differ in what the condition
// and its negation match.
func TestConditionsAreThreeValued(t *testing.T) {
	check := func(src, want string) {
		t.Helper()
		got := "undefined"
		switch is, not := condition(t, src).Match(door), condition(t, "NOT ("+src+")").Match(door); {
		case is && not:
			got = "both"
		case is:
			got = "true"
		case not:
			got = "false"
		}
		if got != want {
			t.Errorf("%s is %s, want %s", src, got, want)
		}
	}
	// Strings, numbers, booleans.
	check("tags.site = 'north'", "true")
	check("tags.site = 'North'", "false")
	check("'north' = tags.site", "true")
	check("tags.site != 'south'", "true")
	check("tags.site <> 'north'", "false")
	check("tags.site > 'm' AND tags.site >= 'north' AND tags.site < 'north ' AND tags.site <= 'o'", "true")
	check("'m' < tags.site AND 'm' > tags.site", "false")
	check("tags.place.room = 'rüm'", "true")
	check("tags.building = 43 AND tags.building = 43.0 AND tags.building = 0x2B AND tags.building = 4.3e1", "true")
	check("tags.building < 43", "false")
	check("tags.building >= 43 AND 42 < tags.building", "true")
	check("tags.tilt = -1.5 AND -tags.tilt = 1.5", "true")
	check("tags.open = true AND tags.open > tags.shut", "true")
	check("tags.open AND NOT tags.shut", "true")
	check("capabilities.iotEdge = false", "true")
	check("lastActivityTime > '2024-01-01T00:00:00Z'", "true")
	check("properties.reported.$metadata.fw.$lastUpdated < '2024-05-01T00:00:00.1Z'", "false") // Z sorts after .
	check("tags.[[my-key]] = 'k' AND tags.[[group]] = 'g'", "true")
	check("DEVICEID = 'door-7' AND ConnectionState = 'Connected'", "true")
	check("tags.Site = 'north'", "undefined")

	// What cannot be compared.
	check("tags.gone = 'x'", "undefined")
	check("tags.gone != 'x'", "undefined")
	check("tags.gone = undefined", "undefined")
	check("tags.site = 43", "undefined")
	check("tags.building != 'north'", "undefined")
	check("tags.building = '43'", "undefined")
	check("tags.open = 1", "undefined")
	check("tags.list = tags.list", "undefined")
	check("tags.place != 'x'", "undefined")
	check("tags.site.deeper = 'x'", "undefined")
	check("tags.list.x = 1", "undefined")
	check("tags.nothing.x = 1", "undefined")
	check("tags.nothing = null", "true")
	check("tags.nothing != null", "false")
	check("tags.nothing >= null", "undefined")
	check("tags.site = null", "undefined")

	// Three-valued logic.
	check("tags.gone = 1 AND tags.site = 'south'", "false")
	check("tags.gone = 1 AND tags.site = 'north'", "undefined")
	check("tags.gone = 1 OR tags.site = 'north'", "true")
	check("tags.gone = 1 OR tags.site = 'south'", "undefined")
	check("tags.site", "undefined")
	check("tags.site OR tags.open", "true")
	check("tags.building AND tags.shut", "false")
	check("null", "undefined")
	check("true", "true")
	check("(tags.site = 'north') = tags.open", "true")
	check("(tags.gone = 1) = false", "undefined")

	// Lists.
	check("tags.site IN ['south', 'north']", "true")
	check("tags.site NIN ['south', 'north']", "false")
	check("tags.site IN ['south']", "false")
	check("tags.site NIN ['south']", "true")
	check("tags.gone IN ['south']", "undefined")
	check("tags.gone NIN ['south']", "undefined")
	check("tags.place NIN ['south']", "undefined")
	check("tags.building IN ['x', 43]", "true")
	check("tags.building IN ['x', 44]", "undefined") // as 43 = 'x' OR 43 = 44
	check("tags.building NIN [44, 45]", "true")
	check("tags.nothing IN [1, null]", "true")
	check("tags.open IN [true]", "true")
	check("deviceId IN ['a','b','c','d','e','f','g','h','i','j','k','door-7']", "true")
	check("deviceId IN ['a','b','c','d','e','f','g','h','i','j','k','l']", "false")
	check("tags.building IN ['a','b','c','d','e','f','g','h','i','j','k','l', 43]", "true")

	// Arithmetic.
	check("tags.building + 2 * 3 = 49", "true")
	check("(tags.building + 2) * 3 = 135", "true")
	check("tags.building % 10 = 3 AND -tags.building % 10 = -3", "true")
	check("tags.building / 2 = 21.5 AND 100 - tags.building - 7 = 50", "true")
	check("tags.building / tags.floor = 1", "undefined")
	check("tags.building % 5 = 3", "true")
	check("tags.building % 0 = 1", "undefined")
	check("1e300 * 1e300 > 1", "undefined")
	check("tags.site + 'x' = 'northx'", "undefined")
	check("tags.gone + 1 = 1", "undefined")
	check("-tags.site = 1", "undefined")

	// Functions.
	check("IS_DEFINED(tags.site) AND IS_DEFINED(tags.nothing) AND IS_DEFINED(tags.place) AND IS_DEFINED(tags.list)", "true")
	check("IS_DEFINED(tags.gone)", "false")
	check("STARTSWITH(tags.site, 'nor') AND ENDSWITH(tags.site, 'th') AND STARTSWITH(tags.site, '')", "true")
	check("STARTSWITH(tags.site, 'northern')", "false")
	check("ENDSWITH(tags.site, 'the north')", "false")
	check("STARTSWITH(tags.building, '4')", "undefined")
	check("ENDSWITH(tags.gone, '4')", "undefined")
}

// fields is a row of values that are no views into a document.
type fields map[string]query.Value

func (f fields) Value(path []string) query.Value { return f[strings.Join(path, ".")] }

func TestRowsMayMakeTheirValues(t *testing.T) {
	row := fields{
		"deviceId": query.String("door-7"), "version": query.Number(3), "tags": query.Object(),
		"status": query.String("enabled"), "capabilities.iotEdge": query.Bool(true), "modelId": query.Null(),
	}
	for _, src := range []string{
		"deviceId = 'door-7' AND deviceId < 'door-8' AND NOT deviceId < 'door-7'",
		"deviceId IN ['a','b','c','d','e','f','g','h','i','j','k','door-7']",
		"version = 3 AND IS_DEFINED(tags) AND NOT IS_DEFINED(properties)",
		"STARTSWITH(status, 'en') AND ENDSWITH(status, 'ed')",
		"capabilities.iotEdge AND modelId = null",
		"status != deviceId",
	} {
		if !condition(t, src).Match(row) {
			t.Errorf("%s does not match", src)
		}
	}
}

// mixed gives views for tags and made values for the rest, so that either can
// stand on either side of a comparison.
type mixed struct{ fields }

func (m mixed) Value(path []string) query.Value {
	if path[0] == "tags" {
		return query.Lookup([]byte(`{"a": "m", "b": "z"}`), path[1:])
	}
	return m.fields.Value(path)
}

func TestViewsCompareWithMadeValues(t *testing.T) {
	row := mixed{fields{"deviceId": query.String("m")}}
	for src, want := range map[string]bool{
		"tags.a = deviceId": true, "deviceId = tags.a": true, "tags.b = deviceId": false, "deviceId = tags.b": false,
		"tags.a < tags.b": true, "tags.b < tags.a": false, "deviceId < tags.b": true, "tags.b > deviceId": true,
		"tags.a >= deviceId": true, "deviceId > tags.a": false,
	} {
		if got := condition(t, src).Match(row); got != want {
			t.Errorf("%s is %t, want %t", src, got, want)
		}
	}
}

func TestNoConditionMatchesEverything(t *testing.T) {
	var none *query.Condition
	if !none.Match(door) || !condition(t, "*").Match(door) {
		t.Error("no condition, or *, does not match")
	}
	if got := none.String(); got != "*" {
		t.Errorf("no condition prints %q, want *", got)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	var row query.Row = doc(door)
	for _, src := range []string{
		"tags.site = 'north'",
		"tags.site IN ['south', 'north'] AND tags.building % 10 = 3 AND NOT STARTSWITH(deviceId, 'gate')",
		"deviceId IN ['a','b','c','d','e','f','g','h','i','j','k','door-7']",
		"lastActivityTime > '2024-01-01T00:00:00Z' AND tags.tilt < 0 AND IS_DEFINED(properties.reported.fw)",
	} {
		c := condition(t, src)
		if !c.Match(row) {
			t.Errorf("%s does not match", src)
		}
		if got := testing.AllocsPerRun(100, func() { c.Match(row) }); got != 0 {
			t.Errorf("%s allocates %v times", src, got)
		}
	}
}

// doc is a row over a document that needs no conversion.
type doc []byte

func (d doc) Value(path []string) query.Value { return query.Lookup(d, path) }

func BenchmarkMatch(b *testing.B) {
	for _, bench := range []struct{ name, src string }{
		{"equal", "tags.site = 'north'"},
		{"lastAttribute", "capabilities.iotEdge = false"},
		{"and", "tags.site = 'north' AND tags.building = 43 AND properties.reported.fw != '1.0'"},
		{"in", "deviceId IN ['a','b','c','d','e','f','g','h','i','j','k','door-7']"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			c := condition(b, bench.src)
			var row query.Row = doc(door)
			b.ReportAllocs()
			for b.Loop() {
				if !c.Match(row) {
					b.Fatal("no match")
				}
			}
		})
	}
}

func BenchmarkParseCondition(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		condition(b, "tags.site = 'north' AND tags.building IN [1, 2, 43] AND NOT properties.reported.fw = '1.0'")
	}
}

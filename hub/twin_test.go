package hub_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// bubbles begin at this moment.
const bubbleStart = "2000-01-01T00:00:00.0000000Z"

func TestNewTwin(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		a := rest(t, s, "GET /twins/dev1", "")
		want := `{"deviceId":"dev1","etag":"AAAAAAAAAAE=","deviceEtag":"MQ==","status":"enabled","statusReason":"",` +
			`"statusUpdateTime":"0001-01-01T00:00:00Z","connectionState":"Disconnected","lastActivityTime":"0001-01-01T00:00:00Z",` +
			`"cloudToDeviceMessageCount":0,"authenticationType":"sas",` +
			`"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"modelId":"","version":1,"tags":{},` +
			`"properties":{"desired":{"$metadata":{"$lastUpdated":"` + bubbleStart + `"},"$version":1},` +
			`"reported":{"$metadata":{"$lastUpdated":"` + bubbleStart + `"},"$version":1}},"capabilities":{"iotEdge":false}}`
		if diff := cmp.Diff(want, a.body); diff != "" || a.status != http.StatusOK {
			t.Errorf("new twin (-want +got):\n%s", diff)
		}
		if got := a.header.Get("ETag"); got != `"AAAAAAAAAAE="` {
			t.Errorf("ETag %s", got)
		}
	})
}

// Patches by the service: merge, versions, etags and what the device hears of them.
func TestPatchTwin(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterDesired)
		tests := func(line, body, wantTags, wantDesired string, wantVersion int64, notified ...string) {
			t.Helper()
			twin := ok[iothub.Twin](t, s, line, body)
			if got := string(twin.Tags); got != wantTags {
				t.Errorf("%s %s: tags %s, want %s", line, body, got, wantTags)
			}
			if got := plain(t, twin.Properties.Desired); got != wantDesired {
				t.Errorf("%s %s: desired %s, want %s", line, body, got, wantDesired)
			}
			if twin.Version != wantVersion {
				t.Errorf("%s %s: version %d, want %d", line, body, twin.Version, wantVersion)
			}
			for i := 0; i < len(notified); i += 2 {
				b.wants("$iothub/twin/PATCH/properties/desired/?$version="+notified[i], notified[i+1])
			}
			b.alive()
		}
		const patch, put = "PATCH /twins/dev1", "PUT /twins/dev1"
		tests(patch, `{"tags":{"site":"A"}}`, `{"site":"A"}`, `{"$version":1}`, 2)
		tests(patch, `{"properties":{"desired":{"x":{"y":1},"z":[1]}}}`, `{"site":"A"}`, `{"$version":2,"x":{"y":1},"z":[1]}`, 3,
			"2", `{"x":{"y":1},"z":[1],"$version":2}`)
		tests(patch, `{"tags":{"floor":3},"properties":{"desired":{"x":{"y":null,"w":"é"}, "z" : null}}}`,
			`{"site":"A","floor":3}`, `{"$version":3,"x":{"w":"é"}}`, 4, "3", `{"x":{"y":null,"w":"é"},"z":null,"$version":3}`)
		tests(patch, `{"properties":{"desired":{"new":{"gone":null}}}}`, `{"site":"A","floor":3}`,
			`{"$version":4,"new":{},"x":{"w":"é"}}`, 5, "4", `{"new":{"gone":null},"$version":4}`)
		tests(patch, `{"properties":{"desired":{}}}`, `{"site":"A","floor":3}`, `{"$version":5,"new":{},"x":{"w":"é"}}`, 6,
			"5", `{"$version":5}`)
		tests(patch, `{"deviceId":"other","etag":"x","version":9,"tags":{"site":null}}`, `{"floor":3}`,
			`{"$version":5,"new":{},"x":{"w":"é"}}`, 7)
		tests(put, `{"properties":{"desired":{"q":1,"r":null}}}`, `{"floor":3}`, `{"$version":6,"q":1}`, 8, "6", `{"q":1,"$version":6}`)
		tests(put, `{"tags":{}}`, `{}`, `{"$version":6,"q":1}`, 9)
		tests(patch, `{"properties":{"reported":{"q":1}}}`, `{}`, `{"$version":6,"q":1}`, 10)
	})
}

// plain returns a section without metadata, its members sorted.
func plain(t testing.TB, section json.RawMessage) string {
	t.Helper()
	m := decoded[map[string]any](t, string(section))
	delete(m, "$metadata")
	got, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestTwinETags(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		first := rest(t, s, "GET /twins/dev1", "").header.Get("ETag")
		tests := func(tag string, want int) {
			t.Helper()
			a := rest(t, s, "PATCH /twins/dev1", `{"tags":{"a":1}}`, "If-Match", tag)
			if a.status != want {
				t.Errorf("If-Match %s: %d %s, want %d", tag, a.status, a.body, want)
			}
		}
		tests(`"wrong"`, http.StatusPreconditionFailed)
		tests(first, http.StatusOK)
		tests(first, http.StatusPreconditionFailed)
		tests(strings.Trim(rest(t, s, "GET /twins/dev1", "").header.Get("ETag"), `"`), http.StatusOK)
		tests(`"*"`, http.StatusOK)
		tests(`*`, http.StatusOK)
		refused(t, "a stale etag", rest(t, s, "PATCH /twins/dev1", `{}`, "If-Match", first), iothub.CodePreconditionFailed)
	})
}

func TestRefusedPatches(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterTwinResponses, iothub.FilterDesired)
		before := rest(t, s, "GET /twins/dev1", "").body
		deep := strings.Repeat(`{"a":`, 12) + "1" + strings.Repeat("}", 12)
		large := func(n int) string { // so many KB
			var members []string
			for i := range n {
				members = append(members, fmt.Sprintf(`"k%d":%q`, i, strings.Repeat("x", 1<<10)))
			}
			return "{" + strings.Join(members, ",") + "}"
		}
		for name, patch := range map[string]string{
			"system member":        `{"$version":3}`,
			"nested system member": `{"a":{"$b":3}}`,
			"dot":                  `{"a.b":3}`,
			"not an object":        `[1]`,
			"too deep":             deep,
			"too large":            large(33),
			"integer too large":    `{"a":4503599627370496}`,
			"key twice":            `{"a":{"b":{}},"a":{"c":{}}}`,
		} {
			refused(t, name, rest(t, s, "PATCH /twins/dev1", `{"properties":{"desired":`+patch+`}}`), iothub.CodeArgumentInvalid)
			b.publish(iothub.ReportedTopic(name[:3]), patch)
			topic, body := b.message()
			if want := iothub.TwinResponseTopic(400, name[:3], 0); topic != want || !strings.Contains(body, `"errorCode":400004`) {
				t.Errorf("%s, reported: %s %s, want %s with errorCode 400004", name, topic, body, want)
			}
		}
		refused(t, "tags", rest(t, s, "PATCH /twins/dev1", `{"tags":`+large(9)+`}`), iothub.CodeArgumentInvalid)
		refused(t, "one good, one bad", rest(t, s, "PATCH /twins/dev1", `{"tags":{"a":1},"properties":{"desired":{"$a":1}}}`), iothub.CodeArgumentInvalid)
		refused(t, "not JSON", rest(t, s, "PATCH /twins/dev1", `{"tags":`), iothub.CodeArgumentInvalid)
		refused(t, "unknown device", rest(t, s, "PATCH /twins/dev2", `{}`), iothub.CodeDeviceNotFound)
		b.alive() // no notification
		if diff := cmp.Diff(clean(before), clean(rest(t, s, "GET /twins/dev1", "").body)); diff != "" {
			t.Errorf("twin changed by refused patches (-before +after):\n%s", diff)
		}
		for i := range 4 { // each is small enough, all together are not
			a := rest(t, s, "PATCH /twins/dev1", `{"tags":{"part`+itoa(i)+`":`+large(2)+`}}`)
			if want := i == 3; (a.status == http.StatusBadRequest) != want {
				t.Errorf("part %d: %d", i, a.status)
			}
		}
	})
}

// What a section's count leaves out does not let it grow for ever.
func TestTwinDoesNotGrow(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterTwinResponses)
		free := "[" + strings.Repeat("[],", 8000) + "[]]" // 24 KB
		for i := range 8 {
			patch := fmt.Sprintf(`{"k%d":%s}`, i, free)
			b.publish(iothub.ReportedTopic("r"), patch)
			topic, _ := b.message()
			if parsed, _ := iothub.ParseTopic(topic); (parsed.Status == 204) != (i < 5) {
				t.Errorf("reported, part %d of 24 KB: %d", i, parsed.Status)
			}
			a := rest(t, s, "PATCH /twins/dev1", `{"properties":{"desired":`+patch+`}}`)
			if (a.status == http.StatusOK) != (i < 5) {
				t.Errorf("desired, part %d of 24 KB: %d", i, a.status)
			}
		}
		b.publish(iothub.TwinGetTopic("g"), "")
		if _, twin := b.message(); len(twin) > 256<<10 {
			t.Errorf("the twin has %d bytes", len(twin))
		}
	})
}

// clean takes out what time alone changes.
func clean(twin string) string {
	i, j := strings.Index(twin, `"lastActivityTime"`), strings.Index(twin, `"cloudToDevice`)
	return twin[:i] + twin[j:]
}

func TestMetadata(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		ok[iothub.BulkResult](t, s, "POST /devices", `[{"id":"dev1","importMode":"create","properties":{"desired":{"a":{"b":1,"c":2},"d":3}}}]`)
		time.Sleep(time.Second)
		rest(t, s, "PATCH /twins/dev1", `{"properties":{"desired":{"a":{"c":{"x":1}},"e":5}}}`)
		time.Sleep(time.Second)
		twin := ok[iothub.Twin](t, s, "PATCH /twins/dev1", `{"properties":{"desired":{"d":null,"e":6}}}`)
		at := func(second, version int, members string) string {
			v := ""
			if version > 0 {
				v = fmt.Sprintf(`,"$lastUpdatedVersion":%d`, version)
			}
			return fmt.Sprintf(`{"$lastUpdated":"2000-01-01T00:00:0%d.0000000Z"%s%s}`, second, v, members)
		}
		want := `{"a":{"b":1,"c":{"x":1}},"e":6,"$metadata":` + at(2, 3,
			`,"a":`+at(1, 2, `,"b":`+at(0, 0, "")+`,"c":`+at(1, 2, `,"x":`+at(1, 2, "")))+`,"e":`+at(2, 3, "")) + `,"$version":3}`
		if diff := cmp.Diff(want, string(twin.Properties.Desired)); diff != "" {
			t.Errorf("desired (-want +got):\n%s", diff)
		}
	})
}

func TestDeviceTwin(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterTwinResponses)
		get := func(body, want string) {
			t.Helper()
			b.publish(iothub.TwinGetTopic("a-b"), body)
			b.wants("$iothub/twin/res/200/?$rid=a-b", want)
		}
		get("", `{"desired":{"$version":1},"reported":{"$version":1}}`)
		b.publish(iothub.ReportedTopic("r1"), ` {"fw" : "1.0", "n":{"a":1}} `)
		b.wants("$iothub/twin/res/204/?$rid=r1&$version=2", "")
		b.publish(iothub.ReportedTopic("r2"), `{"n":{"a":null,"b":2}}`)
		b.wants("$iothub/twin/res/204/?$rid=r2&$version=3", "")
		rest(t, s, "PATCH /twins/dev1", `{"tags":{"secret":1},"properties":{"desired":{"x":1}}}`)
		get(" ", `{"desired":{"x":1,"$version":2},"reported":{"fw":"1.0","n":{"b":2},"$version":3}}`)
		twin := ok[iothub.Twin](t, s, "GET /twins/dev1", "")
		if got := plain(t, twin.Properties.Reported); got != `{"$version":3,"fw":"1.0","n":{"b":2}}` || twin.Version != 2 {
			t.Errorf("reported %s, twin version %d; want version 2, which reports leave alone", got, twin.Version)
		}
		b.publish(iothub.ReportedTopic("r3"), `not JSON`)
		if topic, _ := b.message(); topic != iothub.TwinResponseTopic(400, "r3", 0) {
			t.Errorf("not JSON: %s", topic)
		}
		b.send(mqtt.Publish{Topic: []byte(iothub.ReportedTopic("r4")), Payload: []byte(`{}`), QoS: 1, ID: 9})
		b.wants("$iothub/twin/res/204/?$rid=r4&$version=4", "")
		b.expect(mqtt.TypePuback)
	})
}

// Notifications are for devices that are connected and subscribed; nothing is kept for later.
func TestNotificationsAreNotQueued(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1")
		patch := func(v int) { rest(t, s, "PATCH /twins/dev1", `{"properties":{"desired":{"v":`+itoa(v)+`}}}`) }
		patch(1)
		b.subscribe(iothub.FilterDesired)
		patch(2)
		b.wants(iothub.DesiredTopic(3), `{"v":2,"$version":3}`)
		_ = b.conn.Close()
		synctest.Wait()
		patch(3)
		b = reconnect(t, s, "dev1", iothub.FilterDesired)
		b.silent(time.Second)
	})
}

package conformance_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"muster/iothub"
)

var twinCases = []testCase{
	{"a new twin", "3.2", newTwin},
	{"a patch is merged deeply", "3.3", patchTwin},
	{"null in a new object leaves the object", "3.3 (e2e)", patchNullInside},
	{"a key with $ refuses the whole patch", "3.3 (e2e)", patchDollar},
	{"etag, version and $version", "3.2, 3.3", twinVersions},
	{"If-Match", "3.3", twinIfMatch},
	{"a PUT replaces what is given", "3.3", replaceTwin},
	{"what else stands in a patch takes no effect", "4.4", patchExtras},
	{"limits of a section", "3.4", twinSizes},
	{"limits of keys and values", "3.4", twinValues},
	{"unknown devices and bad bodies", "4.4", twinFaults},
}

func jsonOf(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func newTwin(t testing.TB, h *subject) {
	d := h.device(t)
	a := h.ask(t, "GET /twins/"+d.id, "")
	a.is(t, http.StatusOK)
	twin := decoded[map[string]any](t, a)
	for name, want := range map[string]string{
		"deviceId": `"` + d.id + `"`, "status": `"enabled"`, "connectionState": `"Disconnected"`, "cloudToDeviceMessageCount": "0", "authenticationType": `"sas"`,
		"x509Thumbprint": `{"primaryThumbprint":null,"secondaryThumbprint":null}`, "capabilities": `{"iotEdge":false}`,
	} {
		same(t, name, twin[name], want)
	}
	if tags := twin["tags"]; tags != nil {
		same(t, "tags", tags, "{}")
	}
	for _, section := range []string{"desired", "reported"} {
		s := at(twin, "properties", section)
		same(t, section+".$version", at(s, "$version"), "1")
		same(t, section, bare(s), "{}")
		if updated, _ := at(s, "$metadata", "$lastUpdated").(string); !strings.HasSuffix(updated, "Z") || strings.HasPrefix(updated, "0001") {
			t.Errorf("%s.$metadata.$lastUpdated is %q", section, updated)
		}
	}
	etag, _ := twin["etag"].(string)
	if etag == "" || strings.Contains(etag, `"`) || a.header.Get("ETag") != `"`+etag+`"` {
		t.Errorf("etag %q, header %s", etag, a.header.Get("ETag"))
	}
}

// patch patches a twin and returns it.
func (h *subject) patch(t testing.TB, d identity, patch string) map[string]any {
	t.Helper()
	return ok[map[string]any](t, h, "PATCH /twins/"+d.id, patch)
}

func patchTwin(t testing.TB, h *subject) {
	d := h.device(t)
	h.patch(t, d, `{"tags":{"a":1,"o":{"x":1,"y":"two"},"l":[1,2]},"properties":{"desired":{"d":true,"o":{"x":1.5}}}}`)
	twin := h.patch(t, d, `{"tags":{"a":null,"o":{"y":null,"z":{"new":false}},"l":[3]},"properties":{"desired":{"o":5}}}`)
	same(t, "tags", twin["tags"], `{"o":{"x":1,"z":{"new":false}},"l":[3]}`)
	same(t, "desired", bare(at(twin, "properties", "desired")), `{"d":true,"o":5}`)
	read := ok[map[string]any](t, h, "GET /twins/"+d.id, "")
	same(t, "tags as read", read["tags"], jsonOf(t, twin["tags"]))
	metadata := at(read, "properties", "desired", "$metadata")
	for _, name := range []string{"d", "o"} {
		if at(metadata, name, "$lastUpdated") == nil {
			t.Errorf("no $lastUpdated of %s in %s", name, jsonOf(t, metadata))
		}
	}
}

func patchNullInside(t testing.TB, h *subject) {
	d := h.device(t)
	twin := h.patch(t, d, `{"properties":{"desired":{"parent":{"child":null}}}}`)
	same(t, "desired", bare(at(twin, "properties", "desired")), `{"parent":{}}`)
}

func patchDollar(t testing.TB, h *subject) {
	d := h.device(t)
	before := h.patch(t, d, `{"tags":{"a":1}}`)
	for _, patch := range []string{
		`{"properties":{"desired":{"good":1,"$bad":1}}}`, `{"properties":{"desired":{"o":{"p":{"$bad":1}},"good":1}}}`,
		`{"tags":{"$bad":1},"properties":{"desired":{"good":1}}}`,
	} {
		h.ask(t, "PATCH /twins/"+d.id, patch).refusedAs(t, 400)
	}
	after := ok[map[string]any](t, h, "GET /twins/"+d.id, "")
	for _, name := range []string{"tags", "properties", "etag", "version"} {
		same(t, name, after[name], jsonOf(t, before[name]))
	}
}

func twinVersions(t testing.TB, h *subject) {
	d := h.device(t)
	first := ok[map[string]any](t, h, "GET /twins/"+d.id, "")
	tags := h.patch(t, d, `{"tags":{"a":1}}`)
	desired := h.patch(t, d, `{"properties":{"desired":{"a":1}}}`)
	steps := func(name string, before, after map[string]any, version, desiredVersion float64) {
		t.Helper()
		if got := after["version"].(float64) - before["version"].(float64); got != version {
			t.Errorf("%s: version grew by %v, want %v", name, got, version)
		}
		b, _ := at(before, "properties", "desired", "$version").(float64)
		a, _ := at(after, "properties", "desired", "$version").(float64)
		if a-b != desiredVersion {
			t.Errorf("%s: $version grew by %v, want %v", name, a-b, desiredVersion)
		}
		if (after["etag"] == before["etag"]) != (version == 0) {
			t.Errorf("%s: etag %v, then %v", name, before["etag"], after["etag"])
		}
	}
	steps("tags", first, tags, 1, 0)
	steps("desired", tags, desired, 1, 1)
	dev := h.online(t, d, connect{}, iothub.FilterTwinResponses)
	dev.publish(0, iothub.ReportedTopic("1"), `{"r":1}`)
	dev.response("1", http.StatusNoContent)
	var reported map[string]any
	h.eventually(t, "the service sees what was reported", func() bool {
		reported = ok[map[string]any](t, h, "GET /twins/"+d.id, "")
		return at(reported, "properties", "reported", "r") != nil
	})
	if reported["version"] != desired["version"] {
		t.Errorf("reported: version %v, then %v", desired["version"], reported["version"])
	}
	same(t, "reported.$version", at(reported, "properties", "reported", "$version"), "2")
}

func twinIfMatch(t testing.TB, h *subject) {
	d := h.device(t)
	first := ok[iothub.Twin](t, h, "GET /twins/"+d.id, "")
	etag := func(s string) string { return `"` + s + `"` }
	second := ok[iothub.Twin](t, h, "PATCH /twins/"+d.id, `{"tags":{"a":1}}`, "If-Match", etag(first.ETag))
	h.ask(t, "PATCH /twins/"+d.id, `{"tags":{"a":2}}`, "If-Match", etag(first.ETag)).refused(t, iothub.CodePreconditionFailed)
	h.ask(t, "PUT /twins/"+d.id, `{"tags":{"a":2}}`, "If-Match", etag(first.ETag)).refused(t, iothub.CodePreconditionFailed)
	same(t, "tags", ok[map[string]any](t, h, "GET /twins/"+d.id, "")["tags"], `{"a":1}`)
	ok[iothub.Twin](t, h, "PUT /twins/"+d.id, `{"tags":{"a":3}}`, "If-Match", etag(second.ETag))
	ok[iothub.Twin](t, h, "PATCH /twins/"+d.id, `{"tags":{"a":4}}`, "If-Match", `"*"`)
}

func replaceTwin(t testing.TB, h *subject) {
	d := h.device(t)
	dev := h.online(t, d, connect{}, iothub.FilterTwinResponses)
	dev.publish(0, iothub.ReportedTopic("1"), `{"r":1}`)
	dev.response("1", http.StatusNoContent)
	h.patch(t, d, `{"tags":{"a":1,"b":2},"properties":{"desired":{"x":1,"y":2}}}`)
	twin := ok[map[string]any](t, h, "PUT /twins/"+d.id, `{"tags":{"c":3},"properties":{"desired":{"z":{"n":1}}}}`, "If-Match", `"*"`)
	same(t, "tags", twin["tags"], `{"c":3}`)
	same(t, "desired", bare(at(twin, "properties", "desired")), `{"z":{"n":1}}`)
	h.eventually(t, "reported properties stay", func() bool {
		return at(ok[map[string]any](t, h, "GET /twins/"+d.id, ""), "properties", "reported", "r") != nil
	})
}

func patchExtras(t testing.TB, h *subject) {
	d := h.device(t)
	twin := h.patch(t, d, `{"deviceId":"`+d.id+`","etag":"AAAAAAAAAAE=","version":99,"status":"enabled","tags":{"a":1}}`)
	same(t, "tags", twin["tags"], `{"a":1}`)
	same(t, "deviceId", twin["deviceId"], `"`+d.id+`"`)
	if twin["version"] == 99.0 {
		t.Error("version was set")
	}
}

// filled returns an object of n members of 100 bytes each, by the service's count.
func filled(n int) string {
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprintf(`"%04d":"%s"`, i, strings.Repeat("x", 96))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func twinSizes(t testing.TB, h *subject) {
	d := h.device(t)
	ok[iothub.Twin](t, h, "PATCH /twins/"+d.id, `{"tags":`+filled(80)+`}`) // 8,000 of 8,192 bytes
	h.ask(t, "PATCH /twins/"+d.id, `{"tags":{"more":"`+strings.Repeat("x", 250)+`"}}`).refusedAs(t, 400)
	ok[iothub.Twin](t, h, "PATCH /twins/"+d.id, `{"properties":{"desired":`+filled(320)+`}}`) // 32,000 of 32,768 bytes
	h.ask(t, "PATCH /twins/"+d.id, `{"properties":{"desired":{"more":"`+strings.Repeat("x", 1000)+`"}}}`).refusedAs(t, 400)
	twin := ok[map[string]any](t, h, "GET /twins/"+d.id, "")
	if tags, _ := twin["tags"].(map[string]any); len(tags) != 80 {
		t.Errorf("%d tags, want 80", len(tags))
	}
	if at(twin, "properties", "desired", "more") != nil {
		t.Error("what was refused has been applied")
	}
	dev := h.online(t, d, connect{}, iothub.FilterTwinResponses)
	dev.publish(0, iothub.ReportedTopic("1"), filled(320))
	dev.response("1", http.StatusNoContent)
	dev.publish(0, iothub.ReportedTopic("2"), `{"more":"`+strings.Repeat("x", 1000)+`"}`)
	if topic, body := dev.message(); topic.RequestID != "2" || topic.Status/100 != 4 || at(document(t, body), "errorCode") == nil {
		t.Errorf("too much: %+v %s", topic, body)
	}
}

// nested returns n objects, each in the one before it.
func nested(n int) string {
	return strings.Repeat(`{"k":`, n) + "1" + strings.Repeat("}", n)
}

func twinValues(t testing.TB, h *subject) {
	d := h.device(t)
	const most, least = "4503599627370495", "-4503599627370496"
	good := []string{
		`{"i":` + most + `}`, `{"i":` + least + `}`, `{"s":"` + strings.Repeat("x", 4096) + `","i":1.5}`, `{"` + strings.Repeat("k", 1024) + `":true}`,
		`{"l":[1,"a",false,{"b":[2]}],"é":"ü"}`, `{"k":` + nested(10) + `}`, `{"my-key_1":"","o":{}}`,
	}
	bad := []string{
		`{"i":4503599627370496}`, `{"i":-4503599627370497}`, `{"s":"` + strings.Repeat("x", 4097) + `"}`, `{"` + strings.Repeat("k", 1025) + `":true}`,
		`{"a.b":1}`, `{"a b":1}`, `{"a$":1}`, `{"a\u0001":1}`, `{"k":` + nested(11) + `}`,
	}
	for _, value := range good {
		h.patch(t, d, `{"properties":{"desired":`+value+`}}`)
	}
	before := ok[map[string]any](t, h, "GET /twins/"+d.id, "")
	for _, value := range bad {
		for _, patch := range []string{`{"properties":{"desired":` + value + `}}`, `{"tags":` + value + `}`} {
			h.ask(t, "PATCH /twins/"+d.id, patch).refusedAs(t, 400)
		}
	}
	after := ok[map[string]any](t, h, "GET /twins/"+d.id, "")
	same(t, "the twin after refusals", after["properties"], jsonOf(t, before["properties"]))
	same(t, "version", after["version"], jsonOf(t, before["version"]))
}

func twinFaults(t testing.TB, h *subject) {
	nobody := h.id()
	h.ask(t, "GET /twins/"+nobody, "").refused(t, iothub.CodeDeviceNotFound)
	h.ask(t, "PATCH /twins/"+nobody, `{"tags":{"a":1}}`).refused(t, iothub.CodeDeviceNotFound)
	d := h.device(t)
	h.ask(t, "PATCH /twins/"+d.id, `{"tags":{"a":1}`).refusedAs(t, 400)
}

package conformance_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"muster/iothub"
)

var identityCases = []testCase{
	{"a new identity", "4.3", newIdentity},
	{"keys that are given are kept, and must be base64", "4.3", givenKeys},
	{"create does not replace", "4.3", createTwice},
	{"update needs the etag or *", "4.3", updateIdentity},
	{"delete", "4.3", deleteIdentity},
	{"list", "4.3, 8.2", listIdentities},
	{"ids of every allowed character", "1.2", oddIDs},
	{"ids that are none", "1.2, 4.3 (e2e)", badIDs},
	{"bulk", "4.3, 8.2", bulkIdentities},
	{"bulk with faults", "4.3", bulkFaults},
	{"statistics", "4.7", statistics},
	{"who may not ask", "1.3, 4.1", unauthorized},
}

func newIdentity(t testing.TB, h *subject) {
	id := h.id()
	// As the Node SDK sends it, with empty keys.
	a := h.ask(t, "PUT "+h.created(t, id), `{"deviceId":"`+id+`","authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}}`)
	a.is(t, http.StatusOK)
	doc := decoded[map[string]any](t, a)
	for name, want := range map[string]string{"deviceId": `"` + id + `"`, "status": `"enabled"`, "connectionState": `"Disconnected"`, "cloudToDeviceMessageCount": "0"} {
		same(t, name, doc[name], want)
	}
	same(t, "authentication.type", at(doc, "authentication", "type"), `"sas"`)
	d := decoded[iothub.Device](t, a)
	if keys := d.Authentication.SymmetricKey; len(keys.Primary) == 0 || len(keys.Secondary) == 0 || string(keys.Primary) == string(keys.Secondary) {
		t.Errorf("the keys are of %d and %d bytes", len(keys.Primary), len(keys.Secondary))
	}
	if d.ETag == "" || strings.Contains(d.ETag, `"`) || d.GenerationID == "" {
		t.Errorf("etag %q, generation %q", d.ETag, d.GenerationID)
	}
	read := ok[iothub.Device](t, h, "GET /devices/"+id, "")
	if read.ETag != d.ETag || string(read.Authentication.SymmetricKey.Primary) != string(d.Authentication.SymmetricKey.Primary) {
		t.Error("GET answers with another identity than PUT")
	}
	h.ask(t, "GET /devices/"+h.id(), "").refused(t, iothub.CodeDeviceNotFound)
}

func givenKeys(t testing.TB, h *subject) {
	id := h.id()
	const one, two = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	doc := ok[map[string]any](t, h, "PUT "+h.created(t, id), `{"deviceId":"`+id+`","status":"disabled","authentication":{"symmetricKey":{"primaryKey":"`+one+`","secondaryKey":"`+two+`"}}}`)
	same(t, "keys", at(doc, "authentication", "symmetricKey"), `{"primaryKey":"`+one+`","secondaryKey":"`+two+`"}`)
	same(t, "status", doc["status"], `"disabled"`)
	other := h.id()
	h.ask(t, "PUT "+h.created(t, other), `{"deviceId":"`+other+`","authentication":{"symmetricKey":{"primaryKey":"no base64!","secondaryKey":"`+two+`"}}}`).refusedAs(t, 400)
}

func createTwice(t testing.TB, h *subject) {
	d := h.device(t)
	h.ask(t, "PUT /devices/"+d.id, `{"deviceId":"`+d.id+`"}`).refused(t, iothub.CodeDeviceAlreadyExists)
}

func updateIdentity(t testing.TB, h *subject) {
	d := h.device(t)
	first := ok[iothub.Device](t, h, "GET /devices/"+d.id, "")
	update := func(status, reason, etag string) answer {
		first.Status, first.StatusReason = status, &reason
		return h.ask(t, "PUT /devices/"+d.id, jsonOf(t, first), "If-Match", etag)
	}
	old := `"` + first.ETag + `"`
	a := update("disabled", "why not", old)
	a.is(t, http.StatusOK)
	second := decoded[iothub.Device](t, a)
	if second.Status != "disabled" || second.StatusReason == nil || *second.StatusReason != "why not" || second.ETag == first.ETag {
		t.Errorf("after the update: %s", a.text())
	}
	update("enabled", "", old).refused(t, iothub.CodePreconditionFailed)
	update("enabled", "", `"*"`).is(t, http.StatusOK)
	if got := ok[iothub.Device](t, h, "GET /devices/"+d.id, ""); got.Status != "enabled" || string(got.Authentication.SymmetricKey.Primary) != string(d.key) {
		t.Errorf("status %s after an update with *, key kept %t", got.Status, string(got.Authentication.SymmetricKey.Primary) == string(d.key))
	}
}

func deleteIdentity(t testing.TB, h *subject) {
	d := h.device(t)
	first := ok[iothub.Device](t, h, "GET /devices/"+d.id, "")
	first.Status = "disabled"
	h.ask(t, "PUT /devices/"+d.id, jsonOf(t, first), "If-Match", `"*"`).is(t, http.StatusOK)
	h.ask(t, "DELETE /devices/"+d.id, "", "If-Match", `"`+first.ETag+`"`).refused(t, iothub.CodePreconditionFailed)
	a := h.ask(t, "DELETE /devices/"+d.id, "", "If-Match", `"*"`)
	if a.status != http.StatusNoContent || len(a.body) > 0 {
		t.Errorf("%d %s, want 204 and nothing", a.status, a.text())
	}
	h.ask(t, "DELETE /devices/"+d.id, "", "If-Match", `"*"`).refused(t, iothub.CodeDeviceNotFound)
	h.ask(t, "GET /devices/"+d.id, "").refused(t, iothub.CodeDeviceNotFound)
	h.ask(t, "GET /twins/"+d.id, "").refused(t, iothub.CodeDeviceNotFound)
}

func listIdentities(t testing.TB, h *subject) {
	h.device(t)
	h.device(t)
	for line, most := range map[string]int{"GET /devices?top=1": 1, "GET /devices?top=2": 2, "GET /devices/": 1000, "GET /devices?top=0": 1000} {
		list := ok[[]iothub.Device](t, h, line, "")
		if len(list) > most || len(list) < min(most, 2) {
			t.Errorf("%s: %d identities", line, len(list))
		}
	}
}

func oddIDs(t testing.TB, h *subject) {
	id := h.id() + "-.+%_#*?!(),=@$'aZ9"
	path := h.created(t, id)
	same(t, "deviceId", ok[map[string]any](t, h, "PUT "+path, jsonOf(t, map[string]string{"deviceId": id}))["deviceId"], jsonOf(t, id))
	same(t, "deviceId", ok[map[string]any](t, h, "GET "+path, "")["deviceId"], jsonOf(t, id))
	same(t, "deviceId of the twin", ok[map[string]any](t, h, "GET /twins/"+url.PathEscape(id), "")["deviceId"], jsonOf(t, id))
	d := h.device(t)
	h.ask(t, "GET /devices/"+strings.ToUpper(d.id), "").refused(t, iothub.CodeDeviceNotFound) // ids are case-sensitive
}

func badIDs(t testing.TB, h *subject) {
	for _, id := range []string{h.id() + "/name", h.id() + " name", h.id() + "é", h.id() + strings.Repeat("x", 128), h.id() + `"`} {
		h.ask(t, "PUT "+h.created(t, id), jsonOf(t, map[string]string{"deviceId": id})).refusedAs(t, 400)
	}
}

func bulkIdentities(t testing.TB, h *subject) {
	one, two := h.id(), h.id()
	h.created(t, one)
	h.created(t, two)
	bulk := func(body string) {
		t.Helper()
		got := ok[map[string]any](t, h, "POST /devices", body)
		same(t, "isSuccessful", got["isSuccessful"], "true")
		if errs, _ := got["errors"].([]any); len(errs) > 0 {
			t.Errorf("errors %v", errs)
		}
	}
	bulk(`[{"id":"` + one + `","importMode":"create","authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}},
		{"id":"` + two + `","importMode":"create","status":"disabled"}]`)
	d := ok[iothub.Device](t, h, "GET /devices/"+one, "")
	if len(d.Authentication.SymmetricKey.Primary) == 0 {
		t.Error("no keys were made")
	}
	// In the letter case of the Node SDK.
	bulk(`[{"id":"` + one + `","importMode":"Update","status":"disabled","authentication":` + jsonOf(t, d.Authentication) + `}]`)
	d = ok[iothub.Device](t, h, "GET /devices/"+one, "")
	if d.Status != "disabled" {
		t.Errorf("status %s after an update", d.Status)
	}
	bulk(`[{"id":"` + one + `","importMode":"UpdateIfMatchETag","eTag":"` + d.ETag + `","status":"enabled"}]`)
	bulk(`[{"id":"` + one + `","importMode":"updateTwin","tags":{"a":1},"properties":{"desired":{"b":2}}}]`)
	twin := ok[map[string]any](t, h, "GET /twins/"+one, "")
	same(t, "tags", twin["tags"], `{"a":1}`)
	same(t, "desired", bare(at(twin, "properties", "desired")), `{"b":2}`)
	bulk(`[{"id":"` + one + `","importMode":"Delete"},{"id":"` + two + `","importMode":"delete"}]`)
	h.ask(t, "GET /devices/"+one, "").refused(t, iothub.CodeDeviceNotFound)
}

func bulkFaults(t testing.TB, h *subject) {
	there, fresh := h.device(t), h.id()
	h.created(t, fresh)
	a := h.ask(t, "POST /devices", `[{"id":"`+there.id+`","importMode":"create"},{"id":"`+fresh+`","importMode":"create"}]`)
	a.is(t, http.StatusBadRequest)
	result := decoded[iothub.BulkResult](t, a)
	if result.IsSuccessful || len(result.Errors) != 1 || result.Errors[0].DeviceID != there.id || result.Errors[0].ErrorCode != "DeviceAlreadyExists" {
		t.Errorf("result %s", a.text())
	}
	if got := ok[iothub.Device](t, h, "GET /devices/"+there.id, ""); string(got.Authentication.SymmetricKey.Primary) != string(there.key) {
		t.Error("the identity that was there was replaced")
	}
}

func statistics(t testing.TB, h *subject) {
	h.device(t)
	s := ok[map[string]float64](t, h, "GET /statistics/devices", "")
	if s["totalDeviceCount"] < 1 || s["totalDeviceCount"] != s["enabledDeviceCount"]+s["disabledDeviceCount"] || len(s) != 3 {
		t.Errorf("statistics %v", s)
	}
	if c := ok[map[string]any](t, h, "GET /statistics/service", ""); c["connectedDeviceCount"] == nil {
		t.Errorf("statistics %v", c)
	}
}

func unauthorized(t testing.TB, h *subject) {
	d := h.device(t)
	later := time.Now().Add(time.Hour)
	wrong := append(iothub.Key("x"), h.cs.SharedAccessKey...)
	for name, token := range map[string]string{
		"none":               "",
		"expired":            h.token(time.Now().Add(-time.Hour)),
		"another key":        iothub.NewToken(h.cs.HostName, wrong, h.cs.SharedAccessKeyName, later),
		"another policy":     iothub.NewToken(h.cs.HostName, h.cs.SharedAccessKey, "nobody", later),
		"another hub":        iothub.NewToken("x"+h.cs.HostName, h.cs.SharedAccessKey, h.cs.SharedAccessKeyName, later),
		"the device's own":   h.deviceToken(d, later),
		"no token of a kind": "Basic eDp5",
	} {
		for _, line := range []string{"GET /devices/" + d.id, "GET /twins/" + d.id, "DELETE /devices/" + d.id} {
			if a := h.askAs(t, token, line, ""); a.status != http.StatusUnauthorized {
				t.Errorf("%s with token %s: %d %s", line, name, a.status, a.text())
			}
		}
	}
}

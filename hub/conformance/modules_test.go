package conformance_test

import (
	"net/http"
	"testing"
	"time"

	"muster/iothub"
)

var moduleCases = []testCase{
	{"module identities", "4.3", moduleIdentities},
	{"a module's connection, twin and methods", "1.2, 1.3, 4.4, 4.6", moduleConnection},
	{"a module's key is not its device's", "1.3, 1.6", moduleKeys},
	{"a purge of messages", "4.3", purge},
}

// module registers a module of a device, with which it goes.
func (h *subject) module(t testing.TB, d identity) (m identity, path string) {
	t.Helper()
	name := h.id()
	path = d.id + "/modules/" + name
	doc := ok[iothub.Module](t, h, "PUT /devices/"+path, `{"deviceId":"`+d.id+`","moduleId":"`+name+`"}`)
	if doc.DeviceID != d.id || doc.ModuleID != name || len(doc.Authentication.SymmetricKey.Primary) == 0 {
		t.Errorf("module %s of %s, with a key of %d bytes", doc.ModuleID, doc.DeviceID, len(doc.Authentication.SymmetricKey.Primary))
	}
	return identity{id: name, key: doc.Authentication.SymmetricKey.Primary}, path
}

func moduleIdentities(t testing.TB, h *subject) {
	d := h.device(t)
	m, path := h.module(t, d)
	h.ask(t, "PUT /devices/"+path, `{"deviceId":"`+d.id+`","moduleId":"`+m.id+`"}`).refusedAs(t, 400)
	first := ok[iothub.Module](t, h, "GET /devices/"+path, "")
	second := ok[iothub.Module](t, h, "PUT /devices/"+path, jsonOf(t, first), "If-Match", `"`+first.ETag+`"`)
	if second.ETag == first.ETag || string(second.Authentication.SymmetricKey.Primary) != string(m.key) {
		t.Errorf("etag %s, then %s; the key is kept: %t", first.ETag, second.ETag, string(second.Authentication.SymmetricKey.Primary) == string(m.key))
	}
	h.ask(t, "PUT /devices/"+path, jsonOf(t, first), "If-Match", `"`+first.ETag+`"`).refused(t, iothub.CodePreconditionFailed)
	if list := ok[[]iothub.Module](t, h, "GET /devices/"+d.id+"/modules", ""); len(list) != 1 || list[0].ModuleID != m.id {
		t.Errorf("%d modules", len(list))
	}
	if a := h.ask(t, "DELETE /devices/"+path, "", "If-Match", `"*"`); a.status != http.StatusNoContent {
		t.Errorf("%s: %d %s", a.line, a.status, a.text())
	}
	h.ask(t, "GET /devices/"+path, "").refused(t, iothub.CodeModuleNotFound)
}

// asModule is how a module of a device connects.
func (h *subject) asModule(d, m identity) connect {
	host := h.cs.HostName
	return connect{
		clientID: d.id + "/" + m.id, username: host + "/" + d.id + "/" + m.id + "/?api-version=" + iothub.APIVersion,
		password: iothub.NewToken(iothub.ModuleResource(host, d.id, m.id), m.key, "", time.Now().Add(time.Hour)),
	}
}

func moduleConnection(t testing.TB, h *subject) {
	d := h.device(t)
	m, path := h.module(t, d)
	dev := h.online(t, d, connect{}, iothub.FilterMethods, iothub.FilterDesired)
	mod := h.online(t, m, h.asModule(d, m), iothub.FilterTwinResponses, iothub.FilterDesired, iothub.FilterMethods)
	ok[iothub.Twin](t, h, "PATCH /twins/"+path, `{"properties":{"desired":{"a":1}}}`)
	if topic, body := mod.message(); topic.Kind != iothub.TopicDesired || topic.Version != 2 {
		t.Errorf("got %+v %s", topic, body)
	}
	mod.publish(0, iothub.ReportedTopic("1"), `{"r":1}`)
	mod.response("1", http.StatusNoContent)
	mod.publish(0, iothub.TwinGetTopic("2"), "")
	_, twin := mod.response("2", http.StatusOK)
	same(t, "the module's twin", document(t, twin), `{"desired":{"a":1,"$version":2},"reported":{"r":1,"$version":2}}`)
	c := h.invoke(t, path, `,"payload":1`)
	mod.answerMethod("lockDoor", 200, `"module"`)
	same(t, "result", document(t, string(c.wait().body)), `{"status":200,"payload":"module"}`)
	mod.publish(1, "devices/"+d.id+"/modules/"+m.id+"/messages/events/a=b", "{}")
	dev.alive() // and heard nothing of its module
	same(t, "the device's twin", bare(at(ok[map[string]any](t, h, "GET /twins/"+d.id, ""), "properties", "desired")), "{}")
}

func moduleKeys(t testing.TB, h *subject) {
	d := h.device(t)
	m, _ := h.module(t, d)
	for name, password := range map[string]string{
		"the module's key for the device": iothub.NewToken(iothub.DeviceResource(h.cs.HostName, d.id), m.key, "", time.Now().Add(time.Hour)),
		"the module's token":              h.asModule(d, m).password,
	} {
		if _, code := h.open(t, d, connect{password: password}); code != notAuthorized {
			t.Errorf("%s: CONNACK %d", name, code)
		}
	}
}

func purge(t testing.TB, h *subject) {
	d := h.device(t)
	same(t, "purged", any(ok[map[string]any](t, h, "DELETE /devices/"+d.id+"/commands", "")), `{"totalMessagesPurged":0,"deviceId":"`+d.id+`","moduleId":null}`)
}

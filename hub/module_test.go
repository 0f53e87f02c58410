package hub_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// Each line is a request and its answer, in one hub's life.
func TestModuleIdentities(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1", "dev2")
		tests := func(line, body, ifMatch string, want int, code iothub.ErrorCode) answer {
			t.Helper()
			var headers []string
			if ifMatch != "" {
				headers = []string{"If-Match", ifMatch}
			}
			a := rest(t, s, line, body, headers...)
			if a.status != want {
				t.Errorf("%s %s If-Match %s: %d %s, want %d", line, body, ifMatch, a.status, a.body, want)
			}
			if code != 0 {
				refused(t, line, a, code)
			}
			return a
		}
		const m = "/devices/dev1/modules/m"
		tests("GET "+m, "", "", 404, iothub.CodeModuleNotFound)
		tests("GET /devices/nobody/modules/m", "", "", 404, iothub.CodeDeviceNotFound)
		tests("GET /devices/nobody/modules", "", "", 404, iothub.CodeDeviceNotFound)
		tests("PUT /devices/nobody/modules/m", `{}`, "", 404, iothub.CodeDeviceNotFound)
		created := tests("PUT "+m, `{"deviceId":"dev1","moduleId":"m","authentication":{"type":"sas","symmetricKey":{"primaryKey":"AAAA","secondaryKey":"AQID"}}}`, "", 200, 0)
		want := `{"moduleId":"m","managedBy":null,"deviceId":"dev1","generationId":"630822816000000000","etag":"Mw==",` +
			`"connectionState":"Disconnected","connectionStateUpdatedTime":"0001-01-01T00:00:00Z","lastActivityTime":"0001-01-01T00:00:00Z",` +
			`"cloudToDeviceMessageCount":0,"authentication":{"symmetricKey":{"primaryKey":"AAAA","secondaryKey":"AQID"},` +
			`"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"sas"}}`
		if diff := cmp.Diff(decoded[map[string]any](t, want), decoded[map[string]any](t, created.body)); diff != "" {
			t.Errorf("created (-want +got):\n%s", diff)
		}
		if got := tests("GET "+m, "", "", 200, 0); got.body != created.body || got.header.Get("ETag") != `"Mw=="` {
			t.Errorf("read: %s %s, want %s", got.header.Get("ETag"), got.body, created.body)
		}
		tests("PUT "+m, `{}`, "", 409, iothub.CodeModuleAlreadyExistsOnDevice)
		tests("PUT /devices/dev2/modules/m", `{"status":"disabled"}`, "", 200, 0)
		tests("PUT "+m, `{}`, `"x"`, 412, iothub.CodePreconditionFailed)
		updated := tests("PUT "+m, `{"authentication":{"symmetricKey":{"secondaryKey":"BAUG"}}}`, created.header.Get("ETag"), 200, 0)
		if keys := decoded[iothub.Module](t, updated.body).Authentication.SymmetricKey; keys.Primary.Base64() != "AAAA" || keys.Secondary.Base64() != "BAUG" {
			t.Errorf("updated: %s", updated.body)
		}
		tests("PUT /devices/dev1/modules/other", `{}`, `"*"`, 404, iothub.CodeModuleNotFound)
		tests("PUT "+m, `{"deviceId":"dev2"}`, "", 400, iothub.CodeArgumentInvalid)
		tests("PUT "+m, `{"moduleId":"n"}`, "", 400, iothub.CodeArgumentInvalid)
		tests("PUT /devices/dev1/modules/a%2Fb", `{}`, "", 400, iothub.CodeArgumentInvalid)
		tests("PUT /devices/dev1/modules/"+strings.Repeat("x", 129), `{}`, "", 400, iothub.CodeArgumentInvalid)
		tests("PUT /devices/dev1/modules/$edgeAgent", `{}`, "", 200, 0)
		var ids []string
		for _, m := range ok[[]iothub.Module](t, s, "GET /devices/dev1/modules", "") {
			ids = append(ids, m.DeviceID+" "+m.ModuleID)
		}
		if want := []string{"dev1 m", "dev1 $edgeAgent"}; !slices.Equal(ids, want) {
			t.Errorf("modules %q, want %q", ids, want)
		}
		tests("DELETE "+m, "", created.header.Get("ETag"), 412, iothub.CodePreconditionFailed)
		if got := tests("DELETE "+m, "", updated.header.Get("ETag"), 204, 0); got.body != "" {
			t.Errorf("deleted: %q", got.body)
		}
		tests("DELETE "+m, "", "*", 404, iothub.CodeModuleNotFound)
		tests("PUT "+m, `{}`, "", 200, 0)
	})
}

// A module is no device: neither its client id nor a list, statistics or a query of devices leads to it.
func TestModulesAreNoDevices(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1", "dev1/mod1")
		online(t, s, "dev1/mod2", iothub.FilterMethods)
		for _, line := range []string{
			"GET /devices/dev1%2Fmod1", "DELETE /devices/dev1%2Fmod1", "GET /devices/dev1%2Fmod1/modules", "GET /twins/dev1%2Fmod1",
			"PATCH /twins/dev1%2Fmod1", "POST /twins/dev1%2Fmod2/methods", "GET /devices/dev1%2Fmod1/modules/mod1",
			"POST /muster/devices/dev1%2Fmod1/messages", "GET /muster/devices/dev1%2Fmod1/telemetry", "DELETE /devices/dev1%2Fmod1/commands",
		} {
			refused(t, line, rest(t, s, line, `{"methodName":"m"}`, "If-Match", "*"), iothub.CodeDeviceNotFound)
		}
		a := rest(t, s, "POST /devices", `[{"id":"dev1/mod1","importMode":"delete"}]`)
		if got := decoded[iothub.BulkResult](t, a.body); len(got.Errors) != 1 || got.Errors[0].ErrorCode != "DeviceNotFound" {
			t.Errorf("bulk delete by client id: %s", a.body)
		}
		for line, want := range map[string]string{
			"GET /statistics/devices": `{"totalDeviceCount":1,"enabledDeviceCount":1,"disabledDeviceCount":0}`,
			"GET /statistics/service": `{"connectedDeviceCount":0}`,
		} {
			if got := rest(t, s, line, "").body; got != want {
				t.Errorf("%s: %s, want %s", line, got, want)
			}
		}
		if got := s.Stats().Connections; got != 1 {
			t.Errorf("%d connections, want 1", got)
		}
		if got := ok[[]iothub.Device](t, s, "GET /devices", ""); len(got) != 1 || got[0].DeviceID != "dev1" {
			t.Errorf("list: %v", got)
		}
	})
}

func TestModuleLimit(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1", "dev2", "dev2/m")
		for i := range iothub.MaxModules {
			register(t, s, fmt.Sprintf("dev1/m%d", i))
		}
		refused(t, "the 51st", rest(t, s, "PUT /devices/dev1/modules/m50", `{}`), iothub.CodeTooManyModulesOnDevice)
		refused(t, "one that exists", rest(t, s, "PUT /devices/dev1/modules/m1", `{}`), iothub.CodeModuleAlreadyExistsOnDevice)
		rest(t, s, "DELETE /devices/dev1/modules/m7", "", "If-Match", "*")
		ok[iothub.Module](t, s, "PUT /devices/dev1/modules/m50", `{}`)
	})
}

// Devices and modules together are what a tier limits.
func TestModulesCountInTheTier(t *testing.T) {
	bubble(t, &hub.Options{Tier: hub.F1}, func(t *testing.T, s *hubtest.Server) {
		register(t, s, append(ids(499), "dev-00000/m")...)
		time.Sleep(time.Hour)
		refused(t, "a module", rest(t, s, "PUT /devices/dev-00000/modules/n", `{}`), iothub.CodeIotHubQuotaExceeded)
		refused(t, "a device", rest(t, s, "PUT /devices/another", `{}`), iothub.CodeIotHubQuotaExceeded)
		rest(t, s, "DELETE /devices/dev-00000", "", "If-Match", "*")
		ok[iothub.Device](t, s, "PUT /devices/another", `{}`)
		ok[iothub.Module](t, s, "PUT /devices/another/modules/m", `{}`)
	})
}

func TestBulkModules(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "a")
		tests := func(name, body string, want int, faults ...string) {
			t.Helper()
			a := rest(t, s, "POST /devices", body)
			var got []string
			for _, e := range decoded[iothub.BulkResult](t, a.body).Errors {
				module := "null"
				if e.ModuleID != nil {
					module = *e.ModuleID
				}
				got = append(got, e.DeviceID+" "+module+" "+e.ErrorCode)
			}
			if a.status != want || !slices.Equal(got, faults) {
				t.Errorf("%s: %d %s\nwant %d %v", name, a.status, a.body, want, faults)
			}
		}
		tests("create", `[{"id":"b","importMode":"create"},{"id":"b","moduleId":"m","importMode":"create","status":"disabled","tags":{"t":1},"properties":{"desired":{"x":1}}},
			{"id":"a","moduleId":"m","importMode":"createOrUpdate"}]`, 200)
		twin := ok[iothub.Twin](t, s, "GET /twins/b/modules/m", "")
		if got := string(twin.Tags) + plain(t, twin.Properties.Desired); got != `{"t":1}{"$version":1,"x":1}` || twin.Status != "enabled" {
			t.Errorf("seeded twin %s, status %s", got, twin.Status)
		}
		tests("taken, unknown, invalid", `[{"id":"a","moduleId":"m","importMode":"create"},{"id":"nobody","moduleId":"m","importMode":"create"},
			{"id":"a","moduleId":"n","importMode":"update"},{"id":"a","moduleId":"x y","importMode":"create"},{"id":"nobody","importMode":"update"}]`, 400,
			"a m ModuleAlreadyExistsOnDevice", "nobody m DeviceNotFound", "a n ModuleNotFound", "a x y ArgumentInvalid", "nobody null DeviceNotFound")
		tests("change", `[{"id":"a","moduleId":"m","importMode":"updateTwin","tags":{"t":2}},{"id":"a","moduleId":"m","importMode":"Update"},
			{"id":"a","moduleId":"m","importMode":"updateIfMatchETag","eTag":"x"}]`, 400, "a m PreconditionFailed")
		if got := string(ok[iothub.Twin](t, s, "GET /twins/a/modules/m", "").Tags) + string(ok[iothub.Twin](t, s, "GET /twins/a", "").Tags); got != `{"t":2}{}` {
			t.Errorf("tags of module and device %s", got)
		}
		tests("delete", `[{"id":"a","moduleId":"m","importMode":"delete"},{"id":"a","moduleId":"m","importMode":"delete"}]`, 400, "a m ModuleNotFound")
	})
}

// A module has a twin, methods and telemetry of its own, on topics that are the same as its device's but for telemetry.
func TestModuleConnection(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		dev := online(t, s, "dev1", iothub.FilterMethods, iothub.FilterTwinResponses, iothub.FilterDesired)
		mod := online(t, s, "dev1/mod1", iothub.FilterMethods, iothub.FilterTwinResponses, iothub.FilterDesired,
			iothub.ModuleInputsFilter("dev1", "mod1"), "devices/dev1/modules/mod1/#")
		if got := ok[iothub.Module](t, s, "GET /devices/dev1/modules/mod1", "").ConnectionState; got != iothub.Connected {
			t.Errorf("module is %s", got)
		}

		rest(t, s, "PATCH /twins/dev1/modules/mod1", `{"tags":{"t":1},"properties":{"desired":{"a":1}}}`)
		mod.wants(iothub.DesiredTopic(2), `{"a":1,"$version":2}`)
		mod.publish(iothub.ReportedTopic("1"), `{"fw":"2"}`)
		mod.wants(iothub.TwinResponseTopic(204, "1", 2), "")
		mod.publish(iothub.TwinGetTopic("2"), "")
		mod.wants(iothub.TwinResponseTopic(200, "2", 0), `{"desired":{"a":1,"$version":2},"reported":{"fw":"2","$version":2}}`)
		rest(t, s, "PUT /twins/dev1/modules/mod1", `{"properties":{"desired":{"b":2}}}`)
		mod.wants(iothub.DesiredTopic(3), `{"b":2,"$version":3}`)
		dev.publish(iothub.TwinGetTopic("3"), "")
		dev.wants(iothub.TwinResponseTopic(200, "3", 0), `{"desired":{"$version":1},"reported":{"$version":1}}`)
		twin := ok[iothub.Twin](t, s, "GET /twins/dev1/modules/mod1", "")
		if twin.DeviceID != "dev1" || twin.ModuleID != "mod1" || string(twin.Tags) != `{"t":1}` || twin.Version != 3 {
			t.Errorf("module twin %+v", twin)
		}
		if twin := ok[iothub.Twin](t, s, "GET /twins/dev1", ""); twin.ModuleID != "" || twin.Version != 1 {
			t.Errorf("device twin %+v", twin)
		}

		c := invoke(t, s, "dev1/modules/mod1", `{"methodName":"m","payload":1}`)
		mod.answerMethod("m", "1", 200, `"of the module"`)
		c.wants(t, 200, `{"status":200,"payload":"of the module"}`, 0)
		c = invoke(t, s, "dev1", `{"methodName":"m"}`)
		dev.answerMethod("m", "null", 201, "")
		c.wants(t, 200, `{"status":201,"payload":null}`, 0)
		dev.silent(time.Second)
		mod.silent(time.Second)

		mod.send(mqtt.Publish{Topic: []byte(iothub.ModuleEventsTopic("dev1", "mod1") + "a=b"), Payload: []byte("x"), QoS: 1, ID: 5})
		mod.expect(mqtt.TypePuback)
		_ = dev.conn.Close()
		synctest.Wait()
		mod.alive() // its device's connection is not its own
		refused(t, "unknown module", rest(t, s, "POST /twins/dev1/modules/none/methods", `{"methodName":"m"}`), iothub.CodeModuleNotFound)
		refused(t, "unknown twin", rest(t, s, "PATCH /twins/dev1/modules/none", `{}`), iothub.CodeModuleNotFound)
		_ = mod.conn.Close()
		synctest.Wait()
		refused(t, "offline module", rest(t, s, "POST /twins/dev1/modules/mod1/methods", `{"methodName":"m"}`), iothub.CodeDeviceNotOnline)
	})
}

// A module's session is its own: what was subscribed survives a connection with CleanSession 0, and a second connection
// takes over from the first of the module, not of the device.
func TestModuleSession(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		dev := online(t, s, "dev1")
		register(t, s, "dev1/mod1")
		first := dial(t, s)
		first.connack(mqtt.Connect{}, valid(s, "dev1/mod1"))
		first.subscribe(iothub.FilterTwinResponses)
		second := dial(t, s)
		if got := second.connack(mqtt.Connect{}, valid(s, "dev1/mod1")); !got.SessionPresent {
			t.Errorf("CONNACK %+v, want the session", got)
		}
		first.closed()
		second.publish(iothub.TwinGetTopic("1"), "")
		second.message()
		dev.alive()
	})
}

func TestModuleConnect(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1", "dev2", "dev1/mod1", "dev1/mod2", "dev2/mod1")
		device, _ := s.PolicyConnectionString("device")
		service, _ := s.PolicyConnectionString("service")
		soon := time.Now().Add(time.Hour)
		tests := func(name string, want byte, change func(c *credentials)) {
			t.Helper()
			c := valid(s, "dev1/mod1")
			change(&c)
			if got := dial(t, s).connect(c, true, 0); got != want {
				t.Errorf("%s: CONNACK %d, want %d", name, got, want)
			}
		}
		const no = mqtt.RefusedNotAuthorized
		sas := func(resource string, key iothub.Key, policy string) func(*credentials) {
			return func(c *credentials) { c.password = iothub.NewToken(resource, key, policy, soon) }
		}
		const own = "localhost/devices/dev1/modules/mod1"
		tests("its own key", mqtt.Accepted, func(*credentials) {})
		tests("user name of the client", mqtt.Accepted, func(c *credentials) { c.username = iothub.ModuleUsername("localhost", "dev1", "mod1") })
		tests("old user name", mqtt.Accepted, func(c *credentials) { c.username = "localhost/dev1/mod1" })
		tests("port in the scope", mqtt.Accepted, sas("localhost:8884/devices/dev1/modules/mod1", key("dev1/mod1"), ""))
		tests("policy device, module's scope", mqtt.Accepted, sas(own, device.SharedAccessKey, "device"))
		tests("policy device, device's scope", mqtt.Accepted, sas("localhost/devices/dev1", device.SharedAccessKey, "device"))
		tests("policy device, hub's scope", mqtt.Accepted, sas("localhost", device.SharedAccessKey, "device"))
		tests("policy device, another device's scope", no, sas("localhost/devices/dev2", device.SharedAccessKey, "device"))
		tests("policy device, another module's scope", no, sas("localhost/devices/dev1/modules/mod2", device.SharedAccessKey, "device"))
		tests("policy device, half a segment", no, sas("localhost/devices/dev1/modules/mod", device.SharedAccessKey, "device"))
		tests("policy without DeviceConnect", no, sas(own, service.SharedAccessKey, "service"))
		tests("key of its device", no, sas(own, key("dev1"), ""))
		tests("key and scope of its device", no, sas("localhost/devices/dev1", key("dev1"), ""))
		tests("own key, scope of its device", no, sas("localhost/devices/dev1", key("dev1/mod1"), ""))
		tests("own key, scope of the hub", no, sas("localhost", key("dev1/mod1"), ""))
		tests("key of another module", no, sas(own, key("dev1/mod2"), ""))
		tests("key and scope of another module", no, sas("localhost/devices/dev1/modules/mod2", key("dev1/mod2"), ""))
		tests("key of another device", no, sas(own, key("dev2"), ""))
		tests("key of another device's module", no, sas(own, key("dev2/mod1"), ""))
		tests("client id of its device", no, func(c *credentials) { c.clientID = "dev1" })
		tests("client id of another module", no, func(c *credentials) { c.clientID = "dev1/mod2" })
		tests("user name of its device", no, func(c *credentials) { c.username = iothub.Username("localhost", "dev1") })
		tests("unknown module", no, func(c *credentials) { *c = valid(s, "dev1/none") })
		tests("module of an unknown device", no, func(c *credentials) { *c = valid(s, "none/mod1") })
		tests("as its device, by its own key", no, func(c *credentials) {
			*c = valid(s, "dev1")
			c.password = token(s, "dev1/mod1", soon)
		})
		tests("as its device, by its own key and the device's scope", no, func(c *credentials) {
			*c = valid(s, "dev1")
			c.password = iothub.NewToken("localhost/devices/dev1", key("dev1/mod1"), "", soon)
		})
		tests("as another module, by its own key", no, func(c *credentials) {
			*c = valid(s, "dev1/mod2")
			c.password = token(s, "dev1/mod1", soon)
		})
	})
}

// A module reaches nothing that is its device's or another module's, nor a device anything of its module.
func TestModulesCannotReachOthers(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1", "dev2", "dev1/mod1", "dev1/mod2", "dev2/mod1")
		subscribe := func(filter string) func(*bare) { return func(b *bare) { b.sendSubscribe(1, filter) } }
		publish := func(topic string) func(*bare) { return func(b *bare) { b.publish(topic, "x") } }
		tests := func(id, name string, provoke func(b *bare)) {
			t.Helper()
			b := reconnect(t, s, id)
			provoke(b)
			if d := b.closed(); d > 0 {
				t.Errorf("%s: %s: closed after %s", id, name, d)
			}
		}
		for name, provoke := range map[string]func(*bare){
			"telemetry of its device":         publish(iothub.EventsTopic("dev1")),
			"telemetry of another module":     publish(iothub.ModuleEventsTopic("dev1", "mod2")),
			"telemetry of a namesake":         publish(iothub.ModuleEventsTopic("dev2", "mod1")),
			"telemetry by its client id":      publish("devices/dev1/mod1/messages/events/"),
			"messages to its device":          subscribe(iothub.DeviceBoundFilter("dev1")),
			"messages to itself":              subscribe("devices/dev1/modules/mod1/messages/devicebound/#"),
			"messages by its client id":       subscribe("devices/dev1/mod1/messages/devicebound/#"),
			"inputs of another module":        subscribe(iothub.ModuleInputsFilter("dev1", "mod2")),
			"all of another module":           subscribe("devices/dev1/modules/mod2/#"),
			"all modules":                     subscribe("devices/dev1/modules/#"),
			"any module":                      subscribe("devices/dev1/modules/+/#"),
			"all of its device":               subscribe("devices/dev1/#"),
			"publish to its inputs":           publish("devices/dev1/modules/mod1/inputs/i/"),
			"publish of a message for itself": publish("devices/dev1/modules/mod1/messages/devicebound/"),
		} {
			tests("dev1/mod1", name, provoke)
		}
		for name, provoke := range map[string]func(*bare){
			"telemetry of its module": publish(iothub.ModuleEventsTopic("dev1", "mod1")),
			"inputs of its module":    subscribe(iothub.ModuleInputsFilter("dev1", "mod1")),
			"all of its module":       subscribe("devices/dev1/modules/mod1/#"),
		} {
			tests("dev1", name, provoke)
		}
		if got := s.Stats().Telemetry; got != 0 {
			t.Errorf("%d messages got through", got)
		}
	})
}

// A will is telemetry of its own topic alone.
func TestModuleWill(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1", "dev1/mod1")
		tests := func(topic string, want int64) {
			t.Helper()
			b := dial(t, s)
			b.connack(mqtt.Connect{HasWill: true, WillTopic: []byte(topic), WillPayload: []byte("gone"), CleanSession: true}, valid(s, "dev1/mod1"))
			_ = b.conn.Close()
			eventually(t, topic, func() bool { return s.Stats().Telemetry == want })
		}
		tests(iothub.EventsTopic("dev1"), 0)
		tests(iothub.ModuleEventsTopic("dev1", "mod1"), 1)
	})
}

// Modules end with their device: it is deleted, or disabled.
func TestModulesFollowTheirDevice(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1", "dev2", "dev2/mod1")
		mod := online(t, s, "dev1/mod1", iothub.FilterMethods)
		rest(t, s, "PUT /devices/dev1", `{"status":"disabled"}`, "If-Match", "*")
		mod.closed()
		if got := dial(t, s).connect(valid(s, "dev1/mod1"), true, 0); got != mqtt.RefusedNotAuthorized {
			t.Errorf("module of a disabled device: CONNACK %d", got)
		}
		device, _ := s.PolicyConnectionString("device")
		c := valid(s, "dev1/mod1")
		c.password = iothub.NewToken("localhost", device.SharedAccessKey, "device", time.Now().Add(time.Hour))
		if got := dial(t, s).connect(c, true, 0); got != mqtt.RefusedNotAuthorized {
			t.Errorf("module of a disabled device, by policy: CONNACK %d", got)
		}
		rest(t, s, "PUT /devices/dev1", `{"status":"enabled"}`, "If-Match", "*")
		mod = reconnect(t, s, "dev1/mod1", iothub.FilterMethods)
		call := invoke(t, s, "dev1/modules/mod1", `{"methodName":"m"}`)
		if a := rest(t, s, "DELETE /devices/dev1", "", "If-Match", "*"); a.status != http.StatusNoContent {
			t.Fatalf("delete: %d %s", a.status, a.body)
		}
		call.refused(t, iothub.CodeModuleNotFound, 0)
		mod.closed()
		refused(t, "twin of a module whose device is gone", rest(t, s, "GET /twins/dev1/modules/mod1", ""), iothub.CodeDeviceNotFound)
		register(t, s, "dev1")
		refused(t, "the device anew", rest(t, s, "GET /devices/dev1/modules/mod1", ""), iothub.CodeModuleNotFound)
		if got := query[iothub.Twin](t, s, "SELECT * FROM devices.modules", 10); len(got) != 1 || got[0].DeviceID != "dev2" {
			t.Errorf("modules: %v", got)
		}
		mod = online(t, s, "dev1/mod1")
		rest(t, s, "DELETE /devices/dev1/modules/mod1", "", "If-Match", "*")
		mod.closed()
	})
}

// Whoever makes modules while their device is deleted and made anew leaves none without a device. Under load of many, on the
// real clock, for the race detector.
func TestNoModuleIsLeftBehind(t *testing.T) {
	s := hubtest.Start(t, nil)
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 50 {
				id := fmt.Sprintf("/devices/dev1/modules/m%d-%d", w, i%5)
				rest(t, s, "PUT "+id, `{}`)
				rest(t, s, "PUT "+id, `{"authentication":{"symmetricKey":{"primaryKey":"AAAA"}}}`, "If-Match", "*")
				if i%3 == 0 {
					rest(t, s, "DELETE "+id, "", "If-Match", "*")
				}
			}
		})
	}
	all.Go(func() {
		for range 60 {
			rest(t, s, "PUT /devices/dev1", `{}`)
			rest(t, s, "PUT /devices/dev1", `{"status":"disabled"}`, "If-Match", "*")
			rest(t, s, "DELETE /devices/dev1", "", "If-Match", "*")
		}
	})
	all.Wait()
	ok[iothub.Device](t, s, "PUT /devices/dev1", `{}`)
	if got := rest(t, s, "POST /devices/query", `{"query":"SELECT * FROM devices.modules"}`).body; got != "[]" {
		t.Errorf("modules are left: %s", got)
	}
	if got := ok[[]iothub.Module](t, s, "GET /devices/dev1/modules", ""); len(got) != 0 {
		t.Errorf("a new device has %d modules", len(got))
	}
}

func TestModuleQueries(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		for _, id := range ids(7) { // devices and modules alternate
			register(t, s, id, id+"/lock", id+"/light")
			rest(t, s, "PATCH /twins/"+id, `{"tags":{"of":"device"}}`)
			rest(t, s, "PATCH /twins/"+id+"/modules/lock", `{"tags":{"of":"lock"}}`)
		}
		rest(t, s, "DELETE /devices/dev-00003", "", "If-Match", "*")
		rest(t, s, "DELETE /devices/dev-00004/modules/lock", "", "If-Match", "*")
		tests := func(sql string, want ...string) {
			t.Helper()
			var got []string
			for _, twin := range query[iothub.Twin](t, s, sql, 2) {
				got = append(got, strings.TrimPrefix(twin.DeviceID, "dev-0000")+"/"+twin.ModuleID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s\ngot  %q\nwant %q", sql, got, want)
			}
		}
		tests("SELECT * FROM devices", "0/", "1/", "2/", "4/", "5/", "6/")
		tests("SELECT * FROM devices WHERE IS_DEFINED(tags.of)", "0/", "1/", "2/", "4/", "5/", "6/")
		tests("SELECT * FROM devices WHERE IS_DEFINED(moduleId)")
		tests("SELECT * FROM devices WHERE deviceId = 'dev-00001/lock'")
		tests("SELECT * FROM devices.modules", "0/lock", "0/light", "1/lock", "1/light", "2/lock", "2/light", "4/light", "5/lock", "5/light", "6/lock", "6/light")
		tests("SELECT * FROM devices.modules WHERE tags.of = 'lock' AND ModuleId = 'lock'", "0/lock", "1/lock", "2/lock", "5/lock", "6/lock")
		tests("SELECT * FROM devices.modules WHERE deviceId IN ['dev-00005', 'dev-00001', 'nobody']", "1/lock", "1/light", "5/lock", "5/light")
		tests("SELECT * FROM devices.modules WHERE deviceId = 'dev-00003' OR deviceId = 'dev-00001/lock'")
		tests("SELECT TOP 3 * FROM devices.modules", "0/lock", "0/light", "1/lock")
		if got := rest(t, s, "POST /devices/query", `{"query":"SELECT moduleId, COUNT() AS n FROM devices.modules GROUP BY moduleId"}`).body; got !=
			`[{"moduleId":"light","n":6},{"moduleId":"lock","n":5}]` {
			t.Errorf("groups %s", got)
		}
		if got := rest(t, s, "POST /devices/query", `{"query":"SELECT deviceId, moduleId AS m FROM devices.modules WHERE deviceId = 'dev-00006'"}`).body; got !=
			`[{"deviceId":"dev-00006","m":"lock"},{"deviceId":"dev-00006","m":"light"}]` {
			t.Errorf("list %s", got)
		}
	})
}

// Jobs go to modules by a condition that begins so, and to devices alone by any other.
func TestModuleJobs(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1", "dev2", "dev1/light", "dev2/lock")
		lock := online(t, s, "dev1/lock", iothub.FilterMethods)
		schedule(t, s, "methods", methodJob("FROM devices.modules WHERE moduleId = 'lock'", 0, 60))
		synctest.Wait()
		lock.answerMethod("m", `{"a":1}`, 200, `"done"`)
		synctest.Wait()
		wantsJob(t, s, "methods", iothub.JobCompleted, 2, 0, 0, 1, 1)
		tests := func(where string, want ...string) {
			t.Helper()
			var got []string
			for _, row := range query[iothub.DeviceJob](t, s, "SELECT * FROM devices.jobs WHERE "+where, 10) {
				got = append(got, fmt.Sprint(row.DeviceID, "/", row.ModuleID, " ", row.Status))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", where, got, want)
			}
		}
		tests("devices.jobs.jobId = 'methods'", "dev2/lock failed", "dev1/lock completed")
		tests("devices.jobs.jobId = 'methods' AND devices.jobs.moduleId = 'lock' AND devices.jobs.deviceId = 'dev1'", "dev1/lock completed")

		schedule(t, s, "twins", twinJob("FROM devices.modules WHERE IS_DEFINED(deviceId)", `"tags":{"t":1}`))
		synctest.Wait()
		wantsJob(t, s, "twins", iothub.JobCompleted, 3, 0, 0, 3, 0)
		schedule(t, s, "devices", twinJob("*", `"tags":{"d":1}`))
		synctest.Wait()
		tests("devices.jobs.jobId = 'devices'", "dev1/ completed", "dev2/ completed")
		for path, want := range map[string]string{"dev1": `{"d":1}`, "dev1/modules/light": `{"t":1}`, "dev2/modules/lock": `{"t":1}`} {
			if got := string(ok[iothub.Twin](t, s, "GET /twins/"+path, "").Tags); got != want {
				t.Errorf("tags of %s: %s, want %s", path, got, want)
			}
		}
	})
}

// The client package and the hub agree about modules.
func TestClientOfModules(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		c, ctx := s.Client(), t.Context()
		m, err := c.CreateModule(ctx, iothub.Module{DeviceID: "dev1", ModuleID: "a%b"})
		if err != nil || len(m.Authentication.SymmetricKey.Primary) != 32 {
			t.Fatalf("CreateModule: %v %v", m, err)
		}
		if _, err := c.CreateModule(ctx, m); !iothub.HasCode(err, iothub.CodeModuleAlreadyExistsOnDevice) {
			t.Errorf("second CreateModule: %v", err)
		}
		if got, err := c.UpdateModule(ctx, m, m.ETag); err != nil || got.ETag == m.ETag {
			t.Errorf("UpdateModule: %v %v", got, err)
		}
		if list, err := c.Modules(ctx, "dev1"); err != nil || len(list) != 1 || list[0].ModuleID != "a%b" {
			t.Errorf("Modules: %v %v", list, err)
		}
		if _, err := c.PatchModuleTwin(ctx, "dev1", "a%b", []byte(`{"tags":{"t":1}}`), ""); err != nil {
			t.Errorf("PatchModuleTwin: %v", err)
		}
		if twin, err := c.ModuleTwin(ctx, "dev1", "a%b"); err != nil || twin.ModuleID != "a%b" || string(twin.Tags) != `{"t":1}` {
			t.Errorf("ModuleTwin: %+v %v", twin, err)
		}
		if _, err := c.InvokeModuleMethod(ctx, "dev1", "a%b", iothub.Method{MethodName: "m"}); !iothub.HasCode(err, iothub.CodeDeviceNotOnline) {
			t.Errorf("InvokeModuleMethod: %v", err)
		}
		if err := c.DeleteModule(ctx, "dev1", "a%b", ""); err != nil {
			t.Errorf("DeleteModule: %v", err)
		}
		if _, err := c.Module(ctx, "dev1", "a%b"); !iothub.HasCode(err, iothub.CodeModuleNotFound) {
			t.Errorf("Module: %v", err)
		}
	})
}

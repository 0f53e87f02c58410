package hub_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

func TestConnect(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1", "dev10", "off")
		rest(t, s, "PUT /devices/off", `{"status":"disabled"}`, "If-Match", "*")
		device, _ := s.PolicyConnectionString("device")
		service, _ := s.PolicyConnectionString("service")
		soon := time.Now().Add(time.Hour)
		tests := func(name string, want byte, change func(c *credentials)) {
			t.Helper()
			c := valid(s, "dev1")
			change(&c)
			b := dial(t, s)
			if got := b.connect(c, true, 0); got != want {
				t.Errorf("%s: CONNACK %d, want %d", name, got, want)
			}
			if want != mqtt.Accepted {
				b.closed()
			}
		}
		const no = mqtt.RefusedNotAuthorized
		sas := func(resource string, key iothub.Key, policy string, expiry time.Time) func(*credentials) {
			return func(c *credentials) { c.password = iothub.NewToken(resource, key, policy, expiry) }
		}
		tests("its own key", mqtt.Accepted, func(*credentials) {})
		tests("no query in the user name", mqtt.Accepted, func(c *credentials) { c.username = "localhost/dev1" })
		tests("old user name", mqtt.Accepted, func(c *credentials) { c.username = "localhost/dev1/api-version=2016-11-14" })
		tests("user agent", mqtt.Accepted, func(c *credentials) { c.username += "&DeviceClientType=azure-iot-device%2F1.18.4" })
		tests("host in capitals", mqtt.Accepted, func(c *credentials) { c.username = "LOCALHOST/dev1" })
		tests("port in the user name", mqtt.Accepted, func(c *credentials) { c.username = "localhost:8884/dev1" })
		tests("port in the scope", mqtt.Accepted, sas("localhost:8884/devices/dev1", key("dev1"), "", soon))
		tests("policy device", mqtt.Accepted, sas("localhost/devices", device.SharedAccessKey, "device", soon))
		tests("policy for the whole hub", mqtt.Accepted, sas("localhost", device.SharedAccessKey, "device", soon))
		tests("policy without DeviceConnect", no, sas("localhost", service.SharedAccessKey, "service", soon))
		tests("key of another policy", no, sas("localhost", service.SharedAccessKey, "device", soon))
		tests("unknown policy", no, sas("localhost", device.SharedAccessKey, "nobody", soon))
		tests("key of another device", no, sas("localhost/devices/dev1", key("dev10"), "", soon))
		tests("scope of another device", no, sas("localhost/devices/dev10", key("dev1"), "", soon))
		tests("half a segment as scope", no, sas("localhost/devices/dev", key("dev1"), "", soon))
		tests("scope of another hub", no, sas("elsewhere/devices/dev1", key("dev1"), "", soon))
		tests("expired token", no, sas("localhost/devices/dev1", key("dev1"), "", time.Now()))
		tests("no password", no, func(c *credentials) { c.password = "" })
		tests("no token", no, func(c *credentials) { c.password = "secret" })
		tests("another client id", no, func(c *credentials) { c.clientID = "dev10" })
		tests("client id in capitals", no, func(c *credentials) { c.clientID = "DEV1" })
		tests("another hub", no, func(c *credentials) { c.username = "elsewhere/dev1" })
		tests("user name without device", no, func(c *credentials) { c.username = "localhost" })
		tests("module", no, func(c *credentials) { c.username = "localhost/dev1/mod1" })
		tests("unknown device", no, func(c *credentials) { *c = valid(s, "nobody") })
		tests("disabled device", no, func(c *credentials) { *c = valid(s, "off") })
		eventually(t, "one connection is left of many by one device", func() bool { return s.Stats().Connections == 1 })
	})
}

func TestConnectSecondaryKey(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		d := ok[iothub.Device](t, s, "PUT /devices/dev1", `{"deviceId":"dev1"}`)
		for name, key := range map[string]iothub.Key{
			"primary":   d.Authentication.SymmetricKey.Primary,
			"secondary": d.Authentication.SymmetricKey.Secondary,
		} {
			c := valid(s, "dev1")
			c.password = iothub.NewToken("localhost/devices/dev1", key, "", time.Now().Add(time.Hour))
			if got := dial(t, s).connect(c, true, 0); got != mqtt.Accepted || len(key) != 32 {
				t.Errorf("%s key of %d bytes: CONNACK %d", name, len(key), got)
			}
		}
	})
}

func TestConnectAnotherLevel(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		for _, level := range []byte{3, 5} {
			packet, err := mqtt.AppendConnect(nil, mqtt.Connect{ClientID: []byte("dev1"), CleanSession: true})
			if err != nil {
				t.Fatal(err)
			}
			packet[bytes.Index(packet, []byte("MQTT"))+len("MQTT")] = level
			b := dial(t, s)
			b.write(packet)
			got, err := mqtt.ParseConnack(b.expect(mqtt.TypeConnack))
			if err != nil || got.Code != mqtt.RefusedLevel {
				t.Errorf("level %d: CONNACK %d (%v), want %d", level, got.Code, err, mqtt.RefusedLevel)
			}
			b.closed()
		}
	})
}

// Who has not shown a token yet may send a CONNECT, and not much more. A will may be as large as MQTT has it.
func TestLargeConnect(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		tests := func(name string, p mqtt.Connect, userName int, want bool) {
			t.Helper()
			c := valid(s, "dev1")
			p.ClientID, p.Username, p.Password = []byte(c.clientID), []byte(c.username+strings.Repeat("x", userName)), []byte(c.password)
			p.CleanSession, p.HasUsername, p.HasPassword = true, true, true
			packet, err := mqtt.AppendConnect(nil, p)
			if err != nil {
				t.Fatal(err)
			}
			packet = mqtt.AppendPingreq(packet) // what follows at once is for later
			before := s.Stats().ProtocolErrors
			b := dial(t, s)
			if b.write(packet); want {
				b.expect(mqtt.TypeConnack)
				b.expect(mqtt.TypePingresp)
				b.send(mqtt.Publish{Topic: []byte(iothub.EventsTopic("dev1")), Payload: make([]byte, 200<<10), QoS: 1, ID: 1})
				b.expect(mqtt.TypePuback)
				return
			}
			b.closed()
			eventually(t, name+" counted", func() bool { return s.Stats().ProtocolErrors == before+1 })
		}
		will := mqtt.Connect{HasWill: true, WillTopic: []byte(iothub.EventsTopic("dev1")), WillPayload: make([]byte, 60_000)}
		tests("small", mqtt.Connect{}, 0, true)
		tests("15 KB", mqtt.Connect{}, 15<<10, true)
		tests("17 KB", mqtt.Connect{}, 17<<10, false)
		tests("will", will, 0, true)
		tests("will and 30 KB", will, 30<<10, false)
		b := dial(t, s)
		b.write([]byte{0x10, 0x80, 0x80, 0x14}) // a CONNECT of 320 KB, as far as one gets
		start := time.Now()
		for err := error(nil); err == nil; {
			_, err = b.conn.Write(make([]byte, 1<<10))
			synctest.Wait()
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("an endless CONNECT lasted %s", d)
		}
	})
}

func TestConnectDeadline(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		if got := dial(t, s).closed(); got != 10*time.Second {
			t.Errorf("a connection without CONNECT lasted %s, want 10s", got)
		}
	})
}

// The token's end closes the connection, whatever is said on it.
func TestTokenExpiry(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		c := valid(s, "dev1")
		c.password = token(s, "dev1", time.Now().Add(90*time.Second))
		b := dial(t, s)
		b.connect(c, true, 60)
		time.Sleep(50 * time.Second)
		b.alive()
		if got := b.closed(); got != 40*time.Second {
			t.Errorf("closed %s after 50 s, want 40s", got)
		}
		eventually(t, "counted", func() bool { return s.Stats().TokenExpired == 1 })
	})
}

func TestKeepAlive(t *testing.T) {
	tests := func(name string, seconds uint16, want time.Duration) {
		t.Helper()
		bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
			register(t, s, "dev1")
			c := valid(s, "dev1")
			c.password = token(s, "dev1", time.Now().Add(9*time.Hour))
			b := dial(t, s)
			b.connect(c, true, seconds)
			for range 3 { // packets move the end, at whatever distance they come
				time.Sleep(want / 5)
				b.alive()
			}
			if got := b.closed(); got != want {
				t.Errorf("%s: closed after %s, want %s", name, got, want)
			}
			eventually(t, "counted", func() bool { return s.Stats().KeepAliveClosed == 1 })
		})
	}
	tests("one and a half times", 10, 15*time.Second)
	tests("the service's most", 65535, 1767*time.Second)
}

func TestKeepAliveOfNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		c := valid(s, "dev1")
		c.password = token(s, "dev1", time.Now().Add(9*time.Hour))
		b := dial(t, s)
		b.connect(c, true, 0)
		time.Sleep(8 * time.Hour)
		b.alive()
	})
}

func TestTakeover(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		older := online(t, s, "dev1", iothub.FilterMethods)
		newer := reconnect(t, s, "dev1")
		older.closed()
		newer.alive()
		if got := s.Stats(); got.Connections != 1 || got.TakenOver != 1 {
			t.Errorf("stats %+v, want 1 connection, 1 taken over", got)
		}
		refused(t, "a method that only the older had subscribed",
			rest(t, s, "POST /twins/dev1/methods", `{"methodName":"m"}`), iothub.CodeDeviceNotOnline)
	})
}

// Official SDKs reconnect with CleanSession=0 and do not subscribe again.
func TestSession(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		connect := func(clean, wantPresent bool) *bare {
			t.Helper()
			b := dial(t, s)
			got := b.connack(mqtt.Connect{CleanSession: clean}, valid(s, "dev1"))
			if got.Code != mqtt.Accepted || got.SessionPresent != wantPresent {
				t.Errorf("CONNACK %+v, want session present %t", got, wantPresent)
			}
			return b
		}
		connect(false, false).subscribe(iothub.FilterTwinResponses)
		b := connect(false, true)
		b.publish(iothub.TwinGetTopic("1"), "")
		b.message()
		b.write(mqtt.AppendDisconnect(nil))
		b.closed()
		b = connect(false, true)
		b.publish(iothub.TwinGetTopic("2"), "")
		b.message()
		b = connect(true, false)
		b.publish(iothub.TwinGetTopic("3"), "")
		b.silent(time.Second)
		connect(false, false)
	})
}

func TestUnsubscribe(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterTwinResponses, iothub.FilterDesired)
		packet, err := mqtt.AppendUnsubscribe(nil, 7, []byte(iothub.FilterTwinResponses))
		if err != nil {
			t.Fatal(err)
		}
		b.write(packet)
		b.expect(mqtt.TypeUnsuback)
		b.publish(iothub.TwinGetTopic("1"), "")
		b.silent(time.Second)
		rest(t, s, "PATCH /twins/dev1", `{"properties":{"desired":{"a":1}}}`)
		b.wants(iothub.DesiredTopic(2), `{"a":1,"$version":2}`)
	})
}

func TestSubackGrantsAtMostOne(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1")
		packet, err := mqtt.AppendSubscribe(nil, 1,
			mqtt.Filter{Topic: []byte(iothub.FilterMethods)},
			mqtt.Filter{Topic: []byte(iothub.FilterDesired), QoS: 1},
			mqtt.Filter{Topic: []byte(iothub.FilterTwinResponses), QoS: 2},
			mqtt.Filter{Topic: []byte(iothub.DeviceBoundFilter("dev1")), QoS: 2})
		if err != nil {
			t.Fatal(err)
		}
		b.write(packet)
		ack, err := mqtt.ParseSuback(b.expect(mqtt.TypeSuback))
		if want := []byte{0, 1, 1, 1}; err != nil || !bytes.Equal(ack.Codes, want) {
			t.Errorf("SUBACK %v (%v), want %v", ack.Codes, err, want)
		}
	})
}

// What the service does not have closes the connection: MQTT 3.1.1 cannot say no in another way.
func TestClosesConnection(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		tests := func(name string, provoke func(b *bare)) {
			t.Helper()
			before := s.Stats().ProtocolErrors
			id := strings.ReplaceAll(name, " ", "-")
			b := online(t, s, id)
			provoke(b)
			if d := b.closed(); d > 0 {
				t.Errorf("%s: closed after %s", name, d)
			}
			eventually(t, name+" counted", func() bool { return s.Stats().ProtocolErrors == before+1 })
			reconnect(t, s, id).alive()
		}
		subscribe := func(filters ...string) func(*bare) {
			return func(b *bare) { b.sendSubscribe(1, filters...) }
		}
		publish := func(p mqtt.Publish) func(*bare) { return func(b *bare) { b.send(p) } }
		topic := func(s string) mqtt.Publish { return mqtt.Publish{Topic: []byte(s)} }
		tests("all topics", subscribe("#"))
		tests("all topics of the hub", subscribe("$iothub/#"))
		tests("all answers", subscribe("$iothub/twin/res/+"))
		tests("messages of another", subscribe(iothub.DeviceBoundFilter("another")))
		tests("a good filter and a bad one", subscribe(iothub.FilterMethods, "news"))
		tests("six filters", subscribe(iothub.FilterMethods, iothub.FilterDesired, iothub.FilterTwinResponses,
			iothub.FilterMethods, iothub.FilterDesired, iothub.FilterTwinResponses))
		tests("unknown topic", publish(topic("news")))
		tests("telemetry of another", publish(topic(iothub.EventsTopic("another"))))
		tests("a topic of the hub", publish(topic(iothub.DesiredTopic(1))))
		tests("twin GET without request id", publish(topic("$iothub/twin/GET/")))
		tests("very long request id", publish(topic(iothub.TwinGetTopic(strings.Repeat("x", 60_000)))))
		tests("QoS 2", publish(mqtt.Publish{Topic: []byte(iothub.EventsTopic("QoS-2")), QoS: 2, ID: 1}))
		tests("large message", publish(mqtt.Publish{Topic: []byte(iothub.EventsTopic("large-message")), Payload: make([]byte, 256<<10+1)}))
		tests("large properties", publish(mqtt.Publish{
			Topic: []byte(iothub.EventsTopic("large-properties") + "a=" + strings.Repeat("x", 1<<10)), Payload: make([]byte, 255<<10),
		}))
		tests("larger than any packet", func(b *bare) { b.write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}) })
		tests("second CONNECT", func(b *bare) {
			packet, _ := mqtt.AppendConnect(nil, mqtt.Connect{ClientID: []byte(b.id), CleanSession: true})
			b.write(packet)
		})
		tests("CONNACK", func(b *bare) { b.write(mqtt.AppendConnack(nil, false, 0)) })
		tests("garbage", func(b *bare) { b.write([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) })
	})
}

func TestTelemetry(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1")
		b.publish(iothub.EventsTopic("dev1"), "{}")
		b.send(mqtt.Publish{Topic: []byte(iothub.EventsTopic("dev1") + "%24.mid=1&a=b"), Payload: []byte("x"), QoS: 1, ID: 77})
		if id, err := mqtt.ParseAck(b.expect(mqtt.TypePuback)); id != 77 || err != nil {
			t.Errorf("PUBACK %d (%v), want 77", id, err)
		}
		b.send(mqtt.Publish{Topic: []byte(iothub.EventsTopic("dev1")), Payload: make([]byte, 256<<10), QoS: 1, ID: 78, Retain: true})
		b.expect(mqtt.TypePuback)
		if got := s.Stats().Telemetry; got != 3 {
			t.Errorf("%d telemetry messages, want 3", got)
		}
	})
}

// A will counts as telemetry if its device vanished, and is dropped if the device said goodbye.
func TestWill(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		connect := func() *bare {
			b := dial(t, s)
			b.connack(mqtt.Connect{HasWill: true, WillTopic: []byte(iothub.EventsTopic("dev1")), CleanSession: true}, valid(s, "dev1"))
			return b
		}
		c := valid(s, "dev1")
		c.password = "wrong"
		refused := dial(t, s)
		refused.connack(mqtt.Connect{HasWill: true, WillTopic: []byte(iothub.EventsTopic("dev1")), CleanSession: true}, c)
		refused.closed()
		b := connect()
		b.write(mqtt.AppendDisconnect(nil))
		b.closed()
		eventually(t, "dropped", func() bool { return s.Stats().Telemetry == 0 })
		_ = connect().conn.Close()
		eventually(t, "sent", func() bool { return s.Stats().Telemetry == 1 })
	})
}

// Devices that never read are closed, and nobody waits for them.
func TestSlowConsumers(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		deaf := ids(20)
		for _, id := range deaf {
			online(t, s, id, iothub.FilterDesired, iothub.FilterTwinResponses)
		}
		good := online(t, s, "good", iothub.FilterDesired)
		big := `{"properties":{"desired":{"a":"` + strings.Repeat("x", 4000) + `","b":"` + strings.Repeat("x", 4000) + `"}}}`
		start := time.Now()
		for i := range 20 { // 160 KB for each: the transport takes 64 KB, 64 KB may wait for longer
			for _, id := range deaf {
				rest(t, s, "PATCH /twins/"+id, big)
			}
			rest(t, s, "PATCH /twins/good", `{"properties":{"desired":{"a":1}}}`)
			good.wants(iothub.DesiredTopic(int64(i+2)), `{"a":1,"$version":`+itoa(i+2)+`}`)
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("deaf devices delayed the others by %s", d)
		}
		eventually(t, "a burst makes no slow consumer", func() bool { return s.Stats().SlowClosed == 0 })
		time.Sleep(501 * time.Millisecond)
		for _, id := range deaf {
			rest(t, s, "PATCH /twins/"+id, `{"properties":{"desired":{"a":1}}}`)
		}
		synctest.Wait()
		if got := s.Stats(); got.SlowClosed != 20 || got.Connections != 1 {
			t.Errorf("%d slow consumers closed, %d connections left; want 20 and 1", got.SlowClosed, got.Connections)
		}
		good.alive()
	})
}

// A device that reads gets what comes in bursts, however large they are: calls that waited for it, calls at once, and
// answers to requests that it did not wait with.
func TestBurstsAreNotSlow(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		parts := make([]string, 7)
		for i := range parts {
			parts[i] = fmt.Sprintf(`"k%d":%q`, i, strings.Repeat("x", 4000))
		}
		rest(t, s, "PATCH /twins/dev1", `{"properties":{"desired":{`+strings.Join(parts, ",")+`}}}`)
		method := `{"methodName":"m","connectTimeoutInSeconds":20,"payload":"` + strings.Repeat("x", 100<<10) + `"}`
		var calls []*invocation
		for range 40 { // 4 MB
			calls = append(calls, invoke(t, s, "dev1", method))
		}
		b := reconnect(t, s, "dev1", iothub.FilterTwinResponses)
		b.sendSubscribe(1, iothub.FilterMethods)
		b.expect(mqtt.TypeSuback)
		time.Sleep(400 * time.Millisecond)
		for range 40 {
			calls = append(calls, invoke(t, s, "dev1", method))
		}
		for range calls {
			b.answerMethod("m", `"`+strings.Repeat("x", 100<<10)+`"`, 200, "")
		}
		for _, c := range calls {
			if <-c.done; c.status != http.StatusOK {
				t.Errorf("call: %d %s", c.status, c.body)
			}
		}
		for range 20 {
			b.publish(iothub.TwinGetTopic("1"), "")
		}
		for range 20 {
			b.message()
		}
		b.alive()
	})
}

// A device that reads nothing does not let what waits for it grow.
func TestEndlessBurst(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		online(t, s, "dev1", iothub.FilterDesired)
		value := strings.Repeat("x", 4000)
		for range 80 { // 30 KB each
			members := make([]string, 7)
			for i := range members {
				members[i] = fmt.Sprintf(`"k%d":%q`, i, value)
			}
			rest(t, s, "PATCH /twins/dev1", `{"properties":{"desired":{`+strings.Join(members, ",")+`}}}`)
		}
		eventually(t, "closed as slow", func() bool { return s.Stats().SlowClosed == 1 && s.Stats().Connections == 0 })
	})
}

// A call that finds no room on its device's connection ends with the response timeout.
func TestMethodsWaitForRoom(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		online(t, s, "dev1", iothub.FilterMethods)
		method := `{"methodName":"m","responseTimeoutInSeconds":5,"payload":"` + strings.Repeat("x", 120<<10) + `"}`
		var calls []*invocation
		for range 8 {
			calls = append(calls, invoke(t, s, "dev1", method))
		}
		if got := s.Stats().MethodRequests; got != 3 {
			t.Errorf("%d requests handed over, want 3", got)
		}
		for _, c := range calls {
			c.refused(t, iothub.CodeGatewayTimeout, 5*time.Second)
		}
		eventually(t, "closed as slow", func() bool { return s.Stats().SlowClosed == 1 })
	})
}

// One write that is stuck for five seconds makes a slow consumer, however little there is to be written.
func TestStuckWrite(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterTwinResponses)
		for range 900 { // the answers fill the transport, and a few more wait
			b.publish(iothub.TwinGetTopic("1"), "")
			synctest.Wait()
		}
		time.Sleep(4 * time.Second)
		eventually(t, "patience", func() bool { return s.Stats().Connections == 1 })
		time.Sleep(time.Second)
		eventually(t, "closed as slow", func() bool { return s.Stats().SlowClosed == 1 && s.Stats().Connections == 0 })
	})
}

func TestDisableAndDeleteDisconnect(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1")
		rest(t, s, "PUT /devices/dev1", `{"status":"disabled"}`, "If-Match", `"*"`)
		b.closed()
		rest(t, s, "PUT /devices/dev1", `{"status":"enabled"}`, "If-Match", `"*"`)
		b = reconnect(t, s, "dev1") // with the key that it had
		rest(t, s, "DELETE /devices/dev1", "", "If-Match", "*")
		b.closed()
		if got := dial(t, s).connect(valid(s, "dev1"), true, 0); got != mqtt.RefusedNotAuthorized {
			t.Errorf("deleted device: CONNACK %d", got)
		}
	})
}

// Close ends what is connected, what is half connected and what waits.
func TestClose(t *testing.T) {
	bubble(t, &hub.Options{JobRate: 1}, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		register(t, s, "dev2")
		half := dial(t, s)
		rest(t, s, "PUT /jobs/v2/j", `{"type":"scheduleDeviceMethod","queryCondition":"*","cloudToDeviceMethod":{"methodName":"m"}}`)
		called := make(chan struct{})
		go func() {
			defer close(called)
			req, _ := http.NewRequest("POST", s.URL()+"/twins/dev1/methods?api-version=1", strings.NewReader(`{"methodName":"m"}`))
			cs := s.ConnectionString()
			req.Header.Set("Authorization", iothub.NewToken("localhost", cs.SharedAccessKey, cs.SharedAccessKeyName, time.Now().Add(time.Hour)))
			if resp, err := s.HTTPClient().Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}()
		synctest.Wait()
		if got := s.Stats().MethodRequests; got != 2 {
			t.Errorf("%d methods pending, want one of the job and one of a request", got)
		}
		start := time.Now()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("Close took %s", d)
		}
		<-called
		b.closed()
		half.closed()
		if err := s.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

// TestCaughtUp has a device take what it did not take at once, and be well when something comes long after that.
func TestCaughtUp(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1", iothub.FilterMethods)
		const calls = 7 // of 10 KB: a connection in memory does not hold all of the last one
		payload := `"` + strings.Repeat("x", 10_000) + `"`
		var all []*invocation
		for range calls {
			all = append(all, invoke(t, s, "dev1", `{"methodName":"m","payload":`+payload+`}`))
		}
		for range calls {
			b.answerMethod("m", payload, 200, "1")
		}
		for _, c := range all {
			c.wants(t, http.StatusOK, `{"status":200,"payload":1}`, 0)
		}
		time.Sleep(10 * time.Second)
		b.alive()
		if got := s.Stats().SlowClosed; got != 0 {
			t.Errorf("%d slow consumers closed, want none", got)
		}
	})
}

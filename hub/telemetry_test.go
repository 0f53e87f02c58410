package hub_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// The latest message of a device or module is shown, all of it up to 4 KB.
func TestLatestTelemetry(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		dev, mod := online(t, s, "dev1"), (*bare)(nil)
		mod = online(t, s, "dev1/mod1")
		const path = "GET /muster/devices/dev1/telemetry"
		if got := rest(t, s, path, "").body; got != `{"deviceId":"dev1","count":0,"latest":null}` {
			t.Errorf("before the first message: %s", got)
		}
		count := 0
		tests := func(name, bag string, body []byte, want string) {
			t.Helper()
			count++
			time.Sleep(time.Second)
			at := time.Now().UTC().Format("2006-01-02T15:04:05.0000000Z")
			dev.send(mqtt.Publish{Topic: []byte(iothub.EventsTopic("dev1") + bag), Payload: body, QoS: 1, ID: 1})
			dev.expect(mqtt.TypePuback)
			want = `{"deviceId":"dev1","count":` + itoa(count) + `,"latest":{"enqueuedTimeUtc":"` + at + `",` + want + `}}`
			if diff := cmp.Diff(decoded[any](t, want), decoded[any](t, rest(t, s, path, "").body)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		text := func(s string) string { b, _ := json.Marshal(s); return string(b) }
		b64 := func(b []byte) string { return text(base64.StdEncoding.EncodeToString(b)) }
		tests("text", "", []byte(`{"t":21}`), `"body":"{\"t\":21}","bodySize":8,"truncated":false`)
		tests("properties", "%24.mid=id%201&%24.ct=application%2Fjson&$.ce=utf-8&%24.xyz=1&al%20ert=a%26b%3Dc&empty=&null", []byte("x"),
			`"properties":{"al ert":"a&b=c","empty":"","null":null},"systemProperties":{"messageId":"id 1","contentType":"application/json",`+
				`"contentEncoding":"utf-8","$.xyz":"1"},"body":"x","bodySize":1,"truncated":false`)
		tests("a repeated property", "a=1&a=2", nil, `"properties":{"a":"2"},"body":"","bodySize":0,"truncated":false`)
		tests("no property bag", "a=%zz", []byte("x"), `"propertyBag":"a=%zz","body":"x","bodySize":1,"truncated":false`)
		tests("binary", "", []byte{0xff, 0, 1}, `"bodyBase64":`+b64([]byte{0xff, 0, 1})+`,"bodySize":3,"truncated":false`)
		full := strings.Repeat("x", 4<<10)
		tests("4 KB", "", []byte(full), `"body":`+text(full)+`,"bodySize":4096,"truncated":false`)
		tests("more", "", []byte(full+"y"), `"body":`+text(full)+`,"bodySize":4097,"truncated":true`)
		tests("cut in a letter", "", []byte(full[1:]+"üy"), `"body":`+text(full[1:])+`,"bodySize":4098,"truncated":true`)
		binary := bytes.Repeat([]byte{0xbf}, 5<<10)
		tests("cut in no text", "", binary, `"bodyBase64":`+b64(binary[:4<<10])+`,"bodySize":5120,"truncated":true`)
		tests("the largest", "", make([]byte, 256<<10), `"body":`+text(string(make([]byte, 4<<10)))+`,"bodySize":262144,"truncated":true`)
		tests("large properties", "a="+strings.Repeat("x", 4<<10), []byte("x"), `"body":"x","bodySize":1,"truncated":true`)
		tests("small again", "a=1", []byte("x"), `"properties":{"a":"1"},"body":"x","bodySize":1,"truncated":false`)

		mod.publish(iothub.ModuleEventsTopic("dev1", "mod1")+"of=module", "m")
		synctest.Wait()
		got := rest(t, s, "GET /muster/devices/dev1/modules/mod1/telemetry", "").body
		for _, part := range []string{`{"deviceId":"dev1","moduleId":"mod1","count":1,`, `"properties":{"of":"module"}`, `"body":"m"`} {
			if !strings.Contains(got, part) {
				t.Errorf("module: %s, lacks %s", got, part)
			}
		}
		if got := ok[struct{ Count int }](t, s, path, ""); got.Count != count {
			t.Errorf("the module's message counts as its device's: %d", got.Count)
		}
		refused(t, "unknown device", rest(t, s, "GET /muster/devices/nobody/telemetry", ""), iothub.CodeDeviceNotFound)
		refused(t, "unknown module", rest(t, s, "GET /muster/devices/dev1/modules/none/telemetry", ""), iothub.CodeModuleNotFound)
	})
}

// The will of a device that vanished is its latest message.
func TestWillIsTelemetry(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		b := dial(t, s)
		will := strings.Repeat("gone ", 1000)
		b.connack(mqtt.Connect{HasWill: true, WillTopic: []byte(iothub.EventsTopic("dev1") + "a=1"), WillPayload: []byte(will), WillRetain: true, CleanSession: true}, valid(s, "dev1"))
		_ = b.conn.Close()
		synctest.Wait()
		got := rest(t, s, "GET /muster/devices/dev1/telemetry", "").body
		for _, part := range []string{`"count":1`, `"properties":{"a":"1","mqtt-retain":"true"}`, `"systemProperties":{"iothub-MessageType":"Will"}`, `"body":"gone gone`, `"bodySize":5000,"truncated":true`} {
			if !strings.Contains(got, part) {
				t.Errorf("%s\nlacks %s", got, part)
			}
		}
	})
}

// A device that sends telemetry costs no allocation for it, however much it sends.
func TestTelemetryAllocatesNothing(t *testing.T) {
	s := hubtest.Start(t, nil)
	b := online(t, s, "dev1")
	packet, err := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte(iothub.EventsTopic("dev1") + "a=b"), Payload: make([]byte, 100)})
	if err != nil {
		t.Fatal(err)
	}
	packets := bytes.Repeat(packet, 1000)
	n := testing.AllocsPerRun(20, func() {
		b.write(packets)
		b.alive() // everything was read
	})
	if n > 100 {
		t.Errorf("%v allocations for 1000 messages, want none but for what surrounds them", n)
	}
}

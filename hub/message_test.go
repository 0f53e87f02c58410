package hub_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// post sends a cloud-to-device message that must be accepted.
func post(t testing.TB, s *hubtest.Server, id, body string) {
	t.Helper()
	if a := rest(t, s, "POST /muster/devices/"+id+"/messages", body); a.status != http.StatusOK {
		t.Fatalf("send %.100s to %s: %d %s", body, id, a.status, a.body)
	}
	synctest.Wait()
}

// listen subscribes to the device's messages.
func (b *bare) listen(qos byte) {
	b.t.Helper()
	packet, err := mqtt.AppendSubscribe(nil, 9, mqtt.Filter{Topic: []byte(iothub.DeviceBoundFilter(b.id)), QoS: qos})
	if err != nil {
		b.t.Fatal(err)
	}
	b.write(packet)
	ack, err := mqtt.ParseSuback(b.expect(mqtt.TypeSuback))
	if err != nil || ack.Codes[0] != qos {
		b.t.Fatalf("SUBACK %v %v, want %d", ack, err, qos)
	}
}

// listening registers and connects a device that listens to its messages.
func listening(t testing.TB, s *hubtest.Server, id string, qos byte) *bare {
	t.Helper()
	b := online(t, s, id)
	b.listen(qos)
	return b
}

// resume connects a device with CleanSession 0.
func resume(t testing.TB, s *hubtest.Server, id string) *bare {
	t.Helper()
	b := dial(t, s)
	if ack := b.connack(mqtt.Connect{}, valid(s, id)); ack.Code != mqtt.Accepted {
		t.Fatalf("connect %s: %+v", id, ack)
	}
	return b
}

// delivery returns the body of the next message, written with its QoS, packet identifier and whether it is a duplicate.
func (b *bare) delivery() (string, uint16) {
	b.t.Helper()
	h, body, err := b.rd.Next()
	if err != nil || h.Type != mqtt.TypePublish {
		b.t.Fatalf("%s: waiting for a message: %s %v", b.id, h.Type, err)
	}
	p, err := mqtt.ParsePublish(h, body)
	if err != nil {
		b.t.Fatal(err)
	}
	text := fmt.Sprintf("%s q%d", p.Payload, p.QoS)
	if p.Dup {
		text += " dup"
	}
	return text, p.ID
}

// gets checks the next messages and returns their packet identifiers.
func (b *bare) gets(want ...string) (packets []uint16) {
	b.t.Helper()
	for _, w := range want {
		got, id := b.delivery()
		if got != w {
			b.t.Errorf("%s: got %q, want %q", b.id, got, w)
		}
		packets = append(packets, id)
	}
	return packets
}

func (b *bare) acknowledge(packets ...uint16) {
	b.t.Helper()
	for _, id := range packets {
		b.write(mqtt.AppendPuback(nil, id))
	}
	synctest.Wait()
}

// waiting checks how many messages identity, twin and query tell of.
func waiting(t testing.TB, s *hubtest.Server, id string, want int) {
	t.Helper()
	synctest.Wait()
	identity := ok[iothub.Device](t, s, "GET /devices/"+id, "").CloudToDeviceMessageCount
	twin := ok[iothub.Twin](t, s, "GET /twins/"+id, "").CloudToDeviceMessageCount
	rows := query[iothub.Twin](t, s, fmt.Sprintf("SELECT * FROM devices WHERE deviceId = '%s' AND cloudToDeviceMessageCount = %d", id, want), 1)
	if identity != want || twin != want || len(rows) != 1 || rows[0].CloudToDeviceMessageCount != want {
		t.Errorf("%s: %d messages in the identity, %d in the twin, rows %v; want %d", id, identity, twin, rows, want)
	}
}

func say(text string) string { return fmt.Sprintf(`{"body":%q}`, text) }

// What a service gives to a message stands in the topic that its device gets it on.
func TestMessageToDevice(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := listening(t, s, "dev1", 0)
		other := listening(t, s, "dev10", 0)
		const to = "devices/dev1/messages/devicebound/%24.to=%2Fdevices%2Fdev1%2Fmessages%2FdeviceBound"
		tests := func(body, topic, payload string) {
			t.Helper()
			post(t, s, "dev1", body)
			b.wants(to+topic, payload)
		}
		tests(`{"systemProperties":{"messageId":"m 1"},"body":"hello"}`, "&%24.mid=m%201", "hello")
		tests(`{"systemProperties":{"contentEncoding":"utf-8","contentType":"application/json","userId":"u","correlationId":"c","messageId":"m",
			"creationTimeUtc":"now","expiryTimeUtc":"2030-01-01T00:00:00Z"},"properties":{"z":"","al ert":"a&b=c","null":null},"body":"{}"}`,
			"&%24.mid=m&%24.cid=c&%24.uid=u&%24.ct=application%2Fjson&%24.ce=utf-8&%24.ctime=now&%24.exp=2030-01-01T00%3A00%3A00Z"+
				"&al%20ert=a%26b%3Dc&null&z=", "{}")
		tests(`{"systemProperties":{"messageId":"m"},"bodyBase64":"/wAB"}`, "&%24.mid=m", "\xff\x00\x01")
		tests(`{"systemProperties":{"messageId":"m"}}`, "&%24.mid=m", "")

		sent := ok[map[string]any](t, s, "POST /muster/devices/dev1/messages", `{"body":"x"}`)
		topic, _ := b.message()
		parsed, err := iothub.ParseTopic(topic)
		properties, bagErr := iothub.ParseBag(parsed.Bag)
		if err != nil || bagErr != nil || len(properties) != 2 || properties[1].Name != "$.mid" || properties[1].Value != sent["messageId"] || len(properties[1].Value) != 36 {
			t.Errorf("without an id: topic %s, %v %v, answer %v", topic, err, bagErr, sent)
		}
		other.silent(time.Second)
		waiting(t, s, "dev1", 0)
	})
}

func TestRefusedMessages(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1", "dev1/mod1")
		tests := func(body string, want iothub.ErrorCode) {
			t.Helper()
			a := rest(t, s, "POST /muster/devices/dev1/messages", body)
			if len(body) > 100 {
				body = body[:100]
			}
			refused(t, body, a, want)
		}
		const bad, large = iothub.CodeArgumentInvalid, iothub.CodeMessageTooLarge
		tests(``, bad)
		tests(`[]`, bad)
		tests(`{"body":"a"} {}`, bad)
		tests(`{"bdoy":"a"}`, bad)
		tests(`{"body":1}`, bad)
		tests(`{"body":"a","bodyBase64":"YQ=="}`, bad)
		tests(`{"bodyBase64":"not base64"}`, bad)
		tests(`{"propertyBag":"a=b"}`, bad)
		tests(`{"properties":{"$.to":"/devices/dev2"}}`, bad)
		tests(`{"properties":{"$x":"y"}}`, bad)
		tests(`{"properties":{"":"y"}}`, bad)
		tests(`{"properties":{"a":1}}`, bad)
		tests(`{"systemProperties":{"to":"/devices/dev2/messages/deviceBound"}}`, bad)
		tests(`{"systemProperties":{"$.mid":"x"}}`, bad)
		tests(`{"systemProperties":{"expiryTimeUtc":"soon"}}`, bad)
		tests(`{"systemProperties":{"expiryTimeUtc":""}}`, bad)
		tests(`{"systemProperties":{"expiryTimeUtc":"2000-01-01T00:00:00Z"}}`, bad)
		tests(say(strings.Repeat("x", 64<<10)), large) // and its properties
		tests(`{"properties":{"a":"`+strings.Repeat("x", 64<<10-100)+`"}}`, large)
		tests(`{"properties":{"a":"`+strings.Repeat(" ", 22<<10)+`"}}`, large) // as large as it stands in the topic
		refused(t, "unknown device", rest(t, s, "POST /muster/devices/nobody/messages", `{}`), iothub.CodeDeviceNotFound)
		refused(t, "module", rest(t, s, "POST /muster/devices/dev1/modules/mod1/messages", `{}`), iothub.CodeGenericBadRequest)
		waiting(t, s, "dev1", 0)
	})
}

// With QoS 0 a message is done when it is sent, with QoS 1 when it is acknowledged. The queue is the device's, so it waits
// for a device that is offline or does not listen.
func TestMessageDelivery(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		post(t, s, "dev1", say("1"))
		waiting(t, s, "dev1", 1)
		b := reconnect(t, s, "dev1")
		post(t, s, "dev1", say("2"))
		b.silent(time.Second)
		waiting(t, s, "dev1", 2)
		b.listen(0)
		b.gets("1 q0", "2 q0")
		waiting(t, s, "dev1", 0)
		post(t, s, "dev1", say("3"))
		b.gets("3 q0")

		b.listen(1) // changes the QoS
		post(t, s, "dev1", say("4"))
		post(t, s, "dev1", say("5"))
		packets := b.gets("4 q1", "5 q1")
		waiting(t, s, "dev1", 2)
		b.acknowledge(packets[1])
		waiting(t, s, "dev1", 1)
		b.acknowledge(packets[1], 777)
		waiting(t, s, "dev1", 1)
		b.listen(1) // nothing is sent twice on one connection
		b.silent(time.Second)
		b.acknowledge(packets[0])
		waiting(t, s, "dev1", 0)
		if got := s.Stats(); got.Messages != 5 || got.Deliveries != 5 || got.Completions != 5 {
			t.Errorf("stats %+v, want 5 messages, deliveries and completions", got)
		}

		packet, err := mqtt.AppendUnsubscribe(nil, 3, []byte(iothub.DeviceBoundFilter("dev1")))
		if err != nil {
			t.Fatal(err)
		}
		b.write(packet)
		b.expect(mqtt.TypeUnsuback)
		post(t, s, "dev1", say("6"))
		b.silent(time.Second)
		b.listen(0)
		b.gets("6 q0")
	})
}

// What was not acknowledged comes again: in a session that goes on at once, as the same packet and marked, in a new one when
// the device subscribes.
func TestMessageRedelivery(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		b := resume(t, s, "dev1")
		b.listen(1)
		for _, text := range []string{"1", "2", "3"} {
			post(t, s, "dev1", say(text))
		}
		first := b.gets("1 q1", "2 q1", "3 q1")
		b.acknowledge(first[1])
		_ = b.conn.Close()
		synctest.Wait()
		post(t, s, "dev1", say("4"))
		waiting(t, s, "dev1", 3)

		b = resume(t, s, "dev1")
		second := b.gets("1 q1 dup", "3 q1 dup", "4 q1")
		if second[0] != first[0] || second[1] != first[2] || second[2] == first[0] || second[2] == first[2] {
			t.Errorf("packets %v, then %v", first, second)
		}
		taken := resume(t, s, "dev1")
		taken.gets("1 q1 dup", "3 q1 dup", "4 q1 dup")
		b.closed() // an older connection acknowledges nothing
		waiting(t, s, "dev1", 3)
		taken.acknowledge(second[2])

		clean := reconnect(t, s, "dev1")
		clean.silent(time.Second)
		clean.acknowledge(first[0]) // of a session that has ended
		waiting(t, s, "dev1", 2)
		clean.listen(1)
		clean.acknowledge(clean.gets("1 q1", "3 q1")...)
		waiting(t, s, "dev1", 0)
		if got := s.Stats(); got.Messages != 4 || got.Completions != 4 || got.Deliveries != 11 {
			t.Errorf("stats %d messages, %d completions, %d deliveries; want 4, 4, 11", got.Messages, got.Completions, got.Deliveries)
		}
	})
}

// At most 50 messages wait, those included that are not acknowledged.
func TestMessageQueueIsBounded(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := listening(t, s, "dev1", 1)
		register(t, s, "dev2")
		for i := range 50 {
			post(t, s, "dev1", say(itoa(i)))
			post(t, s, "dev2", say(itoa(i)))
		}
		for _, id := range []string{"dev1", "dev2"} {
			refused(t, "the 51st to "+id, rest(t, s, "POST /muster/devices/"+id+"/messages", `{}`), iothub.CodeDeviceMaximumQueueDepthExceeded)
			waiting(t, s, id, 50)
		}
		packets := b.gets("0 q1", "1 q1")
		b.acknowledge(packets[0])
		post(t, s, "dev1", say("50"))
		refused(t, "the 52nd", rest(t, s, "POST /muster/devices/dev1/messages", `{}`), iothub.CodeDeviceMaximumQueueDepthExceeded)
	})
}

func TestMessageExpiry(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		brief := func(text string, d time.Duration) string {
			return fmt.Sprintf(`{"body":%q,"systemProperties":{"expiryTimeUtc":%q}}`, text, time.Now().Add(d).UTC().Format(time.RFC3339))
		}
		for range 48 {
			post(t, s, "dev1", brief("brief", time.Minute))
		}
		post(t, s, "dev1", brief("longer", time.Hour))
		post(t, s, "dev1", say("for ever"))
		waiting(t, s, "dev1", 50)
		time.Sleep(time.Minute - time.Second)
		waiting(t, s, "dev1", 50)
		time.Sleep(time.Second)
		waiting(t, s, "dev1", 2)
		post(t, s, "dev1", say("there is room"))
		b := reconnect(t, s, "dev1")
		b.listen(1)
		packets := b.gets("longer q1", "for ever q1", "there is room q1")
		time.Sleep(time.Hour - time.Minute) // one expires while it is not acknowledged
		waiting(t, s, "dev1", 2)
		b = reconnect(t, s, "dev1")
		b.listen(1)
		again := b.gets("for ever q1", "there is room q1")
		b.acknowledge(packets[0], again[0])
		waiting(t, s, "dev1", 1)
	})
}

func TestPurgeMessages(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := listening(t, s, "dev1", 1)
		register(t, s, "dev2")
		purges := func(id string, want int) {
			t.Helper()
			if got, want := rest(t, s, "DELETE /devices/"+id+"/commands", "").body, fmt.Sprintf(`{"totalMessagesPurged":%d,"deviceId":%q,"moduleId":null}`, want, id); got != want {
				t.Errorf("purge: %s, want %s", got, want)
			}
			waiting(t, s, id, 0)
		}
		purges("dev1", 0)
		for _, text := range []string{"1", "2"} {
			post(t, s, "dev1", say(text))
			post(t, s, "dev2", say(text))
		}
		packets := b.gets("1 q1", "2 q1")
		b.acknowledge(packets[0])
		purges("dev1", 1)
		b.acknowledge(packets[1])
		post(t, s, "dev1", say("3"))
		b.acknowledge(b.gets("3 q1")...)
		if n, err := s.Client().PurgeMessages(t.Context(), "dev2"); n != 2 || err != nil {
			t.Errorf("PurgeMessages() = %d, %v, want 2", n, err)
		}
		refused(t, "unknown device", rest(t, s, "DELETE /devices/nobody/commands", ""), iothub.CodeDeviceNotFound)
	})
}

// A queue ends with its device; a device of the same id begins with none.
func TestMessagesEndWithDevice(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		post(t, s, "dev1", say("old"))
		rest(t, s, "DELETE /devices/dev1", "", "If-Match", "*")
		b := listening(t, s, "dev1", 1)
		b.silent(time.Second)
		waiting(t, s, "dev1", 0)
	})
}

// Messages wait for room on the connection, so that a full queue makes nobody a slow consumer; a device that never reads is
// closed, and gets all of it when it is back.
func TestLargeMessagesWaitForRoom(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		b := online(t, s, "dev1")
		large := bytes.Repeat([]byte("x"), 63<<10)
		body := `{"bodyBase64":"` + base64.StdEncoding.EncodeToString(large) + `"}`
		for range 50 { // 3 MB
			post(t, s, "dev1", body)
		}
		b.listen(1)
		synctest.Wait()
		if got := s.Stats().Deliveries; got > 6 {
			t.Errorf("%d messages were handed to a connection that reads nothing", got)
		}
		time.Sleep(6 * time.Second)
		eventually(t, "closed as slow", func() bool { return s.Stats().SlowClosed == 1 })
		waiting(t, s, "dev1", 50)
		b = reconnect(t, s, "dev1")
		b.listen(1)
		want := fmt.Sprintf("%s q1", large)
		for range 50 {
			got, id := b.delivery()
			if got != want {
				t.Fatalf("got %d bytes, want %d", len(got), len(want))
			}
			b.acknowledge(id)
		}
		waiting(t, s, "dev1", 0)
		if got := s.Stats().SlowClosed; got != 1 {
			t.Errorf("%d closed as slow", got)
		}
	})
}

// A device that comes and goes while messages are sent to it gets them in order, none twice that it acknowledged.
func TestMessagesUnderChurn(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "dev1")
		done := make(chan struct{})
		const n = 40
		go func() {
			defer close(done)
			for i := range n {
				rest(t, s, "POST /muster/devices/dev1/messages", say(itoa(i)))
				time.Sleep(10 * time.Millisecond)
			}
		}()
		b := resume(t, s, "dev1")
		b.listen(1)
		for next := 0; next < n; b = resume(t, s, "dev1") {
			for range 3 { // and leaves with what it has not acknowledged
				var text string
				got, id := b.delivery()
				_, _ = fmt.Sscan(got, &text)
				if text != itoa(next) {
					t.Fatalf("got %q, want %d", got, next)
				}
				if next++; next == n {
					b.acknowledge(id)
					break
				}
				b.write(mqtt.AppendPuback(nil, id))
			}
			synctest.Wait()
			_ = b.conn.Close()
			synctest.Wait()
		}
		<-done
		waiting(t, s, "dev1", 0)
	})
}

// A PUBACK that is malformed ends the connection.
func TestMalformedPuback(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		for _, packet := range [][]byte{{0x40, 0x02, 0, 0}, {0x40, 0x00}, {0x42, 0x02, 0, 1}} {
			b := listening(t, s, fmt.Sprintf("dev%x", packet), 1)
			b.write(packet)
			b.closed()
		}
	})
}

// FuzzMessage posts documents as cloud-to-device messages: what is accepted arrives and can be decoded, what is not is
// refused by its fault.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"systemProperties":{"messageId":"m","contentType":"a/b"},"properties":{"a":"b","n":null},"body":"ü"}`))
	f.Add([]byte(`{"bodyBase64":"/w==","systemProperties":{"expiryTimeUtc":"2030-01-01T00:00:00+01:00"}}`))
	f.Add([]byte(`{"properties":{"\u0000#+/":"\ud800"},"body":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
			b := listening(t, s, "dev1", 1)
			a := rest(t, s, "POST /muster/devices/dev1/messages", string(body))
			switch a.status {
			case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
				b.alive()
				return
			case http.StatusOK:
			default:
				t.Fatalf("%q: %d %s", body, a.status, a.body)
			}
			topic, _ := b.message2()
			parsed, err := iothub.ParseTopic(topic)
			properties, bagErr := iothub.ParseBag(parsed.Bag)
			if err != nil || bagErr != nil || !json.Valid(body) || len(properties) < 2 || properties[0].Value != "/devices/dev1/messages/deviceBound" {
				t.Errorf("%q: arrived on %q, %v %v", body, topic, err, bagErr)
			}
			b.alive()
		})
	})
}

// message2 returns the next message, which came with QoS 1.
func (b *bare) message2() (topic, payload string) {
	b.t.Helper()
	p, err := mqtt.ParsePublish(mqtt.Header{Type: mqtt.TypePublish, Flags: 2}, b.expect(mqtt.TypePublish))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(p.Topic), string(p.Payload)
}

// What docs/hub.md shows of messages both ways is what the hub takes and shows.
func TestMessageDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/hub.md")
	if err != nil {
		t.Fatal(err)
	}
	var shown, sent string
	for _, block := range fences(string(text)) {
		switch {
		case block.kind == "json" && strings.Contains(block.text, "latest"):
			shown = block.text
		case block.kind == "json":
			sent = block.text
		}
	}
	bubble(t, nil, func(t *testing.T, s *hubtest.Server) {
		register(t, s, "door-1")
		if got, want := rest(t, s, "POST /muster/devices/door-1/messages", sent).body, `{"messageId":"m-8","cloudToDeviceMessageCount":1}`; got != want ||
			!strings.Contains(string(text), want) {
			t.Errorf("POST: %s, want %s, and the page to show it", got, want)
		}
		b := reconnect(t, s, "door-1")
		b.publish(iothub.EventsTopic("door-1"), "")
		b.publish(iothub.EventsTopic("door-1")+"$.mid=m-7&$.ct=application%2Fjson&$.ce=utf-8&alert=true", `{"temperature":21}`)
		synctest.Wait()
		got := decoded[map[string]map[string]any](t, `{"x":`+rest(t, s, "GET /muster/devices/door-1/telemetry", "").body+`}`)["x"]
		want := decoded[map[string]any](t, shown)
		for _, doc := range []map[string]any{got, want} {
			delete(doc["latest"].(map[string]any), "enqueuedTimeUtc")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("telemetry (-page +hub):\n%s", diff)
		}
	})
}

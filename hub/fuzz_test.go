package hub_test

import (
	"testing"
	"testing/synctest"

	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// FuzzConnection feeds bytes to a device's connection, before and after CONNECT: whatever they are, the hub serves another
// device afterwards.
func FuzzConnection(f *testing.F) { fuzzConnection(f, "fuzzed", iothub.EventsTopic("fuzzed")) }

// FuzzModuleConnection is FuzzConnection for a module.
func FuzzModuleConnection(f *testing.F) {
	f.Add(true, subscribePacket(f, 0, iothub.ModuleInputsFilter("fuzzed", "mod")))
	fuzzConnection(f, "fuzzed/mod", iothub.ModuleEventsTopic("fuzzed", "mod"))
}

func subscribePacket(tb testing.TB, qos byte, filter string) []byte {
	tb.Helper()
	packet, err := mqtt.AppendSubscribe(nil, 1, mqtt.Filter{Topic: []byte(filter), QoS: qos})
	if err != nil {
		tb.Fatal(err)
	}
	return packet
}

func fuzzConnection(f *testing.F, id, events string) {
	publish := func(topic, payload string) []byte {
		packet, _ := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte(topic), Payload: []byte(payload)})
		return packet
	}
	f.Add(true, append(subscribePacket(f, 0, iothub.FilterTwinResponses), publish(iothub.TwinGetTopic("1"), "")...))
	f.Add(true, publish(iothub.ReportedTopic("1"), `{"a":{"b":null},"a":1}`))
	f.Add(true, publish(iothub.MethodResponseTopic(200, "1"), `{}`))
	f.Add(true, publish(events+"a=b&%24.mid=1&%zz", "x"))
	f.Add(true, mqtt.AppendPuback(subscribePacket(f, 1, iothub.DeviceBoundFilter("fuzzed")), 1))
	f.Add(true, append(mqtt.AppendPuback(nil, 1), subscribePacket(f, 0, iothub.DeviceBoundFilter("fuzzed"))...))
	f.Add(true, mqtt.AppendDisconnect(mqtt.AppendPingreq(nil)))
	f.Add(false, []byte("\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"))
	f.Add(false, []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, connected bool, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			s := hubtest.Start(t, nil)
			register(t, s, "fuzzed", "fuzzed/mod")
			fuzzed := reconnect(t, s, id, iothub.FilterMethods)
			call := invoke(t, s, restPath(id), `{"methodName":"m"}`)
			post(t, s, "fuzzed", say("waits"))
			if !connected {
				fuzzed = dial(t, s)
			}
			_, _ = fuzzed.conn.Write(data) // may be cut short
			synctest.Wait()
			_ = fuzzed.conn.Close()
			<-call.done
			if n := ok[iothub.Device](t, s, "GET /devices/fuzzed", "").CloudToDeviceMessageCount; n < 0 || n > 1 {
				t.Errorf("%d messages wait", n)
			}
			if a := rest(t, s, "GET /muster/devices/"+restPath(id)+"/telemetry", ""); a.status != 200 {
				t.Errorf("telemetry: %d %s", a.status, a.body)
			}

			b := online(t, s, "other", iothub.FilterMethods)
			c := invoke(t, s, "other", `{"methodName":"m"}`)
			b.answerMethod("m", "null", 200, "")
			c.wants(t, 200, `{"status":200,"payload":null}`, 0)
		})
	})
}

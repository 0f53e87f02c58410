package hub_test

import (
	"testing"
	"testing/synctest"

	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// FuzzConnection feeds bytes to a connection, before and after CONNECT: whatever they are, the hub serves another device
// afterwards.
func FuzzConnection(f *testing.F) {
	publish := func(topic, payload string) []byte {
		packet, _ := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte(topic), Payload: []byte(payload)})
		return packet
	}
	subscribe, _ := mqtt.AppendSubscribe(nil, 1, mqtt.Filter{Topic: []byte(iothub.FilterTwinResponses)})
	f.Add(true, append(subscribe, publish(iothub.TwinGetTopic("1"), "")...))
	f.Add(true, publish(iothub.ReportedTopic("1"), `{"a":{"b":null},"a":1}`))
	f.Add(true, publish(iothub.MethodResponseTopic(200, "1"), `{}`))
	f.Add(true, publish(iothub.EventsTopic("fuzzed"), "x"))
	f.Add(true, mqtt.AppendDisconnect(mqtt.AppendPingreq(nil)))
	f.Add(false, []byte("\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"))
	f.Add(false, []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, connected bool, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			s := hubtest.Start(t, nil)
			fuzzed := online(t, s, "fuzzed", iothub.FilterMethods)
			call := invoke(t, s, "fuzzed", `{"methodName":"m"}`)
			if !connected {
				fuzzed = dial(t, s)
			}
			_, _ = fuzzed.conn.Write(data) // may be cut short
			synctest.Wait()
			_ = fuzzed.conn.Close()
			<-call.done

			b := online(t, s, "other", iothub.FilterMethods)
			c := invoke(t, s, "other", `{"methodName":"m"}`)
			b.answerMethod("m", "null", 200, "")
			c.wants(t, 200, `{"status":200,"payload":null}`, 0)
		})
	})
}

package conformance_test

import (
	"net/http"
	"strings"
	"testing"

	"muster/internal/mqtt"
	"muster/iothub"
)

var deviceCases = []testCase{
	{"what a SUBSCRIBE is granted", "1.6", granted},
	{"UNSUBSCRIBE", "2.5", unsubscribe},
	{"telemetry", "1.6, 2.2", telemetry},
	{"twin GET", "2.4, 3.1", deviceTwin},
	{"reported properties", "2.4", report},
	{"reported properties that are none", "2.4", badReport},
	{"desired notifications", "2.4", desired},
	{"notifications are not queued", "2.4", desiredNotQueued},
	{"the order of reconnecting", "2.4", reconnecting},
}

func granted(t testing.TB, h *subject) {
	d := h.device(t)
	dev := h.online(t, d, connect{})
	for i, filter := range []string{iothub.FilterMethods, iothub.FilterTwinResponses, iothub.FilterDesired, iothub.DeviceBoundFilter(d.id)} {
		for qos := range byte(3) {
			if got := dev.subscribe(uint16(i+1), qos, filter); got != min(qos, 1) {
				t.Errorf("%s at QoS %d: granted %d", filter, qos, got)
			}
		}
	}
}

func unsubscribe(t testing.TB, h *subject) {
	d := h.device(t)
	dev := h.online(t, d, connect{}, iothub.FilterMethods)
	packet, err := mqtt.AppendUnsubscribe(nil, 9, []byte(iothub.FilterMethods))
	if err != nil {
		t.Fatal(err)
	}
	dev.write(packet)
	if id, err := mqtt.ParseAck(dev.expect(mqtt.TypeUnsuback)); err != nil || id != 9 {
		t.Errorf("UNSUBACK of %d, %v", id, err)
	}
	h.invoke(t, d.id, "").wait().refused(t, iothub.CodeDeviceNotOnline)
	dev.alive()
}

func telemetry(t testing.TB, h *subject) {
	d := h.device(t)
	dev := h.online(t, d, connect{})
	topic := iothub.EventsTopic(d.id)
	for _, bag := range []string{"", "%24.mid=id%201&%24.ct=application%2Fjson&%24.ce=utf-8&al%20ert=a%26b%3Dc", "name&empty="} {
		dev.publish(1, topic+bag, `{"t":21.5}`) // with its PUBACK
		dev.publish(0, topic+bag, `{"t":21.5}`)
	}
	dev.publish(1, topic, strings.Repeat("x", 200<<10))
	dev.alive()
}

func deviceTwin(t testing.TB, h *subject) {
	d := h.device(t)
	h.patch(t, d, `{"tags":{"secret":1},"properties":{"desired":{"interval":30,"o":{"p":[1]}}}}`)
	dev := h.online(t, d, connect{}, iothub.FilterTwinResponses)
	for _, rid := range []string{"1", "0b7a1a2f-7d5c-4d0c-9f4e-3c1d2e8b9a10"} {
		for _, body := range []string{"", " "} { // the Node SDK sends a space
			dev.publish(0, iothub.TwinGetTopic(rid), body)
			_, twin := dev.response(rid, http.StatusOK)
			same(t, "the device's twin", document(t, twin), `{"desired":{"interval":30,"o":{"p":[1]},"$version":2},"reported":{"$version":1}}`)
		}
	}
}

func report(t testing.TB, h *subject) {
	d := h.device(t)
	dev := h.online(t, d, connect{}, iothub.FilterTwinResponses)
	for i, patch := range []string{`{"fw":"1.0","o":{"a":1,"b":2}}`, `{"fw":null,"o":{"b":null,"c":[1,{"d":2}]}}`} {
		dev.publish(0, iothub.ReportedTopic(itoa(i)), patch)
		topic, body := dev.response(itoa(i), http.StatusNoContent)
		if topic.Version != int64(i+2) || body != "" {
			t.Errorf("answer %+v %q, want version %d and no body", topic, body, i+2)
		}
	}
	dev.publish(0, iothub.TwinGetTopic("g"), "")
	_, twin := dev.response("g", http.StatusOK)
	same(t, "the device's twin", document(t, twin), `{"desired":{"$version":1},"reported":{"o":{"a":1,"c":[1,{"d":2}]},"$version":3}}`)
	h.eventually(t, "the service sees it", func() bool {
		reported := at(ok[map[string]any](t, h, "GET /twins/"+d.id, ""), "properties", "reported")
		return at(reported, "$version") == 3.0
	})
}

func badReport(t testing.TB, h *subject) {
	dev := h.online(t, h.device(t), connect{}, iothub.FilterTwinResponses)
	dev.publish(0, iothub.ReportedTopic("1"), `{"a":`)
	_, body := dev.response("1", http.StatusBadRequest)
	if at(document(t, body), "errorCode") == nil {
		t.Errorf("the error has no errorCode: %s", body)
	}
	dev.publish(0, iothub.TwinGetTopic("2"), "")
	_, twin := dev.response("2", http.StatusOK)
	same(t, "the device's twin", document(t, twin), `{"desired":{"$version":1},"reported":{"$version":1}}`)
}

func desired(t testing.TB, h *subject) {
	d := h.device(t)
	dev := h.online(t, d, connect{}, iothub.FilterDesired)
	h.patch(t, d, `{"tags":{"a":1},"properties":{"desired":{"interval":60,"o":{"p":1,"q":2}}}}`)
	wants := func(version int64, want string) {
		t.Helper()
		topic, body := dev.message()
		if topic.Kind != iothub.TopicDesired || topic.Version != version {
			t.Errorf("got %+v, want a notification of version %d", topic, version)
		}
		same(t, "notification", document(t, body), want)
	}
	wants(2, `{"interval":60,"o":{"p":1,"q":2},"$version":2}`)
	h.patch(t, d, `{"properties":{"desired":{"interval":null,"o":{"q":null}}}}`)
	wants(3, `{"interval":null,"o":{"q":null},"$version":3}`)
	h.patch(t, d, `{"tags":{"a":2}}`)
	dev.alive() // tags are not a device's business
}

func desiredNotQueued(t testing.TB, h *subject) {
	d := h.device(t)
	dev := h.online(t, d, connect{}) // not subscribed
	h.patch(t, d, `{"properties":{"desired":{"a":1}}}`)
	dev.subscribe(1, 0, iothub.FilterDesired)
	dev.alive()
	dev.leave()
	h.patch(t, d, `{"properties":{"desired":{"a":2}}}`)
	dev = h.online(t, d, connect{}, iothub.FilterDesired)
	dev.alive()
	h.patch(t, d, `{"properties":{"desired":{"a":3}}}`)
	if topic, _ := dev.message(); topic.Version != 4 {
		t.Errorf("got %+v, want the notification of version 4", topic)
	}
}

// As documented for devices: subscribe, then GET, then drop what is no newer.
func reconnecting(t testing.TB, h *subject) {
	d := h.device(t)
	h.online(t, d, connect{}, iothub.FilterDesired, iothub.FilterTwinResponses).leave()
	h.patch(t, d, `{"properties":{"desired":{"a":1}}}`)
	dev := h.online(t, d, connect{}, iothub.FilterDesired, iothub.FilterTwinResponses)
	dev.publish(0, iothub.TwinGetTopic("1"), "")
	_, twin := dev.response("1", http.StatusOK)
	same(t, "desired", at(document(t, twin), "desired"), `{"a":1,"$version":2}`)
	h.patch(t, d, `{"properties":{"desired":{"a":2}}}`)
	if topic, _ := dev.message(); topic.Version != 3 {
		t.Errorf("got %+v, want the notification of version 3", topic)
	}
}

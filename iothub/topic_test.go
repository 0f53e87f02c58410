package iothub_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/iothub"
)

func TestTopicsAreMadeAndRead(t *testing.T) {
	try := func(topic, want string, parsed iothub.Topic) {
		t.Helper()
		if topic != want {
			t.Errorf("topic is %q, want %q", topic, want)
		}
		got, err := iothub.ParseTopic(topic)
		if diff := cmp.Diff(parsed, got); err != nil || diff != "" {
			t.Errorf("ParseTopic(%q): %v\n%s", topic, err, diff)
		}
	}
	try(iothub.TwinGetTopic("r"), "$iothub/twin/GET/?$rid=r", iothub.Topic{Kind: iothub.TopicTwinGet, RequestID: "r"})
	try(iothub.ReportedTopic("r"), "$iothub/twin/PATCH/properties/reported/?$rid=r", iothub.Topic{Kind: iothub.TopicReported, RequestID: "r"})
	try(iothub.MethodResponseTopic(200, "2a"), "$iothub/methods/res/200/?$rid=2a", iothub.Topic{Kind: iothub.TopicMethodResponse, Status: 200, RequestID: "2a"})
	try("$iothub/methods/res/-7/?$rid=1", "$iothub/methods/res/-7/?$rid=1", iothub.Topic{Kind: iothub.TopicMethodResponse, Status: -1, RequestID: "1"})
	try("$iothub/methods/res/+7/?$rid=1", "$iothub/methods/res/+7/?$rid=1", iothub.Topic{Kind: iothub.TopicMethodResponse, Status: -1, RequestID: "1"})
	try(iothub.MethodRequestTopic("lockDoor", "1"), "$iothub/methods/POST/lockDoor/?$rid=1", iothub.Topic{Kind: iothub.TopicMethodRequest, Method: "lockDoor", RequestID: "1"})
	try(iothub.MethodRequestTopic("a/b+#% ü", "1"), "$iothub/methods/POST/a%2Fb%2B%23%25%20ü/?$rid=1", iothub.Topic{Kind: iothub.TopicMethodRequest, Method: "a/b+#% ü", RequestID: "1"})
	try(iothub.TwinResponseTopic(200, "r", 0), "$iothub/twin/res/200/?$rid=r", iothub.Topic{Kind: iothub.TopicTwinResponse, Status: 200, RequestID: "r"})
	try(iothub.TwinResponseTopic(204, "r", 4), "$iothub/twin/res/204/?$rid=r&$version=4", iothub.Topic{Kind: iothub.TopicTwinResponse, Status: 204, RequestID: "r", Version: 4})
	try(iothub.DesiredTopic(5), "$iothub/twin/PATCH/properties/desired/?$version=5", iothub.Topic{Kind: iothub.TopicDesired, Version: 5})
	try(iothub.EventsTopic("d"), "devices/d/messages/events/", iothub.Topic{Kind: iothub.TopicEvents, DeviceID: "d"})
	try(iothub.ModuleEventsTopic("d", "m")+"a=b", "devices/d/modules/m/messages/events/a=b", iothub.Topic{Kind: iothub.TopicEvents, DeviceID: "d", ModuleID: "m", Bag: "a=b"})
	try(iothub.DeviceBoundTopic("d")+"%24.mid=1", "devices/d/messages/devicebound/%24.mid=1", iothub.Topic{Kind: iothub.TopicDeviceBound, DeviceID: "d", Bag: "%24.mid=1"})
	try("$iothub/twin/PATCH/properties/reported/?$rid=r&$version=7&x", "$iothub/twin/PATCH/properties/reported/?$rid=r&$version=7&x", iothub.Topic{Kind: iothub.TopicReported, RequestID: "r", Version: 7})
	if got, want := fmt.Sprint(iothub.TopicDesired, iothub.TopicDeviceBound, iothub.TopicKind(0), iothub.TopicKind(99)), "desired device bound invalid invalid"; got != want {
		t.Errorf("kinds are %q, want %q", got, want)
	}
	if got, want := iothub.DeviceBoundFilter("d"), "devices/d/messages/devicebound/#"; got != want {
		t.Errorf("DeviceBoundFilter() = %q, want %q", got, want)
	}
	if got, want := iothub.ModuleInputsFilter("d", "m"), "devices/d/modules/m/inputs/#"; got != want {
		t.Errorf("ModuleInputsFilter() = %q, want %q", got, want)
	}
}

func TestForeignTopicsAreRefused(t *testing.T) {
	for _, topic := range []string{
		"", "a", "$iothub", "$iothub/twin/GET/", "$iothub/twin/GET/?", "$iothub/twin/GET/?$rid=", "$iothub/twin/GET/$rid=1",
		"$iothub/twin/res/200", "$iothub/twin/res/200/", "$iothub/twin/res/x/?$rid=1", "$iothub/twin/res/-1/?$rid=1", "$iothub/twin/res//?$rid=1",
		"$iothub/methods/res/99999999999/?$rid=1", "$iothub/methods/res/-/?$rid=1", "$iothub/methods/res/-x/?$rid=1", "$iothub/methods/res/--1/?$rid=1", "$iothub/methods/POST//?$rid=1", "$iothub/methods/POST/a", "$iothub/methods/POST/a/b/?$rid=1",
		"$iothub/twin/PATCH/properties/desired/?$version=x", "$iothub/twin/PATCH/properties/desired/?$version=-1", "$iothub/twin/PATCH/properties/desired/",
		"$iothub/twin/PATCH/properties/tags/?$rid=1", "$iothub/TWIN/GET/?$rid=1",
		"devices/d", "devices//messages/events/", "devices/d/messages/events", "devices/d/modules//messages/events/", "devices/d d/messages/events/", "devices/d/messages/other/",
		"devices/d/modules/m/messages/devicebound/", "devices/d/modules/m/inputs/i/", "devices/d/modules/m", "devices/d/modules/m/modules/n/messages/events/",
	} {
		if got, err := iothub.ParseTopic(topic); err == nil {
			t.Errorf("ParseTopic(%q) = %+v, want an error", topic, got)
		}
	}
}

func TestTopicsAreReadWithoutAllocation(t *testing.T) {
	topics := []string{iothub.MethodRequestTopic("lockDoor", "1f"), iothub.MethodResponseTopic(200, "1f"), iothub.TwinResponseTopic(204, "r", 9), iothub.DesiredTopic(3), iothub.TwinGetTopic("r")}
	n := testing.AllocsPerRun(100, func() {
		for _, topic := range topics {
			if _, err := iothub.ParseTopic(topic); err != nil {
				t.Fatal(err)
			}
		}
	})
	if n != 0 {
		t.Errorf("ParseTopic allocates %v times for %d topics, want none", n, len(topics))
	}
}

func TestPropertyBagsAreMadeAndRead(t *testing.T) {
	const bag = "%24.mid=id%201&%24.ct=application%2Fjson&al%20ert=a%26b%3Dc&empty=&null"
	want := []iothub.Property{{Name: "$.mid", Value: "id 1"}, {Name: "$.ct", Value: "application/json"}, {Name: "al ert", Value: "a&b=c"}, {Name: "empty"}, {Name: "null", Null: true}}
	got, err := iothub.ParseBag(bag)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("ParseBag(%q): %v\n%s", bag, err, diff)
	}
	if got := string(iothub.AppendBag(nil, want...)); got != bag {
		t.Errorf("AppendBag() = %q, want %q", got, bag)
	}
	if got, err := iothub.ParseBag(""); err != nil || got != nil {
		t.Errorf("ParseBag(\"\") = %v, %v", got, err)
	}
	for _, bad := range []string{"%=1", "a=%zz"} {
		if got, err := iothub.ParseBag(bad); err == nil {
			t.Errorf("ParseBag(%q) = %v, want an error", bad, got)
		}
	}
}

package iothub

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// The topic filters that a device or module may subscribe to, but for a
// device's own cloud-to-device messages (DeviceBoundFilter) and a module's
// inputs (ModuleInputsFilter).
const (
	FilterMethods       = "$iothub/methods/POST/#"
	FilterTwinResponses = "$iothub/twin/res/#"
	FilterDesired       = "$iothub/twin/PATCH/properties/desired/#"
)

const (
	prefixTwinGet        = "$iothub/twin/GET/"
	prefixReported       = "$iothub/twin/PATCH/properties/reported/"
	prefixDesired        = "$iothub/twin/PATCH/properties/desired/"
	prefixTwinResponse   = "$iothub/twin/res/"
	prefixMethodRequest  = "$iothub/methods/POST/"
	prefixMethodResponse = "$iothub/methods/res/"
	prefixDevices        = "devices/"
)

// TopicKind is what a topic carries.
type TopicKind uint8

// The kinds of topic, with the direction in which they are published.
const (
	TopicTwinGet        TopicKind = iota + 1 // device to hub: read the twin
	TopicReported                            // device to hub: patch of the reported properties
	TopicMethodResponse                      // device to hub
	TopicMethodRequest                       // hub to device
	TopicTwinResponse                        // hub to device: answer to a read or a patch
	TopicDesired                             // hub to device: the desired properties changed
	TopicEvents                              // device to hub: telemetry
	TopicDeviceBound                         // hub to device: cloud-to-device message
)

// String returns the kind's name.
func (k TopicKind) String() string {
	names := [...]string{
		"invalid", "twin get", "reported", "method response", "method request",
		"twin response", "desired", "events", "device bound",
	}
	if int(k) >= len(names) {
		k = 0
	}
	return names[k]
}

// Topic is a topic taken apart. Which fields have a meaning depends on Kind.
type Topic struct {
	Kind      TopicKind
	DeviceID  string // of telemetry and cloud-to-device messages
	ModuleID  string // of telemetry; empty without one
	Method    string // of a method request
	RequestID string // of twin and method topics but TopicDesired: chosen by the asker, echoed unchanged
	Status    int    // of a response; -1 for one with a sign, which a device may write and nobody means
	Version   int64  // of TopicDesired, TopicTwinResponse and TopicReported; 0 if absent
	Bag       string // of telemetry and cloud-to-device messages: the property bag, still encoded (ParseBag)
}

// errTopic is returned for every topic that is not of IoT Hub: a hub closes
// the connection and needs no more.
var errTopic = errors.New("not a topic of IoT Hub")

// ParseTopic takes a topic apart. It does not allocate for a topic that is
// right, escaped method names apart.
func ParseTopic(topic string) (Topic, error) {
	var t Topic // filled in place: it is large, and this is done for each message
	if !t.parse(topic) {
		return Topic{}, fmt.Errorf("parse topic %.80q: %w", topic, errTopic)
	}
	return t, nil
}

func (t *Topic) parse(topic string) bool {
	if rest, ok := strings.CutPrefix(topic, prefixMethodResponse); ok {
		t.Kind = TopicMethodResponse
		return t.withStatus(rest)
	}
	if rest, ok := strings.CutPrefix(topic, prefixMethodRequest); ok {
		return t.methodRequest(rest)
	}
	if rest, ok := strings.CutPrefix(topic, prefixReported); ok {
		t.Kind = TopicReported
		return t.withRequestID(rest)
	}
	if rest, ok := strings.CutPrefix(topic, prefixTwinGet); ok {
		t.Kind = TopicTwinGet
		return t.withRequestID(rest)
	}
	if rest, ok := strings.CutPrefix(topic, prefixTwinResponse); ok {
		t.Kind = TopicTwinResponse
		return t.withStatus(rest)
	}
	if rest, ok := strings.CutPrefix(topic, prefixDesired); ok {
		t.Kind = TopicDesired
		return t.parameters(rest) && t.Version > 0 && t.RequestID == ""
	}
	if rest, ok := strings.CutPrefix(topic, prefixDevices); ok {
		return t.message(rest)
	}
	return false
}

func (t *Topic) withRequestID(rest string) bool { return t.parameters(rest) && t.RequestID != "" }

func (t *Topic) withStatus(rest string) bool {
	status, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return false
	}
	t.Status, ok = decimal(status)
	if signed := status != "" && (status[0] == '-' || status[0] == '+'); signed && t.Kind == TopicMethodResponse {
		_, ok = decimal(status[1:])
		t.Status = -1
	}
	return ok && t.withRequestID(rest)
}

func (t *Topic) methodRequest(rest string) bool {
	name, rest, ok := strings.Cut(rest, "/")
	if !ok || name == "" {
		return false
	}
	t.Kind, t.Method = TopicMethodRequest, name
	if strings.IndexByte(name, '%') >= 0 {
		if decoded, err := url.PathUnescape(name); err == nil {
			t.Method = decoded
		}
	}
	return t.withRequestID(rest)
}

// message reads {device}[/modules/{module}]/messages/events/{bag} and
// {device}/messages/devicebound/{bag}.
func (t *Topic) message(rest string) bool {
	t.DeviceID, rest, _ = strings.Cut(rest, "/")
	if after, ok := strings.CutPrefix(rest, "modules/"); ok {
		t.ModuleID, rest, _ = strings.Cut(after, "/")
		if !ValidDeviceID(t.ModuleID) {
			return false
		}
	}
	var ok bool
	if t.Bag, ok = strings.CutPrefix(rest, "messages/events/"); ok {
		t.Kind = TopicEvents
	} else if t.Bag, ok = strings.CutPrefix(rest, "messages/devicebound/"); ok {
		t.Kind = TopicDeviceBound
		ok = t.ModuleID == "" // modules get none
	}
	return ok && ValidDeviceID(t.DeviceID)
}

// parameters reads ?$rid=…&$version=…; unknown ones are ignored.
func (t *Topic) parameters(s string) bool {
	rest, ok := strings.CutPrefix(s, "?")
	for ok && rest != "" {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case "$rid":
			t.RequestID = value
		case "$version":
			version, err := strconv.ParseInt(value, 10, 64)
			if err != nil || version < 0 {
				return false
			}
			t.Version = version
		}
	}
	return ok
}

// decimal reads a status: digits alone, up to the largest int32.
func decimal(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err == nil
}

// TwinGetTopic returns the topic on which a device asks for its twin.
func TwinGetTopic(rid string) string { return prefixTwinGet + "?$rid=" + rid }

// ReportedTopic returns the topic on which a device patches its reported
// properties.
func ReportedTopic(rid string) string { return prefixReported + "?$rid=" + rid }

// MethodResponseTopic returns the topic on which a device answers a method.
func MethodResponseTopic(status int, rid string) string {
	return string(AppendMethodResponseTopic(nil, status, rid))
}

// AppendMethodResponseTopic appends the topic of MethodResponseTopic.
func AppendMethodResponseTopic(dst []byte, status int, rid string) []byte {
	dst = strconv.AppendInt(append(dst, prefixMethodResponse...), int64(status), 10)
	return append(append(dst, "/?$rid="...), rid...)
}

// MethodRequestTopic returns the topic on which a hub calls a method. Of the
// name, only what cannot stand in a topic segment (and %) is percent-encoded;
// ParseTopic decodes it.
func MethodRequestTopic(name, rid string) string {
	return prefixMethodRequest + escapeSegment(name) + "/?$rid=" + rid
}

// TwinResponseTopic returns the topic on which a hub answers a twin operation.
// version is that of the reported properties after a patch; 0 leaves it out.
func TwinResponseTopic(status int, rid string, version int64) string {
	topic := prefixTwinResponse + strconv.Itoa(status) + "/?$rid=" + rid
	if version != 0 {
		topic += "&$version=" + strconv.FormatInt(version, 10)
	}
	return topic
}

// DesiredTopic returns the topic on which a hub tells of changed desired
// properties, with their new version.
func DesiredTopic(version int64) string {
	return prefixDesired + "?$version=" + strconv.FormatInt(version, 10)
}

// EventsTopic returns the topic of a device's telemetry without properties; a
// property bag may follow it (AppendBag).
func EventsTopic(deviceID string) string { return prefixDevices + deviceID + "/messages/events/" }

// ModuleEventsTopic returns the topic of a module's telemetry, as EventsTopic
// does for a device's.
func ModuleEventsTopic(deviceID, moduleID string) string {
	return prefixDevices + deviceID + "/modules/" + moduleID + "/messages/events/"
}

// DeviceBoundTopic returns the topic of a device's cloud-to-device messages
// without properties; a property bag may follow it (AppendBag).
func DeviceBoundTopic(deviceID string) string {
	return prefixDevices + deviceID + "/messages/devicebound/"
}

// DeviceBoundFilter returns the filter of a device's cloud-to-device messages.
func DeviceBoundFilter(deviceID string) string { return DeviceBoundTopic(deviceID) + "#" }

// ModuleInputsFilter returns the filter of the messages that IoT Edge routes to
// a module.
func ModuleInputsFilter(deviceID, moduleID string) string {
	return prefixDevices + deviceID + "/modules/" + moduleID + "/inputs/#"
}

// escapeSegment percent-encodes what cannot stand in a topic segment.
func escapeSegment(s string) string {
	clean := func(b byte) bool { return b > ' ' && b != 0x7f && strings.IndexByte("/+#%", b) < 0 }
	b := make([]byte, 0, 64)
	for i := 0; i < len(s); i++ {
		if clean(s[i]) {
			b = append(b, s[i])
			continue
		}
		b = append(b, '%', upperHex[s[i]>>4], upperHex[s[i]&15])
	}
	if len(b) == len(s) {
		return s
	}
	return string(b)
}

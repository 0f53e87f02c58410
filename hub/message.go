package hub

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"muster/iothub"
)

const (
	maxMessage = 64 << 10  // bytes of a cloud-to-device message: its body, and its properties as they stand in the topic
	maxTopic   = 1<<16 - 1 // what MQTT can carry
)

// messageDocument is a message on muster's own endpoints. Of a message's body one field is used: body if it is text.
type messageDocument struct {
	Properties       map[string]*string `json:"properties,omitempty"`       // null: the name stands alone
	SystemProperties map[string]string  `json:"systemProperties,omitempty"` // by the names of systemNames
	Bag              string             `json:"propertyBag,omitempty"`      // in place of both if it cannot be decoded
	Body             *string            `json:"body,omitempty"`
	BodyBase64       []byte             `json:"bodyBase64,omitempty"`
}

// systemNames are the system properties, as they stand in a property bag and in a document, and whether a service may give
// them to a message for a device. Bags have them in this order.
var systemNames = [...]struct {
	bag, name string
	given     bool
}{
	{"$.to", "to", false},
	{"$.mid", messageID, true},
	{"$.cid", "correlationId", true},
	{"$.uid", "userId", true},
	{"$.ct", "contentType", true},
	{"$.ce", "contentEncoding", true},
	{"$.ctime", "creationTimeUtc", true},
	{"$.exp", expiryTime, true},
	{"$.on", "outputName", false},
	{"$.ifid", "interfaceId", false},
	{"$.sub", "component", false},
}

// System properties that mean something to the hub itself, by their names in documents.
const (
	messageID  = "messageId"
	expiryTime = "expiryTimeUtc"
)

func (m *messageDocument) setBody(body []byte) {
	if !utf8.Valid(body) {
		m.BodyBase64 = bytes.Clone(body)
		return
	}
	m.Body = new(string(body))
}

// setBag sets the properties from a property bag. Of a repeated one the last counts.
func (m *messageDocument) setBag(bag string) {
	properties, err := iothub.ParseBag(bag)
	if err != nil {
		m.Bag = bag
		return
	}
	for _, p := range properties {
		if strings.HasPrefix(p.Name, "$.") {
			m.system(systemName(p.Name), p.Value)
			continue
		}
		value := &p.Value
		if p.Null {
			value = nil
		}
		m.property(p.Name, value)
	}
}

func (m *messageDocument) property(name string, value *string) {
	if m.Properties == nil {
		m.Properties = make(map[string]*string)
	}
	m.Properties[name] = value
}

func (m *messageDocument) system(name, value string) {
	if m.SystemProperties == nil {
		m.SystemProperties = make(map[string]string)
	}
	m.SystemProperties[name] = value
}

// systemName returns what a document calls a system property.
func systemName(bag string) string {
	for _, s := range systemNames {
		if s.bag == bag {
			return s.name
		}
	}
	return bag
}

// sendMessage queues a cloud-to-device message.
func (h *Hub) sendMessage(r *request) (reply, *iothub.Error) {
	d, err := h.find(r)
	if err != nil {
		return reply{}, err
	}
	var doc messageDocument
	if err := r.decodeStrictly(&doc); err != nil {
		return reply{}, err
	}
	now := time.Now()
	m, id, err := newMessage(d.id, &doc, now)
	if err != nil {
		return reply{}, err
	}
	waiting, err := h.enqueue(d, m, now)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(struct {
		MessageID string `json:"messageId"`
		Waiting   int    `json:"cloudToDeviceMessageCount"`
	}{id, waiting})
}

// decodeStrictly reads a document of muster's own, in which nothing may stand that has no meaning.
func (r *request) decodeStrictly(into any) *iothub.Error {
	decoder := json.NewDecoder(bytes.NewReader(r.body))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if _, end := decoder.Token(); err == nil && end != io.EOF {
		err = errors.New("something follows the document")
	}
	if err != nil {
		return errArgument("The request's body is not the JSON that was expected: " + err.Error())
	}
	return nil
}

// newMessage returns the checked form of a message to a device, and its id, which is made if it has none.
func newMessage(deviceID string, doc *messageDocument, now time.Time) (m message, id string, refusal *iothub.Error) {
	switch {
	case doc.Body != nil && doc.BodyBase64 != nil:
		return m, "", errArgument("body and bodyBase64 exclude each other.")
	case doc.Bag != "":
		return m, "", errArgument("propertyBag is for answers: give properties.")
	}
	m.body = doc.BodyBase64
	if doc.Body != nil {
		m.body = []byte(*doc.Body)
	}
	properties, err := doc.bag(deviceID)
	if err == nil {
		m.expires, err = expiryOf(doc, now)
	}
	if err != nil {
		return m, "", errArgument(err.Error())
	}
	topic := iothub.DeviceBoundTopic(deviceID)
	m.topic = iothub.AppendBag([]byte(topic), properties...)
	if len(m.topic)-len(topic)+len(m.body) > maxMessage || len(m.topic) > maxTopic {
		return m, "", errTooLarge(fmt.Sprintf("A message may have %d bytes with its properties.", maxMessage))
	}
	return m, doc.SystemProperties[messageID], nil
}

// bag returns the properties of a message to a device: the hub's own, those of the system, and the rest by name.
func (m *messageDocument) bag(deviceID string) ([]iothub.Property, error) {
	properties, err := m.systemProperties(deviceID)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(m.Properties)) {
		if name == "" || strings.HasPrefix(name, "$") {
			return nil, errors.New("the name of a property may not be empty and not begin with $")
		}
		p := iothub.Property{Name: name, Null: m.Properties[name] == nil}
		if !p.Null {
			p.Value = *m.Properties[name]
		}
		properties = append(properties, p)
	}
	return properties, nil
}

// systemProperties returns the system properties of a message to a device, and completes those of the document.
func (m *messageDocument) systemProperties(deviceID string) ([]iothub.Property, error) {
	if m.SystemProperties[messageID] == "" {
		m.system(messageID, newMessageID())
	}
	properties := []iothub.Property{{Name: "$.to", Value: "/devices/" + deviceID + "/messages/deviceBound"}}
	known := 0
	for _, s := range systemNames {
		if value, ok := m.SystemProperties[s.name]; ok && s.given {
			known++
			properties = append(properties, iothub.Property{Name: s.bag, Value: value})
		}
	}
	if known < len(m.SystemProperties) {
		return nil, fmt.Errorf("systemProperties may be %s", strings.Join(givenNames(), ", "))
	}
	return properties, nil
}

func givenNames() (names []string) {
	for _, s := range systemNames {
		if s.given {
			names = append(names, s.name)
		}
	}
	return names
}

// expiryOf returns when a message expires, Unix time in ns; 0 is never.
func expiryOf(doc *messageDocument, now time.Time) (int64, error) {
	text, ok := doc.SystemProperties[expiryTime]
	if !ok {
		return 0, nil
	}
	var at iothub.Time
	if err := at.UnmarshalText([]byte(text)); err != nil || text == "" {
		return 0, errors.New("expiryTimeUtc is no time of ISO 8601")
	}
	if !at.After(now) {
		return 0, errors.New("expiryTimeUtc has passed")
	}
	return at.UnixNano(), nil
}

// newMessageID returns a random UUID.
func newMessageID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

package floor

import (
	"fmt"
	"strings"
	"time"

	"muster/internal/mqtt"
	"muster/iothub"
)

// What the exchanges are of. A test holds them to what muster's hub and devices
// say to each other.
const (
	hostName = "localhost"
	method   = "lockDoor"
	request  = `{"lockTime":"10m"}`
	response = `{"locked":true}`
	twin     = `{"desired":{"$version":1},"reported":{"$version":1}}`
)

// expiry is when the tokens end: any time whose seconds have ten digits.
var expiry = time.Unix(2_000_000_000, 0)

// Exchange is what a device and its hub say to each other, byte for byte. It
// is encoded before anything is measured.
type Exchange struct {
	// Hello are the packets with which a device comes online, in order: CONNECT,
	// SUBSCRIBE and the request of its twin. Welcome are the hub's answers.
	Hello, Welcome [3][]byte
	clientID       []int // where the device's id is in the CONNECT
	// Answer begins a device's answer to a method request: all but the request's
	// id and the payload.
	answer []byte
}

// NewExchange returns the exchange of a device, whose id is as long as that of
// all others.
func NewExchange() (*Exchange, error) { return newExchange(token()) }

func newExchange(token string) (*Exchange, error) {
	id := deviceID(0)
	connect, err := mqtt.AppendConnect(nil, mqtt.Connect{
		CleanSession: true, ClientID: []byte(id), HasUsername: true, Username: []byte(iothub.Username(hostName, id)),
		HasPassword: true, Password: []byte(token),
	})
	if err != nil {
		return nil, fmt.Errorf("encode CONNECT: %w", err)
	}
	subscribe, err := mqtt.AppendSubscribe(nil, 1, filters(iothub.FilterMethods, iothub.FilterTwinResponses, iothub.FilterDesired)...)
	if err != nil {
		return nil, fmt.Errorf("encode SUBSCRIBE: %w", err)
	}
	e := &Exchange{
		Hello: [3][]byte{connect, subscribe, publish(iothub.TwinGetTopic("1"), "")},
		Welcome: [3][]byte{
			mqtt.AppendConnack(nil, false, mqtt.Accepted),
			mqtt.AppendSuback(nil, 1, 0, 0, 0),
			publish(iothub.TwinResponseTopic(200, "1", 0), twin),
		},
		answer: publish(iothub.MethodResponseTopic(200, ""), ""),
	}
	for at, rest := 0, string(connect); ; {
		i := strings.Index(rest, id)
		if i < 0 {
			return e, nil
		}
		e.clientID = append(e.clientID, at+i)
		at, rest = at+i+len(id), rest[i+len(id):]
	}
}

func filters(topics ...string) []mqtt.Filter {
	all := make([]mqtt.Filter, len(topics))
	for i, topic := range topics {
		all[i].Topic = []byte(topic)
	}
	return all
}

// publish encodes a PUBLISH whose topic is known to be right.
func publish(topic, payload string) []byte {
	b, err := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte(topic), Payload: []byte(payload)})
	if err != nil {
		panic("floor: encode PUBLISH of " + topic + ": " + err.Error())
	}
	return b
}

// token is the password of all devices: each one's own would be of another
// length, as long as its signature's escaped characters make it. What signing
// takes is the fleet's.
func token() string {
	return iothub.NewToken(iothub.DeviceResource(hostName, deviceID(0)), make(iothub.Key, 32), "", expiry)
}

func deviceID(i int) string { return fmt.Sprintf("door-%06d", i) }

// Connect writes the CONNECT of a device into b, which it returns.
func (e *Exchange) Connect(b []byte, device int) []byte {
	b = append(b[:0], e.Hello[0]...)
	id := deviceID(device)
	for _, at := range e.clientID {
		copy(b[at:], id)
	}
	return b
}

// Request returns the hub's n-th method request to a device, from 1.
func (e *Exchange) Request(n uint32) []byte {
	return publish(iothub.MethodRequestTopic(method, rid(n)), request)
}

// Response returns a device's answer to the n-th request.
func (e *Exchange) Response(n uint32) []byte {
	return publish(iothub.MethodResponseTopic(200, rid(n)), response)
}

// rid is how the hub numbers its requests to a device.
func rid(n uint32) string { return fmt.Sprintf("%x", n) }

// requestHead is how many bytes of a request come before its id: the packet's
// type and length, the topic's length and the topic.
var requestHead = 4 + len(iothub.MethodRequestTopic(method, ""))

// whole reports whether b begins with a whole request: those are shorter than
// what takes a second byte for its length.
func whole(b []byte) bool { return len(b) > 4 && len(b) >= 2+int(b[1]) }

// Answer writes the answer to a whole request into b, which it returns. It
// reads of the request where its id is, and nothing else.
func (e *Exchange) Answer(b, request []byte) []byte {
	id := request[requestHead : 4+int(request[3])]
	b = append(b[:0], e.answer...)
	b = append(b, id...)
	b = append(b, response...)
	b[1] = byte(len(b) - 2)
	b[3] += byte(len(id))
	return b
}

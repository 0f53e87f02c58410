package hub

import (
	"strconv"
	"strings"
	"time"
	"unsafe"

	"muster/internal/mqtt"
	"muster/iothub"
)

// maxTelemetry bounds a telemetry message: its body and its properties, as they stand in the topic.
const maxTelemetry = 256 << 10

// maxRequestID bounds the request ids that devices choose, so that a response's topic fits into a packet.
const maxRequestID = 1 << 10

// publish acts on a PUBLISH. A topic that the service does not have closes the connection, as QoS 2 does.
func (c *conn) publish(h mqtt.Header, body []byte) error {
	p, err := mqtt.ParsePublish(h, body)
	if err != nil {
		return err
	}
	if p.QoS == 2 {
		return breach("QoS 2")
	}
	c.dev.active.Store(c.heard.UnixNano())
	if err := c.route(p); err != nil {
		return err
	}
	switch {
	case p.QoS == 0:
	case c.hub.store != nil:
		c.confirm(mqtt.AppendPuback(nil, p.ID))
	default:
		c.send(func(dst []byte) []byte { return mqtt.AppendPuback(dst, p.ID) })
	}
	return nil
}

func (c *conn) route(p mqtt.Publish) error {
	if bag, ok := c.dev.cutEvents(p.Topic); ok {
		if len(bag)+len(p.Payload) > maxTelemetry {
			return breach("telemetry message too large")
		}
		c.hub.counters.telemetry.Add(1)
		c.dev.latest().keep(newShown(bag, p.Payload, p.Retain), c.heard)
		return nil
	}
	topic, err := iothub.ParseTopic(lent(p.Topic))
	if err != nil || len(topic.RequestID) > maxRequestID {
		return breach("publish to an unknown topic")
	}
	switch topic.Kind {
	case iothub.TopicMethodResponse:
		c.hub.answer(c.dev, topic.RequestID, topic.Status, p.Payload)
	case iothub.TopicTwinGet:
		c.twinRequest(strings.Clone(topic.RequestID), true, nil)
	case iothub.TopicReported:
		c.twinRequest(strings.Clone(topic.RequestID), false, p.Payload)
	default:
		return breach("publish to a topic of the service")
	}
	return nil
}

// lent returns bytes of the reader's buffer as text, of which nothing may be kept: a copy would be the only thing that an
// answer to a method allocates.
func lent(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// twin answers a twin GET, whose body says nothing.
func (c *conn) twin(requestID string) {
	c.hub.counters.twinReads.Add(1)
	d := c.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.subs&subTwin != 0 {
		c.sendTwinResponse(200, requestID, 0, d.appendTwinLocked(nil))
	}
}

// report answers a PATCH of the reported properties, which was heard at that time.
func (c *conn) report(requestID string, patch []byte, heard time.Time) {
	c.hub.counters.twinPatches.Add(1)
	d := c.dev
	version, refusal := c.hub.report(d, patch, heard)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.subs&subTwin == 0 {
		return
	}
	if refusal != nil {
		c.sendTwinResponse(refusal.StatusCode, requestID, 0, refusal.FlatBody())
		return
	}
	c.sendTwinResponse(204, requestID, version, nil)
}

// sendTwinResponse tells a device the answer to a twin request; version 0 is none.
func (c *conn) sendTwinResponse(status int, requestID string, version int64, body []byte) {
	var space [128]byte
	topic := strconv.AppendInt(append(space[:0], "$iothub/twin/res/"...), int64(status), 10)
	topic = append(append(topic, "/?$rid="...), requestID...)
	if version > 0 {
		topic = strconv.AppendInt(append(topic, "&$version="...), version, 10)
	}
	c.tell(FaultTwins, topic, body)
}

// sendDesired tells of a desired notification to a device that listens: a compact object with the version as last member.
func (d *device) sendDesiredLocked(patch []byte) {
	if d.conn == nil || d.subs&subDesired == 0 {
		return
	}
	var space [128]byte
	topic := append(space[:0], "$iothub/twin/PATCH/properties/desired/?$version="...)
	topic = strconv.AppendInt(topic, d.desired.version, 10)
	d.conn.hub.counters.notifications.Add(1)
	d.conn.tell(FaultTwins, topic, append(appendVersion(nil, patch, d.desired.version), '}'))
}

// sendPublish sends a message with QoS 0. The slices are not kept.
func (c *conn) sendPublish(topic, payload []byte) {
	c.sendMessage(mqtt.Publish{Topic: topic, Payload: payload})
}

// sendMessage sends a PUBLISH, of which it keeps nothing. One that MQTT cannot carry ends the connection; there should be
// none, since all parts were checked when they came in.
func (c *conn) sendMessage(p mqtt.Publish) {
	sendable := true
	c.send(func(dst []byte) []byte {
		out, err := mqtt.AppendPublish(dst, p)
		if err != nil {
			sendable = false
			return dst
		}
		return out
	})
	if !sendable {
		c.end(endUnsendable)
	}
}

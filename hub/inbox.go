package hub

import (
	"slices"
	"time"

	"muster/internal/mqtt"
	"muster/iothub"
)

// maxQueued is how many cloud-to-device messages may wait for a device, those that it has not acknowledged included.
const maxQueued = 50

// inbox is the queue of a device's cloud-to-device messages. It belongs to the device, whatever becomes of its connections
// and sessions, and is guarded by the device's lock. A nil inbox is empty.
type inbox struct {
	queue  []message // in the order in which they came
	packet uint16    // the last packet identifier
}

// message is a cloud-to-device message on its way:
//
//	queued ──▶ sent ──▶ done        acknowledged, or at once if QoS 0 was granted
//	   ▲         │
//	   └─────────┘                  the connection ended without an acknowledgement
//
// A message also ends when it expires or is purged; an acknowledgement finds nothing then.
type message struct {
	topic, body []byte
	expires     int64  // Unix time in ns; 0 = never
	packet      uint16 // the packet identifier of its PUBLISH in the device's present session; 0 = none, or QoS 0
	sent        bool   // on the device's present connection
}

func (m *message) expired(now int64) bool { return m.expires > 0 && m.expires <= now }

// count returns how many messages wait.
func (b *inbox) count(now time.Time) (n int) {
	if b == nil {
		return 0
	}
	at := now.UnixNano()
	for i := range b.queue {
		if !b.queue[i].expired(at) {
			n++
		}
	}
	return n
}

// expire drops what has expired.
func (b *inbox) expire(now time.Time) {
	at := now.UnixNano()
	b.queue = slices.DeleteFunc(b.queue, func(m message) bool { return m.expired(at) })
}

// reconnected is told that the device has a new connection. What was not acknowledged is sent again, in a session that
// goes on as the same packet [MQTT-4.4.0-1].
func (b *inbox) reconnected(resumed bool) {
	if b == nil {
		return
	}
	for i := range b.queue {
		m := &b.queue[i]
		m.sent = false
		if !resumed {
			m.packet = 0
		}
	}
}

// nextPacket returns a packet identifier that no message has.
func (b *inbox) nextPacket() uint16 {
	for {
		b.packet++
		if b.packet != 0 && b.find(b.packet) < 0 {
			return b.packet
		}
	}
}

// find returns the place of the message of that packet identifier, or -1.
func (b *inbox) find(packet uint16) int {
	return slices.IndexFunc(b.queue, func(m message) bool { return m.packet == packet })
}

// enqueue takes a message for a device in, and sends it if the device listens. It returns how many messages wait then.
func (h *Hub) enqueue(d *device, m message, now time.Time) (int, *iothub.Error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone.Load() {
		return 0, d.notFound()
	}
	if d.inbox == nil {
		d.inbox = new(inbox)
	}
	d.inbox.expire(now)
	if len(d.inbox.queue) >= maxQueued {
		return 0, errQueueFull()
	}
	d.inbox.queue = append(d.inbox.queue, m)
	h.counters.messages.Add(1)
	d.deliverLocked()
	return len(d.inbox.queue), nil
}

// deliverLocked sends what waits in the inbox, if the device listens to it, and as much as the connection has room for. With
// QoS 0 a message is done then, with QoS 1 when it is acknowledged.
func (d *device) deliverLocked() {
	b := d.inbox
	if b == nil || len(b.queue) == 0 || d.conn == nil || d.subs&subDeviceBound == 0 {
		return
	}
	if ending(d.conn.reason.Load()) != endNone { // nothing is written to it any more
		return
	}
	b.expire(time.Now())
	acknowledged := d.subs&subAcknowledged != 0
	kept := b.queue[:0]
	for i, m := range b.queue {
		if m.sent {
			kept = append(kept, m)
			continue
		}
		if !d.conn.room() {
			kept = append(kept, b.queue[i:]...)
			break
		}
		again := m.packet != 0
		if !acknowledged {
			m.packet = 0
		} else if !again {
			m.packet = b.nextPacket()
		}
		d.conn.publishMessage(&m, again)
		if m.sent = true; acknowledged {
			kept = append(kept, m)
		}
	}
	clear(b.queue[len(kept):])
	b.queue = kept
}

// publishMessage sends a message, with QoS 1 if it has a packet identifier. With QoS 0 it is done.
func (c *conn) publishMessage(m *message, again bool) {
	p := mqtt.Publish{Topic: m.topic, Payload: m.body, ID: m.packet}
	c.hub.counters.deliveries.Add(1)
	if m.packet == 0 {
		c.hub.counters.completions.Add(1)
	} else {
		p.QoS, p.Dup = 1, again // [MQTT-3.3.1-1]
	}
	c.sendMessage(p)
}

// acknowledge acts on a PUBACK. One of an unknown message is of one that has ended otherwise.
func (c *conn) acknowledge(body []byte) error {
	packet, err := mqtt.ParseAck(body)
	if err != nil {
		return err
	}
	d := c.dev
	d.active.Store(c.heard.UnixNano())
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != c || d.inbox == nil {
		return nil
	}
	if i := d.inbox.find(packet); i >= 0 {
		d.inbox.queue = slices.Delete(d.inbox.queue, i, i+1)
		c.hub.counters.completions.Add(1)
	}
	return nil
}

// purgeMessages drops what waits for a device.
func (h *Hub) purgeMessages(r *request) (reply, *iothub.Error) {
	d, err := h.find(r)
	if err != nil {
		return reply{}, err
	}
	d.mu.Lock()
	n := d.inbox.count(time.Now())
	if d.inbox != nil {
		d.inbox.queue = nil
	}
	d.mu.Unlock()
	return jsonReply(iothub.PurgeResult{TotalMessagesPurged: n, DeviceID: d.id})
}

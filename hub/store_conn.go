package hub

import (
	"bytes"

	faultmodel "muster/internal/fault"
	"muster/iothub"
)

// maxUnkept bounds the answers of one connection that wait for the store: its reader waits with them then.
const maxUnkept = 64

// tell delivers a message, with a store after all that was changed until now is kept. The topic is not kept, the payload is.
func (c *conn) tell(part faultmodel.Part, topic, payload []byte) {
	if c.hub.store == nil {
		c.deliver(part, topic, payload)
		return
	}
	kept := bytes.Clone(topic)
	c.afterKept(func() { c.deliver(part, kept, payload) })
}

// confirm is tell for a packet that acknowledges another one. Those of messages must keep their order too
// [MQTT-4.6.0-2], so telemetry waits as well.
func (c *conn) confirm(packet []byte) {
	c.afterKept(func() { c.send(func(dst []byte) []byte { return append(dst, packet...) }) })
}

// afterKept calls a function that sends when all that was changed until now is kept. Those of a connection keep their order.
func (c *conn) afterKept(send func()) {
	c.unkept.Add(1)
	c.hub.store.db.After(func() {
		send()
		c.unkept.Add(-1)
	})
}

// awaitKept lets the reader wait while too many answers do.
func (c *conn) awaitKept() error {
	if c.hub.store == nil || c.unkept.Load() < maxUnkept {
		return nil
	}
	return c.stored()
}

// stored lets the reader wait until all that was changed until now is kept.
func (c *conn) stored() error {
	var fault *iothub.Error
	c.aside(func() { fault = c.hub.store.wait(c.hub.ctx) })
	if fault != nil {
		return &endError{endClosed, "the store has failed, or the hub closes"}
	}
	return nil
}

// dropSession ends the persistent session of a device that is about to connect without one. It stays ended.
func (c *conn) dropSession(d *device) error {
	if c.hub.store == nil {
		return nil
	}
	d.mu.Lock()
	dropped := d.session && !d.gone.Load()
	if dropped {
		d.session = false
		c.hub.store.keepDevice(d)
	}
	d.mu.Unlock()
	if !dropped {
		return nil
	}
	return c.stored()
}

// keepSubs keeps the subscriptions of a persistent session if they are not those of before, and answers with a packet when
// that is done. Its caller has the device's lock.
func (c *conn) keepSubs(d *device, before uint8, packet []byte) {
	if d.subs != before && d.session {
		c.hub.store.keepDevice(d)
	}
	c.mu.Lock()
	c.granting++ // what it lets the device get comes after the packet: there is no room before
	c.mu.Unlock()
	c.afterKept(func() {
		c.send(func(dst []byte) []byte {
			c.granting--
			return append(dst, packet...)
		})
	})
}

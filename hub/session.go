package hub

import (
	"time"

	"muster/internal/mqtt"
	"muster/iothub"
)

// maxFilters is how many topic filters one device may have.
const maxFilters = 5

// connect acts on a CONNECT: it answers with a CONNACK, and takes the connection over from an older one of the device.
func (c *conn) connect(body []byte) error {
	p, err := mqtt.ParseConnect(body)
	if err != nil {
		return err
	}
	if p.Level != 4 {
		return c.refuse(mqtt.RefusedLevel, "protocol level")
	}
	dev, expiry, why := c.hub.authenticate(p, c.nc, c.heard)
	if why != "" {
		return c.refuse(mqtt.RefusedNotAuthorized, why)
	}
	c.hub.strangers.proved(&c.place)
	if done, err := c.meetConnect(dev); done {
		return err
	}
	if err := c.awaitConnect(); err != nil {
		return err
	}
	if p.CleanSession {
		if err := c.dropSession(dev); err != nil {
			return err
		}
	}
	c.expiry = expiry
	c.patience = min(time.Duration(p.KeepAlive)*time.Second*3/2, maxKeepAlive)
	if !c.attach(dev, p.CleanSession) {
		return c.refuse(mqtt.RefusedNotAuthorized, "device deleted or disabled")
	}
	c.credit = maxRest
	c.keepWill(p)
	c.hub.counters.accepted.Add(1)
	_, at := c.deadline()
	return c.waitUntil(at)
}

// refuse answers a CONNECT with a refusal. Nothing else writes to the connection yet, so its reader may.
func (c *conn) refuse(code byte, why string) error {
	c.hub.counters.refused.Add(1)
	_ = c.write(mqtt.AppendConnack(nil, false, code))
	return &endError{endRefused, why}
}

// attach makes c the connection of its device, with the CONNACK as the first thing sent on it. It reports false if the
// device was deleted or disabled since it was authenticated.
func (c *conn) attach(dev *device, clean bool) bool {
	dev.mu.Lock()
	if dev.barredLocked() {
		dev.mu.Unlock()
		return false
	}
	older := dev.conn
	present := dev.session && !clean
	if !present {
		dev.subs = 0
	}
	changed := dev.session == clean
	dev.session = !clean
	dev.conn = c
	dev.identity.connAt = c.heard.UnixNano()
	dev.active.Store(c.heard.UnixNano())
	c.dev = dev
	if changed {
		c.hub.store.keepDevice(dev)
	}
	c.send(func(dst []byte) []byte { return mqtt.AppendConnack(dst, present, mqtt.Accepted) })
	dev.releaseLocked()
	dev.inbox.reconnected(present)
	dev.deliverLocked()
	dev.mu.Unlock()
	c.hub.counters.connected(dev, 1)
	if older != nil {
		older.end(endTakeover)
	}
	return true
}

// detach takes c from its device, unless a newer connection did so already.
func (h *Hub) detach(c *conn) {
	d := c.dev
	h.counters.connected(d, -1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != c {
		return
	}
	d.conn = nil
	d.identity.connAt = time.Now().UnixNano()
	if !d.session {
		d.subs = 0
	}
	if !d.gone.Load() {
		h.store.keepDevice(d)
	}
}

// subscribe acts on a SUBSCRIBE. A filter that the service does not have closes the connection, as does one too many.
func (c *conn) subscribe(body []byte) error {
	p, err := mqtt.ParseSubscribe(body)
	if err != nil {
		return err
	}
	var bits uint8
	codes := make([]byte, 0, maxFilters)
	for f := range p.Filters() {
		bit := filterBit(c.dev, f.Topic)
		if bit == 0 {
			return breach("subscription to an unknown filter")
		}
		if len(codes) == maxFilters {
			return breach("too many topic filters")
		}
		if bits |= bit; bit == subDeviceBound {
			if bits &^= subAcknowledged; f.QoS > 0 { // the last one counts
				bits |= subAcknowledged
			}
		}
		codes = append(codes, min(f.QoS, 1))
	}
	d := c.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.hub.store == nil {
		c.send(func(dst []byte) []byte { return mqtt.AppendSuback(dst, p.ID, codes...) })
	}
	mine, before := d.conn == c, d.subs
	if mine {
		if bits&subDeviceBound != 0 { // its QoS is asked for anew [MQTT-3.8.4-3]
			d.subs &^= subAcknowledged
		}
		d.subs |= bits
	}
	if c.hub.store != nil {
		c.keepSubs(d, before, mqtt.AppendSuback(nil, p.ID, codes...))
	}
	if mine {
		d.releaseLocked()
		d.deliverLocked()
	}
	return nil
}

func (c *conn) unsubscribe(body []byte) error {
	p, err := mqtt.ParseUnsubscribe(body)
	if err != nil {
		return err
	}
	var bits uint8
	for filter := range p.Filters() {
		bits |= filterBit(c.dev, filter)
	}
	d := c.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	if bits&subDeviceBound != 0 {
		bits |= subAcknowledged
	}
	before := d.subs
	if d.conn == c {
		d.subs &^= bits
	}
	if c.hub.store != nil {
		c.keepSubs(d, before, mqtt.AppendUnsuback(nil, p.ID))
		return nil
	}
	c.send(func(dst []byte) []byte { return mqtt.AppendUnsuback(dst, p.ID) })
	return nil
}

// filterBit returns what a device subscribes to by a filter, or 0 if there is no such filter.
func filterBit(d *device, filter []byte) uint8 {
	switch string(filter) {
	case iothub.FilterMethods:
		return subMethods
	case iothub.FilterTwinResponses:
		return subTwin
	case iothub.FilterDesired:
		return subDesired
	}
	own, ok := d.cutTopic(filter)
	switch {
	case !ok:
	case !d.isModule() && string(own) == "messages/devicebound/#":
		return subDeviceBound
	case d.isModule() && (string(own) == "inputs/#" || string(own) == "#"):
		return subInputs
	}
	return 0
}

// cutTopic returns what follows devices/{device}/, of a module devices/{device}/modules/{module}/, in a topic or filter. It
// allocates nothing.
func (d *device) cutTopic(topic []byte) (rest []byte, ok bool) {
	if rest, ok = cutSegment(topic, "devices"); !ok {
		return nil, false
	}
	if rest, ok = cutSegment(rest, d.deviceID()); !ok || d.parent == nil {
		return rest, ok
	}
	if rest, ok = cutSegment(rest, "modules"); !ok {
		return nil, false
	}
	return cutSegment(rest, d.moduleID())
}

// cutSegment returns what follows a topic's first segment and its slash, if the segment is that one.
func cutSegment(topic []byte, segment string) (rest []byte, ok bool) {
	n := len(segment)
	if len(topic) <= n || topic[n] != '/' || string(topic[:n]) != segment {
		return nil, false
	}
	return topic[n+1:], true
}

// cutEvents returns the property bag of a topic that carries telemetry of the device: its events topic, of which the last
// slash may be missing.
func (d *device) cutEvents(topic []byte) (bag []byte, ok bool) {
	const events = "messages/events"
	own, ok := d.cutTopic(topic)
	if !ok || len(own) < len(events) || string(own[:len(events)]) != events {
		return nil, false
	}
	if own = own[len(events):]; len(own) == 0 {
		return nil, true
	}
	return own[1:], own[0] == '/'
}

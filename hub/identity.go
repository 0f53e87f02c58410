package hub

import (
	"slices"
	"strings"
	"time"

	"muster/iothub"
)

// newIdentity returns what a client asks for, with old's keys where it gives none; without old, with random keys.
func newIdentity(doc *iothub.Device, old *identity) (identity, *iothub.Error) {
	var id identity
	switch {
	case doc.Status != "" && !strings.EqualFold(doc.Status, iothub.StatusEnabled) &&
		!strings.EqualFold(doc.Status, iothub.StatusDisabled):
		return id, errArgument("status must be enabled or disabled.")
	case doc.Capabilities.IoTEdge:
		return id, errUnsupported("The capability iotEdge")
	}
	id.disabled = strings.EqualFold(doc.Status, iothub.StatusDisabled)
	if doc.StatusReason != nil {
		id.reason = *doc.StatusReason
	}
	if old != nil {
		id.auth, id.primary, id.secondary, id.certificates = old.auth, old.primary, old.secondary, old.certificates
	}
	return id, id.authenticateBy(doc.Authentication)
}

// create registers a device with a fresh twin, which may be seeded.
func (h *Hub) create(id string, doc *iothub.Device, seed *twinDocument) (*device, *iothub.Error) {
	if !iothub.ValidDeviceID(id) {
		return nil, errArgument("The device id is not valid: 1 to 128 letters, digits or -.+%_#*?!(),:;=@$'.")
	}
	d, err := h.newDevice(id, doc, seed)
	if err != nil {
		return nil, err
	}
	if err := h.registry.add(d); err != nil {
		return nil, err
	}
	h.foresee(d)
	return d, nil
}

// newDevice makes a device or module that is not registered yet.
func (h *Hub) newDevice(id string, doc *iothub.Device, seed *twinDocument) (*device, *iothub.Error) {
	ident, err := newIdentity(doc, nil)
	if err != nil {
		return nil, err
	}
	now := time.Now().UnixNano()
	ident.etag = h.etags.Add(1)
	d := &device{id: id, created: now, identity: ident, version: 1}
	if err := d.seed(seed, now); err != nil {
		return nil, err
	}
	h.blobs.shareTwin(d)
	return d, nil
}

// seed sets the twin of a device that nobody knows yet.
func (d *device) seed(doc *twinDocument, now int64) *iothub.Error {
	for _, s := range []struct {
		name  string
		given []byte
		limit int
		into  *[]byte
	}{
		{"tags", doc.Tags, iothub.MaxTags, &d.tags},
		{"properties.desired", doc.Properties.Desired, iothub.MaxProperties, &d.desired.doc},
		{"properties.reported", doc.Properties.Reported, iothub.MaxProperties, &d.reported.doc},
	} {
		*s.into = []byte("{}")
		patch, err := checkSection(s.name, s.given, s.limit)
		if err == nil && patch != nil {
			*s.into, err = mergeSection(s.name, *s.into, patch, s.limit)
		}
		if err != nil {
			return errArgument(err.Error())
		}
	}
	made := stamp{at: now}
	d.desired.version, d.desired.stamps = 1, stamps{own: made, rest: made}
	d.reported.version, d.reported.stamps = 1, stamps{own: made, rest: made}
	return nil
}

// update replaces a device's identity. An etag other than "*" must be the identity's. A device that is disabled by it
// is disconnected, and so are its modules.
func (h *Hub) update(d *device, doc *iothub.Device, etag string) *iothub.Error {
	d.mu.Lock()
	old, gone, same := d.identity, d.gone.Load(), etag == "*" || etag == d.identity.tag()
	d.mu.Unlock()
	if gone {
		return d.notFound()
	}
	if !same {
		return errPrecondition(d.id)
	}
	ident, err := newIdentity(doc, &old)
	if err != nil {
		return err
	}
	d.mu.Lock()
	switch { // somebody was faster
	case d.gone.Load():
		d.mu.Unlock()
		return d.notFound()
	case d.identity.etag != old.etag:
		d.mu.Unlock()
		return errPrecondition(d.id)
	}
	ident.etag = h.etags.Add(1)
	ident.connAt, ident.statusAt = d.identity.connAt, d.identity.statusAt
	if ident.disabled != d.identity.disabled {
		ident.statusAt = time.Now().UnixNano()
	}
	h.registry.tally.switched(d, ident.disabled)
	d.identity = ident
	h.store.keepDevice(d)
	c := d.conn
	d.mu.Unlock()
	if !ident.disabled {
		return nil
	}
	if c != nil {
		c.end(endUnauthorized)
	}
	d.endModules()
	return nil
}

// remove deletes a device or module, disconnects it and ends the methods on their way to it. A device's modules go with
// it.
func (h *Hub) remove(d *device, etag string) *iothub.Error {
	d.mu.Lock()
	if d.gone.Load() {
		d.mu.Unlock()
		return d.notFound()
	}
	if etag != "*" && etag != d.identity.tag() {
		d.mu.Unlock()
		return errPrecondition(d.id)
	}
	d.gone.Store(true)
	h.registry.index.changed(d, d.tags, nil)
	h.registry.tally.count(d, -1)
	h.store.dropDevice(d)
	c, calls := d.conn, slices.AppendSeq(slices.Collect(d.pending.all()), d.waiting.all())
	d.pending, d.waiting, d.inbox = callList{}, callList{}, nil
	for _, call := range calls {
		call.state = callDone
	}
	d.mu.Unlock()
	h.registry.remove(d)
	if d.parent != nil {
		d.parent.disown(d)
	}
	for _, m := range d.moduleList() {
		_ = h.remove(m, "*") // fails if it is gone already
	}
	if c != nil {
		c.end(endUnauthorized)
	}
	for _, call := range calls {
		h.timers.disarm(&call.deadline)
		call.sink.finished(call, callResult{err: d.notFound()})
	}
	return nil
}

// document returns the identity as the service shows it.
func (d *device) document() iothub.Device {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := &d.identity
	doc := iothub.Device{
		DeviceID:                   d.id,
		GenerationID:               d.generation(),
		ETag:                       d.identity.tag(),
		ConnectionState:            connectionState(d.conn != nil),
		Status:                     i.status(),
		ConnectionStateUpdatedTime: timeOf(i.connAt),
		StatusUpdatedTime:          timeOf(i.statusAt),
		LastActivityTime:           timeOf(d.active.Load()),
		CloudToDeviceMessageCount:  d.inbox.count(time.Now()),
		Authentication:             i.authentication(),
		ParentScopes:               []string{},
	}
	if i.reason != "" {
		doc.StatusReason = new(i.reason)
	}
	return doc
}

// timeOf returns a moment given in ns since 1970; 0 is never.
func timeOf(ns int64) iothub.Time {
	if ns == 0 {
		return iothub.Time{}
	}
	return iothub.Time{Time: time.Unix(0, ns).UTC()}
}

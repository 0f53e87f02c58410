package fleet

import (
	"encoding/json"
	"slices"
	"strings"

	"muster/internal/query"
	"muster/internal/template"
	"muster/iothub"
)

// section is a part of a twin.
type section uint8

const (
	tags section = iota
	desired
	reported
	sections
)

// changes is how a device's twin differs from the seeded one, as JSON by
// section. A nil section is as seeded. Sections are replaced, never changed in
// place.
type changes [sections]json.RawMessage

// Apply keeps a device's own twin in step with a twin update that succeeded:
// patches to its tags and desired properties, nil for none.
func (f *Fleet) Apply(device uint32, tagsPatch, desiredPatch []byte) {
	f.merge(device, tags, tagsPatch)
	f.merge(device, desired, desiredPatch)
}

// Adopt takes over how a hub has a device's twin: its tags, desired and reported
// properties without what the hub adds to them. A section that is nil is as the
// device's group seeds it.
func (f *Fleet) Adopt(device uint32, tags, desired, reported json.RawMessage) {
	next := &changes{tags, desired, reported}
	if tags == nil && desired == nil && reported == nil {
		next = nil
	}
	d := &f.devices[device]
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changed = next
}

// merge merges a patch into a section of a device's own twin.
func (f *Fleet) merge(device uint32, part section, patch []byte) {
	if len(patch) == 0 {
		return
	}
	if err := f.mergeInto(&f.devices[device], device, part, patch); err != nil {
		f.cfg.Logger.Debug("twin patch cannot be merged", "device", device, "error", err)
	}
}

func (f *Fleet) mergeInto(d *device, device uint32, part section, patch []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var next changes
	if d.changed != nil {
		next = *d.changed
	}
	if next[part] == nil {
		next[part] = f.seeded(nil, device, part)
	}
	merged, err := iothub.MergePatch(next[part], patch)
	if err != nil {
		return err
	}
	next[part] = merged
	d.changed = &next
	return nil
}

// changed returns a section of a device's twin if it is not as seeded, or nil.
func (f *Fleet) changed(device uint32, part section) []byte {
	d := &f.devices[device]
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changed == nil {
		return nil
	}
	return d.changed[part]
}

// seeded appends a section as the device's group seeds it.
func (f *Fleet) seeded(dst []byte, device uint32, part section) []byte {
	g, vars := f.group(device)
	tree := [sections]*template.Tree{tags: g.Tags, desired: g.Desired, reported: g.Reported}[part]
	if tree == nil {
		return append(dst, "{}"...)
	}
	return tree.AppendJSON(dst, vars)
}

// Match returns the devices of the fleet that the condition selects, in order,
// as their own twins tell; nil selects all. A condition that reads what only a
// hub knows, such as etag or $metadata, cannot be checked, and Match says so.
func (f *Fleet) Match(c *query.Condition) (devices []uint32, checkable bool) {
	if c != nil && !slices.ContainsFunc(c.Paths(), hubOnly) {
		checkable = true
	}
	if c == nil {
		return f.all(), true
	}
	if !checkable {
		return nil, false
	}
	r := &row{fleet: f}
	for _, device := range f.candidates(c) {
		r.reset(device)
		if c.Match(r) {
			devices = append(devices, device)
		}
	}
	return devices, true
}

// all returns every device.
func (f *Fleet) all() []uint32 {
	devices := make([]uint32, len(f.devices))
	for i := range devices {
		devices[i] = uint32(i)
	}
	return devices
}

// candidates returns the devices that a condition can select, in order: those
// whose ids it names, or all.
func (f *Fleet) candidates(c *query.Condition) []uint32 {
	ids, ok := c.DeviceIDs()
	if !ok {
		return f.all()
	}
	var devices []uint32
	for _, id := range ids {
		if device, ok := f.Index(id); ok {
			devices = append(devices, device)
		}
	}
	slices.Sort(devices)
	return slices.Compact(devices)
}

// hubOnly reports whether only a hub knows the attribute at path.
func hubOnly(path []string) bool {
	switch path[0] {
	case "deviceId", "status", "connectionState":
		return false
	case "tags":
		path = path[1:]
	case "properties":
		if len(path) < 2 || path[1] != "desired" && path[1] != "reported" {
			return true
		}
		path = path[2:]
	default:
		return true
	}
	return slices.ContainsFunc(path, func(name string) bool { return strings.HasPrefix(name, "$") })
}

// row is a device's own twin as conditions read it. One row serves many devices
// in turn, so that its buffers are made once.
type row struct {
	fleet  *Fleet
	device uint32
	docs   [sections][]byte // nil: not read yet
	seeded [sections][]byte // buffers
}

func (r *row) reset(device uint32) {
	r.device = device
	r.docs = [sections][]byte{}
}

// Value returns the attribute at a path for which hubOnly is false.
func (r *row) Value(path []string) query.Value {
	switch path[0] {
	case "deviceId":
		return query.String(r.fleet.id(r.device))
	case "status":
		return query.String(iothub.StatusEnabled) // as every device is registered
	case "connectionState":
		if state(r.fleet.devices[r.device].state.Load()) == online {
			return query.String(iothub.Connected)
		}
		return query.String(iothub.Disconnected)
	case "tags":
		return query.Lookup(r.doc(tags), path[1:])
	}
	if path[1] == "desired" {
		return query.Lookup(r.doc(desired), path[2:])
	}
	return query.Lookup(r.doc(reported), path[2:])
}

// doc returns a section as JSON, valid until the next reset.
func (r *row) doc(part section) []byte {
	if r.docs[part] == nil {
		r.docs[part] = r.fleet.changed(r.device, part)
	}
	if r.docs[part] == nil {
		r.seeded[part] = r.fleet.seeded(r.seeded[part][:0], r.device, part)
		r.docs[part] = r.seeded[part]
	}
	return r.docs[part]
}

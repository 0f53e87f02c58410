package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"muster/iothub"
)

// twinPatch is a change of tags and desired properties by the service, checked and compact; nil sections stay.
type twinPatch struct {
	tags, desired []byte
	replace       bool // PUT: sections are replaced instead of merged
}

// twinDocument is the part of a service's twin that can be written.
type twinDocument struct {
	ETag       *string           `json:"etag"`
	Tags       json.RawMessage   `json:"tags"`
	Properties iothub.Properties `json:"properties"`
	Desired    json.RawMessage   `json:"desired"` // a common mistake, refused in jobs
}

// patch returns the document's changes, checked. What else stands in the document takes no effect.
func (t *twinDocument) patch(replace bool) (twinPatch, *iothub.Error) {
	tags, err := checkSection("tags", t.Tags, iothub.MaxTags)
	if err != nil {
		return twinPatch{}, errArgument(err.Error())
	}
	desired, err := checkSection("properties.desired", t.Properties.Desired, iothub.MaxProperties)
	if err != nil {
		return twinPatch{}, errArgument(err.Error())
	}
	return twinPatch{tags: tags, desired: desired, replace: replace}, nil
}

// checkSection returns a compact copy of a section's patch; absent and null are nil.
func checkSection(name string, patch []byte, limit int) ([]byte, error) {
	if isNull(patch) {
		return nil, nil
	}
	if err := iothub.ValidatePatch(name, patch, limit); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Compact(&out, patch); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// patchTwin applies a change to a device's twin and notifies the device. An etag other than "*" must be the twin's.
func (h *Hub) patchTwin(d *device, p *twinPatch, etag string) *iothub.Error {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone.Load() {
		return errDeviceNotFound(d.id)
	}
	if etag != "*" && etag != d.twinETagLocked() {
		return errPrecondition(d.id)
	}
	tags, err := p.merge("tags", d.tags, p.tags, iothub.MaxTags)
	if err != nil {
		return errArgument(err.Error())
	}
	desired, err := p.merge("properties.desired", d.desired.doc, p.desired, iothub.MaxProperties)
	if err != nil {
		return errArgument(err.Error())
	}
	d.tags = tags
	d.version++
	if p.desired == nil {
		return nil
	}
	d.desired.doc = desired
	d.desired.version++
	s := stamp{now.UnixNano(), d.desired.version}
	if p.replace {
		d.desired.stamps = stamps{own: s, rest: s}
		d.sendDesiredLocked(desired)
		return nil
	}
	d.desired.stamps.touch(p.desired, s)
	d.sendDesiredLocked(p.desired)
	return nil
}

// merge returns a section after the change.
func (p *twinPatch) merge(name string, doc, patch []byte, limit int) ([]byte, error) {
	switch {
	case patch == nil:
		return doc, nil
	case p.replace:
		doc = []byte("{}") // nulls of a replacement are dropped as in a merge
	}
	return mergeSection(name, doc, patch, limit)
}

func mergeSection(name string, doc, patch []byte, limit int) ([]byte, error) {
	merged, err := iothub.MergePatch(doc, patch)
	if err != nil {
		return nil, fmt.Errorf("merge %s: %w", name, err)
	}
	if err := iothub.CheckSection(name, merged, limit); err != nil {
		return nil, err
	}
	return merged, nil
}

// reportLocked applies a device's own patch.
func (d *device) reportLocked(patch []byte, now time.Time) *iothub.Error {
	compact, err := checkSection("properties.reported", patch, iothub.MaxProperties)
	if err == nil && compact == nil {
		err = errors.New("properties.reported: not a JSON object")
	}
	if err != nil {
		return errArgument(err.Error())
	}
	merged, err := mergeSection("properties.reported", d.reported.doc, compact, iothub.MaxProperties)
	if err != nil {
		return errArgument(err.Error())
	}
	d.reported.doc = merged
	d.reported.version++
	d.reported.stamps.touch(compact, stamp{at: now.UnixNano()})
	return nil
}

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

// patchTwin applies a change to a device's twin and notifies the device. An etag other than "*" must be the twin's. The
// device's lock is not held over the merge, which begins anew if the twin has changed meanwhile. by is the job's execution that
// does so and has to be kept with it, or nil.
func (h *Hub) patchTwin(d *device, p *twinPatch, etag string, by *execution) *iothub.Error {
	for {
		d.mu.Lock()
		tags, desired, version := d.tags, d.desired, d.version
		d.mu.Unlock()
		if d.isGone() {
			return d.notFound()
		}
		if etag != "*" && etag != twinETag(version) {
			return errPrecondition(d.id)
		}
		tags, desired, err := p.apply(tags, desired, time.Now())
		if err != nil {
			return errArgument(err.Error())
		}
		if p.tags != nil {
			tags = h.blobs.share(tags)
		}
		if p.desired != nil {
			desired.doc = h.blobs.share(desired.doc)
		}
		if h.setTwin(d, p, version, tags, desired, by) {
			return nil
		}
	}
}

// setTwin sets the tags and the desired properties after a change, if the twin still has the version that it was made from.
func (h *Hub) setTwin(d *device, p *twinPatch, version int64, tags []byte, desired section, by *execution) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.version != version || d.gone.Load() {
		return false
	}
	if p.tags != nil {
		h.registry.index.changed(d, d.tags, tags)
	}
	d.tags, d.desired = tags, desired
	d.version++
	h.store.keepTwin(d, by)
	switch {
	case p.desired == nil:
	case p.replace:
		d.sendDesiredLocked(desired.doc)
	default:
		d.sendDesiredLocked(p.desired)
	}
	return true
}

// apply returns tags and desired properties after the change.
func (p *twinPatch) apply(tags []byte, desired section, now time.Time) ([]byte, section, error) {
	if p.replace { // nulls of a replacement are dropped as in a merge
		tags, desired = p.emptied(tags, desired)
	}
	var err error
	if p.tags != nil {
		if tags, err = mergeSection("tags", tags, p.tags, iothub.MaxTags); err != nil {
			return nil, section{}, err
		}
	}
	if p.desired == nil {
		return tags, desired, nil
	}
	s := stamp{now.UnixNano(), desired.version + 1}
	if desired, err = desired.merged("properties.desired", p.desired, s); err == nil && p.replace {
		desired.stamps = stamps{own: s, rest: s}
	}
	return tags, desired, err
}

// emptied returns tags and desired properties without what the change replaces.
func (p *twinPatch) emptied(tags []byte, desired section) ([]byte, section) {
	if p.tags != nil {
		tags = []byte("{}")
	}
	if p.desired != nil {
		desired = section{doc: []byte("{}"), version: desired.version}
	}
	return tags, desired
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

// report applies a device's own patch and returns the new version. As in patchTwin, the lock is not held over the merge.
func (h *Hub) report(d *device, patch []byte, now time.Time) (int64, *iothub.Error) {
	compact, err := checkSection("properties.reported", patch, iothub.MaxProperties)
	if err == nil && compact == nil {
		err = errors.New("properties.reported: not a JSON object")
	}
	for err == nil {
		d.mu.Lock()
		old := d.reported
		d.mu.Unlock()
		var next section
		if next, err = old.merged("properties.reported", compact, stamp{at: now.UnixNano()}); err != nil {
			break
		}
		d.mu.Lock()
		same := d.reported.version == old.version
		if same {
			d.reported = next
			h.store.keepDevice(d)
		}
		d.mu.Unlock()
		if same {
			return next.version, nil
		}
	}
	return 0, errArgument(err.Error())
}

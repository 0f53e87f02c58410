package hub

import (
	"bytes"
	"hash/maphash"
	"sync/atomic"
)

const (
	// blobSlots is how many documents a hub knows to be shared, and maxBlob how large one may be: together at most 2 MB.
	blobSlots = 1 << 12
	maxBlob   = 512
)

// blobs lets equal tags, and equal desired properties, be one document: those of a fleet are alike as a rule. It knows those
// that it saw last, one a slot, so that documents that are all different cost a look and no memory. Documents are replaced and
// never changed.
type blobs struct {
	seed  maphash.Seed
	slots [blobSlots]atomic.Pointer[[]byte]
}

// emptyObject is the document of every section without members.
var emptyObject = []byte("{}")

// share returns a document that is equal to doc, and that others may have too.
func (b *blobs) share(doc []byte) []byte {
	switch {
	case len(doc) == len(emptyObject):
		return emptyObject
	case len(doc) > maxBlob:
		return doc
	}
	slot := &b.slots[maphash.Bytes(b.seed, doc)%blobSlots]
	if known := slot.Load(); known != nil && bytes.Equal(*known, doc) {
		return *known
	}
	fresh := bytes.Clone(doc)
	slot.Store(&fresh)
	return fresh
}

// shareTwin shares the documents of a device that nobody knows yet.
func (b *blobs) shareTwin(d *device) {
	for _, doc := range [...]*[]byte{&d.tags, &d.desired.doc, &d.reported.doc} {
		*doc = b.share(*doc)
	}
}

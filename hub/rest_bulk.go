package hub

import (
	"net/http"
	"strings"

	"muster/iothub"
)

// bulk creates, changes and deletes up to a hundred identities. Each entry stands for itself.
func (h *Hub) bulk(r *request) (reply, *iothub.Error) {
	var entries []iothub.BulkEntry
	if err := r.decode(&entries); err != nil {
		return reply{}, err
	}
	if len(entries) > iothub.MaxBulk {
		return reply{}, errTooManyDevices()
	}
	result := iothub.BulkResult{Errors: []iothub.BulkError{}, Warnings: []iothub.BulkWarning{}}
	for i := range entries {
		e := &entries[i]
		if err := h.apply(e); err != nil {
			fault := iothub.BulkError{
				DeviceID: e.ID, ErrorCode: err.Name, ErrorStatus: err.Message, Operation: e.ImportMode,
			}
			if e.ModuleID != "" {
				fault.ModuleID = &e.ModuleID
			}
			result.Errors = append(result.Errors, fault)
		}
	}
	result.IsSuccessful = len(result.Errors) == 0
	answer, err := jsonReply(result)
	if !result.IsSuccessful {
		answer.status = http.StatusBadRequest
	}
	return answer, err
}

// apply acts on one entry by its import mode, which may be written in any case.
func (h *Hub) apply(e *iothub.BulkEntry) *iothub.Error {
	mode := strings.ToLower(e.ImportMode)
	d, missing := h.lookup(e.ID, e.ModuleID)
	switch {
	case mode == "create", missing != nil && strings.HasPrefix(mode, "createorupdate"):
		return h.createEntry(e)
	case missing != nil:
		return missing
	}
	etag, conditional := "*", strings.HasSuffix(mode, "ifmatchetag")
	if conditional {
		etag = e.ETag
	}
	switch strings.TrimSuffix(mode, "ifmatchetag") {
	case "update", "createorupdate":
		doc, _ := documentsOf(e)
		return h.update(d, &doc, etag)
	case "delete":
		return h.remove(d, etag)
	case "updatetwin":
		if conditional {
			etag = e.TwinETag
		}
		_, twin := documentsOf(e)
		patch, err := twin.patch(false)
		if err != nil {
			return err
		}
		return h.patchTwin(d, &patch, etag, nil)
	}
	return errArgument("importMode is not known.")
}

// createEntry creates the device or the module of an entry.
func (h *Hub) createEntry(e *iothub.BulkEntry) *iothub.Error {
	doc, twin := documentsOf(e)
	if e.ModuleID == "" {
		_, err := h.create(e.ID, &doc, &twin)
		return err
	}
	d, err := h.lookup(e.ID, "")
	if err == nil {
		_, err = h.createModule(d, e.ModuleID, &doc, &twin)
	}
	return err
}

// documentsOf returns the identity and the twin that an entry holds. Modules have neither status nor capabilities.
func documentsOf(e *iothub.BulkEntry) (iothub.Device, twinDocument) {
	doc := iothub.Device{Authentication: e.Authentication}
	if e.ModuleID == "" {
		doc.Status, doc.StatusReason = e.Status, e.StatusReason
		if e.Capabilities != nil {
			doc.Capabilities = *e.Capabilities
		}
	}
	twin := twinDocument{Tags: e.Tags}
	if e.Properties != nil {
		twin.Properties = *e.Properties
	}
	return doc, twin
}

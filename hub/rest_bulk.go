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
			result.Errors = append(result.Errors, iothub.BulkError{
				DeviceID: e.ID, ErrorCode: err.Name, ErrorStatus: err.Message, Operation: e.ImportMode,
			})
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
	if e.ModuleID != "" {
		return errUnsupported("A module identity")
	}
	mode := strings.ToLower(e.ImportMode)
	d := h.registry.find(e.ID)
	switch {
	case mode == "create", d == nil && strings.HasPrefix(mode, "createorupdate"):
		doc, twin := documentsOf(e)
		_, err := h.create(e.ID, &doc, &twin)
		return err
	case d == nil:
		return errDeviceNotFound(e.ID)
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
		return h.patchTwin(d, &patch, etag)
	}
	return errArgument("importMode is not known.")
}

// documentsOf returns the identity and the twin that an entry holds.
func documentsOf(e *iothub.BulkEntry) (iothub.Device, twinDocument) {
	doc := iothub.Device{
		DeviceID: e.ID, Status: e.Status, StatusReason: e.StatusReason, Authentication: e.Authentication,
	}
	if e.Capabilities != nil {
		doc.Capabilities = *e.Capabilities
	}
	twin := twinDocument{Tags: e.Tags}
	if e.Properties != nil {
		twin.Properties = *e.Properties
	}
	return doc, twin
}

package hub

import (
	"net/http"

	"muster/iothub"
)

func (h *Hub) listModules(r *request) (reply, *iothub.Error) {
	d, err := h.find(r)
	if err != nil {
		return reply{}, err
	}
	list := []iothub.Module{}
	for _, m := range d.moduleList() {
		list = append(list, m.moduleDocument())
	}
	return jsonReply(list)
}

func (h *Hub) getModule(r *request) (reply, *iothub.Error) {
	m, err := h.find(r)
	if err != nil {
		return reply{}, err
	}
	return m.moduleReply()
}

func (d *device) moduleReply() (reply, *iothub.Error) {
	doc := d.moduleDocument()
	answer, err := jsonReply(doc)
	answer.etag = doc.ETag
	return answer, err
}

// putModule creates a module's identity, or with If-Match updates one.
func (h *Hub) putModule(r *request) (reply, *iothub.Error) {
	var doc iothub.Module
	if err := r.decode(&doc); err != nil {
		return reply{}, err
	}
	id, module := r.PathValue("id"), r.PathValue("module")
	switch {
	case doc.DeviceID != "" && doc.DeviceID != id:
		return reply{}, errArgument("deviceId is not the one in the request's path.")
	case doc.ModuleID != "" && doc.ModuleID != module:
		return reply{}, errArgument("moduleId is not the one in the request's path.")
	}
	asked := iothub.Device{Authentication: doc.Authentication}
	m, err := h.changeModule(id, module, &asked, r.ifMatch(""))
	if err != nil {
		return reply{}, err
	}
	return m.moduleReply()
}

// changeModule creates a module, or updates the one that has this etag.
func (h *Hub) changeModule(id, module string, doc *iothub.Device, etag string) (*device, *iothub.Error) {
	if etag != "" {
		m, err := h.lookup(id, module)
		if err == nil {
			err = h.update(m, doc, etag)
		}
		return m, err
	}
	d, err := h.lookup(id, "")
	if err != nil {
		return nil, err
	}
	return h.createModule(d, module, doc, &twinDocument{})
}

func (h *Hub) deleteModule(r *request) (reply, *iothub.Error) {
	m, err := h.find(r)
	if err == nil {
		err = h.remove(m, r.ifMatch("*"))
	}
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, nil
}

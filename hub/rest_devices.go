package hub

import (
	"net/http"
	"strconv"

	"muster/internal/goheap"
	"muster/iothub"
)

// maxList is how many identities a list has at most, and without a top.
const maxList = 1000

func (h *Hub) listDevices(r *request) (reply, *iothub.Error) {
	top, err := strconv.Atoi(r.URL.Query().Get("top"))
	if err != nil || top < 1 || top > maxList {
		top = maxList
	}
	list := []iothub.Device{}
	for _, d := range h.registry.after(0) {
		if len(list) == top {
			break
		}
		if !d.gone.Load() && !d.isModule() {
			list = append(list, d.document())
		}
	}
	return jsonReply(list)
}

func (h *Hub) getDevice(r *request) (reply, *iothub.Error) {
	d, err := h.find(r)
	if err != nil {
		return reply{}, err
	}
	return d.identityReply()
}

func (d *device) identityReply() (reply, *iothub.Error) {
	doc := d.document()
	answer, err := jsonReply(doc)
	answer.etag = doc.ETag
	return answer, err
}

// putDevice creates an identity, or with If-Match updates one.
func (h *Hub) putDevice(r *request) (reply, *iothub.Error) {
	var doc iothub.Device
	if err := r.decode(&doc); err != nil {
		return reply{}, err
	}
	id := r.PathValue("id")
	if doc.DeviceID != "" && doc.DeviceID != id {
		return reply{}, errArgument("deviceId is not the one in the request's path.")
	}
	if etag := r.ifMatch(""); etag != "" {
		d, err := h.find(r)
		if err == nil {
			err = h.update(d, &doc, etag)
		}
		if err != nil {
			return reply{}, err
		}
		return d.identityReply()
	}
	d, err := h.create(id, &doc, &twinDocument{})
	if err != nil {
		return reply{}, err
	}
	return d.identityReply()
}

func (h *Hub) deleteDevice(r *request) (reply, *iothub.Error) {
	d, err := h.find(r)
	if err == nil {
		err = h.remove(d, r.ifMatch("*"))
	}
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, nil
}

func (h *Hub) deviceStatistics(*request) (reply, *iothub.Error) {
	return jsonReply(h.registry.tally.statistics())
}

func (h *Hub) serviceStatistics(*request) (reply, *iothub.Error) {
	c := &h.counters
	return jsonReply(iothub.ServiceStatistics{Connected: int(c.connections.Load() - c.modules.Load())})
}

func (h *Hub) ownStatistics(*request) (reply, *iothub.Error) {
	return jsonReply(statsDocument{h.Stats(), measureProcess(), goheap.Read()})
}

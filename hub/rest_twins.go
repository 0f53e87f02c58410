package hub

import (
	"bytes"
	"encoding/json"

	"muster/iothub"
)

func (h *Hub) getTwin(r *request) (reply, *iothub.Error) {
	d, err := h.find(r)
	if err != nil {
		return reply{}, err
	}
	return d.twinReply(), nil
}

func (d *device) twinReply() reply {
	var v snapshot
	d.snapshot(&v, allParts)
	return reply{body: v.appendTwin(nil), etag: twinETag(v.version)}
}

func (h *Hub) updateTwin(r *request) (reply, *iothub.Error)  { return h.changeTwin(r, false) }
func (h *Hub) replaceTwin(r *request) (reply, *iothub.Error) { return h.changeTwin(r, true) }

func (h *Hub) changeTwin(r *request, replace bool) (reply, *iothub.Error) {
	d, err := h.find(r)
	if err != nil {
		return reply{}, err
	}
	var doc twinDocument
	if err := r.decode(&doc); err != nil {
		return reply{}, err
	}
	patch, err := doc.patch(replace)
	if err == nil {
		err = h.patchTwin(d, &patch, r.ifMatch("*"), nil)
	}
	if err != nil {
		return reply{}, err
	}
	return d.twinReply(), nil
}

// maxMethodName bounds a method's name, in bytes.
const maxMethodName = 1 << 10

// newMethodRequest returns the checked form of a method.
func newMethodRequest(m *iothub.Method) (*methodRequest, *iothub.Error) {
	if err := m.Validate(); err != nil {
		return nil, errArgument(err.Error())
	}
	if len(m.MethodName) > maxMethodName {
		return nil, errArgument("methodName is too long.")
	}
	return &methodRequest{
		topic:    iothub.MethodRequestTopic(m.MethodName, ""),
		payload:  compact(m.Payload),
		response: m.ResponseTimeout(),
		connect:  m.ConnectTimeout(),
	}, nil
}

// compact returns a payload, which is valid, without the space between its tokens; "null" for none.
func compact(payload []byte) []byte {
	switch {
	case len(payload) == 0:
		return nullPayload
	case !bytes.ContainsAny(payload, " \t\r\n"):
		return payload
	}
	var b bytes.Buffer
	_ = json.Compact(&b, payload)
	return b.Bytes()
}

// pendingCall hands a call's result to the request that waits for it.
type pendingCall chan pendingResult

// pendingResult is the document to answer with, or an error.
type pendingResult struct {
	body []byte
	err  *iothub.Error
}

func (p pendingCall) finished(_ *call, r callResult) {
	result := pendingResult{err: r.err}
	if r.err == nil {
		const around = len(`{"status":,"payload":}`) + 20 // the digits of the status
		result.body = appendMethodResult(make([]byte, 0, around+len(r.payload)), r)
	}
	p <- result // has room: it is told once
}

// invokeMethod calls a direct method and waits for the device's answer.
func (h *Hub) invokeMethod(r *request) (reply, *iothub.Error) {
	d, err := h.find(r)
	if err != nil {
		return reply{}, err
	}
	m, parseErr := iothub.ParseMethod(r.body)
	if parseErr != nil {
		return reply{}, errNotExpected()
	}
	req, err := newMethodRequest(&m)
	if err != nil {
		return reply{}, err
	}
	answer := make(pendingCall, 1)
	c := &call{hub: h, dev: d, req: req, sink: answer}
	if err := h.invokeAlone(c); err != nil {
		return reply{}, err
	}
	select {
	case result := <-answer:
		return reply{body: result.body}, result.err
	case <-r.Context().Done(): // nobody waits any more
	case <-h.ctx.Done():
	}
	c.abandon()
	return reply{}, errClosed()
}

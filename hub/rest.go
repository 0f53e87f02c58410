package hub

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"muster/iothub"
)

// maxBody bounds a request's body: a hundred identities with full twins fit.
const maxBody = 8 << 20

// maxHeader bounds a request's header, which anybody may send: a token and a continuation token fit many times.
const maxHeader = 64 << 10

// request is a REST request that may be answered: authorized, with its body.
type request struct {
	*http.Request
	body []byte
}

// reply is the answer to a request that succeeded.
type reply struct {
	status   int     // 0 = 200
	body     []byte  // JSON; nil = none
	space    *[]byte // where the body is, of pageBodies; nil = a place of its own
	etag     string  // unquoted; "" = none
	itemType string  // of a page
	next     string  // continuation token; "" = the last page
}

// handler answers a request, or says what is wrong with it.
type handler func(r *request) (reply, *iothub.Error)

// routes is the REST side's table.
func (h *Hub) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for _, route := range []struct {
		pattern string
		need    permission
		handle  handler
	}{
		{"GET /devices", registryRead, h.listDevices},
		{"GET /devices/{$}", registryRead, h.listDevices},
		{"POST /devices", registryWrite, h.bulk},
		{"POST /devices/{$}", registryWrite, h.bulk},
		{"GET /devices/{id}", registryRead, h.getDevice},
		{"PUT /devices/{id}", registryWrite, h.putDevice},
		{"DELETE /devices/{id}", registryWrite, h.deleteDevice},
		{"GET /devices/{id}/modules", registryRead, h.listModules},
		{"GET /devices/{id}/modules/{module}", registryRead, h.getModule},
		{"PUT /devices/{id}/modules/{module}", registryWrite, h.putModule},
		{"DELETE /devices/{id}/modules/{module}", registryWrite, h.deleteModule},
		{"DELETE /devices/{id}/commands", serviceConnect, h.purgeMessages},
		{"POST /devices/query", serviceConnect, h.runQuery},
		{"GET /twins/{id}", serviceConnect, h.getTwin},
		{"PATCH /twins/{id}", serviceConnect, h.updateTwin},
		{"PUT /twins/{id}", serviceConnect, h.replaceTwin},
		{"POST /twins/{id}/methods", serviceConnect, h.invokeMethod},
		{"GET /twins/{id}/modules/{module}", serviceConnect, h.getTwin},
		{"PATCH /twins/{id}/modules/{module}", serviceConnect, h.updateTwin},
		{"PUT /twins/{id}/modules/{module}", serviceConnect, h.replaceTwin},
		{"POST /twins/{id}/modules/{module}/methods", serviceConnect, h.invokeMethod},
		{"PUT /jobs/v2/{id}", serviceConnect, h.createJob},
		{"GET /jobs/v2/{id}", serviceConnect, h.getJob},
		{"POST /jobs/v2/{id}/cancel", serviceConnect, h.cancelJob},
		{"GET /jobs/v2/query", serviceConnect, h.listJobs},
		{"GET /statistics/devices", registryRead, h.deviceStatistics},
		{"GET /statistics/service", serviceConnect, h.serviceStatistics},
		{"GET /muster/stats", serviceConnect, h.ownStatistics},
		{"GET /muster/devices/{id}/telemetry", serviceConnect, h.latestTelemetry},
		{"GET /muster/devices/{id}/modules/{module}/telemetry", serviceConnect, h.latestTelemetry},
		{"POST /muster/devices/{id}/messages", serviceConnect, h.sendMessage},
		{"GET /muster/faults", serviceConnect, h.listFaults},
		{"POST /muster/faults", serviceConnect, h.postFault},
		{"DELETE /muster/faults", serviceConnect, h.deleteFaults},
		{"GET /muster/faults/{id}", serviceConnect, h.getFault},
		{"DELETE /muster/faults/{id}", serviceConnect, h.deleteFault},
		{"/", 0, unsupported},
	} {
		mux.Handle(route.pattern, h.serve(route.need, route.handle))
	}
	mux.HandleFunc("GET "+webSocketPath, h.upgrade)
	return mux
}

// cleanPath says whether a path is as the table's patterns have it: no empty segment, and none that is . or ..; the mux
// would redirect others.
func cleanPath(p string) bool {
	clean := path.Clean(p)
	return strings.HasPrefix(p, "/") && (p == clean || p == clean+"/" && clean != "/")
}

// ServeHTTP answers one request of the REST side.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.tasks.Add(1)
	}
	h.mu.Unlock()
	if closed {
		writeError(w, errClosed())
		return
	}
	defer h.tasks.Done()
	h.counters.requests.Add(1)
	h.faults.meetRestart(r)
	if !cleanPath(r.URL.EscapedPath()) {
		h.serve(0, unsupported).ServeHTTP(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// serve makes a handler an http.Handler: what comes before and after is the same for all requests.
func (h *Hub) serve(need permission, handle handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := exchange{hub: h, w: w, r: r, control: http.NewResponseController(w), guest: guestOf(r)}
		var answer reply
		err := h.waitOpen(r.Context())
		if err == nil {
			answer, err = h.try(&x, need, handle)
			if gone := h.waitOpen(r.Context()); gone != nil {
				err = gone
			}
		}
		if x.authorized { // faults keep no book on strangers
			h.faults.meetAnswer(r)
		}
		if !x.complete {
			x.dropBody()
		}
		x.write(func() {
			if err != nil {
				writeError(w, err)
			} else {
				answer.write(w)
			}
		})
	})
}

func (h *Hub) try(x *exchange, need permission, handle handler) (reply, *iothub.Error) {
	if !h.admit(x.guest, x.r.Header.Get("Authorization"), need, time.Now()) {
		h.counters.unauthorized.Add(1)
		return reply{}, errUnauthorized()
	}
	x.authorized = true
	if !hasVersion(x.r.URL) && !strings.HasPrefix(x.r.URL.Path, "/muster/") {
		return reply{}, errVersion()
	}
	body, err := x.readBody()
	if err != nil {
		return reply{}, err
	}
	if err := h.shape(x.r, body); err != nil {
		return reply{}, err
	}
	if err := h.faults.meetRequest(x.r); err != nil {
		return reply{}, err
	}
	answer, err := handle(&request{x.r, body})
	if lost := h.store.wait(x.r.Context()); lost != nil {
		return reply{}, lost
	}
	return answer, err
}

// hasVersion says whether a request's URL has the parameter api-version. It nearly always is the first one.
func hasVersion(u *url.URL) bool {
	first, _, _ := strings.Cut(u.RawQuery, "&")
	value, ok := strings.CutPrefix(first, "api-version=")
	return ok && !strings.ContainsAny(value, "%;") || u.Query().Has("api-version")
}

// waitOpen waits while the hub is paused; it fails if the client goes away or the hub is closed.
func (h *Hub) waitOpen(ctx context.Context) *iothub.Error {
	if h.gate.open() {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	if h.gate.wait(ctx) != nil {
		return errClosed()
	}
	return nil
}

const jsonType = "application/json; charset=utf-8"

func (a reply) write(w http.ResponseWriter) {
	header := w.Header()
	if a.etag != "" {
		header.Set("ETag", `"`+a.etag+`"`)
	}
	if a.itemType != "" {
		header.Set("x-ms-item-type", a.itemType)
	}
	if a.next != "" {
		header.Set("x-ms-continuation", a.next)
	}
	if a.body != nil {
		header.Set("Content-Type", jsonType)
		header.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = w.Write(a.body) // a client that is gone needs no answer
	if a.space != nil && cap(a.body) <= keptBody {
		*a.space = a.body[:0]
		pageBodies.Put(a.space)
	}
}

func writeError(w http.ResponseWriter, err *iothub.Error) {
	header := w.Header()
	header.Set("Content-Type", jsonType)
	header.Set(iothub.ErrorCodeHeader, err.Name)
	body := err.Body()
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(err.StatusCode)
	_, _ = w.Write(body)
}

// jsonReply answers with a document.
func jsonReply(v any) (reply, *iothub.Error) {
	body, err := json.Marshal(v)
	if err != nil {
		return reply{}, errServer("The answer could not be encoded.")
	}
	return reply{body: body}, nil
}

// decode reads the request's document.
func (r *request) decode(into any) *iothub.Error {
	if err := json.Unmarshal(r.body, into); err != nil {
		return errNotExpected()
	}
	return nil
}

func errNotExpected() *iothub.Error {
	return errArgument("The request's body is not the JSON that was expected.")
}

// ifMatch returns the etag of the If-Match header without quotes; absent is what the caller says.
func (r *request) ifMatch(absent string) string {
	tag := r.Header.Get("If-Match")
	if tag == "" {
		return absent
	}
	return strings.Trim(strings.TrimPrefix(tag, "W/"), `"`)
}

// find returns the device or module that the path names.
func (h *Hub) find(r *request) (*device, *iothub.Error) {
	return h.lookup(r.PathValue("id"), r.PathValue("module"))
}

func unsupported(r *request) (reply, *iothub.Error) {
	return reply{}, errUnsupported(r.Method + " " + r.URL.Path)
}

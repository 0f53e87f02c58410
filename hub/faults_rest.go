package hub

import (
	"cmp"
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	faultmodel "muster/internal/fault"
	"muster/internal/socket"
	"muster/iothub"
)

// ownPath is where muster's own endpoints are, which no fault strikes: somebody must be able to end it.
const ownPath = "/muster/"

// meetingOf returns what a request is to faults, and whether they may strike it.
func meetingOf(r *http.Request) (meeting, bool) {
	path := r.URL.Path
	if strings.HasPrefix(path, ownPath) {
		return meeting{}, false
	}
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	m := meeting{part: FaultREST}
	switch first {
	case "devices":
		m.operation = faultmodel.Registry
		if r.Method == http.MethodPost && rest == "query" {
			m.operation = faultmodel.Query
		} else {
			m.device, _, _ = strings.Cut(rest, "/")
		}
	case "twins":
		m.operation = faultmodel.TwinAccess
		if m.device, rest, _ = strings.Cut(rest, "/"); rest == "methods" || strings.HasSuffix(rest, "/methods") {
			m.operation = faultmodel.Invoke
		}
	case "jobs":
		m.operation = faultmodel.Jobs
	case "statistics":
		m.operation = faultmodel.Statistics
	}
	return m, true
}

// meetRestart cuts a request that comes while the hub is away. It ends the handler.
func (fs *faults) meetRestart(r *http.Request) {
	if !fs.on.Load() {
		return
	}
	if m, ok := meetingOf(r); ok {
		if in, _ := fs.meet(m, FaultRestart); in != nil {
			panic(http.ErrAbortHandler) // net/http closes the connection and says nothing
		}
	}
}

// meetRequest lets faults strike a request before it is carried out: it returns the error to answer with, or ends the
// handler without an answer.
func (fs *faults) meetRequest(r *http.Request) *iothub.Error {
	if !fs.on.Load() {
		return nil
	}
	m, ok := meetingOf(r)
	if !ok {
		return nil
	}
	in, _ := fs.meet(m, FaultDrop, FaultErrors, FaultSilent)
	switch {
	case in == nil:
		return nil
	case in.Kind == FaultErrors:
		return errOnPurpose(in)
	case in.Kind == FaultSilent:
		_ = in.await(r.Context()) // either way there is no answer
	}
	panic(http.ErrAbortHandler)
}

// errOnPurpose is the error that a fault answers with.
func errOnPurpose(in *injected) *iothub.Error {
	return fault(iothub.ErrorCode(in.Code), "Answered on purpose, by fault "+in.id+".")
}

// meetAnswer lets an answer wait as long as latency wants, or as there is somebody who waits for it.
func (fs *faults) meetAnswer(r *http.Request) {
	if !fs.on.Load() {
		return
	}
	m, ok := meetingOf(r)
	if !ok {
		return
	}
	in, nth := fs.meet(m, FaultLatency)
	if in == nil {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(fs.hub.ctx, cancel)()
	_ = sleep(ctx, in.DelayOf(m.device, nth))
}

// serviceConn is the key of a request's connection in its context.
type serviceConn struct{}

// opening notes a connection of a REST server, for faults that cut it; closing forgets it.
func (fs *faults) opening(nc net.Conn) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.services == nil {
		fs.services = make(map[net.Conn]uint64)
	}
	fs.opened++
	fs.services[nc] = fs.opened
}

func (fs *faults) closing(nc net.Conn) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.services, nc)
}

// cutServices closes the connections of services that a fault strikes, in the order in which they were opened. The requests
// on them end, since their clients are gone.
func (fs *faults) cutServices(in *injected, spared net.Conn) {
	fs.mu.Lock()
	open := maps.Clone(fs.services)
	fs.mu.Unlock()
	order := slices.SortedFunc(maps.Keys(open), func(a, b net.Conn) int { return cmp.Compare(open[a], open[b]) })
	for _, nc := range order {
		if nc == spared {
			continue
		}
		struck, over := fs.cut(in, "")
		if struck {
			abort(nc)
		}
		if over {
			return
		}
	}
}

// abort closes a connection without a farewell, which could take time.
func abort(nc net.Conn) {
	if t, ok := nc.(socket.Secure); ok {
		nc = t.NetConn()
	}
	_ = nc.Close() // it may be closed already
}

func (h *Hub) listFaults(*request) (reply, *iothub.Error) { return jsonReply(h.Faults()) }

// faultOf returns the fault that the path names.
func (h *Hub) faultOf(r *request) (FaultStatus, *iothub.Error) {
	id := r.PathValue("id")
	for _, s := range h.Faults() {
		if s.ID == id {
			return s, nil
		}
	}
	err := fault(iothub.CodeJobNotFound, "There is no fault with ID '"+id+"'.")
	err.Code, err.Name = 404000, "FaultNotFound"
	return FaultStatus{}, err
}

func (h *Hub) getFault(r *request) (reply, *iothub.Error) {
	s, err := h.faultOf(r)
	if err != nil {
		return reply{}, err
	}
	return jsonReply(s)
}

// errFault says in one line what is wrong with a fault.
func errFault(err error) *iothub.Error {
	return errArgument("The fault is not valid: " + strings.ReplaceAll(err.Error(), "\n", "; "))
}

func (h *Hub) postFault(r *request) (reply, *iothub.Error) {
	var f Fault
	if err := f.UnmarshalJSON(r.body); err != nil {
		return reply{}, errFault(err)
	}
	own, _ := r.Context().Value(serviceConn{}).(net.Conn)
	s, err := h.inject(f, own)
	if err != nil {
		return reply{}, errFault(err)
	}
	answer, refusal := jsonReply(s)
	answer.status = http.StatusCreated
	return answer, refusal
}

// deleteFault ends a fault and answers how it stands; one that is over already stays as it is.
func (h *Hub) deleteFault(r *request) (reply, *iothub.Error) {
	if _, err := h.faultOf(r); err != nil {
		return reply{}, err
	}
	h.ClearFault(r.PathValue("id"))
	return h.getFault(r)
}

func (h *Hub) deleteFaults(r *request) (reply, *iothub.Error) {
	h.ClearFaults()
	return h.listFaults(r)
}

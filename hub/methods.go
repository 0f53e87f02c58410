package hub

import (
	"encoding/json"
	"iter"
	"strconv"
	"time"
	"unicode/utf8"

	"muster/iothub"
)

// maxInflight bounds the methods that wait for one device or for its answers.
const maxInflight = 100

// methodRequest is a direct method, the same for every device that it is called on.
type methodRequest struct {
	topic    string // up to the request id
	payload  []byte // JSON, at least "null": official SDKs cannot parse an empty body
	response time.Duration
	connect  time.Duration // 0 = an offline device is an error at once
}

// call is one direct method on its way to one device and back:
//
//	idle ──▶ waiting ──▶ pending ──▶ done      the device answered, or one of the two timeouts passed
//	  ├────▶ queued  ────▲   │
//	  └──────────────────┘   └──▶ (answers to a rid that is not pending are dropped)
//
// A call waits for its device to connect and subscribe; it is queued while the connection has too much to write already.
// Whoever takes it out of the device's list, under the device's lock, ends it: its sink is told exactly once, under no
// lock, by the goroutine that did so.
type call struct {
	deadline // of the state that it is in; armed under the device's lock

	hub  *Hub
	dev  *device
	req  *methodRequest
	sink sink
	row  int // of the job, for its sink

	rid   uint32    // guarded by dev.mu
	state callState // guarded by dev.mu
	next  *call     // in its device's list; guarded by dev.mu
}

type callState uint8

const (
	callIdle callState = iota
	callWaiting
	callQueued
	callPending
	callDone
)

// callList is calls of one device in the order in which they came: few, and none most of the time.
type callList struct{ first *call }

func (l *callList) all() iter.Seq[*call] {
	return func(yield func(*call) bool) {
		for c := l.first; c != nil && yield(c); {
			c = c.next
		}
	}
}

func (l *callList) len() (n int) {
	for range l.all() {
		n++
	}
	return n
}

func (l *callList) add(c *call) {
	at := &l.first
	for *at != nil {
		at = &(*at).next
	}
	*at = c
}

func (l *callList) remove(c *call) {
	at := &l.first
	for *at != nil && *at != c {
		at = &(*at).next
	}
	if *at == c {
		*at, c.next = c.next, nil
	}
}

// find returns the call of that request id, or nil.
func (l *callList) find(rid uint32) *call {
	for c := range l.all() {
		if c.rid == rid {
			return c
		}
	}
	return nil
}

// sink takes a call's result, whose payload it must copy to keep it. It must not block.
type sink interface {
	finished(c *call, r callResult)
}

// callResult is how a call ended: an error, or what the device answered.
type callResult struct {
	err     *iothub.Error
	status  int
	payload []byte // JSON, "null" for an empty body
}

// invoke sends a call or lets it wait for its device; an error means that it did not begin and its sink is not told. Its
// timeouts count from now.
func (h *Hub) invoke(c *call, now time.Time) *iothub.Error {
	d := c.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case c.state == callDone: // abandoned before it began
		return nil
	case d.gone.Load():
		return d.notFound()
	case d.pending.len()+d.waiting.len() >= maxInflight:
		return errTooManyMethods()
	case d.reachableLocked() && d.conn.room():
		c.dispatchLocked(now)
	case d.reachableLocked():
		c.waitLocked(callQueued, now, c.req.response)
	case c.req.connect > 0:
		c.waitLocked(callWaiting, now, c.req.connect)
	default:
		return errNotOnline(0)
	}
	return nil
}

// invokeAlone is invoke for who waits for this call's result and for nothing else: it writes the request too, where a flusher
// would have to be woken.
func (h *Hub) invokeAlone(c *call) *iothub.Error {
	c.dev.mu.Lock()
	to := c.dev.conn
	c.dev.mu.Unlock()
	if to != nil {
		to.gather()
		defer to.flushGathered()
	}
	return h.invoke(c, time.Now())
}

// waitLocked lets the call wait for its device for so long.
func (c *call) waitLocked(state callState, now time.Time, wait time.Duration) {
	c.state = state
	c.dev.waiting.add(c)
	c.hub.timers.armAt(now, &c.deadline, now.Add(wait), c)
}

// dispatchLocked hands the request to the device's connection. The response timeout counts from here.
func (c *call) dispatchLocked(now time.Time) {
	d := c.dev
	d.rid++
	c.rid, c.state = d.rid, callPending
	d.pending.add(c)
	c.hub.timers.armAt(now, &c.deadline, now.Add(c.req.response), c)
	c.hub.counters.methodRequests.Add(1)
	d.conn.publishMethod(c.req, c.rid)
}

// releaseLocked sends what waited for the device to be reachable, if it is, and as much as the connection has room for.
func (d *device) releaseLocked() {
	if d.waiting.first == nil {
		return
	}
	now := time.Now()
	for c := d.waiting.first; c != nil && d.reachableLocked() && d.conn.room(); c = d.waiting.first {
		d.waiting.remove(c)
		c.dispatchLocked(now)
	}
}

// drained is told that a connection has room for more methods and messages.
func (d *device) drained(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == c {
		d.releaseLocked()
		d.deliverLocked()
	}
}

// expired is told by the timers that a timeout of the call has passed.
func (c *call) expired(now time.Time) {
	c.dev.mu.Lock()
	state := c.state
	if c.hub.timers.ahead(&c.deadline, now) || !c.takeLocked() { // dispatched or answered meanwhile
		c.dev.mu.Unlock()
		return
	}
	c.dev.mu.Unlock()
	if state == callWaiting {
		c.sink.finished(c, callResult{err: errNotOnline(c.req.connect)})
		return
	}
	c.hub.counters.methodTimeouts.Add(1)
	c.sink.finished(c, callResult{err: errNoResponse(c.req.response)})
}

// takeLocked takes the call out of its device's list; it reports false if it is in none.
func (c *call) takeLocked() bool {
	switch c.state {
	case callWaiting, callQueued:
		c.dev.waiting.remove(c)
	case callPending:
		c.dev.pending.remove(c)
	default:
		return false
	}
	c.state = callDone
	return true
}

// abandon ends a call whose result nobody wants any more; its sink is not told, unless it has been.
func (c *call) abandon() {
	c.dev.mu.Lock()
	c.takeLocked()
	c.state = callDone
	c.dev.mu.Unlock()
	c.hub.timers.disarm(&c.deadline)
}

// answer ends the pending call of that request id; an answer that is late, or the second one, finds none.
func (h *Hub) answer(d *device, requestID string, status int, payload []byte) {
	rid, err := strconv.ParseUint(requestID, 16, 32)
	if err != nil || status < 0 || rid == lostRequest {
		h.counters.strayResponses.Add(1)
		return
	}
	d.mu.Lock()
	c := d.pending.find(uint32(rid))
	if c == nil {
		d.mu.Unlock()
		h.counters.strayResponses.Add(1)
		return
	}
	c.takeLocked()
	d.mu.Unlock()
	h.timers.disarm(&c.deadline)
	h.counters.methodResponses.Add(1)
	c.sink.finished(c, readAnswer(status, payload))
}

var nullPayload = []byte("null")

// readAnswer checks a device's answer, whose payload it lends.
func readAnswer(status int, payload []byte) callResult {
	switch {
	case len(payload) > iothub.MaxMethodPayload:
		return callResult{err: errBadResponse("The device's response is larger than 128 KB.")}
	case skipSpace(payload, 0) == len(payload):
		return callResult{status: status, payload: nullPayload}
	case !json.Valid(payload):
		return callResult{err: errBadResponse("The device's response is not valid JSON.")}
	case !utf8.Valid(payload):
		return callResult{err: errBadResponse("The device's response is not UTF-8.")}
	}
	return callResult{status: status, payload: payload}
}

// publishMethod sends a method request.
func (c *conn) publishMethod(req *methodRequest, rid uint32) {
	var space [128]byte
	topic := strconv.AppendUint(append(space[:0], req.topic...), uint64(rid), 16)
	c.deliver(FaultMethods, topic, req.payload)
}

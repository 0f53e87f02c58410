package hub

import (
	"bytes"
	"time"

	"muster/internal/quota"
	"muster/iothub"
)

// heldTwin is a device's twin request that waits for its turn. Those of one connection keep their order, as all of them
// are carried out by the goroutine of the timers.
type heldTwin struct {
	deadline // of its turn

	conn      *conn
	requestID string
	read      bool
	patch     []byte // of reported properties, unless it is a read
	heard     time.Time
}

// twinRequest acts on a device's twin GET or its PATCH, now or when its turn comes. The patch is not kept.
func (c *conn) twinRequest(requestID string, read bool, patch []byte) {
	t := c.hub.throttle
	if t == nil {
		c.twinNow(requestID, read, patch, c.heard)
		return
	}
	meter := t.updates
	if read {
		meter = t.reads
	}
	wait, err := c.hub.take(meter, 1)
	switch {
	case err != nil:
		c.throttledTwin(requestID)
	case wait == 0 && c.held.Load() == 0:
		c.twinNow(requestID, read, patch, c.heard)
	default:
		after := time.Duration(c.held.Add(1)) // ns, so that no two turns are at the same moment
		w := &heldTwin{conn: c, requestID: requestID, read: read, patch: bytes.Clone(patch), heard: c.heard}
		c.hub.timers.arm(&w.deadline, time.Now().Add(wait+after), w)
	}
}

// expired is told by the timers that the request's turn has come.
func (w *heldTwin) expired(time.Time) {
	w.conn.twinNow(w.requestID, w.read, w.patch, w.heard)
	w.conn.held.Add(-1)
}

func (c *conn) twinNow(requestID string, read bool, patch []byte, heard time.Time) {
	if read {
		c.twin(requestID)
	} else {
		c.report(requestID, patch, heard)
	}
}

// throttledTwin answers a twin request that no meter takes. A device is told no more than that it is throttled.
func (c *conn) throttledTwin(requestID string) {
	err := fault(iothub.CodeThrottlingException, "Throttled: "+quota.ErrBacklogFull.Error()+".")
	d := c.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.subs&subTwin != 0 {
		c.sendTwinResponse(err.StatusCode, requestID, 0, err.FlatBody())
	}
}

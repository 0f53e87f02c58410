package hub

import (
	"bytes"
	"sync"
	"time"
	"unicode/utf8"

	"muster/internal/mqtt"
	"muster/iothub"
)

// maxShown bounds what is kept of a device's latest telemetry message, its body and its properties each.
const maxShown = 4 << 10

// telemetry is what a device sent last, and how much it sent. It exists from a device's first message on.
type telemetry struct {
	mu    sync.Mutex // guards the fields below
	count int64
	at    int64 // when the latest came in, Unix time in ns
	shown shown // its slices are used again
}

// shown is a telemetry message as far as it can be shown.
type shown struct {
	bag, body []byte // the property bag as it stands in the topic; each has maxShown at most
	bodySize  int    // of all of it
	bagCut    bool   // the bag was larger, and is left out
	retain    bool
	will      bool
}

// newShown returns a view of a message.
func newShown(bag, body []byte, retain bool) shown {
	s := shown{bag: bag, body: beginning(body), bodySize: len(body), retain: retain}
	if len(bag) > maxShown {
		s.bag, s.bagCut = nil, true
	}
	return s
}

// beginning returns what is shown of a body, up to a character's end if it is text.
func beginning(body []byte) []byte {
	if len(body) <= maxShown {
		return body
	}
	for n := maxShown; n > maxShown-utf8.UTFMax; n-- {
		if utf8.RuneStart(body[n]) {
			return body[:n]
		}
	}
	return body[:maxShown]
}

// latest returns what the device sent last, which its first message finds empty.
func (d *device) latest() *telemetry {
	if t := d.telemetry.Load(); t != nil {
		return t
	}
	d.telemetry.CompareAndSwap(nil, new(telemetry))
	return d.telemetry.Load()
}

// keep takes a message that came in as the latest. Its slices are not kept.
func (t *telemetry) keep(s shown, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	t.at = at.UnixNano()
	s.bag, s.body = append(t.shown.bag[:0], s.bag...), append(t.shown.body[:0], s.body...)
	t.shown = s
}

// keepWill keeps a CONNECT's will, if it is telemetry of the device.
func (c *conn) keepWill(p mqtt.Connect) {
	if !p.HasWill {
		return
	}
	if bag, ok := c.dev.cutEvents(p.WillTopic); ok {
		s := newShown(bag, p.WillPayload, p.WillRetain)
		s.bag, s.body, s.will = bytes.Clone(s.bag), bytes.Clone(s.body), true
		c.will = &s
	}
}

// telemetryDocument is the answer to GET /muster/devices/{id}/telemetry.
type telemetryDocument struct {
	DeviceID string          `json:"deviceId"`
	ModuleID string          `json:"moduleId,omitempty"`
	Count    int64           `json:"count"`
	Latest   *latestDocument `json:"latest"` // null before the first message
}

type latestDocument struct {
	EnqueuedTime iothub.Time `json:"enqueuedTimeUtc"`
	messageDocument
	BodySize  int  `json:"bodySize"`
	Truncated bool `json:"truncated"` // body is the beginning of it, or the properties were too large
}

// latestTelemetry answers with what a device or module sent last.
func (h *Hub) latestTelemetry(r *request) (reply, *iothub.Error) {
	d, err := h.find(r)
	if err != nil {
		return reply{}, err
	}
	doc := telemetryDocument{DeviceID: d.deviceID(), ModuleID: d.moduleID()}
	if t := d.telemetry.Load(); t != nil {
		doc.Count, doc.Latest = t.document()
	}
	return jsonReply(doc)
}

func (t *telemetry) document() (int64, *latestDocument) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == 0 { // the first message is just coming in
		return 0, nil
	}
	s := &t.shown
	doc := &latestDocument{EnqueuedTime: timeOf(t.at), BodySize: s.bodySize, Truncated: s.bagCut || len(s.body) < s.bodySize}
	doc.setBody(s.body)
	doc.setBag(string(s.bag))
	if s.will {
		doc.system("iothub-MessageType", "Will")
	}
	if s.retain {
		doc.property("mqtt-retain", new("true"))
	}
	return t.count, doc
}

package fleet

import (
	"strings"
	"sync"
	"unsafe"

	"muster/internal/sample"
	"muster/iothub"
)

// statusNoMethod is what devices answer to a method that they do not have, as
// SDKs advise.
const statusNoMethod = 404

// call handles a direct method: it takes its time, and answers as drawn.
func (s *session) call(t iothub.Topic, payload []byte, at sample.Moment) {
	f := s.fleet
	f.counts.methods.Add(1)
	g, vars := f.group(s.device)
	m, ok := g.methods[t.Method]
	receipt := sample.Receipt{Device: s.device, Kind: sample.MethodReceipt, Payload: payload, At: at}
	if ok {
		receipt.Name = m.name
	} else {
		receipt.Name = strings.Clone(t.Method) // the topic is only lent
	}
	ticket := f.cfg.Observer.Received(receipt)
	if !ok {
		f.counts.unhandled.Add(1)
		s.answer(t.RequestID, ticket, statusNoMethod, nil)
		return
	}
	n := f.calls[g.calls+vars.Index*len(g.methods)+m.place].Add(1)
	fate := m.fate(newDraw(f.cfg.Seed, s.device, m.stream, uint64(n)))
	switch {
	case fate.silent:
		f.counts.silenced.Add(1)
	case !s.sleep(fate.latency):
	case fate.failed:
		s.answer(t.RequestID, ticket, m.FailureStatus, nil)
	case s.answer(t.RequestID, ticket, m.Status, m.Response) && m.Away > 0:
		s.leave(m.Away)
	}
}

// topic is where the topic of an answer is written: a text of its own would be
// all that an answer allocates. Drivers do not keep topics.
type topic struct{ text []byte }

// topics is a cache of memory without content.
var topics = sync.Pool{New: func() any { return new(topic) }}

// answer writes a method's reply and reports whether it could. The payload is
// shared by all devices.
func (s *session) answer(rid string, ticket uint64, status int, payload []byte) bool {
	if payload == nil {
		payload = emptyPayload
	}
	t := topics.Get().(*topic)
	defer topics.Put(t)
	t.text = iothub.AppendMethodResponseTopic(t.text[:0], status, rid)
	if err := s.link.Publish(&s.life, unsafe.String(unsafe.SliceData(t.text), len(t.text)), payload, 0); err != nil {
		s.fleet.counts.unsent.Add(1)
		return false
	}
	s.fleet.cfg.Observer.Answered(ticket, int32(status), s.link.lastWrite())
	return true
}

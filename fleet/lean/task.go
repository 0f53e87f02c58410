package lean

import (
	"context"
	"sync"
	"unsafe"

	"muster/internal/mqtt"
)

// The tasks of a connection's workers.
type (
	reading  conn    // read what there is
	pinging  []*conn // send a PINGREQ on each
	breaking conn    // close the network connection of one that is over
	losing   conn    // tell of the loss
	handed   func()  // call what Hand was given
)

func (f handed) run() { f() }

func (r *reading) run() { (*conn)(r).readOn() }

func (p pinging) run() {
	for _, c := range p {
		_ = c.write(context.Background(), ping) // an error is the connection's end, of which its reader tells
	}
}

var ping = mqtt.AppendPingreq(nil)

func (b *breaking) run() { _ = b.nc.Close() }

// run tells why the connection was lost, unless it was closed meanwhile.
func (l *losing) run() {
	l.mu.Lock()
	closed, err := l.closed, l.err
	l.mu.Unlock()
	if !closed {
		l.onLost(err)
	}
}

// message is the task to call the handler of a message, and then to acknowledge it.
type message struct {
	conn  *conn
	id    uint16 // at QoS 1; 0: none
	topic int    // length of the topic, with which data begins
	data  []byte // topic and payload
}

// keptBytes bounds what buffers are kept for the next message.
const keptBytes = 64 << 10

// The caches of memory without content that all connections share.
var (
	messages = sync.Pool{New: func() any { return new(message) }}
	packets  = sync.Pool{New: func() any { return new(packet) }}
)

func (m *message) run() {
	m.deliver()
	if m.id > 0 {
		m.acknowledge()
	}
	m.conn.held.Add(-cost(len(m.data)))
	m.give()
}

// cost is what a message of so many bytes adds to its connection's held.
func cost(data int) int64 { return int64(data) + heldFor }

// deliver calls the handler. The topic is a view into the message, since a copy of
// its own would be the only thing that a message allocates.
func (m *message) deliver() {
	if m.conn.onMessage != nil {
		m.conn.onMessage(unsafe.String(unsafe.SliceData(m.data), m.topic), m.data[m.topic:len(m.data):len(m.data)])
	}
}

func (m *message) acknowledge() {
	p := takePacket()
	defer p.give()
	p.bytes = mqtt.AppendPuback(p.bytes[:0], m.id)
	_ = m.conn.write(context.Background(), p.bytes) // as with a ping
}

// give ends a message. What it lent to a handler is no more.
func (m *message) give() {
	poison(m.data)
	m.conn = nil
	if cap(m.data) <= keptBytes {
		messages.Put(m)
	}
}

// packet is where a packet is encoded.
type packet struct {
	topic []byte // and what else the packet has that was text
	bytes []byte
}

func takePacket() *packet { return packets.Get().(*packet) }

func (p *packet) give() {
	if max(cap(p.topic), cap(p.bytes)) <= keptBytes {
		packets.Put(p)
	}
}

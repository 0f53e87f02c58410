package lean

import (
	"context"
	"sync"
	"unsafe"

	"muster/internal/mqtt"
)

// duty is what a task is about.
type duty uint8

const (
	doDeliver duty = iota // call the handler of a message, then acknowledge it
	doRead                // read what there is
	doPing                // send a PINGREQ on each of some connections
	doBreak               // close the network connection of one that is over
	doLost                // tell of a loss
)

// task is something that a worker does for a connection.
type task struct {
	conn  *conn
	do    duty
	id    uint16 // of a message at QoS 1; 0: none
	topic int    // length of the topic, with which data begins
	cost  int64  // what it adds to the connection's held
	data  []byte // topic and payload
	quiet []*conn
}

// keptBytes bounds what buffers are kept for the next message.
const keptBytes = 64 << 10

// The caches of memory without content that all connections share.
var (
	tasks   = sync.Pool{New: func() any { return new(task) }}
	packets = sync.Pool{New: func() any { return new(packet) }}
)

func takeTask() *task { return tasks.Get().(*task) }

// give ends a task. What it lent to a handler is no more.
func (t *task) give() {
	poison(t.data)
	t.conn = nil
	if cap(t.data) <= keptBytes {
		tasks.Put(t)
	}
}

// run does the task in a worker's goroutine.
func (t *task) run() {
	c := t.conn
	switch t.do {
	case doDeliver:
		t.deliver()
		c.held.Add(-t.cost)
		t.give()
	case doRead:
		t.give()
		c.readOn()
	case doPing:
		for _, c := range t.quiet {
			_ = c.write(context.Background(), ping) // an error is the connection's end, of which its reader tells
		}
	case doBreak:
		_ = c.nc.Close()
	case doLost:
		c.tellLoss()
	}
}

var ping = mqtt.AppendPingreq(nil)

// deliver calls the handler. The topic is a view into the task's data, since a
// copy of its own would be the only thing that a message allocates.
func (t *task) deliver() {
	c := t.conn
	topic := unsafe.String(unsafe.SliceData(t.data), t.topic)
	if c.onMessage != nil {
		c.onMessage(topic, t.data[t.topic:len(t.data):len(t.data)])
	}
	if t.id == 0 {
		return
	}
	p := takePacket()
	defer p.give()
	p.bytes = mqtt.AppendPuback(p.bytes[:0], t.id)
	_ = c.write(context.Background(), p.bytes) // as with a ping
}

// tellLoss tells why the connection was lost, unless it was closed meanwhile.
func (c *conn) tellLoss() {
	c.mu.Lock()
	closed, err := c.closed, c.err
	c.mu.Unlock()
	if !closed {
		c.onLost(err)
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

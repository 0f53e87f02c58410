package lean

import (
	"sync"
	"syscall"
)

// A chunk is what a read of a socket took. Chunks are shared: a connection has one
// only while there is something to read.
type chunk struct {
	data       [4 << 10]byte
	start, end int   // of what the codec has not had yet
	err        error // what comes behind that; nil: nothing yet
}

// chunks keeps chunks that nobody uses. It is a cache of memory without content.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

func takeChunk() *chunk {
	k := chunks.Get().(*chunk)
	k.start, k.end, k.err = 0, 0, nil
	return k
}

// readSocket is read of a connection whose network connection is a socket. It
// waits with no buffer, where a Read would have one for as long as it waits, and
// decodes at its own level and not where it waits, so that its stack stays one of
// 2 KB.
func (c *conn) readSocket(raw syscall.RawConn) {
	receive := c.receive
	c.chunk = takeChunk()
	err := c.readChunk() // what came right behind the CONNACK
	for err == nil {
		if err = raw.Read(receive); err == nil { // else it is closed
			err = c.readChunk()
		}
	}
	if c.chunk != nil {
		chunks.Put(c.chunk)
		c.chunk = nil
	}
	c.readerEnds(err)
}

// receive reads what has arrived, and reports whether that is anything.
func (c *conn) receive(fd uintptr) bool {
	if c.chunk == nil {
		c.chunk = takeChunk()
	}
	k := c.chunk
	k.start = 0
	if k.end, k.err = readSocket(int(fd), k.data[:]); k.err != syscall.EAGAIN {
		return true
	}
	chunks.Put(k)
	c.chunk = nil
	return false
}

// readChunk reads the packets that are in the chunk whole, and keeps a part of
// one in the codec.
func (c *conn) readChunk() error {
	if c.in == nil {
		c.in = readers.Take((*source)(c), maxPacket)
	}
	for {
		t, err := c.next()
		switch {
		case t != nil:
			c.crew.workers.dispatch(t)
		case err != syscall.EAGAIN:
			if err != nil {
				return err
			}
		case c.in.Buffered() == 0:
			c.giveReader()
			return nil
		default:
			return nil
		}
	}
}

// read gives the codec what is left of a chunk.
func (k *chunk) read(p []byte) (int, error) {
	switch {
	case k.start < k.end:
	case k.err != nil:
		return 0, k.err
	default:
		return 0, syscall.EAGAIN
	}
	n := copy(p, k.data[k.start:k.end])
	k.start += n
	return n, nil
}

package mqtt

import (
	"io"
	"sync"
)

// A ReaderPool keeps Readers that nobody reads with, for connections that have
// one only while there is something to read. It is a cache of memory without
// content. The zero value is ready.
type ReaderPool struct{ pool sync.Pool }

// Take returns a Reader of src, as NewReader does.
func (p *ReaderPool) Take(src io.Reader, maxPacket int) *Reader {
	r, ok := p.pool.Get().(*Reader)
	if !ok {
		return NewReader(src, maxPacket)
	}
	r.Reset(src, maxPacket)
	return r
}

// Give takes back a Reader, and with it what it has read and not returned.
func (p *ReaderPool) Give(r *Reader) {
	r.Reset(nil, MaxPacket)
	p.pool.Put(r)
}

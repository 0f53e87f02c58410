package mqtt

import (
	"io"
	"math/bits"
	"sync"
)

const (
	smallBuffer = 512     // what an idle connection holds
	firstGrown  = 2 << 10 // the smallest grown buffer; each size is four times the one before
	maxEmpty    = 100     // reads without data or error before the reader gives up
)

// grown keeps buffers of 2 KiB to 512 KiB for packets that the small one cannot
// hold, so that a stream of them does not allocate either. It is a cache of
// memory without content and the package's only variable state.
var grown [5]sync.Pool

// Reader cuts a stream into packets. It reads ahead into a buffer of 512 bytes,
// takes a larger one only as the bytes of a larger packet arrive, never on the
// word of a header alone, and gives it back at the next call. It is not safe for
// concurrent use.
type Reader struct {
	src   io.Reader
	limit int   // of a whole packet
	err   error // the stream is lost

	buf        []byte  // small[:] or *big
	big        *[]byte // the grown buffer, if any
	start, end int     // what has been read and not yet returned
	small      [smallBuffer]byte
}

// NewReader returns a Reader of r that refuses packets of more than maxPacket
// bytes, fixed header included. It panics if maxPacket is not positive.
func NewReader(r io.Reader, maxPacket int) *Reader {
	if maxPacket <= 0 {
		panic("mqtt: NewReader: maxPacket must be positive")
	}
	return &Reader{src: r, limit: min(maxPacket, MaxPacket)}
}

// Reset lets r read another stream, from its beginning, with the memory that it
// has.
func (r *Reader) Reset(src io.Reader, maxPacket int) {
	if maxPacket <= 0 {
		panic("mqtt: Reader.Reset: maxPacket must be positive")
	}
	giveGrown(r.big)
	r.src, r.limit, r.err = src, min(maxPacket, MaxPacket), nil
	r.buf, r.big, r.start, r.end = r.small[:], nil, 0, 0
}

// Buffered returns how many bytes have been read of packets that Next has not
// returned yet. With none of them, nothing is lost if r is Reset at the same
// place of the stream.
func (r *Reader) Buffered() int { return r.end - r.start }

// Next returns the next packet's header and body. The body is valid until the
// next call.
//
// At the end of the stream the error is io.EOF between two packets and
// io.ErrUnexpectedEOF within one. It is an *Error for a malformed packet and
// ErrTooLarge for one over the limit; the stream is lost then and each further
// call returns the same. Any other error is the source's own, unwrapped; after
// one that passes, such as a timeout, Next goes on where it was.
func (r *Reader) Next() (Header, []byte, error) {
	if r.err != nil {
		return Header{}, nil, r.err
	}
	r.shrink()
	for {
		f, err := parseFrame(r.buf[r.start:r.end], r.limit)
		if err != nil {
			r.err = err
			return Header{}, nil, err
		}
		if size := f.head + f.body; f.head > 0 && size <= r.end-r.start {
			body := r.buf[r.start+f.head : r.start+size : r.start+size]
			r.start += size
			return f.header, body, nil
		}
		if err := r.fill(f); err != nil {
			return Header{}, nil, err
		}
	}
}

// A frame is a fixed header: the length of itself (0 if it has not arrived in
// full) and of the body behind it.
type frame struct {
	header     Header
	head, body int
}

// parseFrame decodes the fixed header at the start of b and refuses what can be
// refused without the body.
func parseFrame(b []byte, limit int) (frame, error) {
	if len(b) == 0 {
		return frame{}, nil
	}
	h, err := parseHeader(b[0])
	if err != nil {
		return frame{}, err
	}
	body := 0
	for i, digit := range b[1:] {
		body |= int(digit&0x7f) << (7 * i)
		if digit < 0x80 {
			f := frame{header: h, head: i + 2, body: body}
			return f, f.check(limit)
		}
		if i == 3 {
			return frame{}, fault(h.Type, "", "remaining length has more than four bytes")
		}
	}
	return frame{}, nil
}

func (f frame) check(limit int) error {
	if f.head+f.body > limit {
		return ErrTooLarge
	}
	return checkLength(f.header.Type, f.body)
}

// fill reads more of the packet f, at least one byte.
func (r *Reader) fill(f frame) error {
	r.makeRoom(f.head + f.body)
	for range maxEmpty {
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		switch {
		case n > 0: // an error that came with data will come again
			return nil
		case err == io.EOF && r.end > r.start:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// makeRoom makes sure that the buffer has room for a byte more of a packet of
// size bytes.
func (r *Reader) makeRoom(size int) {
	if r.buf == nil {
		r.buf = r.small[:]
	}
	if r.start > 0 { // the packet to be read is the first in the buffer
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
	if r.end < len(r.buf) {
		return
	}
	// The buffer is full of one packet: quadruple it, or less if that suffices.
	old := r.big
	r.big = takeGrown(min(size, 4*len(r.buf)))
	copy(*r.big, r.buf)
	r.buf = *r.big
	giveGrown(old)
}

// shrink returns to the small buffer if that can hold what has been read ahead.
func (r *Reader) shrink() {
	if r.big == nil || r.end-r.start > smallBuffer {
		return
	}
	r.end = copy(r.small[:], r.buf[r.start:r.end])
	r.start, r.buf = 0, r.small[:]
	giveGrown(r.big)
	r.big = nil
}

// takeGrown returns a buffer of at least n bytes.
func takeGrown(n int) *[]byte {
	class := grownClass(n)
	if class >= len(grown) { // too rare and too large to keep
		b := make([]byte, n)
		return &b
	}
	if b, ok := grown[class].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, firstGrown<<(2*class))
	return &b
}

// giveGrown takes a buffer back; nil is none.
func giveGrown(b *[]byte) {
	if b == nil {
		return
	}
	if class := grownClass(len(*b)); class < len(grown) {
		grown[class].Put(b)
	}
}

// grownClass returns the place in grown of buffers that hold n bytes.
func grownClass(n int) int {
	return (bits.Len(uint((n-1)/firstGrown)) + 1) / 2
}

package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version is what both sides must speak.
const Version = 1

// MaxFrame bounds a frame: the largest is a scenario's fleet with its documents.
const MaxFrame = 16 << 20

// Kind is what a frame holds.
type Kind byte

// The frames from a run to its generator, in the order in which they come.
const (
	Start   Kind = iota + 1 // what to simulate, as JSON; the first frame
	Connect                 // the moment at which the ramp begins
	Collect                 // nothing is due: a time for the garbage collector
	Settle                  // a number, to be answered when all is told that has happened
	Stop                    // disconnect
)

// The frames from a generator to its run.
const (
	Hello   Kind = iota + 0x41 // it has made its devices; the first frame, with its Version
	Events                     // what happened to devices
	Stats                      // its counts, as JSON
	Health                     // how it fares
	Ready                      // each device's first connect is decided
	Settled                    // the number of a Settle
	Fault                      // why it cannot go on, as text; the last frame
	Ended                      // all is disconnected; the last frame
)

// known reports whether there is such a kind.
func (k Kind) known() bool { return k >= Start && k <= Stop || k >= Hello && k <= Ended }

const header = 5 // the length of what follows the header in four bytes, and the kind

// AppendFrame appends a frame to dst.
func AppendFrame(dst []byte, k Kind, payload []byte) ([]byte, error) {
	if len(payload) > MaxFrame {
		return dst, fmt.Errorf("write frame %d: %d bytes are more than %d", k, len(payload), MaxFrame)
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, byte(k))
	return append(dst, payload...), nil
}

// Reader reads frames.
type Reader struct {
	in  *bufio.Reader
	buf []byte
}

// NewReader returns a Reader of what in gives.
func NewReader(in io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(in, 64<<10)} }

// Next returns the next frame, whose payload is valid until the call after it.
// Where the stream ends between two frames it returns io.EOF.
func (r *Reader) Next() (Kind, []byte, error) {
	var head [header]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, nil, io.EOF
		}
		return 0, nil, fmt.Errorf("read frame: %w", err)
	}
	size, kind := binary.LittleEndian.Uint32(head[:]), Kind(head[4])
	if size > MaxFrame || !kind.known() {
		return 0, nil, fmt.Errorf("read frame: no frame begins with kind %d and %d bytes", kind, size)
	}
	if err := r.fill(int(size)); err != nil {
		return 0, nil, fmt.Errorf("read frame: %w", err)
	}
	return kind, r.buf, nil
}

// fill reads size bytes. The buffer grows as they come, so that a made-up size
// costs no memory.
func (r *Reader) fill(size int) error {
	const step = 64 << 10
	r.buf = r.buf[:0]
	for len(r.buf) < size {
		have := len(r.buf)
		want := min(size, have+max(step, have))
		if cap(r.buf) < want {
			r.buf = append(make([]byte, 0, want), r.buf...)
		}
		r.buf = r.buf[:want]
		if n, err := io.ReadFull(r.in, r.buf[have:]); err != nil {
			r.buf = r.buf[:have+n]
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

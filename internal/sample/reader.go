package sample

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// maxRead bounds a block that a reader takes in. It is above maxBlock, since
// one record may be longer than a block: the targets of a very large fleet.
const maxRead = 256 << 20

// Reader reads the records of a run in the order they were written.
type Reader struct {
	file   io.Closer
	in     *bufio.Reader
	name   string
	offset int64
	block  []byte
	coder  coder
	torn   bool
}

// OpenDir opens the samples of the results folder dir.
func OpenDir(dir string) (*Reader, error) {
	file, err := os.Open(Path(dir))
	if err != nil {
		return nil, fmt.Errorf("open samples: %w", err)
	}
	r, err := newReader(file, file, Path(dir))
	if err != nil {
		_ = file.Close() // opened for reading only
		return nil, err
	}
	return r, nil
}

// NewReader reads samples from in, which errors call name.
func NewReader(in io.Reader, name string) (*Reader, error) {
	return newReader(in, io.NopCloser(nil), name)
}

func newReader(in io.Reader, file io.Closer, name string) (*Reader, error) {
	r := &Reader{file: file, in: bufio.NewReaderSize(in, 64<<10), name: name}
	head := make([]byte, len(magic))
	n, err := io.ReadFull(r.in, head)
	r.offset = int64(n)
	switch {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("read samples %s: %w", name, err)
	case err != nil && string(head[:n]) == magic[:n]:
		r.torn = true // killed while the first bytes were written
	case string(head) != magic:
		return nil, fmt.Errorf("read samples %s: not a samples file of this version", name)
	}
	return r, nil
}

// Next returns the next record, or io.EOF after the last whole one.
func (r *Reader) Next() (Record, error) {
	for len(r.coder.buf) == 0 {
		if r.torn {
			return nil, io.EOF
		}
		if err := r.nextBlock(); err != nil {
			return nil, err
		}
	}
	rec, err := r.coder.next()
	if err != nil {
		return nil, r.corrupt("a record is malformed")
	}
	return rec, nil
}

// Torn reports whether the samples end in the middle of a block, as they do
// when the run was killed while it wrote. It is known once Next returned io.EOF.
func (r *Reader) Torn() bool { return r.torn }

// Close closes the samples.
func (r *Reader) Close() error { return r.file.Close() }

// nextBlock reads one block. A block that the file's end cuts off, or whose
// sum is wrong with nothing behind it, is a torn tail; anything else that is
// wrong is an error.
func (r *Reader) nextBlock() error {
	var head [blockHeader]byte
	n, err := io.ReadFull(r.in, head[:])
	if err != nil {
		return r.ended(n, err)
	}
	size := binary.LittleEndian.Uint32(head[:])
	sum := binary.LittleEndian.Uint32(head[4:])
	if size == 0 || size > maxRead {
		return r.corrupt(fmt.Sprintf("a block of %d bytes", size))
	}
	if err := r.readPayload(int(size)); err != nil {
		return r.ended(1, err)
	}
	if crc32.Checksum(r.block, castagnoli) != sum {
		if _, err := r.in.Peek(1); errors.Is(err, io.EOF) {
			r.torn = true
			return io.EOF
		}
		return r.corrupt("a block's checksum is wrong")
	}
	r.offset += blockHeader + int64(size)
	r.coder = coder{buf: r.block, reading: true}
	return nil
}

// readPayload fills block with size bytes. It grows as bytes come, so that a
// made-up size costs no memory.
func (r *Reader) readPayload(size int) error {
	r.block = r.block[:0]
	for len(r.block) < size {
		have := len(r.block)
		want := min(size, have+maxBlock)
		if cap(r.block) < want {
			r.block = append(make([]byte, 0, want), r.block...)
		}
		n, err := io.ReadFull(r.in, r.block[have:want])
		r.block = r.block[:have+n]
		if err != nil {
			return err
		}
	}
	return nil
}

// ended turns the end of the file into io.EOF, having noted whether bytes of
// a block were left over.
func (r *Reader) ended(n int, err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read samples %s: %w", r.name, err)
	}
	r.torn = n > 0
	return io.EOF
}

func (r *Reader) corrupt(what string) error {
	return fmt.Errorf("read samples %s: corrupt at byte %d: %s", r.name, r.offset, what)
}

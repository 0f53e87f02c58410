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
	coder  coder // of a block of rows
	table  table // of a block of another kind, which is of
	of     kind
	torn   bool
	others bool // see SkipDevices

	// What a table has is read into these, turn and turn about: how a record is
	// written depends on the one before.
	devices    [2]Device
	connects   [2]Connect
	executions [2]Execution
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
	case err != nil && n < len(magic) && (string(head[:n]) == magic[:n] || string(head[:n]) == magicFirst[:n]):
		r.torn = true // killed while the first bytes were written
	case string(head) == magicFirst:
		r.coder.first = true
	case string(head) != magic:
		return nil, fmt.Errorf("read samples %s: not a samples file of this version", name)
	}
	return r, nil
}

// Next returns the next record, or io.EOF after the last whole one. A *Device,
// *Connect or *Execution is valid until the next call but one.
func (r *Reader) Next() (Record, error) {
	for {
		rec, err := r.next()
		if err != nil || !r.others || !ofDevice(rec) {
			return rec, err
		}
	}
}

// SkipDevices has Next leave out the kinds of which each device has some:
// Device, Connect and Execution. Reading the others alone costs next to
// nothing.
func (r *Reader) SkipDevices() { r.others = true }

func ofDevice(rec Record) bool {
	switch rec.(type) {
	case *Device, *Connect, *Execution:
		return true
	}
	return false
}

func (r *Reader) next() (Record, error) {
	for len(r.coder.buf) == 0 && !r.table.more() {
		if r.torn {
			return nil, io.EOF
		}
		if err := r.nextBlock(); err != nil {
			return nil, err
		}
	}
	if r.table.more() {
		return r.nextRow()
	}
	rec, err := r.coder.next()
	if err != nil {
		return nil, r.corrupt("a record is malformed")
	}
	return rec, nil
}

// nextRow reads the next record of the table.
func (r *Reader) nextRow() (Record, error) {
	var rec Record
	ok := false
	switch r.of {
	case kindDevice:
		rec, ok = nextRow(&r.table, &r.devices)
	case kindConnect:
		rec, ok = nextRow(&r.table, &r.connects)
	default:
		rec, ok = nextRow(&r.table, &r.executions)
	}
	if !ok {
		return nil, r.corrupt("a record is malformed")
	}
	return rec, nil
}

func nextRow[R any, P tabled[R]](t *table, turns *[2]R) (P, bool) {
	if t.row == 0 {
		turns[1] = *new(R) // nothing is before the first
	}
	r, before := &turns[t.row%2], &turns[1-t.row%2]
	t.cell = 0
	P(r).cells(t, before)
	t.row++
	return r, !t.failed
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
	if !r.open(r.block) {
		return r.corrupt("a block is malformed")
	}
	r.offset += blockHeader + int64(size)
	return nil
}

// open takes in a whole block.
func (r *Reader) open(block []byte) bool {
	r.coder.reading = true
	if r.coder.first {
		r.coder.buf = block
		return true
	}
	columns := 0
	switch r.of = kind(block[0]); r.of {
	case kindRows:
		r.coder.buf = block[1:]
		return len(block) > 1
	case kindDevice:
		columns = deviceColumns
	case kindConnect:
		columns = connectColumns
	case kindExecution:
		columns = executionColumns
	default:
		return false
	}
	return r.others || r.table.read(block[1:], columns)
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

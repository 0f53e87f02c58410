package sample

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	magic = "muster samples 1\n"

	// stripeCount keeps recorders apart: with a stripe for each of a few
	// times the usual cores, two seldom meet at one lock.
	stripeCount = 16
	// maxBlock bounds a block on disk, so that a reader can bound what it takes in.
	maxBlock = 1 << 20
	// maxStripe bounds what waits for a disk that does not keep up. Beyond it
	// records are dropped and counted.
	maxStripe = 64 << 20

	blockHeader = 8 // length and CRC, four bytes each
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrClosed is returned by a Writer that was closed before.
var ErrClosed = errors.New("samples are closed")

// WriterOptions are the settings of a Writer. The zero value is valid.
type WriterOptions struct {
	// FlushEvery is how often waiting records go to the file, so how much a
	// kill can lose. Default 250 ms.
	FlushEvery time.Duration
}

func (o *WriterOptions) flushEvery() time.Duration {
	if o == nil || o.FlushEvery <= 0 {
		return 250 * time.Millisecond
	}
	return o.FlushEvery
}

// Writer appends records to a run's samples. Recording encodes into one of a
// few buffers and never waits for the disk.
type Writer struct {
	flushEvery time.Duration
	dropped    atomic.Int64
	written    atomic.Int64 // records
	late       atomic.Int64 // of those, written more than LateAfter after they were recorded
	waited     atomic.Int64 // the longest that one waited, in nanoseconds
	stripes    [stripeCount]stripe

	mu   sync.Mutex // guards the fields below; held across file writes, never while a stripe is recording
	file *os.File
	out  []byte // the block being written
	err  error  // the first error; nothing is written after it
}

// stripe holds the records of some devices that are not on disk yet.
type stripe struct {
	mu    sync.Mutex // guards the fields up to spare
	coder coder
	count int64     // records in coder
	since time.Time // when the first of them was recorded
	spare []byte    // guarded by Writer.mu: the buffer that the last flush emptied
	_     [64]byte
}

// Path returns the samples file of the results folder dir.
func Path(dir string) string { return filepath.Join(dir, "samples", "records") }

// Create makes the samples of the results folder dir. They must not exist yet.
func Create(dir string, opts *WriterOptions) (*Writer, error) {
	path := Path(dir)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, fmt.Errorf("create samples: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, fmt.Errorf("create samples: %w", err)
	}
	if _, err := file.WriteString(magic); err != nil {
		_ = file.Close() // the write's error says what is wrong
		return nil, fmt.Errorf("create samples: %w", err)
	}
	return &Writer{flushEvery: opts.flushEvery(), file: file}, nil
}

// Execution records e. It does not allocate in a steady state.
func (w *Writer) Execution(e *Execution) {
	if s := w.lock(e.Device); s != nil {
		s.coder.buf = append(s.coder.buf, byte(kindExecution))
		e.fields(&s.coder)
		s.mu.Unlock()
	}
}

// Connect records c. It does not allocate in a steady state.
func (w *Writer) Connect(c *Connect) {
	if s := w.lock(c.Device); s != nil {
		s.coder.buf = append(s.coder.buf, byte(kindConnect))
		c.fields(&s.coder)
		s.mu.Unlock()
	}
}

// Lost records l.
func (w *Writer) Lost(l *Lost) {
	if s := w.lock(l.Device); s != nil {
		s.coder.buf = append(s.coder.buf, byte(kindLost))
		l.fields(&s.coder)
		s.mu.Unlock()
	}
}

// Write records r, which may be of any kind.
func (w *Writer) Write(r Record) {
	if s := w.lock(0); s != nil {
		s.coder.buf = append(s.coder.buf, byte(r.kind()))
		r.fields(&s.coder)
		s.mu.Unlock()
	}
}

// lock returns the stripe of key with its mutex held, or nil, having counted
// a drop, if too much waits in it.
func (w *Writer) lock(key uint32) *stripe {
	s := &w.stripes[key%stripeCount]
	s.mu.Lock()
	if len(s.coder.buf) > maxStripe {
		s.mu.Unlock()
		w.dropped.Add(1)
		return nil
	}
	if s.count == 0 {
		s.since = time.Now()
	}
	s.count++
	return s
}

// Account returns how recording went until now.
func (w *Writer) Account(at Moment) Recording {
	return Recording{
		At: at, Records: w.written.Load(), Dropped: w.dropped.Load(), Late: w.late.Load(), Waited: time.Duration(w.waited.Load()),
	}
}

// Run flushes what is recorded until ctx ends or a write fails.
func (w *Writer) Run(ctx context.Context) error {
	tick := time.NewTicker(w.flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return w.Flush()
		case <-tick.C:
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
}

// Flush writes all that was recorded before the call to the file.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.stripes {
		w.flushStripeLocked(&w.stripes[i])
	}
	return w.errLocked()
}

func (w *Writer) flushStripeLocked(s *stripe) {
	s.mu.Lock()
	full, count, since := s.coder.buf, s.count, s.since
	s.coder.buf, s.count = s.spare[:0], 0
	s.mu.Unlock()
	w.writeBlocksLocked(full)
	if count > 0 && w.err == nil {
		w.noteLocked(count, time.Since(since))
	}
	s.spare = full
	if cap(s.spare) > maxBlock {
		s.spare = nil // a burst's buffer is not kept for the rest of the run
	}
}

// noteLocked counts records that were written, of which the first waited so
// long. All of them count as late if it was: the few that were not are not told
// apart.
func (w *Writer) noteLocked(count int64, waited time.Duration) {
	w.written.Add(count)
	if waited > LateAfter {
		w.late.Add(count)
	}
	w.waited.Store(max(w.waited.Load(), int64(waited)))
}

// writeBlocksLocked writes records as blocks of whole records.
func (w *Writer) writeBlocksLocked(records []byte) {
	for len(records) > 0 && w.err == nil {
		n := len(records)
		if n > maxBlock {
			n = wholeRecords(records, maxBlock)
		}
		w.writeBlockLocked(records[:n])
		records = records[n:]
	}
}

// wholeRecords returns the length of as many leading records as fit in limit
// bytes, or of the first one if it alone is longer.
func wholeRecords(records []byte, limit int) int {
	c := coder{buf: records, reading: true}
	n := 0
	for len(c.buf) > 0 {
		if _, err := c.next(); err != nil {
			panic("sample: a record that was just written cannot be read")
		}
		end := len(records) - len(c.buf)
		if end > limit && n > 0 {
			break
		}
		n = end
	}
	return n
}

func (w *Writer) writeBlockLocked(payload []byte) {
	if w.file == nil {
		w.err = ErrClosed
		return
	}
	w.out = binary.LittleEndian.AppendUint32(w.out[:0], uint32(len(payload)))
	w.out = binary.LittleEndian.AppendUint32(w.out, crc32.Checksum(payload, castagnoli))
	w.out = append(w.out, payload...)
	if _, err := w.file.Write(w.out); err != nil {
		w.err = fmt.Errorf("write samples: %w", err)
	}
}

func (w *Writer) errLocked() error {
	if w.err != nil {
		return w.err
	}
	if n := w.dropped.Load(); n > 0 {
		return fmt.Errorf("write samples: %d records dropped: the disk did not keep up", n)
	}
	return nil
}

// Close writes what is left and end as the last record, and closes the file.
// It returns the first error of the Writer's life.
func (w *Writer) Close(end End) error {
	if err := w.Flush(); errors.Is(err, ErrClosed) {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return ErrClosed
	}
	c := coder{buf: []byte{byte(kindEnd)}}
	end.fields(&c)
	w.writeBlocksLocked(c.buf)
	err := w.errLocked()
	if cerr := w.file.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close samples: %w", cerr)
	}
	w.file = nil
	return err
}

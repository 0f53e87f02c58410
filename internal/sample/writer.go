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
	magicFirst = "muster samples 1\n" // readable, and not written any more
	magic      = "muster samples 2\n"

	// stripeCount keeps recorders apart: with a stripe for each of a few
	// times the usual cores, two seldom meet at one lock.
	stripeCount = 16
	// maxBlock bounds a block of rows on disk, so that a reader can bound what
	// it takes in.
	maxBlock = 1 << 20
	// wakeBatch is how much may wait in a stripe before it is written without
	// delay: all that wait of a broadcast to 10,000 devices. Batches keep about
	// as much memory, and the collector leaves room for twice as much.
	wakeBatch = 64 << 10
	// keepBatch is how much memory of one kind a stripe keeps from one write to
	// the next.
	keepBatch = 2 << 20
	// keepChunks is how many chunks of executions all stripes together keep: 6 MB.
	keepChunks = 1024
	// maxStripe bounds what waits for a disk that does not keep up. Beyond it
	// records are dropped and counted.
	maxStripe = 32 << 20

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

// Writer appends records to a run's samples. Recording copies into one of a
// few batches and never waits for the disk; what is written is encoded outside
// of the locks that recorders take.
type Writer struct {
	flushEvery time.Duration
	dropped    atomic.Int64
	written    atomic.Int64  // records
	late       atomic.Int64  // of those, written more than LateAfter after they were recorded
	waited     atomic.Int64  // the longest that one waited, in nanoseconds
	hurry      chan struct{} // one token: much waits; Run takes it
	stripes    [stripeCount]stripe
	spare      spare // whoever holds a stripe may take from it

	mu    sync.Mutex // guards the fields below; held across file writes, never while a stripe is recording
	file  *os.File
	full  [stripeCount]batch // what is being written; empty in between
	since [stripeCount]time.Time
	table table
	out   []byte // blocks that are not in the file yet
	err   error  // the first error; nothing is written after it

	nothing struct { // what is before the first record of a table
		execution Execution
		connect   Connect
		device    Device
	}
}

// stripe holds the records of some devices that are not on disk yet.
type stripe struct {
	mu     sync.Mutex // guards the fields below
	since  time.Time  // when the first of the batch was recorded
	recent recent
	batch
	_ [64]byte
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
	w := &Writer{flushEvery: opts.flushEvery(), file: file, hurry: make(chan struct{}, 1)}
	for i := range w.stripes {
		w.stripes[i].executions.spare, w.full[i].executions.spare = &w.spare, &w.spare
	}
	return w, nil
}

// Execution records e. What waits to be written of the same execution gives way
// to it. It does not allocate in a steady state.
func (w *Writer) Execution(e *Execution) {
	if s := w.lock(e.Device % stripeCount); s != nil {
		s.recent.put(&s.batch, e)
		w.unlock(s)
	}
}

// Connect records c. It does not allocate in a steady state.
func (w *Writer) Connect(c *Connect) {
	if s := w.lock(c.Device % stripeCount); s != nil {
		s.connects = append(s.connects, *c)
		w.unlock(s)
	}
}

// Lost records l.
func (w *Writer) Lost(l *Lost) { w.row(l.Device%stripeCount, l) }

// device records d.
func (w *Writer) device(d *Device) {
	if s := w.lock(d.Index / tableRecords % stripeCount); s != nil { // names that are alike stay together
		s.devices = append(s.devices, *d)
		w.unlock(s)
	}
}

// Write records r, which may be of any kind.
func (w *Writer) Write(r Record) {
	switch r := r.(type) {
	case *Device:
		w.device(r)
	case *Connect:
		w.Connect(r)
	case *Execution:
		w.Execution(r)
	case *Lost:
		w.Lost(r)
	default:
		w.row(0, r)
	}
}

// row records what is not written in tables.
func (w *Writer) row(stripe uint32, r Record) {
	if s := w.lock(stripe); s != nil {
		s.appendRow(r)
		w.unlock(s)
	}
}

func (b *batch) appendRow(r Record) {
	b.rows.buf = append(b.rows.buf, byte(r.kind()))
	r.fields(&b.rows)
}

// lock returns a stripe with its mutex held, or nil, having counted a drop, if
// too much waits in it.
func (w *Writer) lock(n uint32) *stripe {
	s := &w.stripes[n]
	s.mu.Lock()
	if s.size() > maxStripe {
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

// unlock lets go of the stripe, and has it written soon if much waits in it.
func (w *Writer) unlock(s *stripe) {
	much := s.size() > wakeBatch
	s.mu.Unlock()
	if much {
		select {
		case w.hurry <- struct{}{}:
		default: // it is under way
		}
	}
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
		case <-w.hurry:
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
}

// Flush writes all that was recorded before the call to the file.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushLocked()
	return w.errLocked()
}

// flushLocked takes what waits and writes it. The first stripe, which has the
// records of no device, is taken first, and its rows are written last: what a
// repetition's closing record tells of is in the file when that is.
func (w *Writer) flushLocked() {
	for i := range w.stripes {
		s := &w.stripes[i]
		s.mu.Lock()
		s.recent.next(&s.batch)
		s.batch, w.full[i] = w.full[i], s.batch
		w.since[i] = s.since
		s.mu.Unlock()
	}
	writeTablesLocked(w, &w.nothing.execution, func(b *batch, i int) []Execution { return b.executions.part(i) })
	writeTablesLocked(w, &w.nothing.connect, func(b *batch, i int) []Connect { return once(b.connects, i) })
	writeTablesLocked(w, &w.nothing.device, func(b *batch, i int) []Device { return once(b.devices, i) })
	for i := range w.full {
		w.writeRowsLocked(w.full[len(w.full)-1-i].rows.buf)
	}
	w.sendLocked()
	for i := range w.full {
		if n := w.full[i].count; n > 0 && w.err == nil {
			w.noteLocked(n, time.Since(w.since[i]))
		}
		w.full[i].empty()
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

// writeTablesLocked writes the records of one kind of all stripes, which come in
// parts until one has none. None is before the first of a table.
func writeTablesLocked[R any, P tabled[R]](w *Writer, none *R, of func(b *batch, part int) []R) {
	before := none
	w.table.reset(false)
	for i := range w.full {
		for part := 0; ; part++ {
			records := of(&w.full[i], part)
			if len(records) == 0 {
				break
			}
			before = addRowsLocked[R, P](w, records, before, none)
		}
	}
	if w.table.n > 0 {
		w.blockLocked(P(none).kind(), w.table.append)
	}
}

// addRowsLocked adds records to the table, which it writes when it is full, and
// returns the last of them.
func addRowsLocked[R any, P tabled[R]](w *Writer, records []R, before, none *R) (last *R) {
	t := &w.table
	for i := range records {
		r := P(&records[i])
		if t.full(r.text()) {
			w.blockLocked(r.kind(), t.append)
			t.reset(false)
			before = none
		}
		addRow[R](t, r, before)
		before = r
	}
	return before
}

// writeRowsLocked writes records of other kinds as blocks of whole records.
func (w *Writer) writeRowsLocked(records []byte) {
	for len(records) > 0 {
		n := len(records)
		if n > maxBlock {
			n = wholeRecords(records, maxBlock)
		}
		w.blockLocked(kindRows, func(dst []byte) []byte { return append(dst, records[:n]...) })
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

// blockLocked adds a block to what is to be sent.
func (w *Writer) blockLocked(k kind, payload func(dst []byte) []byte) {
	w.out = appendBlock(w.out, k, payload)
	if len(w.out) > maxBlock {
		w.sendLocked()
	}
}

// appendBlock adds a block, whose first byte says of which kind the records
// are.
func appendBlock(dst []byte, k kind, payload func(dst []byte) []byte) []byte {
	from := len(dst)
	dst = payload(append(dst, 0, 0, 0, 0, 0, 0, 0, 0, byte(k)))
	block := dst[from+blockHeader:]
	binary.LittleEndian.PutUint32(dst[from:], uint32(len(block)))
	binary.LittleEndian.PutUint32(dst[from+4:], crc32.Checksum(block, castagnoli))
	return dst
}

// sendLocked writes the blocks to the file.
func (w *Writer) sendLocked() {
	blocks := w.out
	w.out = w.out[:0]
	switch {
	case len(blocks) == 0 || w.err != nil:
		return
	case w.file == nil:
		w.err = ErrClosed
		return
	}
	if _, err := w.file.Write(blocks); err != nil {
		w.err = fmt.Errorf("write samples: %w", err)
	}
	if cap(w.out) > 4*maxBlock { // one record alone was that long
		w.out = nil
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
	var last batch
	last.appendRow(&end)
	w.writeRowsLocked(last.rows.buf)
	w.sendLocked()
	err := w.errLocked()
	if cerr := w.file.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close samples: %w", cerr)
	}
	w.file = nil
	return err
}

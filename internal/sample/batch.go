package sample

import "sync"

// batch are records that wait to be written. Each kind keeps its order.
type batch struct {
	rows       coder // records of kinds that are not written in tables
	devices    []Device
	connects   []Connect
	executions executions
	count      int64 // records that were added
}

// Bytes that a waiting record takes.
const (
	deviceBytes    = 40
	connectBytes   = 64
	executionBytes = 96
)

// size returns about how many bytes the batch takes.
func (b *batch) size() int {
	return len(b.rows.buf) + deviceBytes*len(b.devices) + connectBytes*len(b.connects) + executionBytes*b.executions.n
}

// empty lets go of the records and keeps their memory, unless a burst needed
// much more of it than the rest of the run will: devices are told only once.
func (b *batch) empty() {
	b.executions.empty()
	*b = batch{rows: coder{buf: kept(b.rows.buf, 1)}, connects: kept(b.connects, connectBytes), executions: b.executions}
}

func kept[T any](s []T, bytes int) []T {
	if cap(s)*bytes > keepBatch {
		return nil
	}
	return s[:0]
}

// once returns records that are all in one part.
func once[T any](records []T, part int) []T {
	if part > 0 {
		return nil
	}
	return records
}

// executions are records in chunks: a burst of them copies none to make room for
// more, and what one stripe has written is room for another's.
type executions struct {
	spare  *spare
	chunks []*chunk
	n      int
}

// chunk is some records: so many that little is wasted when few wait.
type chunk [chunkRecords]Execution

const chunkRecords = 64

// at returns a record, which must be below n.
func (x *executions) at(i uint32) *Execution { return &x.chunks[i/chunkRecords][i%chunkRecords] }

func (x *executions) add(e *Execution) {
	if x.n%chunkRecords == 0 {
		x.chunks = append(x.chunks, x.spare.take())
	}
	x.n++
	*x.at(uint32(x.n - 1)) = *e
}

// part returns the records of a chunk, none if there are not so many chunks.
func (x *executions) part(i int) []Execution {
	if i >= len(x.chunks) {
		return nil
	}
	return x.chunks[i][:min(x.n-i*chunkRecords, chunkRecords)]
}

// empty lets go of the records.
func (x *executions) empty() {
	x.spare.give(x.chunks)
	clear(x.chunks)
	x.chunks, x.n = x.chunks[:0], 0
}

// spare is memory without content, which all stripes share: the chunks that a
// burst needed, up to a bound.
type spare struct {
	mu     sync.Mutex // guards the chunks
	chunks []*chunk
}

func (s *spare) take() *chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.chunks) - 1
	if last < 0 {
		return new(chunk)
	}
	c := s.chunks[last]
	s.chunks = s.chunks[:last]
	return c
}

func (s *spare) give(chunks []*chunk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	room := max(0, keepChunks-len(s.chunks))
	s.chunks = append(s.chunks, chunks[:min(len(chunks), room)]...)
}

// recent finds an execution that is still in the batch by its device, so that
// what is recorded of it again takes its place: a reader counts the last. It
// remembers one execution each of some devices; who is not found is written
// twice, and no harm is done.
type recent struct {
	places [1 << 12]uint32 // of executions, counted on from one batch to the next
	before uint32          // how many were in all batches before
}

// put adds e to the batch, or puts it in the place of what waits of it.
func (r *recent) put(b *batch, e *Execution) {
	place := &r.places[e.Device/stripeCount%uint32(len(r.places))]
	if at := *place - r.before; e.Device != NoDevice && int64(at) < int64(b.executions.n) {
		if was := b.executions.at(at); was.Device == e.Device && was.Repetition == e.Repetition && was.Job == e.Job {
			*was = *e
			return
		}
	}
	*place = r.before + uint32(b.executions.n)
	b.executions.add(e)
}

// next goes on to another batch: of what was in this one nothing is found.
func (r *recent) next(b *batch) { r.before += uint32(b.executions.n) }

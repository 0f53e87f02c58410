package sample

// batch are records that wait to be written. Each kind keeps its order.
type batch struct {
	rows       coder // records of kinds that are not written in tables
	devices    []Device
	connects   []Connect
	executions []Execution
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
	return len(b.rows.buf) + deviceBytes*len(b.devices) + connectBytes*len(b.connects) + executionBytes*len(b.executions)
}

// empty lets go of the records and keeps their memory, unless a burst needed
// much more of it than the rest of the run will: devices are told only once.
func (b *batch) empty() {
	*b = batch{rows: coder{buf: kept(b.rows.buf, 1)}, connects: kept(b.connects, connectBytes), executions: kept(b.executions, executionBytes)}
}

func kept[T any](s []T, bytes int) []T {
	if cap(s)*bytes > keepBatch {
		return nil
	}
	return s[:0]
}

// recent finds an execution that is still in the batch by its device, so that
// what is recorded of it again takes its place: a reader counts the last. It
// remembers one execution each of some devices; who is not found is written
// twice, and no harm is done.
type recent [1 << 12]uint32

// put adds e to the batch, or puts it in the place of what waits of it.
func (r *recent) put(b *batch, e *Execution) {
	place := &r[e.Device/stripeCount%uint32(len(r))]
	if e.Device != NoDevice && int(*place) < len(b.executions) {
		if was := &b.executions[*place]; was.Device == e.Device && was.Repetition == e.Repetition && was.Job == e.Job {
			*was = *e
			return
		}
	}
	*place = uint32(len(b.executions))
	b.executions = append(b.executions, *e)
}

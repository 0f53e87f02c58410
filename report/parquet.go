package report

import (
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/parquet-go/parquet-go"

	"muster/internal/sample"
)

// parquetRow is a row of the Parquet export: an execution. Moments are in
// nanoseconds since the run began; one that was not seen is null. docs/run.md
// has the columns.
type parquetRow struct {
	Job        string         `parquet:"job,dict"`
	Repetition int32          `parquet:"repetition"` // from 1
	HubJob     *string        `parquet:"hub_job,optional,dict"`
	Device     *string        `parquet:"device,optional,dict"`
	Group      *string        `parquet:"group,optional,dict"`
	Outcome    string         `parquet:"outcome,dict"`
	Cause      *string        `parquet:"cause,optional,dict"`
	Due        *sample.Moment `parquet:"due_ns,optional"`
	Dispatched *sample.Moment `parquet:"dispatched_ns,optional"`
	Received   *sample.Moment `parquet:"received_ns,optional"`
	Answered   *sample.Moment `parquet:"answered_ns,optional"`
	Finished   *sample.Moment `parquet:"finished_ns,optional"`
	Booked     *sample.Moment `parquet:"booked_ns,optional"`
	HubClock   bool           `parquet:"hub_clock"` // dispatched and booked are the hub's row times
	Attempts   int32          `parquet:"attempts"`  // requests that a direct job made
	Duplicates int32          `parquet:"duplicates"`
}

// parquetRows is how many rows are given to the writer at once, and
// parquetGroup how many make a row group, which the writer holds in memory.
const (
	parquetRows  = 1024
	parquetGroup = 128 * 1024
)

// WriteParquet writes the executions of the run in the results folder dir to
// the file path, in the Parquet format: whole or not at all.
func WriteParquet(dir, path string) error {
	run, err := readRun(dir)
	if err != nil {
		return err
	}
	b := newBook(run)
	if b.torn, err = eachRecord(dir, false, b.add); err != nil {
		return err
	}
	return writeFile(filepath.Dir(path), filepath.Base(path), b.writeParquet)
}

func (b *book) writeParquet(w io.Writer) error {
	out := parquet.NewGenericWriter[parquetRow](w,
		parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(parquetGroup), parquet.CreatedBy("muster", b.run.MusterVersion, ""),
		parquet.KeyValueMetadata("muster.scenario", b.run.Scenario),
		parquet.KeyValueMetadata("muster.startedAt", b.run.StartedAt.UTC().Format(time.RFC3339Nano)))
	batch := make([]parquetRow, 0, parquetRows)
	flush := func() error {
		_, err := out.Write(batch)
		batch = batch[:0]
		return err
	}
	for row := range b.executions {
		if batch = append(batch, row); len(batch) == cap(batch) {
			if err := flush(); err != nil {
				return fmt.Errorf("write executions: %w", err)
			}
		}
	}
	if err := flush(); err != nil {
		return fmt.Errorf("write executions: %w", err)
	}
	return out.Close()
}

// executions yields the rows: job by job, repetition by repetition, in the
// order in which the devices were first heard of.
func (b *book) executions(yield func(parquetRow) bool) {
	for i := range b.jobs {
		j := &b.jobs[i]
		for _, n := range j.inOrder() {
			rep := j.reps[n]
			rep.addUnseen(len(b.devices))
			for k := range rep.rows {
				if !yield(b.parquetRow(j, n, rep, &rep.rows[k])) {
					return
				}
			}
		}
	}
}

// seen returns m, or nil if it was not seen. The library's own null for a zero
// value is none after a value that is not (v0.32.0, seen with strings).
func seen(m *sample.Moment) *sample.Moment {
	if !m.Seen() {
		return nil
	}
	return m
}

func (b *book) parquetRow(j *jobBook, n uint32, rep *repetition, e *row) parquetRow {
	row := parquetRow{
		Job: j.spec.Name, Repetition: int32(n) + 1, Outcome: e.outcome.String(),
		Due: seen(&e.due), Dispatched: seen(&e.dispatched), Received: seen(&e.received),
		Answered: seen(&e.answered), Finished: seen(&e.finished), Booked: seen(&e.booked),
		HubClock: e.hubClock, Attempts: int32(e.attempts), Duplicates: int32(e.duplicates),
	}
	if id := rep.id(); id != "" {
		row.HubJob = &id
	}
	if e.cause != 0 {
		row.Cause = &j.causes[e.cause]
	}
	if e.device != sample.NoDevice && int(e.device) < len(b.devices) {
		d := &b.devices[e.device]
		row.Device, row.Group = &d.id, &b.groups[d.group]
	}
	return row
}

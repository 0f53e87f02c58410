package report_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"muster/internal/sample"
	"muster/report"
)

// exported is a row of the export as a reader has it, null where it is nil.
type exported struct {
	Job        string  `parquet:"job"`
	Repetition int32   `parquet:"repetition"`
	HubJob     *string `parquet:"hub_job,optional"`
	Device     *string `parquet:"device,optional"`
	Group      *string `parquet:"group,optional"`
	Outcome    string  `parquet:"outcome"`
	Cause      *string `parquet:"cause,optional"`
	Due        *int64  `parquet:"due_ns,optional"`
	Dispatched *int64  `parquet:"dispatched_ns,optional"`
	Received   *int64  `parquet:"received_ns,optional"`
	Answered   *int64  `parquet:"answered_ns,optional"`
	Finished   *int64  `parquet:"finished_ns,optional"`
	Booked     *int64  `parquet:"booked_ns,optional"`
	HubClock   bool    `parquet:"hub_clock"`
	Attempts   int32   `parquet:"attempts"`
	Duplicates int32   `parquet:"duplicates"`
}

func export(t *testing.T, f *fixture) ([]exported, *parquet.File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "executions.parquet")
	if err := report.WriteParquet(f.write(t), path); err != nil {
		t.Fatalf("WriteParquet() = %v", err)
	}
	rows, err := parquet.ReadFile[exported](path)
	if err != nil {
		t.Fatalf("ReadFile() = %v", err)
	}
	src, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	info, err := src.Stat()
	if err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(src, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return rows, file
}

func TestParquetHasTheExecutions(t *testing.T) {
	f := small()
	f.run.Jobs[0].Repetitions = 2
	e := find[sample.Execution](f, 1)
	e.Outcome, e.Code, e.Received, e.Answered, e.Finished, e.HubClock = sample.Offline, "DeviceNotOnline", 0, 0, 0, false
	f.add(
		&sample.Targets{Repetition: 1, Due: 2 * s, Devices: []uint32{0}}, // never closed: its end is unknown
		&sample.Execution{Repetition: 1, Device: sample.NoDevice, Due: 2 * s, Outcome: sample.Failed, Final: true, Attempts: 3, Duplicates: 1},
	)
	rows, file := export(t, f)
	at := func(m sample.Moment) *int64 { return new(int64(m)) }
	want := []exported{
		{
			Job: "lock", Repetition: 1, HubJob: new("lock-1"), Device: new("door-0"), Group: new("doors"), Outcome: "succeeded",
			Due: at(1 * s), Dispatched: at(1*s + 5*ms), Received: at(1*s + 10*ms), Answered: at(1*s + 20*ms), Finished: at(1*s + 20*ms), Booked: at(1*s + 21*ms),
			HubClock: true,
		},
		{
			Job: "lock", Repetition: 1, HubJob: new("lock-1"), Device: new("door-1"), Group: new("doors"), Outcome: "offline", Cause: new("DeviceNotOnline"),
			Due: at(1 * s), Dispatched: at(1*s + 25*ms), Booked: at(1*s + 101*ms),
		},
		{Job: "lock", Repetition: 2, Outcome: "failed", Due: at(2 * s), Attempts: 3, Duplicates: 1},
		{Job: "lock", Repetition: 2, Device: new("door-0"), Group: new("doors"), Outcome: "unknown", Due: at(2 * s)},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("executions (-want +got):\n%s", diff)
	}
	if started, _ := file.Lookup("muster.startedAt"); started != "2030-01-02T03:04:05Z" {
		t.Errorf("muster.startedAt = %q, want 2030-01-02T03:04:05Z", started)
	}
}

func TestParquetOfManyBatches(t *testing.T) {
	rows, file := export(t, broadcast(1000))
	if len(rows) != 5*1000+5*20 || file.NumRows() != int64(len(rows)) {
		t.Errorf("%d rows, the file says %d; want 5100", len(rows), file.NumRows())
	}
	ends := map[string]int{}
	for _, r := range rows {
		ends[fmt.Sprint(r.Job, r.Repetition, *r.Device)]++
	}
	if len(ends) != len(rows) {
		t.Errorf("%d executions in %d rows", len(ends), len(rows))
	}
}

func TestParquetOfNothing(t *testing.T) {
	dir := t.TempDir()
	if err := report.WriteParquet(dir, filepath.Join(dir, "x.parquet")); err == nil {
		t.Error("WriteParquet() of a folder that is no run: no error")
	}
	f := small()
	f.records = nil
	if rows, _ := export(t, f); len(rows) != 0 {
		t.Errorf("a run without executions exports %d", len(rows))
	}
}

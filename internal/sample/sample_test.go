package sample_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"muster/internal/sample"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func everyRecord() []sample.Record {
	return []sample.Record{
		&sample.Device{Index: 7, ID: "door-00007", Group: "doors"},
		&sample.Connect{Device: 7, Attempt: 2, Reconnect: true, Due: 1, Dialed: 2, Accepted: 3, Ready: 4},
		&sample.Connect{Device: 8, Attempt: 1, Due: 5e9, Dialed: 5e9, Error: "refused: not authorized"},
		&sample.Lost{Device: 7, At: 6e9, Error: "EOF"},
		&sample.Fault{Index: 3, What: "drop on connect", At: "+1s", Begun: 5e9, Ended: 6e9, Struck: 12},
		&sample.Fault{Index: 4, What: "restart", At: "start", Error: "no answer"},
		&sample.Targets{Job: 1, Repetition: 2, ID: "a-b", Due: 99, Checkable: true, Devices: []uint32{0, 1, 1 << 31}},
		&sample.Execution{
			Job: 1, Repetition: 2, Device: 3, Outcome: sample.TimedOut, Final: true, HubClock: true,
			Due: 1e12, Dispatched: 1e12 - 5, Received: 1e12, Answered: 1e12 + 1, Finished: 0, Booked: 2e12,
			Status: -1, Code: "GatewayTimeout", Attempts: 3, Duplicates: 1,
		},
		&sample.Execution{Device: sample.NoDevice, Due: -5, Received: -10},
		&sample.Unexpected{Device: 4, At: 6, Kind: "method", Name: "lockDoor", Job: sample.NoJob, TooEarly: true},
		&sample.Repetition{
			Job: 1, Repetition: 4, ID: "x", Status: "completed", Reason: "r", Due: 10, Started: 11, Ended: 12, Targeted: 5,
			Missing: 1, Extra: 2, Checked: true, HubBooks: true, Skipped: true,
			Rows: sample.Statistics{Devices: 1, Failed: 2, Succeeded: 3, Running: 4, Pending: 5}, Stats: sample.Statistics{Devices: 9},
		},
		&sample.JobState{At: 1, Job: 2, Repetition: 3, ID: "j", Status: "running", Stats: sample.Statistics{Pending: 7}},
		&sample.Recording{At: 5, Records: 6, Dropped: 7, Late: 8, Waited: 9},
		&sample.HubStats{At: 1, CPU: time.Second, RSS: 2, MaxRSS: 3, Connections: 4, SlowClosed: 5},
		&sample.Health{
			At: 3e9, Wakes: []sample.Wake{{Sent: 1e9, Delay: 30000}, {Sent: 1e9 + 1e6, Delay: 0}}, TimerLate: 1, CPU: 2, RSS: 3, MaxRSS: 4,
			GCPauseP99: 5, Goroutines: 6, Descriptors: 7, ClockStep: -8, Generator: 9,
		},
	}
}

func write(t *testing.T, dir string, records []sample.Record) {
	t.Helper()
	w, err := sample.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		w.Write(r)
	}
	if err := w.Close(sample.End{At: 1, Reason: "completed"}); err != nil {
		t.Fatalf("Close() = %v", err)
	}
}

func readAll(r *sample.Reader) ([]sample.Record, error) {
	var all []sample.Record
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, kept(rec))
	}
}

// kept returns a record that the reader does not read another into.
func kept(rec sample.Record) sample.Record {
	switch r := rec.(type) {
	case *sample.Device:
		c := *r
		return &c
	case *sample.Connect:
		c := *r
		return &c
	case *sample.Execution:
		c := *r
		return &c
	}
	return rec
}

// byKind sorts records as a flush writes them: by kind, and by the stripe that
// is their device's.
func byKind(records []sample.Record) []sample.Record {
	order := func(rec sample.Record) int {
		switch r := rec.(type) {
		case *sample.Execution:
			return int(r.Device % 16)
		case *sample.Connect:
			return 100 + int(r.Device%16)
		case *sample.Device:
			return 200 + int(r.Index/2048%16)
		case *sample.Lost:
			return 400 - int(r.Device%16)
		}
		return 400
	}
	slices.SortStableFunc(records, func(a, b sample.Record) int { return order(a) - order(b) })
	return records
}

func read(t *testing.T, dir string) (records []sample.Record, torn bool) {
	t.Helper()
	r, err := sample.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	records, err = readAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return records, r.Torn()
}

func TestRecordsReadBackAsWritten(t *testing.T) {
	dir := t.TempDir()
	want := everyRecord()
	write(t, dir, want)
	got, torn := read(t, dir)
	if torn {
		t.Error("Torn() = true for samples that were closed")
	}
	want = append(byKind(want), &sample.End{At: 1, Reason: "completed"})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records differ (-want +got):\n%s", diff)
	}
}

func TestTypedRecordingKeepsTheOrderOfOneDevice(t *testing.T) {
	dir := t.TempDir()
	w, err := sample.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for d := range uint32(40) {
		group.Go(func() {
			for n := range uint32(50) {
				w.Execution(&sample.Execution{Device: d, Repetition: n, Attempts: n})
				w.Connect(&sample.Connect{Device: d, Attempt: n})
			}
		})
	}
	group.Wait()
	if err := w.Close(sample.End{Reason: "completed"}); err != nil {
		t.Fatal(err)
	}
	executions, connects := map[uint32]uint32{}, map[uint32]uint32{}
	records, _ := read(t, dir)
	for _, r := range records {
		switch r := r.(type) {
		case *sample.Execution:
			if r.Attempts != executions[r.Device] {
				t.Fatalf("device %d: execution %d came at place %d", r.Device, r.Attempts, executions[r.Device])
			}
			executions[r.Device]++
		case *sample.Connect:
			if r.Attempt != connects[r.Device] {
				t.Fatalf("device %d: connect %d came at place %d", r.Device, r.Attempt, connects[r.Device])
			}
			connects[r.Device]++
		}
	}
	if len(executions) != 40 || executions[39] != 50 || connects[39] != 50 {
		t.Errorf("read %d devices with %d executions and %d connects, want 40 with 50 each", len(executions), executions[39], connects[39])
	}
}

func TestAKilledRunLosesOnlyItsTail(t *testing.T) {
	dir := t.TempDir()
	w, err := sample.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(&sample.JobState{ID: "kept"})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	w.Write(&sample.JobState{ID: "cut off"})
	if err := w.Close(sample.End{}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(sample.Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[int]bool{}
	for cut := range len(whole) {
		r, err := sample.NewReader(bytes.NewReader(whole[:cut]), "cut")
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		records, err := readAll(r)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		counts[len(records)] = true
		if len(records) > 2 {
			t.Fatalf("cut at %d: %d records", cut, len(records))
		}
	}
	if !counts[0] || !counts[1] || !counts[2] {
		t.Errorf("cuts left these numbers of records: %v, want 0, 1 and 2 among them", counts)
	}
}

func TestCorruptSamplesAreAnError(t *testing.T) {
	dir := t.TempDir()
	w, err := sample.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.Write(&sample.JobState{ID: "a job"})
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(sample.End{}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(sample.Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, at int, wantOpen bool) {
		t.Helper()
		broken := bytes.Clone(whole)
		broken[at] ^= 0xff
		r, err := sample.NewReader(bytes.NewReader(broken), "broken")
		if (err == nil) != wantOpen {
			t.Errorf("%s: NewReader error = %v", name, err)
		}
		if err != nil {
			return
		}
		if _, err := readAll(r); err == nil {
			t.Errorf("%s: read without an error", name)
		}
	}
	check("magic", 0, false)
	check("length", 20, true)
	check("checksum", 22, true)
	check("payload", 26, true)
}

func TestCreateRefusesSamplesThatExist(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, nil)
	if _, err := sample.Create(dir, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("Create over samples = %v, want %v", err, os.ErrExist)
	}
}

func TestALargeRecordIsOneBlock(t *testing.T) {
	dir := t.TempDir()
	id := strings.Repeat("x", 3<<20)
	write(t, dir, []sample.Record{&sample.Targets{ID: id, Devices: []uint32{5}}, &sample.Targets{Devices: []uint32{1}}})
	got, _ := read(t, dir)
	if len(got) != 3 || got[0].(*sample.Targets).ID != id || !slices.Equal(got[0].(*sample.Targets).Devices, []uint32{5}) || len(got[1].(*sample.Targets).Devices) != 1 {
		t.Errorf("read %d records, want the large one, the small one and the end", len(got))
	}
}

func TestRecordsThatWaitForTheDiskAreCounted(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w, err := sample.Create(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		check := func(after time.Duration, want sample.Recording) {
			t.Helper()
			for device := range uint32(3) {
				w.Execution(&sample.Execution{Device: device})
			}
			time.Sleep(after)
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			want.At = 7
			if got := w.Account(7); got != want {
				t.Errorf("Account() after %v = %+v, want %+v", after, got, want)
			}
		}
		check(100*time.Millisecond, sample.Recording{Records: 3, Waited: 100 * time.Millisecond})
		check(2*time.Second, sample.Recording{Records: 6, Late: 3, Waited: 2 * time.Second})
		check(sample.LateAfter, sample.Recording{Records: 9, Late: 3, Waited: 2 * time.Second})
		w.Write(&sample.Targets{ID: strings.Repeat("x", 33<<20)}) // what is recorded while 32 MiB wait in one stripe is dropped
		w.Write(&sample.Device{Index: 1})
		w.Execution(&sample.Execution{Device: 1})
		if got := w.Account(0); got.Dropped != 1 {
			t.Errorf("Account() with 33 MiB waiting = %+v, want one dropped", got)
		}
		if err := w.Close(sample.End{}); err == nil || !strings.Contains(err.Error(), "1 records dropped") {
			t.Errorf("Close() = %v, want one dropped", err)
		}
	})
}

func TestRunFlushesOnItsOwn(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w, err := sample.Create(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Errorf("Run() = %v", err)
			}
		})
		w.Write(&sample.Device{ID: "a"})
		time.Sleep(time.Second)
		if got, _ := read(t, dir); len(got) != 1 {
			t.Errorf("a second after the record, %d are on disk, want 1", len(got))
		}
		stop()
		group.Wait()
		if err := w.Close(sample.End{}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRecordingDoesNotAllocate(t *testing.T) {
	w, err := sample.Create(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	device := uint32(0)
	record := func() {
		device = (device + 1) % 5000
		w.Execution(&sample.Execution{Device: device, Due: 5e9, Received: 6e9, Code: "DeviceNotOnline"})
		w.Execution(&sample.Execution{Device: device, Due: 5e9, Received: 6e9, Final: true})
		w.Connect(&sample.Connect{Device: device, Due: 5e9, Ready: 6e9, Error: "refused: not authorized"})
	}
	check := func(what string, runs int, do func()) {
		t.Helper()
		if n := testing.AllocsPerRun(runs, do); n != 0 {
			t.Errorf("%s allocates %v times, want 0", what, n)
		}
	}
	second := func() { // what a writer does again and again
		for range 5000 {
			record()
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	second() // both batches of a stripe grow once
	second()
	check("recording", 2000, record)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	check("recording 5,000 times and writing them", 5, second)
	if err := w.Close(sample.End{}); err != nil {
		t.Fatal(err)
	}
}

// TestWritingKeepsLittle records what a run of 100,000 devices does, beside a
// disk that keeps up, and wants little to be left of it.
func TestWritingKeepsLittle(t *testing.T) {
	const devices, most = 100_000, 8 << 20
	before := heldBytes()
	synctest.Test(t, func(t *testing.T) {
		w, err := sample.Create(t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _ = w.Run(ctx) }) // Close returns the first error
		for _, record := range []func(i uint32){
			func(i uint32) { w.Write(&sample.Device{Index: i, ID: "door"}) },
			func(i uint32) { w.Connect(&sample.Connect{Device: i, Due: 5e9, Ready: 6e9}) },
			func(i uint32) { w.Execution(&sample.Execution{Device: i, Due: 5e9, Received: 6e9}) },
		} {
			for i := range uint32(devices) {
				if record(i); i%500 == 0 {
					synctest.Wait() // what is in a hurry is written
				}
			}
			time.Sleep(time.Second)
		}
		stop()
		group.Wait()
		if held := heldBytes() - before; held > most {
			t.Errorf("a writer that has written the records of %d devices holds %d KiB, want at most %d", devices, held>>10, most>>10)
		}
		if err := w.Close(sample.End{}); err != nil {
			t.Fatal(err)
		}
	})
}

// heldBytes returns what the heap holds after a collection.
func heldBytes() int64 {
	runtime.GC()
	runtime.GC() // the first only empties the caches
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestReadingDoesNotAllocate(t *testing.T) {
	dir := t.TempDir()
	w, err := sample.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(60_000) {
		w.Execution(&sample.Execution{Device: i, Due: 5e9, Received: 6e9 + sample.Moment(i)})
		w.Connect(&sample.Connect{Device: i, Due: 5e9 + sample.Moment(i)})
	}
	if err := w.Close(sample.End{}); err != nil {
		t.Fatal(err)
	}
	r, err := sample.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	next := func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	next() // what a block needs is made with the first
	if n := testing.AllocsPerRun(100_000, next); n != 0 {
		t.Errorf("reading allocates %v times a record, want 0", n)
	}
}

func TestMomentsNotSeenStayAbsent(t *testing.T) {
	check := func(m, earlier sample.Moment, want string) {
		t.Helper()
		d, ok := m.Since(earlier)
		if got := fmt.Sprint(d, ok); got != want {
			t.Errorf("Moment(%d).Since(%d) = %s, want %s", m, earlier, got, want)
		}
	}
	check(5, 3, "2ns true")
	check(3, 5, "-2ns true")
	check(0, 3, "0s false")
	check(3, 0, "0s false")
	if got := sample.Moment(0).Add(time.Second); got.Seen() {
		t.Errorf("an absent moment plus a second = %d, want absent", got)
	}
}

func TestClockPlacesTimesOfOtherProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sample.NewClock()
		if now := c.Now(); !now.Seen() {
			t.Error("Now() at the epoch is absent")
		}
		time.Sleep(3 * time.Second)
		wall := time.Now().Round(0)
		if got, want := c.At(wall), c.Now(); got != want {
			t.Errorf("At(wall) = %d, want %d", got, want)
		}
		if got := c.Time(c.Now()); !got.Equal(wall) {
			t.Errorf("Time(Now()) = %v, want %v", got, wall)
		}
		if got := c.At(c.Epoch()); !got.Seen() {
			t.Error("At(Epoch()) is absent")
		}
		if got := c.At(time.Time{}); got.Seen() {
			t.Errorf("At(zero time) = %d, want absent", got)
		}
		if got := c.Step(); got != 0 {
			t.Errorf("Step() = %v on a clock that was not set", got)
		}
	})
}

func FuzzReader(f *testing.F) {
	dir := f.TempDir()
	w, err := sample.Create(dir, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range everyRecord() {
		w.Write(r)
	}
	if err := w.Close(sample.End{At: 1}); err != nil {
		f.Fatal(err)
	}
	first, err := os.ReadFile("testdata/version1")
	if err != nil {
		f.Fatal(err)
	}
	const head, block = 17, 8
	for _, whole := range [][]byte{readFile(f, sample.Path(dir)), first} {
		f.Add(whole, uint8(whole[head-2]-'1'), false)
		f.Add(whole[:len(whole)/2], uint8(0), false)
	}
	for payload := readFile(f, sample.Path(dir))[head:]; len(payload) > 0; { // each kind of block
		n := block + int(binary.LittleEndian.Uint32(payload))
		f.Add(payload[block:n], uint8(1), true)
		payload = payload[n:]
	}
	f.Add(first[head+block:], uint8(0), true)
	f.Fuzz(func(t *testing.T, data []byte, version uint8, sealed bool) {
		if sealed { // get behind the checksum
			data = sample.Seal(data, version%2 == 0)
		}
		r, err := sample.NewReader(bytes.NewReader(data), "fuzz")
		if err != nil {
			return
		}
		records, _ := readAll(r) // an error is as good as records; a panic or a hang is not
		again := t.TempDir()
		write(t, again, records)
		got, _ := read(t, again)
		want := byKind(lastOnes(records))
		if len(want) > 0 && !reflect.DeepEqual(want, got[:len(got)-1]) { // lists may be long, and a diff of them slow
			t.Errorf("what was read writes differently (-first +second):\n%s", cmp.Diff(want, got[:len(got)-1]))
		}
	})
}

// lastOnes drops all but the last record of an execution, as a Writer does of
// those that wait to be written together: it is where the first one was. What
// the Writer does not find again is left, but a few records are all found that
// do not take each other's places.
func lastOnes(records []sample.Record) []sample.Record {
	recent := map[uint32]int{}
	var kept []sample.Record
	for _, rec := range records {
		if e, ok := rec.(*sample.Execution); ok {
			place := e.Device / 16 % 4096
			if at, ok := recent[place]; ok && e.Device != sample.NoDevice {
				if was := kept[at].(*sample.Execution); was.Device == e.Device && was.Job == e.Job && was.Repetition == e.Repetition {
					kept[at] = e
					continue
				}
			}
			recent[place] = len(kept)
		}
		kept = append(kept, rec)
	}
	return kept
}

func BenchmarkExecution(b *testing.B) {
	w, err := sample.Create(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		e := sample.Execution{Due: 5e9, Dispatched: 5e9 + 1000, Received: 6e9, Answered: 6e9 + 3000, Finished: 6e9 + 9000}
		for n := 0; pb.Next(); n++ {
			e.Device++
			w.Execution(&e)
			if n%100_000 == 0 {
				if err := w.Flush(); err != nil {
					b.Error(err)
				}
			}
		}
	})
	if err := w.Close(sample.End{}); err != nil {
		b.Fatal(err)
	}
}

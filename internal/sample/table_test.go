package sample_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
)

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	all, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// testdata/version1 was written by the muster that had the first version of
// the format, from everyRecord.
func TestTheFirstVersionIsStillRead(t *testing.T) {
	whole := readFile(t, "testdata/version1")
	open := func(file []byte) *sample.Reader {
		t.Helper()
		r, err := sample.NewReader(bytes.NewReader(file), "version1")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := open(whole)
	got, err := readAll(r)
	if err != nil || r.Torn() {
		t.Fatalf("read %d records, %v, torn %v", len(got), err, r.Torn())
	}
	want := append(everyRecord(), &sample.End{At: 1, Reason: "completed"})
	for _, r := range want {
		if h, ok := r.(*sample.Health); ok {
			h.Generator = 0 // it knew of one
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records differ (-want +got):\n%s", diff)
	}
	for cut := range len(whole) {
		if _, err := readAll(open(whole[:cut])); err != nil {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	r = open(whole)
	r.SkipDevices()
	if got, err = readAll(r); err != nil || len(got) != len(want)-5 {
		t.Errorf("without those of single devices: %d records, %v, want %d", len(got), err, len(want)-5)
	}
}

func TestAColumnReadsBackAsWritten(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	check := func(name string, n, most int, value func(i int) int64) {
		t.Helper()
		values := make([]int64, n)
		for i := range values {
			values[i] = value(i)
		}
		column := sample.AppendColumn(nil, values)
		got, rest, ok := sample.ReadColumn(append(column, 7), n)
		if !ok || rest != 1 || !slices.Equal(got, values) {
			t.Errorf("%s: read %v with %d bytes left, ok %v, want %v", name, got, rest, ok, values)
		}
		if len(column) > most {
			t.Errorf("%s: %d values take %d bytes, want %d at most", name, n, len(column), most)
		}
		for cut := 0; cut < len(column); cut += 1 + len(column)/50 {
			if _, _, ok := sample.ReadColumn(column[:cut], n); ok {
				t.Errorf("%s: %d of its %d bytes read as a column", name, cut, len(column))
			}
		}
	}
	check("one", 1, 2, func(int) int64 { return -5 })
	check("same", 2000, 11, func(int) int64 { return math.MinInt64 })
	check("runs", 2000, 40, func(i int) int64 { return int64(i / 300) })
	check("two widths apart", 300, 300*8+40, func(i int) int64 { return []int64{math.MinInt64, math.MaxInt64}[i%2] })
	for width := range 63 {
		check(fmt.Sprintf("%d bits", width), 333, 333*(width+1)/8+60, func(int) int64 { return rng.Int64N(1<<width) - 1<<width/2 })
	}
	if _, _, ok := sample.ReadColumn([]byte{3, 0}, 1); ok {
		t.Error("a column of a way that there is not was read")
	}
}

// A made-up length costs no more memory than the longest list that there is.
func TestAListLongerThanAnyIsRefused(t *testing.T) {
	const rows, health, at = 0, 9, 0
	payload := binary.AppendUvarint([]byte{rows, health, at}, 1<<24+1)
	payload = append(payload, make([]byte, 1<<16)...) // columns of zeros
	r, err := sample.NewReader(bytes.NewReader(sample.Seal(payload, false)), "made up")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(r); err == nil || len(got) > 0 {
		t.Errorf("read %d records, %v, want an error", len(got), err)
	}
}

func TestARecordThatWaitsGivesWayToTheNextOfItsExecution(t *testing.T) {
	dir := t.TempDir()
	w, err := sample.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	record := func(device, repetition uint32, answered, finished sample.Moment) {
		w.Execution(&sample.Execution{Device: device, Repetition: repetition, Due: 1, Received: 2, Answered: answered, Finished: finished, Final: finished > 0})
	}
	record(1, 0, 0, 0)
	record(2, 0, 0, 0)
	record(1, 0, 3, 0)
	record(sample.NoDevice, 0, 0, 5)
	record(sample.NoDevice, 0, 0, 6)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	record(1, 0, 3, 4)
	record(1, 1, 0, 0)
	record(2, 0, 7, 8)
	if err := w.Close(sample.End{}); err != nil {
		t.Fatal(err)
	}
	if got := w.Account(0).Records; got != 8 {
		t.Errorf("Account() = %d records, want the 8 that were recorded", got)
	}
	var got []string
	records, _ := read(t, dir)
	for _, r := range records {
		if e, ok := r.(*sample.Execution); ok {
			got = append(got, fmt.Sprint(int32(e.Device), e.Repetition, e.Answered, e.Finished))
		}
	}
	want := []string{"1 0 3 0", "2 0 0 0", "-1 0 0 5", "-1 0 0 6", "1 0 3 4", "1 1 0 0", "2 0 7 8"} // in each write by stripes
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("executions on disk (-want +got):\n%s", diff)
	}
}

// Whatever shares the memory in which they wait, and whenever it is written, an execution is read back as it was recorded
// last, after what was recorded of it before.
func TestExecutionsThatShareMemoryAreReadBackOnce(t *testing.T) {
	const recorders, devices, repetitions = 4, 2000, 12
	dir := t.TempDir()
	w, err := sample.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var recording, flushing sync.WaitGroup
	over := make(chan struct{})
	flushing.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				_ = w.Flush() // Close returns the first error
			}
		}
	})
	at := func(e *sample.Execution) sample.Moment { return sample.Moment(1000*e.Device + e.Repetition + 1) }
	for n := range uint32(recorders) {
		recording.Go(func() {
			for i := range uint32(devices * repetitions / recorders) {
				e := sample.Execution{Device: n + i%(devices/recorders)*recorders, Repetition: i / (devices / recorders)}
				e.Due = at(&e)
				w.Execution(&e)
				e.Finished, e.Final = e.Due+7, true
				w.Execution(&e)
			}
		})
	}
	recording.Wait()
	close(over)
	flushing.Wait()
	if err := w.Close(sample.End{}); err != nil {
		t.Fatal(err)
	}
	times, last := map[[2]uint32]int{}, map[[2]uint32]bool{}
	records, _ := read(t, dir)
	for _, r := range records {
		e, ok := r.(*sample.Execution)
		if !ok {
			continue
		}
		if e.Due != at(e) || e.Final && e.Finished != e.Due+7 {
			t.Fatalf("read back %+v, which nobody recorded", e)
		}
		of := [2]uint32{e.Device, e.Repetition}
		times[of]++
		last[of] = e.Final
	}
	for of, n := range times {
		if n > 2 || !last[of] {
			t.Fatalf("device %d, repetition %d: %d records, the last is final: %v", of[0], of[1], n, last[of])
		}
	}
	if len(times) != devices*repetitions {
		t.Errorf("read back %d executions, want %d", len(times), devices*repetitions)
	}
}

func TestManyLongTextsMakeManyBlocks(t *testing.T) {
	dir := t.TempDir()
	var want []sample.Record
	for i := range uint32(40) {
		want = append(want, &sample.Device{Index: i, ID: fmt.Sprint(strings.Repeat("d", 100_000), i), Group: strings.Repeat("g", int(i)*1000)})
	}
	want = append(want, &sample.Connect{Error: strings.Repeat("e", 3<<20)})
	write(t, dir, want)
	want = append(byKind(want), &sample.End{At: 1, Reason: "completed"})
	if got, _ := read(t, dir); !cmp.Equal(got, want) {
		t.Error("what was read is not what was written")
	}
}

// TestSamplesAreSmall holds a run of very many devices to what it takes on
// disk, bytes a record, whatever the machine: the moments are made, not
// measured. Latencies are spread as real ones are, and not one is rounded.
func TestSamplesAreSmall(t *testing.T) {
	const devices, atOnce = 64_000, 8_000
	dir := t.TempDir()
	w, err := sample.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	near := func(d time.Duration) sample.Moment {
		return sample.Moment(float64(d) * math.Exp(0.5*rng.NormFloat64()))
	}
	size := func() int64 {
		t.Helper()
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(sample.Path(dir))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	check := func(what string, records int, most float64, do func(from, to uint32)) {
		t.Helper()
		before := size()
		for from := uint32(0); from < devices; from += atOnce {
			do(from, from+atOnce)
			size()
		}
		got := float64(size()-before) / float64(records)
		t.Logf("%s: %.2f bytes a record", what, got)
		if got > most {
			t.Errorf("%s: %.2f bytes a record, want %v at most", what, got, most)
		}
	}
	check("devices", devices, 3, func(from, to uint32) {
		for d := from; d < to; d++ {
			w.Write(&sample.Device{Index: d, ID: fmt.Sprintf("door-%06d", d), Group: "doors"})
		}
	})
	check("connects", devices, 9, func(from, to uint32) {
		for d := from; d < to; d++ {
			due := sample.Moment(d) * 50_000
			dialed := due + near(200*time.Microsecond)
			accepted := dialed + near(time.Millisecond)
			w.Connect(&sample.Connect{Device: d, Attempt: 1, Due: due, Dialed: dialed, Accepted: accepted, Ready: accepted + near(time.Millisecond)})
		}
	})
	all := make([]sample.Execution, devices)
	check("receipts and answers", 2*devices, 5, func(from, to uint32) {
		for d := from; d < to; d++ {
			e := &all[d]
			*e = sample.Execution{Job: 1, Device: d, Due: 20e9, Dispatched: 20e9 + sample.Moment(d)*25_000}
			e.Received = e.Dispatched + near(500*time.Microsecond)
			w.Execution(e)
			e.Answered = e.Received + near(2*time.Millisecond)
			w.Execution(e)
		}
	})
	check("ends", devices, 12.5, func(from, to uint32) {
		for d := from; d < to; d++ {
			e := &all[d]
			e.Final, e.Outcome, e.HubClock, e.Status = true, sample.Succeeded, true, 200
			e.Finished, e.Booked = e.Answered, e.Answered+near(400*time.Microsecond)
			w.Execution(e)
		}
	})
	check("wakes", devices, 5.5, func(from, to uint32) {
		h := sample.Health{At: sample.Moment(to) * 1e6}
		for n := from; n < to; n++ {
			h.Wakes = append(h.Wakes, sample.Wake{Sent: sample.Moment(n)*1e6 + near(50*time.Microsecond), Delay: time.Duration(near(80 * time.Microsecond))})
		}
		w.Write(&h)
	})
	check("targets", devices, 0.1, func(from, to uint32) {
		targets := sample.Targets{ID: "a job"}
		for n := from; n < to; n++ {
			targets.Devices = append(targets.Devices, n)
		}
		w.Write(&targets)
	})
	if err := w.Close(sample.End{}); err != nil {
		t.Fatal(err)
	}
}

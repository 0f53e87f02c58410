package sample_test

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"

	"muster/internal/sample"
)

// BenchmarkRecordingAnExecution records what one round trip is recorded as:
// the receipt, the answer and the outcome. Encoding, checksum and the write to
// the file are included, as the writer flushes beside it as in a run. Of a job
// of the hub's the outcome is known when its row is read, long after the
// answer; of a direct one at once.
func BenchmarkRecordingAnExecution(b *testing.B) {
	b.Run("hub", func(b *testing.B) { record(b, 100_000) })
	b.Run("direct", func(b *testing.B) { record(b, 0) })
}

// record records executions, each with its end when so many others have begun.
func record(b *testing.B, later int) {
	w, err := sample.Create(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := w.Run(ctx); err != nil {
			b.Errorf("Run() = %v", err)
		}
	})
	b.ReportAllocs()
	before := cpuTime(b)
	clock := sample.NewClock()
	for n := 0; b.Loop(); n++ {
		at := clock.Now()
		e := sample.Execution{Job: 1, Device: uint32(n % 1_000_000), Due: at, Dispatched: at + 1e5, Received: at + 3e5}
		w.Execution(&e)
		e.Answered = at + 25e5
		w.Execution(&e)
		if e.Device = uint32((n + 1_000_000 - later) % 1_000_000); n < later {
			continue
		}
		e.Final, e.Outcome, e.Status, e.Finished, e.Booked = true, sample.Succeeded, 200, at+26e5, at+27e5
		w.Execution(&e)
	}
	b.StopTimer()
	stop()
	group.Wait()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op") // on a busy machine time tells less
	if err := w.Close(sample.End{}); err != nil {
		b.Fatal(err)
	}
}

// cpuTime returns what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package scheduler_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/sample"
	"muster/scheduler"
)

func TestReceiptsFindTheirExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 4, scheduler.Options{}, method(func(j *scheduler.Job) { j.After = 10 * time.Second }))
		l.hub.payload = func(p []byte) []byte { return append([]byte(" "), p...) } // the hub's own form
		l.hub.devices["d1"] = device{receipts: 3}
		l.hub.devices["d2"] = device{latency: 500 * ms}
		receipt := func(name, payload string) sample.Receipt {
			return sample.Receipt{Device: 2, Kind: sample.MethodReceipt, Name: name, Payload: []byte(payload), At: l.clock.Now()}
		}
		const own = `{ "lockTime" : "10m" }`
		if ticket := l.s.Received(receipt("lockDoor", own)); ticket != 0 { // no repetition is open yet
			t.Errorf("ticket %d before the job", ticket)
		}
		time.AfterFunc(10*time.Second+100*ms, func() { // while it is open
			if ticket := l.s.Received(receipt("unlockDoor", own)); ticket != 0 {
				t.Errorf("ticket %d of another method", ticket)
			}
			l.s.Received(receipt("lockDoor", `{"lockTime":"11m"}`))
			desired := receipt("", `{"lockTime":"10m"}`)
			desired.Kind = sample.DesiredReceipt
			l.s.Received(desired)
			stranger := receipt("lockDoor", own)
			stranger.Device = 77
			l.s.Received(stranger)
			l.s.Answered(0, 200, 1)
			l.s.Answered(99<<32, 200, 1)
		})
		l.run(t)
		l.s.Received(receipt("lockDoor", own)) // the repetition has closed

		type unexpected struct {
			Kind, Name string
			Job        uint32
			TooEarly   bool
		}
		var got []unexpected
		for _, u := range of[*sample.Unexpected](l.records) {
			got = append(got, unexpected{u.Kind, u.Name, u.Job, u.TooEarly})
		}
		want := []unexpected{
			{"method", "lockDoor", 0, true},
			{"method", "unlockDoor", sample.NoJob, false},
			{"method", "lockDoor", sample.NoJob, false},
			{"desired", "", sample.NoJob, false},
			{"method", "lockDoor", 0, false},
			{"method", "lockDoor", 0, true},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("unexpected (-want +got):\n%s", diff)
		}
		finals := l.finals(t, 0, 0)
		for device, e := range finals {
			want := uint32(0)
			if device == 1 {
				want = 2
			}
			if e.Outcome != sample.Succeeded || e.Duplicates != want || !e.Received.Seen() {
				t.Errorf("execution %+v, want %d duplicates", e, want)
			}
		}
	})
}

func TestMarkedRepetitionsOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2, scheduler.Options{}, method(func(j *scheduler.Job) {
			j.After, j.Times, j.Every, j.Mark = 10*time.Second, 3, 2*time.Second, true
		}))
		l.hub.devices["d0"] = device{latency: 5 * time.Second}
		l.run(t)
		for n := range uint32(3) {
			e := l.finals(t, 0, n)[0]
			if d, _ := e.Received.Since(e.Due); d != ms || e.Outcome != sample.Succeeded || e.Duplicates != 0 {
				t.Errorf("repetition %d: %+v", n, e)
			}
			job := l.hub.jobs[n]
			if want := `{"lockTime":"10m","musterId":"` + job.ID + `"}`; string(job.Payload) != want {
				t.Errorf("payload %s, want %s", job.Payload, want)
			}
		}
		late := sample.Receipt{Kind: sample.MethodReceipt, Name: "lockDoor", Payload: l.hub.jobs[0].Payload, At: 1}
		l.s.Received(late)
		if u := of[*sample.Unexpected](l.records); len(u) != 1 || u[0].Job != 0 || !u[0].TooEarly {
			t.Errorf("unexpected %+v", u)
		}
	})
}

func TestReceiptsDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector lets pools forget on purpose")
	}
	const size = 1000
	synctest.Test(t, func(t *testing.T) {
		job := method(func(j *scheduler.Job) { j.After = 5 * time.Second })
		l := newLab(t, size, scheduler.Options{}, job)
		quiet, err := scheduler.New([]scheduler.Job{job}, scheduler.Options{Clock: l.clock, Fleet: l.fleet, Service: l.hub})
		if err != nil {
			t.Fatal(err)
		}
		l.s, l.hub.s = quiet, quiet
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- l.s.Run(ctx) }()
		synctest.Wait() // the window is open, and due in five seconds

		receipt := func(device uint32) sample.Receipt {
			return sample.Receipt{Device: device, Kind: sample.MethodReceipt, Name: "lockDoor", Payload: []byte(`{"lockTime": "10m"}`), At: 2}
		}
		for device := range uint32(size) { // makes every page, and lets the payload's form be learnt
			if device%2 == 0 && l.s.Received(receipt(device)) == 0 {
				t.Fatalf("device %d has no execution", device)
			}
		}
		r, next := receipt(0), uint32(0)
		if allocs := testing.AllocsPerRun(400, func() {
			next++
			r.Device = 2*(next%(size/2)) + 1
			ticket := l.s.Received(r)
			if ticket == 0 {
				t.Fatalf("device %d has no execution", r.Device)
			}
			l.s.Answered(ticket, 200, 3)
			l.s.Received(r) // a duplicate
		}); allocs != 0 {
			t.Errorf("%v allocations a receipt and its answer", allocs)
		}
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

// TestSlotsAreWholeLines wants no slot of a page to begin amid a line of the
// processor's cache.
func TestSlotsAreWholeLines(t *testing.T) {
	if scheduler.SlotBytes%64 != 0 {
		t.Errorf("a slot takes %d bytes, want a multiple of 64", scheduler.SlotBytes)
	}
}

func TestNoReceiptIsLostWhenTheWindowCloses(t *testing.T) {
	const size, senders = 64, 4
	job := method(nil)
	for range 200 {
		seen := &records{}
		s, err := scheduler.New([]scheduler.Job{job}, scheduler.Options{Fleet: &fleet{size: size}, Service: &hub{}, Samples: seen})
		if err != nil {
			t.Fatal(err)
		}
		shut := scheduler.OpenWindow(s, 0)
		var sending sync.WaitGroup
		var begun sync.WaitGroup
		begun.Add(senders)
		for range senders {
			sending.Go(func() {
				for device := range uint32(size) {
					s.Received(sample.Receipt{Device: device, Kind: sample.MethodReceipt, Name: "lockDoor", Payload: job.Payload, At: 1})
					if device == 0 {
						begun.Done()
					}
				}
			})
		}
		begun.Wait()
		held := shut()
		sending.Wait()
		if unexpected := len(of[*sample.Unexpected](seen)); held+unexpected != senders*size {
			t.Fatalf("%d receipts in the ledger and %d unexpected, of %d", held, unexpected, senders*size)
		}
	}
}

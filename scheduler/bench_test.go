package scheduler_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"muster/internal/sample"
	"muster/scheduler"
)

// instant answers every call at once.
type instant struct{ ids []string }

func (c instant) Query(context.Context, string) ([]string, error) { return c.ids, nil }

func (instant) Invoke(context.Context, string, scheduler.Call) (scheduler.Reply, error) {
	return scheduler.Reply{Wrote: 1, Attempts: 1, Status: 200}, nil
}

func (instant) Patch(context.Context, string, json.RawMessage, json.RawMessage) (scheduler.Reply, error) {
	return scheduler.Reply{Wrote: 1, Attempts: 1, Status: 200}, nil
}

// BenchmarkDispatch is the cost of one execution of a direct job, its part of
// the ledger included, when the call itself takes no time.
func BenchmarkDispatch(b *testing.B) {
	const size = 10_000
	job := scheduler.Job{
		Name: "tag", Kind: scheduler.Tags, Tags: json.RawMessage(`{"a":1}`), ConditionText: "*",
		Via: scheduler.Direct, InFlight: 64, Times: (b.N + size - 1) / size,
	}
	opts := scheduler.Options{Fleet: &fleet{size: size, match: []uint32{}}, Direct: instant{names(size)}}
	s, err := scheduler.New([]scheduler.Job{job}, opts)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	if err := s.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkReceipt is the cost of a receipt and its answer, from all cores.
func BenchmarkReceipt(b *testing.B) {
	const size = 10_000
	job := method(func(j *scheduler.Job) { j.After = time.Hour })
	f := &fleet{size: size}
	s, err := scheduler.New([]scheduler.Job{job}, scheduler.Options{Fleet: f, Service: &hub{}})
	if err != nil {
		b.Fatal(err)
	}
	shut := scheduler.OpenWindow(s, 0)
	defer shut()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := sample.Receipt{Kind: sample.MethodReceipt, Name: "lockDoor", Payload: []byte(`{"lockTime":"10m"}`), At: 1}
		for pb.Next() {
			r.Device = (r.Device + 7) % size
			s.Answered(s.Received(r), 200, 2)
		}
	})
}

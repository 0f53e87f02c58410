package hub_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"muster/hub"
	"muster/hub/hubtest"
	"muster/internal/mqtt"
	"muster/iothub"
)

// Benchmarks of a hub with a store beside those without: the disk counts.

func startStoring(b *testing.B) *hubtest.Server {
	b.Helper()
	return hubtest.Start(b, storing(b, nil, b.TempDir()))
}

// BenchmarkReports lets 10,000 devices connect with persistent sessions and then report, each once at a time until its
// answer comes.
func BenchmarkReports(b *testing.B) {
	for name, start := range map[string]func(b *testing.B) *hubtest.Server{
		"memory": func(b *testing.B) *hubtest.Server { return hubtest.Start(b, nil) },
		"store":  startStoring,
	} {
		b.Run(name, func(b *testing.B) {
			s := start(b)
			began := time.Now()
			register(b, s, ids(benchFleet)...)
			registered := time.Now()
			devices := make([]*bare, benchFleet)
			each(func(i int) {
				d := dial(b, s)
				d.connack(mqtt.Connect{}, valid(s, fmt.Sprintf("dev-%05d", i)))
				d.subscribe(iothub.FilterTwinResponses)
				devices[i] = d
			})
			connected := time.Now()
			cpu := cpuTime()
			n := 0
			for b.Loop() {
				n++
				each(func(i int) {
					devices[i].publish(iothub.ReportedTopic("1"), `{"n":`+itoa(n)+`}`)
					devices[i].message()
				})
			}
			reports := float64(n) * benchFleet
			b.ReportMetric(reports/b.Elapsed().Seconds(), "reports/s")
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/reports, "cpu-µs/report")
			b.ReportMetric(benchFleet/registered.Sub(began).Seconds(), "created/s")
			b.ReportMetric(benchFleet/connected.Sub(registered).Seconds(), "connects/s")
		})
	}
}

// each does something for all devices at once.
func each(do func(i int)) {
	var all sync.WaitGroup
	for i := range benchFleet {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// BenchmarkOpenStore opens a store of 10,000 devices and a job with as many rows.
func BenchmarkOpenStore(b *testing.B) {
	dir := b.TempDir()
	s := hubtest.Start(b, storing(b, nil, dir))
	register(b, s, ids(benchFleet)...)
	rest(b, s, "PUT /jobs/v2/rows", twinJob("*", `"tags":{"a":1}`))
	for job(b, s, "rows").Status != iothub.JobCompleted {
		time.Sleep(time.Millisecond)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "hub.db"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		store, err := hub.OpenStore(dir)
		if err != nil {
			b.Fatal(err)
		}
		if err := store.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(info.Size())/1e6, "MB")
}

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/fleet"
	"muster/internal/query"
	"muster/internal/sample"
	"muster/internal/template"
	"muster/report"
	"muster/scheduler"
)

// A calibration calls each of so many devices once, at this pace.
const (
	calibrationCalls = 3000
	calibrationRate  = 1000 // a second
)

// Calibrate measures what the harness itself costs a round trip: a direct
// method job over a path to the devices that costs nothing. All else is as in
// a run: the scheduler's pace and books, the devices' handlers, the samples on
// disk. It takes about four seconds.
func Calibrate(ctx context.Context) (*report.Calibration, error) {
	dir, err := os.MkdirTemp("", "muster-calibration-")
	if err != nil {
		return nil, fmt.Errorf("calibrate: %w", err)
	}
	defer os.RemoveAll(dir) // a folder of the system's for such files, which it clears too
	c, err := newCalibration(dir)
	if err != nil {
		return nil, fmt.Errorf("calibrate: %w", err)
	}
	if err := c.run(ctx); err != nil {
		return nil, fmt.Errorf("calibrate: %w", err)
	}
	return c.result()
}

// calibration is a run in small. It records as scheduler.Recorder into samples,
// and keeps how long each round trip took.
type calibration struct {
	clock     *sample.Clock
	samples   *sample.Writer
	fleet     *fleet.Fleet
	scheduler *scheduler.Scheduler
	cpu       time.Duration // of this process while the job ran

	mu   sync.Mutex // guards took
	took []time.Duration
}

func newCalibration(dir string) (_ *calibration, err error) {
	c := &calibration{clock: sample.NewClock()}
	if c.samples, err = sample.Create(dir, nil); err != nil {
		return nil, err
	}
	path, observer := newNullPath(c.clock), new(relay)
	id, err := template.Parse("null-{index:05d}")
	if err != nil {
		return nil, err
	}
	c.fleet, err = fleet.New(fleet.Config{
		Groups: []fleet.Group{{
			Name: "null", Devices: calibrationCalls, ID: id,
			Methods: map[string]fleet.Method{"null": {Response: json.RawMessage(`{}`)}},
		}},
		HostName: "null", Driver: path, Dial: noDial, Observer: observer, Samples: c.samples, Clock: c.clock,
	})
	if err != nil {
		return nil, err
	}
	c.scheduler, err = c.newScheduler(path)
	observer.to = c.scheduler
	return c, err
}

func (c *calibration) newScheduler(path *nullPath) (*scheduler.Scheduler, error) {
	everyone, err := query.ParseCondition("*")
	if err != nil {
		return nil, err
	}
	return scheduler.New([]scheduler.Job{{
		Name: "null", Kind: scheduler.Method, MethodName: "null", Payload: json.RawMessage(`{}`),
		Condition: everyone, ConditionText: "*", Via: scheduler.Direct, Rate: calibrationRate, After: 100 * time.Millisecond, MaxExecution: time.Minute,
	}}, scheduler.Options{Clock: c.clock, Samples: c, Fleet: c.fleet, Direct: path})
}

// noDial is the network below a driver that uses none.
func noDial(context.Context) (net.Conn, error) { return nil, errors.ErrUnsupported }

// Execution implements scheduler.Recorder.
func (c *calibration) Execution(e *sample.Execution) {
	c.samples.Execution(e)
	took, ok := e.Finished.Since(e.Dispatched)
	if !e.Final || e.Outcome != sample.Succeeded || !ok {
		return
	}
	c.mu.Lock()
	c.took = append(c.took, took)
	c.mu.Unlock()
}

// Write implements scheduler.Recorder.
func (c *calibration) Write(r sample.Record) { c.samples.Write(r) }

// run connects the devices and runs the job. Its goroutines end with ctx, or
// when the job is over, and are joined.
func (c *calibration) run(ctx context.Context) error {
	life, stop := context.WithCancel(ctx)
	defer stop()
	group, life := errgroup.WithContext(life)
	group.Go(func() error { return c.samples.Run(life) })
	group.Go(func() error { return c.fleet.Run(life) })
	group.Go(func() error {
		defer stop()
		select {
		case <-life.Done():
			return nil
		case <-c.fleet.Ready():
		}
		before := cpuTime()
		err := c.scheduler.Run(life)
		c.cpu = cpuTime() - before
		return err
	})
	err := errors.Join(group.Wait(), c.samples.Close(sample.End{At: c.clock.Now(), Reason: endCompleted}))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (c *calibration) result() (*report.Calibration, error) {
	n := len(c.took)
	if n < calibrationCalls {
		return nil, fmt.Errorf("calibrate: %d of %d round trips succeeded", n, calibrationCalls)
	}
	slices.Sort(c.took)
	return &report.Calibration{
		RoundTrips: int64(n), CPUMicros: float64(c.cpu) / float64(n) / float64(time.Microsecond),
		P50: report.Millis(c.took[(n-1)/2]), P99: report.Millis(c.took[(n*99+99)/100-1]), Max: report.Millis(c.took[n-1]),
	}, nil
}

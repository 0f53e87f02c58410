package fleet_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/fleet"
)

// waitingDriver connects nobody: it waits for the end of each attempt.
type waitingDriver struct {
	mu  sync.Mutex // guards saw
	saw []string
}

func (d *waitingDriver) note(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.saw = append(d.saw, what)
}

// Dial implements fleet.Driver.
func (d *waitingDriver) Dial(ctx context.Context, _ fleet.DialFunc, _ fleet.Session) (fleet.Conn, error) {
	stop := context.AfterFunc(ctx, func() { d.note("a call that was taken back") })
	if !stop() || stop() {
		d.note("a call that could not be taken back once")
	}
	late := context.AfterFunc(ctx, func() { d.note("called") })
	child, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	<-child.Done()
	synctest.Wait() // calls have begun
	if late() {
		d.note("a call that could be taken back after the end")
	}
	if context.AfterFunc(ctx, func() { d.note("called at once") })() {
		d.note("a call after the end that could be taken back")
	}
	if ctx.Err() == nil || context.Cause(child) != ctx.Err() {
		d.note("an end without its cause")
	}
	d.note(fleet.Dialing(ctx))
	return nil, errors.New("nobody there")
}

// TestAttemptsAreContexts has a driver find in an attempt all that a context
// promises, whether its time ends it or the run does.
func TestAttemptsAreContexts(t *testing.T) {
	try := func(name string, runs time.Duration, wantError string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				driver, seen := new(waitingDriver), new(watcher)
				f, err := fleet.New(fleet.Config{
					Groups: []fleet.Group{doors(t, 1)}, HostName: "hub", Driver: driver, Samples: seen,
					Dial:    nowhere,
					Connect: fleet.Connect{Timeout: 10 * time.Second, BackoffBase: time.Hour, BackoffCap: time.Hour},
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), runs)
				defer cancel()
				begun := time.Now()
				if err := f.Run(ctx); err != nil {
					t.Errorf("Run: %v", err)
				}
				if took := time.Since(begun); took != runs {
					t.Errorf("Run took %v, want %v", took, runs)
				}
				synctest.Wait() // for what package context calls
				slices.Sort(driver.saw)
				if want := []string{"called", "called at once", "door-0"}; !slices.Equal(driver.saw, want) {
					t.Errorf("the driver saw %q, want %q", driver.saw, want)
				}
				if c := seen.connects[0]; c.Error != wantError {
					t.Errorf("the attempt's record says %q, want %q", c.Error, wantError)
				}
			})
		})
	}
	try("its time is over", 30*time.Second, "timeout")
	try("the run is over", 5*time.Second, "run over")
}

// TestWhoHasAnErrorFindsDoneOver looks at a context's error and Done while it
// ends, many times, as there is little time between the two.
func TestWhoHasAnErrorFindsDoneOver(t *testing.T) {
	early := 0
	for range 50_000 {
		ctx, end := fleet.NewLife()
		done := ctx.Done()
		var ending sync.WaitGroup
		ending.Go(func() { end(errors.ErrUnsupported) })
		for ctx.Err() == nil {
			runtime.Gosched()
		}
		select {
		case <-done:
		default:
			early++
		}
		ending.Wait()
	}
	if early > 0 {
		t.Errorf("%d of 50,000 contexts had an error before Done was over, want none", early)
	}
}

// nowhere is the network below a driver that uses none.
func nowhere(context.Context) (net.Conn, error) { return nil, errors.ErrUnsupported }

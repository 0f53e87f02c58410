package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"muster/internal/sample"
	"muster/report"
)

// checkEvery is how often the thresholds that may abort a run are looked at.
const checkEvery = time.Second

// aborted is the cause of a run's end that a threshold asked for.
type aborted struct{ why string }

func (a *aborted) Error() string { return a.why }

// newGuard returns the guard of the thresholds with abortOnFail, or nil if
// there is none.
func (r *run) newGuard() (*report.Guard, error) {
	var rules []report.Rule
	for _, t := range r.scenario.Thresholds {
		if t.AbortOnFail {
			rules = append(rules, report.Rule{Expression: t.Text, Grace: t.Grace})
		}
	}
	if len(rules) == 0 {
		return nil, nil
	}
	return report.NewGuard(r.header, rules)
}

// guarded is measure, ended in order when a threshold asks for it: nothing new
// begins, and what has begun is drained, as after an interrupt. It returns how
// the run ended.
func (r *run) guarded(ctx context.Context) (sample.End, error) {
	work, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	over := make(chan struct{})
	var watching sync.WaitGroup // one goroutine, which over ends
	if r.samples.guard != nil {
		watching.Go(func() { r.watchThresholds(over, abort) })
	}
	err := r.measure(work)
	close(over)
	watching.Wait()

	var asked *aborted
	switch {
	case err != nil:
		return sample.End{Reason: endFailed, Error: err.Error()}, err
	case errors.As(context.Cause(work), &asked):
		return sample.End{Reason: endAborted, Error: asked.why}, nil
	case ctx.Err() != nil:
		return sample.End{Reason: endInterrupted}, nil
	}
	return sample.End{Reason: endCompleted}, nil
}

// watchThresholds aborts the run at the first threshold that does not hold.
func (r *run) watchThresholds(over <-chan struct{}, abort context.CancelCauseFunc) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-tick.C:
		}
		now := r.clock.Now()
		if why := r.samples.guard.Check(now); why != "" {
			why = fmt.Sprintf("%s, seen %.1f s after the run began", why, time.Duration(now).Seconds())
			r.opts.Logger.Warn("a threshold ends the run", "why", why)
			abort(&aborted{why})
			return
		}
	}
}

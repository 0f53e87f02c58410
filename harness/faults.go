package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"muster/hub"
	"muster/internal/sample"
	"muster/scenarios"
)

const (
	faultTimeout = 10 * time.Second      // of one request to the hub that sets, asks for or ends faults
	faultSlack   = 20 * time.Millisecond // after a fault's end until the hub is asked how it went
)

// faults sets the scenario's faults on the hub in their time and records how
// they went. It is used from one goroutine at a time.
type faults struct {
	r         *run
	list      []scenarios.Fault
	transport http.RoundTripper // opens a connection a request: a fault may have cut one that is idle
	set       []setFault        // by index in list
}

// setFault is what is known of one fault.
type setFault struct {
	sample.Fault
	id      string        // the hub's; "" if it was not set
	pending bool          // due is to come
	due     sample.Moment // of its begin, or of its end once it is set
}

func newFaults(r *run) *faults {
	f := &faults{r: r, list: r.scenario.Faults, set: make([]setFault, len(r.scenario.Faults))}
	if own, ok := r.hub.transport().(*http.Transport); ok {
		own = own.Clone()
		own.DisableKeepAlives = true
		f.transport = own
	} else {
		f.transport = r.hub.transport()
	}
	for i := range f.list {
		f.set[i].Fault = sample.Fault{Index: uint32(i), What: f.list[i].String(), At: f.list[i].At()}
	}
	return f
}

// start sets those that begin before the fleet connects.
func (f *faults) start(ctx context.Context) error {
	for i := range f.list {
		if f.list[i].AtStart {
			if err := f.begin(ctx, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// run sets each other fault when it is due, counted from now, and records each
// end that it can foresee. It returns when nothing is left to do, when due ends,
// or when a fault cannot be set. A request that is under way when due ends is
// cut by the end of life only: a fault that ends the last job has begun all the
// same.
func (f *faults) run(due, life context.Context) error {
	ready := f.r.clock.Now()
	for i := range f.list {
		if !f.list[i].AtStart {
			f.set[i].pending, f.set[i].due = true, ready.Add(f.list[i].After)
		}
	}
	for next := f.next(); next >= 0; next = f.next() {
		if !f.sleepUntil(due, f.set[next].due) {
			return nil
		}
		f.set[next].pending = false
		if f.set[next].id != "" {
			f.note(life, next)
		} else if err := f.begin(life, next); err != nil {
			return err
		}
	}
	return nil
}

// next returns the fault with which something is to be done first, -1 for none.
func (f *faults) next() int {
	next := -1
	for i := range f.set {
		if f.set[i].pending && (next < 0 || f.set[i].due < f.set[next].due) {
			next = i
		}
	}
	return next
}

func (f *faults) sleepUntil(ctx context.Context, m sample.Moment) bool {
	timer := time.NewTimer(time.Duration(m - f.r.clock.Now()))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

// begin sets a fault on the hub.
func (f *faults) begin(ctx context.Context, i int) error {
	model, s := f.list[i].Fault, &f.set[i]
	model.Seed = f.r.scenario.Seed + uint64(i)<<32 // draws of two faults must not be the same
	body, err := json.Marshal(model)
	if err != nil {
		return fmt.Errorf("set fault %d (%s): %w", i+1, s.What, err)
	}
	var status hub.FaultStatus
	if err := f.ask(ctx, http.MethodPost, "faults", body, &status); err != nil {
		if ctx.Err() != nil {
			return nil // the run ends; finish says so
		}
		s.Error = err.Error()
		f.r.samples.Write(&s.Fault)
		return fmt.Errorf("set fault %d (%s, at %s): %w", i+1, s.What, s.At, err)
	}
	s.id, s.Begun = status.ID, f.r.clock.Now().Add(-status.Lasted)
	if model.For > 0 && !status.Over {
		s.pending, s.due = true, s.Begun.Add(model.For+faultSlack)
	}
	f.took(i, &status)
	return nil
}

// note asks the hub how a fault went and records it.
func (f *faults) note(ctx context.Context, i int) {
	var status hub.FaultStatus
	if err := f.ask(ctx, http.MethodGet, "faults/"+f.set[i].id, nil, &status); err != nil {
		f.r.opts.Logger.Debug("no account of a fault", "fault", i+1, "error", err) // finish asks again
		return
	}
	f.took(i, &status)
}

// took records what the hub says of a fault.
func (f *faults) took(i int, status *hub.FaultStatus) {
	s := &f.set[i]
	s.Struck = status.Struck
	if status.Over {
		s.Ended = s.Begun.Add(status.Lasted)
	}
	f.r.samples.Write(&s.Fault)
}

// finish ends what is left of the faults, and records how all went.
func (f *faults) finish(ctx context.Context) {
	if len(f.list) == 0 {
		return
	}
	var all []hub.FaultStatus
	if err := f.ask(ctx, http.MethodDelete, "faults", nil, &all); err != nil {
		f.r.opts.Logger.Warn("the faults could not be ended", "error", err)
	}
	for i := range f.set {
		s := &f.set[i]
		if s.id == "" && s.Error == "" {
			s.Error = "the run was over before"
			f.r.samples.Write(&s.Fault)
		}
		for k := range all {
			if all[k].ID == s.id {
				f.took(i, &all[k])
			}
		}
	}
}

func (f *faults) ask(ctx context.Context, method, path string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	return f.r.hub.own(ctx, f.transport, method, path, body, into)
}

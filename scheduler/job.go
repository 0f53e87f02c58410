package scheduler

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"muster/internal/query"
)

// Kind is what a job does to a device.
type Kind uint8

// The kinds of job. A twin update with desired properties is Desired, also if
// it changes tags as well; Tags changes tags only, of which devices see nothing.
const (
	Method Kind = iota + 1
	Desired
	Tags
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case Method:
		return "method"
	case Desired:
		return "desired"
	case Tags:
		return "tags"
	}
	return "invalid"
}

// Via is who fans a job out to the devices.
type Via uint8

// The ways of a job.
const (
	Hub    Via = iota // the hub runs the job
	Direct            // the scheduler queries, then calls each device
)

// Job is one action on the devices that a query matches, once or repeated.
type Job struct {
	Name string
	Kind Kind

	MethodName      string          // of a Method job
	Payload         json.RawMessage // of a Method job; nil is none
	ResponseTimeout time.Duration   // of a Method job. Default: the hub's, 30 s
	ConnectTimeout  time.Duration   // of a Method job. Default 0

	Tags    json.RawMessage // the patch of the tags; nil is none
	Desired json.RawMessage // the patch of the desired properties; nil is none

	Condition     *query.Condition // whom it targets, evaluated over the fleet's own twins
	ConditionText string           // the same as the hub gets it
	Device        string           // via Direct: the one device, instead of a condition

	After time.Duration // start, counted from when Run is called. Default 0
	At    time.Time     // start, absolute; wins over After unless zero
	Times int           // repetitions. Default 1
	Every time.Duration // from when one repetition is due until the next one is

	MaxExecution time.Duration // bound of one repetition from its start. Default: none
	Via          Via           // default Hub
	Rate         float64       // via Direct: calls due a second. Default 0: all at the start
	InFlight     int           // via Direct: calls on their way at once. Default 0: no cap

	// Mark puts the repetition's id into the method's payload, or the desired
	// patch, as the member "musterId", so that receipts of repetitions can be
	// told apart. Repetitions then do not wait for each other. A Tags job has
	// no receipts and so gets no member; its repetitions may overlap too.
	Mark bool

	// Settle is how long the hub's rows may lag behind the end of its job.
	// Default 60 s.
	Settle time.Duration
}

// resolved returns j with every default in its place.
func (j Job) resolved() Job {
	if j.Times == 0 {
		j.Times = 1
	}
	if j.Settle == 0 {
		j.Settle = 60 * time.Second
	}
	return j
}

// responseTimeout is how long a device may take by the hub's rules.
func (j *Job) responseTimeout() time.Duration {
	if j.ResponseTimeout > 0 {
		return j.ResponseTimeout
	}
	return 30 * time.Second
}

// validate returns every fault of j, which stands at jobs[n].
func (j *Job) validate(n int, opts *Options) error {
	var errs []error
	check := func(ok bool, field, rule string) {
		if !ok {
			errs = append(errs, fmt.Errorf("jobs[%d].%s: %s", n, field, rule))
		}
	}
	check(j.Kind >= Method && j.Kind <= Tags, "kind", "must be method, desired or tags")
	check(j.Kind != Method || j.MethodName != "", "methodName", "required")
	check(j.Kind != Method || len(j.Payload) == 0 || json.Valid(j.Payload), "payload", "must be JSON")
	check(j.Kind != Desired || isObject(j.Desired), "desired", "must be an object")
	check(j.Kind != Tags || isObject(j.Tags), "tags", "must be an object")
	check(j.Times >= 0, "times", "must not be negative")
	check(j.Every >= 0, "every", "must not be negative")
	check(j.Rate >= 0, "rate", "must not be negative")
	check(j.InFlight >= 0, "inFlight", "must not be negative")
	check(j.Device == "" || j.Via == Direct, "device", "only via direct")
	check(j.Device != "" || j.ConditionText != "", "conditionText", "required")
	check(j.Via != Hub || opts.Service != nil, "via", "hub needs a service")
	check(j.Via != Direct || opts.Direct != nil, "via", "direct needs a caller")
	if j.Mark && j.Kind != Tags {
		_, err := marked(j.content(), "")
		check(err == nil, "mark", fmt.Sprint(err))
	}
	return errors.Join(errs...)
}

// content is what a device receives of the job; nil for Tags.
func (j *Job) content() json.RawMessage {
	switch j.Kind {
	case Method:
		return j.Payload
	case Desired:
		return j.Desired
	}
	return nil
}

// withMark returns j with id put into its content.
func (j Job) withMark(id string) (Job, error) {
	content, err := marked(j.content(), id)
	if err != nil {
		return j, err
	}
	if j.Kind == Method {
		j.Payload = content
	} else {
		j.Desired = content
	}
	return j, nil
}

package scheduler

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"muster/internal/query"
	"muster/internal/sample"
)

// Recorder takes what a run measures. It keeps neither the record nor its
// pointer beyond the call, and does not block. *sample.Writer is one.
type Recorder interface {
	Execution(e *sample.Execution)
	Write(r sample.Record)
}

// Fleet is the devices of the run, as jobs see them.
type Fleet interface {
	// Len returns how many devices there are; their indices count from 0.
	Len() int
	// Index returns the index of a device by its id.
	Index(id string) (uint32, bool)
	// Match returns the devices whose own twins c matches, and whether those
	// can answer it at all.
	Match(c *query.Condition) (devices []uint32, checkable bool)
}

// Applier is a Fleet that is told of twin updates that succeeded, so that its
// own twins keep in step with the hub's.
type Applier interface {
	Apply(device uint32, tags, desired []byte)
}

// Settler is a Fleet whose word takes its time. Settle returns when all that its
// devices had to tell before the call has been told.
type Settler interface{ Settle() }

// Service runs jobs on a hub. Retries of single requests are its own matter;
// it gives up when ctx ends.
type Service interface {
	CreateJob(ctx context.Context, r JobRequest) error
	JobStatus(ctx context.Context, id string) (JobStatus, error)
	// Rows yields the row of each device of a job, and ends at yield's error.
	Rows(ctx context.Context, id string, yield func(Row) error) error
}

// Canceller is a Service that can cancel a job that has not started.
type Canceller interface {
	CancelJob(ctx context.Context, id string) error
}

// JobRequest is a job as the hub is asked to run it.
type JobRequest struct {
	ID              string
	Kind            Kind
	MethodName      string
	Payload         json.RawMessage
	ResponseTimeout time.Duration // 0 is the hub's default
	ConnectTimeout  time.Duration
	Tags, Desired   json.RawMessage
	Condition       string
	Start           time.Time
	MaxExecution    time.Duration // 0 is the hub's default
}

// JobStatus is how a job stands, in the hub's own words.
type JobStatus struct {
	Status string // "queued", "scheduled", "running", "completed", "failed", "cancelled", …
	Reason string // why it failed
	Start  time.Time
	Stats  *sample.Statistics // nil as long as the hub gives none
}

// The hub's statuses that the scheduler acts on.
const (
	statusRunning   = "running"
	statusCompleted = "completed"
	statusFailed    = "failed"
	statusCancelled = "cancelled"
)

// ended reports whether the job is over.
func (s *JobStatus) ended() bool {
	return s.Status == statusCompleted || s.Status == statusFailed || s.cancelled()
}

// cancelled accepts both spellings, which hubs mix.
func (s *JobStatus) cancelled() bool { return strings.HasPrefix(s.Status, "cancel") }

// Row is what the hub booked for one device of a job.
type Row struct {
	Device       string
	Status       string    // "pending", "scheduled", "running", "completed", "failed" or "canceled"
	Start, End   time.Time // zero as long as it has not come to that
	Code         string    // the error's name of a failed row: "DeviceNotOnline", …
	MethodStatus int32     // what the device answered; 0 if nothing, and of twin updates
}

// Caller makes the calls of direct jobs. Its requests follow the rules of
// retries by themselves and end when ctx does.
type Caller interface {
	// Query returns the ids of the devices that match.
	Query(ctx context.Context, condition string) ([]string, error)
	// Invoke calls a method; Reply.Status is the device's.
	Invoke(ctx context.Context, deviceID string, call Call) (Reply, error)
	// Patch updates a twin; Reply.Status 0 or 2xx is success.
	Patch(ctx context.Context, deviceID string, tags, desired json.RawMessage) (Reply, error)
}

// Exister is a Caller that can tell whether a device is there.
type Exister interface {
	Exists(ctx context.Context, deviceID string) (bool, error)
}

// Call is a method call.
type Call struct {
	Method          string
	Payload         json.RawMessage
	ResponseTimeout time.Duration // 0 is the hub's default
	ConnectTimeout  time.Duration
}

// Reply is how a call ended that was answered.
type Reply struct {
	Wrote    sample.Moment // the request of the first attempt was written
	Attempts int
	Status   int
}

// CallError is how a call ended that was not answered as asked.
type CallError struct {
	Outcome  sample.Outcome // Offline, TimedOut or Failed; anything else is Failed
	Code     string         // the hub's name of the error; "" if no response was read
	Cause    string         // why none was, in one word such as "ConnectionLost"
	Wrote    sample.Moment  // as in Reply; zero if nothing was written
	Attempts int
	Err      error // the cause
}

// Error tells the outcome and its cause.
func (e *CallError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: %s", e.Outcome, cmp.Or(e.Code, e.Cause))
	}
	return fmt.Sprintf("%s: %v", e.Outcome, e.Err)
}

// Unwrap returns the cause.
func (e *CallError) Unwrap() error { return e.Err }

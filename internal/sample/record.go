package sample

import "time"

// Outcome is how an execution ended.
type Outcome uint8

// The outcomes. Open, the zero value, is no outcome: the execution has not
// ended yet. A ledger in which anything is still open is not finished.
const (
	Open          Outcome = iota
	Succeeded             // the device did its part and said so with a 2xx status
	Failed                // the device or the hub answered that it failed
	TimedOut              // the device was asked and no answer came in time
	Offline               // the device was not connected
	Cancelled             // the job was cancelled before the device's part ended
	NotDispatched         // the job ended and the device was never asked
	Unknown               // targeted, and its end was never seen
	outcomes
)

// Outcomes lists the seven outcomes in their documented order.
var Outcomes = [...]Outcome{Succeeded, Failed, TimedOut, Offline, Cancelled, NotDispatched, Unknown}

var outcomeNames = [outcomes]string{
	"open", "succeeded", "failed", "timedOut", "offline", "cancelled", "notDispatched", "unknown",
}

// String returns the outcome's documented name.
func (o Outcome) String() string {
	if o >= outcomes {
		return "invalid"
	}
	return outcomeNames[o]
}

// NoDevice is the device index of a record whose device is not of the fleet.
const NoDevice = ^uint32(0)

// Record is one measured record: *Device, *Connect, *Lost, *Targets,
// *Execution, *Unexpected, *Repetition, *JobState, *Fault, *HubStats, *Health,
// *Recording or *End.
type Record interface {
	kind() kind
	fields(c *coder) // reads or writes every field, in a fixed order
}

// Device names the device that other records call by its index.
type Device struct {
	Index uint32
	ID    string
	Group string
}

// Connect is one attempt of a device to connect.
type Connect struct {
	Device    uint32
	Attempt   uint32 // 1 for the first; a reconnect after a loss starts at 1 again
	Reconnect bool   // the device had been online before
	Due       Moment // its place on the connect ramp, or the end of its backoff or of its time away
	Dialed    Moment // the attempt began: a place among those being opened was free
	Accepted  Moment // the hub's CONNACK was read
	Ready     Moment // subscribed, twin read: a job can reach it
	Error     string // "" if it became ready; else the cause, such as "refused: not authorized"
}

// Lost is the end of an online device's connection that the device has not
// wanted.
type Lost struct {
	Device uint32
	At     Moment
	Error  string // why, as far as the device can tell
}

// Targets opens a repetition: whom the query matches over the seeded fleet.
type Targets struct {
	Job, Repetition uint32
	ID              string // the hub's job id; "" for a direct job
	Due             Moment // when the repetition was due to start
	Checkable       bool   // whether the fleet's own twins can answer the query
	Devices         []uint32
}

// Execution is one device's part in one repetition of a job. It is written
// when the device receives it and when the device has done what it does, with
// Final false, so that a crash does not lose it; and again when its outcome is
// known. The last one written of a (Job, Repetition, Device) counts, so that
// one that has not been written yet gives way to the next.
type Execution struct {
	Job, Repetition uint32
	Device          uint32 // index, or NoDevice
	Outcome         Outcome
	Final           bool

	Due        Moment
	Dispatched Moment
	Received   Moment
	Answered   Moment
	Finished   Moment
	Booked     Moment
	HubClock   bool // Dispatched and Booked are the hub's row times

	Status     int32  // what the device answered; 0 if nothing
	Code       string // why it failed, as the hub names it: "DeviceNotOnline", …
	Attempts   uint32 // requests made for it by a direct job; 0 via the hub
	Duplicates uint32 // receipts beyond the first
}

// Unexpected is a receipt that belongs to no execution.
type Unexpected struct {
	Device   uint32
	At       Moment
	Kind     string // "method" or "desired"
	Name     string // the method's name
	Job      uint32 // the job whose signature it has, or NoJob
	TooEarly bool   // it has a job's signature, but no repetition was open
}

// NoJob is the job index of a receipt that fits no job.
const NoJob = ^uint32(0)

// Statistics are the hub's own counts of a job's rows.
type Statistics struct {
	Devices, Failed, Succeeded, Running, Pending int64
}

// Repetition closes a repetition: what the hub booked against what was seen.
type Repetition struct {
	Job, Repetition uint32
	ID              string
	Status          string // the hub's job status, or "completed"/"cancelled" for a direct job
	Reason          string // why it failed or did not run: "device not found: door-1"
	Due             Moment
	Started         Moment // the job's own start time as the hub has it, or the first dispatch
	Ended           Moment // its last execution was known
	Targeted        int64  // whom the hub targeted, or the query returned
	Missing         int64  // matched over the seeded fleet and not targeted
	Extra           int64  // targeted and not matched over the seeded fleet
	Checked         bool   // Missing and Extra were computed
	HubBooks        bool   // Rows and Stats are the hub's
	Rows            Statistics
	Stats           Statistics
	Skipped         bool // it did not run at all, and Reason says why
}

// JobState is a hub job as it was followed, about once a second.
type JobState struct {
	At              Moment
	Job, Repetition uint32
	ID              string
	Status          string
	Stats           Statistics
}

// Fault is a fault on purpose of the scenario. It is written when it begins,
// when it is over, and when it could not be set; the last one written counts.
type Fault struct {
	Index  uint32 // in the scenario
	What   string // what it does: "errors 429001 on rest methods"
	At     string // when it was to begin, as the scenario has it: "+2s"
	Begun  Moment
	Ended  Moment
	Struck int64  // how often, as far as is known
	Error  string // why it did not begin
}

// HubStats is the hub's own account of itself, once a second and around what the jobs do.
type HubStats struct {
	At          Moment
	CPU         time.Duration // user and system time since it started
	RSS         int64         // bytes resident
	MaxRSS      int64
	Connections int64
	SlowClosed  int64 // connections closed because they did not read
}

// Wake is one of the generator by its poller, as there is one each millisecond.
type Wake struct {
	Sent  Moment        // when there was something to read
	Delay time.Duration // until it had been read
}

// Health is a generator's account of itself, once a second and, of the run's own
// process, around what the jobs do.
type Health struct {
	At          Moment
	Wakes       []Wake        // since the last record
	TimerLate   time.Duration // the largest lateness of a timer since the last record
	CPU         time.Duration // user and system time of this process since it started
	RSS         int64
	MaxRSS      int64
	GCPauseP99  time.Duration // since the process started
	Goroutines  int64
	Descriptors int64
	ClockStep   time.Duration // wall clock against monotonic clock since the epoch
	Generator   uint32        // whose account it is: 0 the run's own process, n its n-th child generator
}

// Recording is the Writer's account of itself, once a second and at the end.
type Recording struct {
	At      Moment
	Records int64         // written so far
	Dropped int64         // not recorded, because too much waited for the disk
	Late    int64         // written more than LateAfter after they were recorded
	Waited  time.Duration // the longest that one waited
}

// LateAfter is how long a record may wait for the disk: a run that is killed is
// to lose no more than that.
const LateAfter = time.Second

// End closes a run. A samples folder without one is of a run that died.
type End struct {
	At     Moment
	Reason string // "completed", "aborted", "interrupted" or "failed"
	Error  string // what failed, or why it was aborted
}

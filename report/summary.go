package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"muster/internal/sample"
)

// Summary is summary.json: a run in numbers, and all that its verdict rests on.
type Summary struct {
	SchemaVersion   int         `json:"schemaVersion"`
	Scenario        string      `json:"scenario"`
	Verdict         Verdict     `json:"verdict"`
	Reasons         []string    `json:"reasons"` // why the verdict is what it is; empty for a pass
	StartedAt       time.Time   `json:"startedAt"`
	DurationSeconds float64     `json:"durationSeconds"`
	Ended           string      `json:"ended"`           // "completed", "aborted", "interrupted" or "failed"; "" if the run died
	Error           string      `json:"error,omitempty"` // what failed
	MusterVersion   string      `json:"musterVersion"`
	Seed            uint64      `json:"seed"`
	Driver          string      `json:"driver"`
	Target          Target      `json:"target"`
	Fleet           Fleet       `json:"fleet"`
	Jobs            []Job       `json:"jobs"`
	Faults          []Fault     `json:"faults,omitempty"` // on purpose, in the order of the scenario
	Thresholds      []Threshold `json:"thresholds"`
	Generator       Generator   `json:"generator"`
	Hub             *Hub        `json:"hub,omitempty"` // absent if the hub gave no account of itself
	Unexpected      int64       `json:"unexpected"`    // receipts that fit no job at all
	Warnings        []string    `json:"warnings"`
}

// Fleet is how the devices connected.
type Fleet struct {
	Devices    int64            `json:"devices"`
	Connected  int64            `json:"connected"` // were ready at least once
	Failed     int64            `json:"failed"`    // never were
	Connect    *Stats           `json:"connect,omitempty"`
	Reconnects int64            `json:"reconnects"`       // times that a device came back after a loss, or after it left
	Errors     map[string]int64 `json:"errors,omitempty"` // attempts to connect that failed, by why
	// ReconnectErrors are those of Errors whose device had been online before.
	ReconnectErrors map[string]int64 `json:"reconnectErrors,omitempty"`
	Lost            int64            `json:"lost"`             // connections of online devices that ended by themselves
	LostBy          map[string]int64 `json:"lostBy,omitempty"` // the same by why, as far as devices can tell
}

// Job is one job over all its repetitions. Targeted is the sum of the seven
// outcomes.
type Job struct {
	Name           string   `json:"name"`
	IDs            []string `json:"ids"` // the hub's job ids, in the order of the repetitions
	Type           string   `json:"type"`
	Via            string   `json:"via"`
	QueryCondition string   `json:"queryCondition"`
	Repetitions    int      `json:"repetitions"`

	Targeted      int64 `json:"targeted"`
	Succeeded     int64 `json:"succeeded"`
	Failed        int64 `json:"failed"`
	TimedOut      int64 `json:"timedOut"`
	Offline       int64 `json:"offline"`
	Cancelled     int64 `json:"cancelled"`
	NotDispatched int64 `json:"notDispatched"`
	Unknown       int64 `json:"unknown"`

	Duplicates int64  `json:"duplicates"`
	Unexpected int64  `json:"unexpected"`
	Missing    *int64 `json:"missing"` // null if the fleet's own twins cannot answer the query
	Extra      *int64 `json:"extra"`

	LedgerBalanced bool     `json:"ledgerBalanced"`
	LedgerFaults   []string `json:"ledgerFaults,omitempty"`
	NotRun         []string `json:"notRun,omitempty"` // repetitions that reached nobody because they did not run

	StartError *StartError       `json:"startError,omitempty"`
	Phases     map[string]*Stats `json:"phases"`
	// PhasesByOutcome tells the outcomes apart where there is more than one.
	PhasesByOutcome map[string]map[string]*Stats `json:"phasesByOutcome,omitempty"`
	Excluded        map[string]Excluded          `json:"excluded,omitempty"`
	Causes          map[string]int64             `json:"causes,omitempty"` // executions that did not succeed, by why
	// CausesByOutcome are the same, told apart by how the executions ended.
	CausesByOutcome map[string]map[string]int64 `json:"causesByOutcome,omitempty"`
	Attempts        int64                       `json:"attempts,omitempty"` // requests that a direct job made
	Wake            *Wake                       `json:"wake,omitempty"`     // the generator during this job
	Slowest         []SlowDevice                `json:"slowest,omitempty"`
	// ByRepetition has the repetitions that ran or were to run, in order.
	ByRepetition []Repetition `json:"byRepetition"`
	Completion   *Completion  `json:"completion,omitempty"` // of all repetitions, each counted from when it was due
	Groups       []JobGroup   `json:"groups,omitempty"`     // where the fleet has more than one
	Warnings     []string     `json:"warnings,omitempty"`
}

// Stats are what people read of a set of durations.
type Stats struct {
	Count int64  `json:"count"`
	Min   Millis `json:"min"`
	Mean  Millis `json:"mean"`
	P50   Millis `json:"p50"`
	P90   Millis `json:"p90"`
	P99   Millis `json:"p99"`
	P999  Millis `json:"p999"`
	Max   Millis `json:"max"`
	Clock string `json:"clock,omitempty"` // "hub" if one end is a hub's row time
}

// StartError is how far from when it was due a repetition began, early or late.
type StartError struct {
	Max Millis `json:"max"`
}

// Excluded counts the values of a phase that are in none of its numbers.
type Excluded struct {
	Negative   int64 `json:"negative"`   // the clocks of hub and generator disagreed
	OutOfRange int64 `json:"outOfRange"` // above 24 h
}

// SlowDevice is a device whose worst total was among a job's longest.
type SlowDevice struct {
	ID         string  `json:"id"`
	Group      string  `json:"group"`
	Max        Millis  `json:"max"`
	Service    *Millis `json:"service,omitempty"` // its longest, which need not be of the same repetition
	Repetition int     `json:"repetition"`        // from 1: the one of Max
}

// Fault is a fault on purpose of the hub.
type Fault struct {
	What   string  `json:"what"`            // "errors 429001 on rest methods"
	At     string  `json:"at"`              // when it was to begin, as the scenario has it
	Begun  *Millis `json:"begun"`           // since the run began; null if it did not begin
	Lasted *Millis `json:"lasted"`          // null if its end was not seen
	Struck int64   `json:"struck"`          // at least, if its end was not seen
	Error  string  `json:"error,omitempty"` // why it did not begin
}

// Threshold is an objective of the scenario and how it came out.
type Threshold struct {
	Expression string   `json:"expression"`
	Value      *float64 `json:"value"` // in Unit; null without data
	Unit       string   `json:"unit,omitempty"`
	OK         bool     `json:"ok"`
	NoData     bool     `json:"noData,omitempty"`
	Measured   string   `json:"measured,omitempty"` // Value for people
	Note       string   `json:"note,omitempty"`
	Path       []string `json:"path,omitempty"`  // what Expression reads
	Group      string   `json:"group,omitempty"` // of which group of the fleet; absent for all
}

// Generator is the load generator's account of itself. Where child generators
// share the devices, CPU and memory are sums over all processes, and every
// latency is that of the process in which it was worst.
type Generator struct {
	Valid      bool     `json:"valid"`
	Reasons    []string `json:"reasons"`
	Wake       *Stats   `json:"wake,omitempty"` // how long the poller let it wait, each millisecond
	Lag        *Stats   `json:"lag,omitempty"`  // the largest lateness of a timer in each second
	CPUSeconds float64  `json:"cpuSeconds"`
	MaxRSS     int64    `json:"maxRSSBytes"`
	GCPauseP99 Millis   `json:"gcPauseP99"`
	ClockStep  Millis   `json:"clockStep,omitempty"` // how far the wall clock moved against the monotonic one, at most

	ScheduleLag *ScheduleLag `json:"scheduleLag,omitempty"` // absent if the hub dispatched all jobs
	PeakCPU     float64      `json:"peakCPU,omitempty"`     // the part of all processors that was busy in the busiest second
	Descriptors *Use         `json:"descriptors,omitempty"` // open files
	Ports       *Use         `json:"ports,omitempty"`       // local ports of devices' connections
	Samples     *Samples     `json:"samples,omitempty"`
	Calibration *Calibration `json:"calibration,omitempty"` // absent unless it was asked for

	Parts []GeneratorPart `json:"parts,omitempty"` // the run's own process, then its child generators; absent where there are none
}

// Wake is what the generator's wake-ups say about one job.
type Wake struct {
	Count int64  `json:"count"`
	P99   Millis `json:"p99"`
	Max   Millis `json:"max"`
	Limit Millis `json:"limit"` // above it the job's numbers are not the hub's

	Generator int `json:"generator,omitempty"` // which of several generators this is of: the worst
}

// Hub is the hub's account of itself.
type Hub struct {
	CPUSeconds  float64 `json:"cpuSeconds,omitempty"` // absent, as is the next, if the hub ran in the generator's process
	MaxRSS      int64   `json:"maxRSSBytes,omitempty"`
	Connections int64   `json:"connections"` // at most, at one time
	SlowClosed  int64   `json:"slowClosed"`  // connections closed because they did not read
}

// Millis is a duration whose JSON is a number of milliseconds: to the
// microsecond, and below a millisecond to the nanosecond.
type Millis time.Duration

// MarshalJSON implements json.Marshaler.
func (m Millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, m.number(), 'f', -1, 64), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Millis) UnmarshalJSON(src []byte) error {
	var ms float64
	if err := json.Unmarshal(src, &ms); err != nil {
		return fmt.Errorf("milliseconds: %w", err)
	}
	*m = Millis(math.Round(ms * float64(time.Millisecond)))
	return nil
}

// number returns m in milliseconds, rounded as its JSON is.
func (m Millis) number() float64 {
	if time.Duration(m).Abs() < time.Millisecond {
		return float64(m) / float64(time.Millisecond)
	}
	return math.Round(float64(m)/float64(time.Microsecond)) / 1e3
}

func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1e3) / 1e3 }

// outcome returns j's count of o.
func (j *Job) outcome(o sample.Outcome) *int64 {
	return [...]*int64{
		sample.Open: &j.Unknown, sample.Succeeded: &j.Succeeded, sample.Failed: &j.Failed, sample.TimedOut: &j.TimedOut,
		sample.Offline: &j.Offline, sample.Cancelled: &j.Cancelled, sample.NotDispatched: &j.NotDispatched, sample.Unknown: &j.Unknown,
	}[o]
}

func (j *Job) warn(format string, args ...any) {
	j.Warnings = append(j.Warnings, fmt.Sprintf(format, args...))
}

func (r *Report) writeJSON(w io.Writer) error { return encodeJSON(w, &r.Summary) }

package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// SchemaVersion is the version of run.json and summary.json. It changes when
// a field's meaning does, not when one is added.
const SchemaVersion = 1

// Run is run.json: what a run was asked to do and where it ran, written when
// it begins and again when it ends. It holds no secrets.
type Run struct {
	SchemaVersion int       `json:"schemaVersion"`
	MusterVersion string    `json:"musterVersion"`
	GoVersion     string    `json:"goVersion"`
	Scenario      string    `json:"scenario"`
	Seed          uint64    `json:"seed"`
	Host          Host      `json:"host"`
	Limits        Limits    `json:"limits"`
	Args          []string  `json:"args"`
	Target        Target    `json:"target"`
	Driver        string    `json:"driver"`            // all that there are, joined by +
	StartedAt     time.Time `json:"startedAt"`         // the wall time of the run's epoch
	EndedAt       time.Time `json:"endedAt,omitzero"`  // absent while it runs, and after a crash
	HostUse       *HostUse  `json:"hostUse,omitempty"` // absent until it has ended, and where the host does not tell
	Groups        []Group   `json:"groups"`
	Generators    []Part    `json:"generators,omitempty"` // child generators with the devices of each; absent where one process has all
	Jobs          []RunJob  `json:"jobs"`
	Thresholds    []string  `json:"thresholds"`
	Warnings      []string  `json:"warnings,omitempty"`

	Calibration *Calibration `json:"calibration,omitempty"` // what the harness itself costs, if that was asked for
}

// Host is the machine that generated the load.
type Host struct {
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	CPUs        int    `json:"cpus"`
	MemoryBytes int64  `json:"memoryBytes"`
	Kernel      string `json:"kernel,omitempty"`
	CPUModel    string `json:"cpuModel,omitempty"`
	Governor    string `json:"governor,omitempty"`   // of the processor's frequency; absent where it cannot be read, as on most virtual machines
	Hypervisor  string `json:"hypervisor,omitempty"` // what a virtual machine runs on; absent on metal
}

// HostUse is what all processes of the host took of its processors, from a run's beginning to its end.
type HostUse struct {
	TotalSeconds float64 `json:"totalSeconds"` // what there was: processors times time
	BusySeconds  float64 `json:"busySeconds"`  // what was taken by whatever ran, the run included
	StealSeconds float64 `json:"stealSeconds"` // what the hypervisor gave to others meanwhile
}

// Limits are the host's limits that bound a fleet.
type Limits struct {
	Descriptors int64 `json:"descriptors"`
	Ports       int64 `json:"ports"` // of all source addresses of the fleet
}

// Target is the system under test.
type Target struct {
	Kind      string  `json:"kind"`                // "embedded", "iothub" or "mqtt"
	Transport string  `json:"transport,omitempty"` // "tcp", "tls" or "memory"; of an iothub "mqtt" or "websocket", both over TLS
	HostName  string  `json:"hostName,omitempty"`
	JobRate   float64 `json:"jobRate,omitempty"` // executions a second that the embedded hub dispatches; 0 = unlimited
	Tier      string  `json:"tier,omitempty"`    // whose quotas the embedded hub kept, or muster kept to on an iothub; absent = none
	Units     int     `json:"units,omitempty"`   // of the tier

	ClockAhead *ClockAhead `json:"clockAhead,omitempty"` // absent if the hub is on this host, or did not tell

	Note string `json:"note,omitempty"` // in summary.json: what must be known of it to read the latencies
}

// text names the target.
func (t *Target) text() string {
	text := t.Kind
	if t.HostName != "" {
		text += " " + t.HostName
	}
	if t.Transport != "" {
		text += " over " + t.Transport
	}
	return text
}

// TransportNote says what a transport does to every latency; "" of one that is
// a network's.
func TransportNote(transport string) string {
	if transport != "memory" {
		return ""
	}
	return "memory transport: hub and devices are one process, and no network is in between; the latencies are of this process, not of a network"
}

// ClockAhead says how far the clock of a hub elsewhere is ahead of this host's:
// at least Min, at most Max. Negative is behind.
type ClockAhead struct {
	Min Millis `json:"min"`
	Max Millis `json:"max"`
}

// Group is a named part of the fleet.
type Group struct {
	Name    string `json:"name"`
	Devices int    `json:"devices"`
	Driver  string `json:"driver,omitempty"` // the MQTT client under its devices; absent in runs of an older muster
}

// Part is what one of several generators had of the fleet: the devices from
// index From up to To, which is not of it.
type Part struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// RunJob is a job as the scenario has it. Its place in Run.Jobs is the job
// index of the samples.
type RunJob struct {
	Name           string `json:"name"`
	Type           string `json:"type"` // the service's own name, such as "scheduleDeviceMethod"
	Via            string `json:"via"`  // "hub" or "direct"
	QueryCondition string `json:"queryCondition"`
	Repetitions    int    `json:"repetitions"`
}

func (j *RunJob) finishesByAnswering() bool {
	return j.Type == "scheduleDeviceMethod" && j.Via == "hub"
}

// WriteRun writes run.json into the results folder dir, whole or not at all.
// A zero SchemaVersion means the present one.
func WriteRun(dir string, r *Run) error {
	out := *r
	if out.SchemaVersion == 0 {
		out.SchemaVersion = SchemaVersion
	}
	return writeFile(dir, runFile, func(w io.Writer) error { return encodeJSON(w, &out) })
}

const runFile = "run.json"

func readRun(dir string) (*Run, error) {
	src, err := os.ReadFile(filepath.Join(dir, runFile))
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	r := new(Run)
	if err := json.Unmarshal(src, r); err != nil {
		return nil, fmt.Errorf("read run %s: %w", filepath.Join(dir, runFile), err)
	}
	if r.SchemaVersion != SchemaVersion {
		return nil, fmt.Errorf("read run %s: schema version %d, this muster reads %d", filepath.Join(dir, runFile), r.SchemaVersion, SchemaVersion)
	}
	return r, nil
}

// devices returns how many devices the fleet has.
func (r *Run) devices() int {
	n := 0
	for _, g := range r.Groups {
		n += g.Devices
	}
	return n
}

func encodeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeFile makes dir/name of what write writes: under another name first, so
// that a reader never sees half of it.
func writeFile(dir, name string, write func(io.Writer) error) (err error) {
	path := filepath.Join(dir, name)
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the first error is the one to tell
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644) // CreateTemp gives 0600, and results are for others to read
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

package scenarios

import (
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"muster/internal/expr"
	"muster/internal/query"
	"muster/internal/quota"
	"muster/internal/template"
)

// Scenario is one scenario with every default filled in.
type Scenario struct {
	Name       string      // required; usable as part of a folder's name
	Seed       uint64      // what everything random derives from; default 1
	Target     Target      // the system under test; default: the embedded hub
	Fleet      []Group     // at least one group
	Connect    Connect     // how the fleet connects
	Jobs       []Job       // in the file's order; may be empty
	Faults     []Fault     // in the file's order; may be empty
	Thresholds []Threshold // in the file's order; may be empty
	Warnings   []string    // doubts that forbid nothing, each with its place

	masked map[string]masked // by path: scalars that hold values of the environment
}

// masked is a scalar as the file wrote it, with ${NAME} for the values.
type masked struct {
	text  string
	plain bool // neither quoted nor a block: its type follows from its value
}

// ShownCondition returns the query condition of job i as outputs may show it:
// as the file wrote it, with ${NAME} for values of the environment.
func (s *Scenario) ShownCondition(i int) string {
	if id := s.Jobs[i].DeviceID; id != "" {
		return "deviceId = '" + id + "'"
	}
	if m, ok := s.masked[member(index("jobs", i), "queryCondition")]; ok {
		return m.text
	}
	return s.Jobs[i].QueryCondition
}

// Devices returns how many devices all groups have together.
func (s *Scenario) Devices() int {
	n := 0
	for i := range s.Fleet {
		n += s.Fleet[i].Devices
	}
	return n
}

// Target is the system under test. Exactly one field is set.
type Target struct {
	Embedded *Embedded
	IoTHub   *IoTHub
}

// Transport is what carries the connections to a hub.
type Transport string

// The transports to the embedded hub.
const (
	TCP    Transport = "tcp"    // loopback sockets
	TLS    Transport = "tls"    // the same with TLS for the devices
	Memory Transport = "memory" // no sockets at all
)

// Embedded says how the embedded hub is run.
type Embedded struct {
	Transport Transport // default tcp
	JobRate   float64   // executions a second that the hub dispatches; 0, the default, is unlimited

	Tier  quota.Tier // whose quotas the hub keeps; "", the default, is none
	Units int        // of the tier, at least 1, the default; 0 without a tier
}

// Group is a number of devices that are alike.
type Group struct {
	Name        string
	Devices     int               // at least 1
	ID          Text              // a device's id; default "{group}-{index:05d}"
	Tags        Document          // none by default
	Desired     Document          // none by default
	Reported    Document          // none by default
	Methods     map[string]Method // by name; none by default
	EchoDesired bool              // report what was desired; default true
	Driver      Driver            // default Paho
}

// Driver is the MQTT client under the devices of a group.
type Driver string

// The drivers.
const (
	Paho Driver = "paho" // Eclipse Paho: what most programs use
	Lean Driver = "lean" // muster's own, for large fleets
)

// Drivers returns all drivers.
func Drivers() []Driver { return []Driver{Paho, Lean} }

// Drivers returns the drivers of the fleet's groups, each once, as Drivers
// orders them.
func (s *Scenario) Drivers() []Driver {
	return slices.DeleteFunc(Drivers(), func(driver Driver) bool {
		return !slices.ContainsFunc(s.Fleet, func(g Group) bool { return g.Driver == driver })
	})
}

// Text is a template with its source.
type Text struct {
	Source   string
	Template *template.Template
}

// Document is a section of a twin: a JSON object with templates in its
// strings. The zero value is no section.
type Document struct {
	Source json.RawMessage // canonical JSON, templates not evaluated
	Tree   *template.Tree
}

// Method is how a device answers a direct method.
type Method struct {
	Status        int             // default 200
	Response      json.RawMessage // canonical JSON; nil, the default, is no payload
	Latency       Latency         // from the request to the answer; default constant 0
	FailureRate   float64         // 0 … 1, the share answered with FailureStatus; default 0
	FailureStatus int             // default 500
	SilenceRate   float64         // 0 … 1, the share never answered; default 0
	Then          Then            // what follows an answer with Status; default nothing
}

// Then is what a device does once it has answered a method.
type Then struct {
	Disconnect time.Duration // for how long it disconnects, to come back; default 0, it stays
}

// LatencyKind is the shape of a latency's distribution.
type LatencyKind string

// The latency kinds.
const (
	Constant  LatencyKind = "constant"
	LogNormal LatencyKind = "lognormal"
)

// Latency is a distribution of durations.
type Latency struct {
	Kind   LatencyKind
	Median time.Duration // of a constant, its value
	Sigma  float64       // of a lognormal, the deviation of the logarithm
}

// Connect says how the fleet connects and stays connected.
type Connect struct {
	Rate      float64       // connects begun a second; default 1000/s, on an IoT hub what its tier takes
	InFlight  int           // connects being opened at once; default 500
	Timeout   time.Duration // for one connect with its subscriptions; default 30s
	KeepAlive time.Duration // whole seconds; 0 is no pings, the default on the embedded hub, which keeps idle connections
	Backoff   Backoff       // between attempts of one device

	// SourceAddresses are the addresses of this host that connections come from, in turn. Default: for
	// the embedded hub on loopback as many as its fleet needs, else what the system chooses.
	SourceAddresses []netip.Addr
}

// Backoff is an exponential backoff with full jitter.
type Backoff struct {
	Base time.Duration // default 1s
	Cap  time.Duration // default 60s
}

// JobType is what a job does, by the service's own names.
type JobType string

// The job types.
const (
	ScheduleDeviceMethod JobType = "scheduleDeviceMethod"
	ScheduleUpdateTwin   JobType = "scheduleUpdateTwin"
)

// Via is who fans a job out.
type Via string

// The ways of a job.
const (
	Hub    Via = "hub"    // the hub runs the job
	Direct Via = "direct" // muster queries, then calls each device
)

// Job is one action on the devices that a query matches.
type Job struct {
	Name                string
	Type                JobType
	CloudToDeviceMethod *CloudToDeviceMethod // of a scheduleDeviceMethod job
	UpdateTwin          *UpdateTwin          // of a scheduleUpdateTwin job

	QueryCondition string           // required unless DeviceID is set
	Condition      *query.Condition // QueryCondition, parsed; nil with DeviceID
	DeviceID       string           // direct only: the one device of the job

	After time.Duration // start, counted from when the fleet is ready; default 0
	At    time.Time     // start, absolute; wins over After unless zero
	Times int           // repetitions; default 1
	Every time.Duration // from one repetition's start to the next; 0 with one repetition

	MaxExecution time.Duration // whole seconds, for one repetition; default 300 s
	Via          Via           // default hub
	Rate         float64       // direct only: executions begun a second; 0, the default, is as fast as InFlight allows
	InFlight     int           // direct only: executions at once; default 100; 0 is no cap, and what hub jobs have
	Mark         bool          // put the repetition's id into the payload, so that repetitions may overlap; default false
	Settle       time.Duration // via hub only: how long its rows may come after the end; default 60s; 0 via direct
}

// CloudToDeviceMethod is the direct method that a job invokes.
type CloudToDeviceMethod struct {
	MethodName      string
	Payload         json.RawMessage // canonical JSON; nil, the default, is no payload
	ResponseTimeout time.Duration   // whole seconds, 5 s … 300 s; default 30 s
	ConnectTimeout  time.Duration   // whole seconds, 0 … 300 s; default 0
}

// UpdateTwin is the twin patch that a job applies, each section canonical
// JSON. At least one is set.
type UpdateTwin struct {
	Tags    json.RawMessage
	Desired json.RawMessage
}

// Threshold is an objective of the run.
type Threshold struct {
	Text        string // as in the file
	Expr        *expr.Threshold
	AbortOnFail bool          // end the run, in order, once it does not hold; default false
	Grace       time.Duration // how long it need not hold, from the first due time of what it reads; default 0
}

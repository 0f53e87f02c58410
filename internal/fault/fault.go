// Package fault is the model of what a hub does wrong on purpose: the kinds of faults, what each takes, how it is written
// as JSON, and which of the things that meet it are struck.
//
// Whether a fault strikes depends on its seed, the device and how often that device has met it, and on nothing else: the
// same fault in the same run strikes the same things, in whatever order they come.
package fault

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is what goes wrong.
type Kind string

// The kinds.
const (
	Latency Kind = "latency" // what is sent comes later, in order
	Drop    Kind = "drop"    // connections are cut, at the fault's begin and while it lasts
	Errors  Kind = "errors"  // REST requests are answered with an error and not carried out
	Refuse  Kind = "refuse"  // devices that connect are refused
	Silent  Kind = "silent"  // what comes is accepted, not carried out and never answered
	Restart Kind = "restart" // everything is cut, and nothing is accepted until the fault is over
)

// Part is what of a hub a fault strikes.
type Part string

// The parts.
const (
	REST    Part = "rest"    // requests of services; muster's own below /muster/ are never struck
	Connect Part = "connect" // connections of devices: their CONNECTs, or for Drop the connections themselves
	Methods Part = "methods" // method requests on their way to devices
	Twins   Part = "twins"   // answers to devices' twin requests, and notifications of desired properties
)

// Operation is a group of REST requests.
type Operation string

// The operations.
const (
	Registry   Operation = "registry"   // /devices, but for queries
	Query      Operation = "query"      // POST /devices/query
	TwinAccess Operation = "twins"      // /twins/{id}
	Invoke     Operation = "methods"    // POST /twins/{id}/methods
	Jobs       Operation = "jobs"       // /jobs/v2
	Statistics Operation = "statistics" // /statistics
)

// Operations lists them.
var Operations = []Operation{Registry, Query, TwinAccess, Invoke, Jobs, Statistics}

// Answer is what a device gets that is refused.
type Answer string

// The answers.
const (
	Unavailable   Answer = "unavailable"   // CONNACK 3
	NotAuthorized Answer = "notAuthorized" // CONNACK 5
	Closed        Answer = "closed"        // none: the connection is closed
)

// Answers lists them.
var Answers = []Answer{Unavailable, NotAuthorized, Closed}

// Codes are the errors of the service that a fault can answer with.
var Codes = []int{
	401003, 403002, 404103, 429000, 429001, 429002, 429003, 429005, 500001, 500008, 503001, 503005, 503102, 504101,
}

// MaxDelay and MaxFor bound how long things take.
const (
	MaxDelay = 10 * time.Minute
	MaxFor   = 24 * time.Hour
)

// Fault is one fault. Kind is required; which of the rest belong to it, Check tells.
type Fault struct {
	Kind Kind
	Part Part // default: the first of its kind's parts

	// The scope within the part. A thing without a device, such as a query, is out of the scope of a fault that names some.
	Operations   []Operation // of REST; default all
	Devices      []string    // by id
	DevicePrefix string      // or by how the id begins; default all devices

	For   time.Duration // how long it lasts; 0 is until it is cleared, and for Drop the moment of its begin
	Count int           // after so many strikes it is over; 0 is any number
	Share float64       // of what meets it, above 0 to 1; 0 is all
	Seed  uint64        // decides who the share is

	Delay, DelayTo time.Duration // of Latency: from … to, evenly; DelayTo 0 is always Delay
	Code           int           // of Errors: one of Codes
	Answer         Answer        // of Refuse; default Unavailable
}

// form is what belongs to a kind.
type form struct {
	kind  Kind
	parts []Part
}

// forms lists the kinds; a kind without parts strikes all of the hub.
var forms = []form{
	{Latency, []Part{REST, Connect, Methods, Twins}},
	{Drop, []Part{Connect, REST}},
	{Errors, []Part{REST}},
	{Refuse, []Part{Connect}},
	{Silent, []Part{REST, Connect, Methods, Twins}},
	{Restart, nil},
}

// Kinds returns all kinds.
func Kinds() []Kind {
	all := make([]Kind, len(forms))
	for i, f := range forms {
		all[i] = f.kind
	}
	return all
}

// Parts returns the parts that a kind can strike, the default one first. Restart and what is no kind have none.
func Parts(k Kind) []Part {
	if i := slices.IndexFunc(forms, func(f form) bool { return f.kind == k }); i >= 0 {
		return forms[i].parts
	}
	return nil
}

// Resolved returns the fault with its defaults filled in.
func (f *Fault) Resolved() Fault {
	r := *f
	if parts := Parts(f.Kind); r.Part == "" && len(parts) > 0 {
		r.Part = parts[0]
	}
	if r.Share == 0 && r.Kind != Restart {
		r.Share = 1
	}
	if r.Kind == Latency {
		r.DelayTo = max(r.Delay, r.DelayTo)
	}
	if r.Kind == Refuse && r.Answer == "" {
		r.Answer = Unavailable
	}
	return r
}

// Once says whether the fault is over the moment it has begun.
func (f *Fault) Once() bool { return f.Kind == Drop && f.For == 0 && f.Count == 0 }

// scoped says whether the fault strikes some things of its part only.
func (f *Fault) scoped() bool { return len(f.Operations)+len(f.Devices) > 0 || f.DevicePrefix != "" }

// CutsRequests says whether the fault cuts requests alone, as they come: which open connection has one in its scope, nobody
// knows.
func (f *Fault) CutsRequests() bool { return f.Kind == Drop && f.Part == REST && f.scoped() }

// String says what the fault does to what, as a report shows it: "errors 429001 on rest methods, share 0.5".
func (f *Fault) String() string {
	r := f.Resolved()
	var b strings.Builder
	b.WriteString(string(r.Kind))
	switch r.Kind {
	case Latency:
		fmt.Fprintf(&b, " %v", r.Delay)
		if r.DelayTo > r.Delay {
			fmt.Fprintf(&b, "–%v", r.DelayTo)
		}
	case Errors:
		fmt.Fprintf(&b, " %d", r.Code)
	case Refuse:
		b.WriteString(" as " + string(r.Answer))
	case Restart:
		return b.String()
	}
	b.WriteString(" on " + string(r.Part))
	for _, op := range r.Operations {
		b.WriteString(" " + string(op))
	}
	if n := len(r.Devices); n > 0 {
		fmt.Fprintf(&b, ", %d named devices", n)
	}
	if r.DevicePrefix != "" {
		b.WriteString(", devices " + r.DevicePrefix + "*")
	}
	if r.Share < 1 {
		b.WriteString(", share " + strconv.FormatFloat(r.Share, 'g', -1, 64))
	}
	if r.Count > 0 {
		fmt.Fprintf(&b, ", %d times", r.Count)
	}
	return b.String()
}

// Covers says whether a thing of the fault's part is in its scope: that of a device, or "" if it is of none.
func (f *Fault) Covers(device string) bool {
	if f.DevicePrefix == "" && len(f.Devices) == 0 {
		return true
	}
	return device != "" && (f.DevicePrefix != "" && strings.HasPrefix(device, f.DevicePrefix) || slices.Contains(f.Devices, device))
}

// CoversOperation says whether a REST request is in the fault's scope.
func (f *Fault) CoversOperation(op Operation) bool {
	return len(f.Operations) == 0 || slices.Contains(f.Operations, op)
}

// Strikes says whether a device, or what is of none, is struck when it meets the fault for the nth time.
func (f *Fault) Strikes(device string, n uint64) bool {
	return f.Share == 0 || f.Share >= 1 || f.draw(device, n, 0) < f.Share
}

// DelayOf returns by how much a Latency fault delays a device that meets it for the nth time.
func (f *Fault) DelayOf(device string, n uint64) time.Duration {
	if f.DelayTo <= f.Delay {
		return f.Delay
	}
	return f.Delay + time.Duration(f.draw(device, n, 1)*float64(f.DelayTo-f.Delay))
}

// draw returns a number from 0 up to 1 that nothing but its arguments decides. stream tells draws apart.
func (f *Fault) draw(device string, n, stream uint64) float64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(device) {
		h = (h ^ uint64(device[i])) * 1099511628211
	}
	h = mix(mix(mix(h^f.Seed)+n)+stream*0x9e3779b97f4a7c15) >> 11
	return float64(h) / (1 << 53)
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

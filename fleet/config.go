package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"time"

	"muster/internal/sample"
	"muster/internal/template"
	"muster/iothub"
)

// Config describes a fleet. Groups and HostName are required, and for Run Dial
// and a Driver, here or for each group.
type Config struct {
	Seed     uint64
	Groups   []Group
	HostName string // the hub's name as usernames and tokens have it

	// DeviceKey returns a device's key. Default: derived from Seed, which is
	// for hubs of one's own only, since seeds are no secrets.
	DeviceKey func(index int, id string) iothub.Key

	Connect Connect
	Driver  Driver
	Dial    DialFunc

	Part     *Part         // what of the fleet is run here. Default: all
	Mirror   Mirror        // keeps the twins of a part. Default: they are kept here
	Observer Observer      // default: nobody watches
	Samples  Recorder      // of attempts to connect and of losses. Default: not recorded
	Clock    *sample.Clock // default: a clock that starts with New
	Logger   *slog.Logger  // default: discarded
}

// Group is a part of the fleet whose devices are alike.
type Group struct {
	Name    string
	Devices int
	ID      *template.Template // of each device's id; its index counts from 0 within the group

	// The seeded twins. Default: empty sections.
	Tags, Desired, Reported *template.Tree

	// Methods by name. A call of any other is answered with status 404.
	Methods     map[string]Method
	EchoDesired bool // whether devices PATCH desired changes to their reported properties

	Driver Driver // default: that of the Config
}

// Method is how devices answer a direct method.
type Method struct {
	Status   int             // default 200
	Response json.RawMessage // default: none
	Latency  Latency         // from the call's receipt to its answer

	FailureRate   float64 // share of calls that are answered with FailureStatus and no payload, 0 to 1
	FailureStatus int     // default 500
	SilenceRate   float64 // share of calls that are never answered, 0 to 1

	// Away is how long the device disconnects for once it has answered with
	// Status, as one does that reboots. Default: it stays.
	Away time.Duration
}

// Latency is a distribution of times.
type Latency struct {
	Kind   LatencyKind
	Median time.Duration
	Sigma  float64 // of a Lognormal: the standard deviation of the time's logarithm
}

// LatencyKind is the shape of a latency.
type LatencyKind uint8

// The shapes.
const (
	Constant  LatencyKind = iota // always the median
	Lognormal                    // many near the median, few much longer
)

// maxLatency bounds what a lognormal tail can draw.
const maxLatency = 24 * time.Hour

// Connect is how the fleet goes online, and back online.
type Connect struct {
	Rate      float64       // attempts due per second on the first connect. Default: all at once
	InFlight  int           // connections being opened at a time. Default 500
	Timeout   time.Duration // from the attempt's begin until the device is online. Default 30 s
	KeepAlive time.Duration // interval of pings. Default: none, for hubs that keep idle connections

	// Sources are addresses of this host that connections come from, in turn by
	// the devices' indices: each has local ports of its own. What opens a
	// connection asks Source. Default: the system chooses.
	Sources []netip.Addr

	// Turn waits until it is an attempt's turn, where a hub takes only so many a
	// second, and fails when ctx ends. It is asked before the attempt begins, so
	// that its wait is in no latency and no timeout of a connect. Default: it is.
	Turn func(ctx context.Context) error

	// A device tries again after a random time below BackoffBase, doubled with
	// each further failure up to BackoffCap. Defaults 1 s and 60 s.
	BackoffBase, BackoffCap time.Duration

	// TokenLifetime is how long a device's SAS token is valid. When it ends a
	// hub closes the connection, and the device comes back with a new one.
	// Default 24 h.
	TokenLifetime time.Duration
	// RenewTokens lets each device reconnect with a new token before the old one
	// ends, and use one token for all its connections until then.
	RenewTokens bool
}

// Observer is told what happens to devices. Its calls come from many goroutines
// and must not block.
type Observer interface {
	// Received tells of a method call or a desired notification, whose payload
	// must be copied to be kept. The ticket that it returns names the execution
	// in the other calls; 0 is none.
	Received(r sample.Receipt) (ticket uint64)
	// Answered tells that the method's reply, or the reported PATCH, was
	// written, and when its write began.
	Answered(ticket uint64, status int32, at sample.Moment)
	// Finished tells that the hub confirmed the reported PATCH.
	Finished(ticket uint64, at sample.Moment)
}

// Recorder takes the record of each attempt to connect, and of each connection
// that was lost. *sample.Writer is one.
type Recorder interface {
	Connect(c *sample.Connect)
	Lost(l *sample.Lost)
}

// unobserved is the Observer of a fleet that nobody watches.
type unobserved struct{}

func (unobserved) Received(sample.Receipt) uint64        { return 0 }
func (unobserved) Answered(uint64, int32, sample.Moment) {}
func (unobserved) Finished(uint64, sample.Moment)        {}
func (unobserved) Connect(*sample.Connect)               {}
func (unobserved) Lost(*sample.Lost)                     {}

// resolved returns c with every default in its place.
func (c Config) resolved() Config {
	if c.Observer == nil {
		c.Observer = unobserved{}
	}
	if w, ok := c.Samples.(*sample.Writer); c.Samples == nil || ok && w == nil {
		c.Samples = unobserved{}
	}
	if c.Clock == nil {
		c.Clock = sample.NewClock()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Connect = c.Connect.resolved()
	c.Connect.InFlight = c.part().share(c.Connect.InFlight)
	return c
}

func (c Connect) resolved() Connect {
	orDefault(&c.InFlight, 500)
	orDefault(&c.Timeout, 30*time.Second)
	orDefault(&c.BackoffBase, time.Second)
	orDefault(&c.BackoffCap, 60*time.Second)
	orDefault(&c.TokenLifetime, 24*time.Hour)
	return c
}

func (m Method) resolved() Method {
	orDefault(&m.Status, 200)
	orDefault(&m.FailureStatus, 500)
	return m
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate reports every fault of the configuration at once.
func (c Config) validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.HostName == "" {
		fault("hostName: is missing")
	}
	if total := c.devices(); total > math.MaxUint32-1 {
		fault("groups: %d devices are more than %d", total, math.MaxUint32-1)
	}
	for i, g := range c.Groups {
		if err := g.validate(); err != nil {
			fault("groups[%d]: %w", i, err)
		}
	}
	if p := c.Part; p != nil && !p.fits(c.devices()) {
		fault("part: %+v is none of %d devices", *p, c.devices())
	}
	if err := c.Connect.validate(); err != nil {
		fault("connect: %w", err)
	}
	return errors.Join(errs...)
}

func (c Config) devices() (total uint64) {
	for _, g := range c.Groups {
		total += uint64(max(g.Devices, 0))
	}
	return total
}

func (g Group) validate() error {
	var errs []error
	if g.Devices < 0 {
		errs = append(errs, errors.New("devices: must not be negative"))
	}
	if g.ID == nil {
		errs = append(errs, errors.New("id: is missing"))
	}
	for name, m := range g.Methods {
		if err := m.validate(); err != nil {
			errs = append(errs, fmt.Errorf("methods.%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (m Method) validate() error {
	var errs []error
	for name, rate := range map[string]float64{"failureRate": m.FailureRate, "silenceRate": m.SilenceRate} {
		if !(rate >= 0 && rate <= 1) { // also refuses what is not a number
			errs = append(errs, fmt.Errorf("%s: must be from 0 to 1", name))
		}
	}
	if m.Latency.Median < 0 || m.Latency.Median > maxLatency || !(m.Latency.Sigma >= 0) {
		errs = append(errs, fmt.Errorf("latency: must be from 0 to %v, its sigma not negative", maxLatency))
	}
	if m.Away < 0 {
		errs = append(errs, errors.New("away: must not be negative"))
	}
	if len(m.Response) > 0 && !json.Valid(m.Response) {
		errs = append(errs, errors.New("response: is not JSON"))
	}
	return errors.Join(errs...)
}

func (c Connect) validate() error {
	if !(c.Rate >= 0) || c.InFlight < 0 || c.Timeout < 0 || c.KeepAlive < 0 ||
		c.BackoffBase < 0 || c.BackoffCap < 0 || c.TokenLifetime < 0 {
		return errors.New("rate, inFlight and times must not be negative")
	}
	return nil
}

package device

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"muster/fleet"
	"muster/iothub"
)

// Options tune a Device. Nil and the zero value are good. The functions must
// return soon; they may be called from several goroutines, but Desired and
// Reported from one at a time, and News from one at a time.
type Options struct {
	// Method answers a direct method. Default: status 404 for every one.
	Method func(ctx context.Context, c Call) Answer
	// Desired is told of changed desired properties, in the order of their
	// versions. Default: nobody is.
	Desired func(Update)
	// Reported is told what came of reporting them back: the new version of the
	// reported properties, or an error. Default: nobody is.
	Reported func(u Update, version int64, err error)
	// News is told how the connection fares. Default: nobody is.
	News func(News)

	TokenLifetime  time.Duration // of each SAS token; a new one is used after four fifths. Default 1 h
	KeepAlive      time.Duration // interval of pings. Default 1 min
	ConnectTimeout time.Duration // from the attempt's begin until the device is online. Default 30 s

	// After a loss or a failure the device waits at random below BackoffBase,
	// doubled with each further failure up to BackoffCap. Defaults 1 s and 1 min.
	BackoffBase, BackoffCap time.Duration
	// Seed makes the waits repeatable. Default: at random.
	Seed uint64

	// Logger gets, at Debug, messages that the device cannot read. Default: none.
	Logger *slog.Logger
}

func (o *Options) resolved() Options {
	var r Options
	if o != nil {
		r = *o
	}
	if r.Method == nil {
		r.Method = func(context.Context, Call) Answer { return Answer{Status: StatusNoMethod} }
	}
	if r.Desired == nil {
		r.Desired = func(Update) {}
	}
	if r.Reported == nil {
		r.Reported = func(Update, int64, error) {}
	}
	if r.News == nil {
		r.News = func(News) {}
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	if r.Seed == 0 {
		r.Seed = rand.Uint64()
	}
	orDefault(&r.TokenLifetime, time.Hour)
	orDefault(&r.KeepAlive, time.Minute)
	orDefault(&r.ConnectTimeout, 30*time.Second)
	orDefault(&r.BackoffBase, time.Second)
	orDefault(&r.BackoffCap, time.Minute)
	return r
}

func orDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// StatusNoMethod is what a device answers to a method that it does not have.
const StatusNoMethod = 404

// Call is a call of a direct method.
type Call struct {
	Name    string
	Payload json.RawMessage // as it came: JSON, or empty for none
}

// Answer is what a method's caller is told.
type Answer struct {
	Status  int
	Payload json.RawMessage // JSON; nil for none
}

// Update is a change of the desired properties.
type Update struct {
	Version int64
	// Properties is the patch, in which null deletes, or all properties if
	// Complete: when the device has just connected, and when it missed a version.
	Properties json.RawMessage
	Complete   bool
}

// State is how the connection fares.
type State uint8

// The states that are news.
const (
	Online   State = iota + 1 // connected, subscribed, and the twin is read
	Renewing                  // the token is about to expire: the connection is closed and opened anew
	Lost                      // the connection ended by itself
	Failed                    // an attempt to connect failed
)

// News is a change of the connection.
type News struct {
	State State
	Err   error         // why, of Lost and Failed
	Wait  time.Duration // until the next attempt, of Lost and Failed
}

// Device is one device of a hub.
type Device struct {
	cs     iothub.ConnectionString
	driver fleet.Driver
	dial   fleet.DialFunc
	opts   Options // resolved
	rand   *rand.Rand

	running atomic.Bool   // Run was called
	lastRID atomic.Uint64 // of twin requests; goes on over connections, so that late answers find nothing

	turn chan struct{} // one token: the right to handle a change of the twin; guards the fields below
	told int64         // the newest desired version that Desired was told of
	kept int64         // the newest desired version that was reported back
}

// New returns a device that connects with the driver over connections that
// dial opens; see Endpoint for one. It opens nothing.
func New(cs iothub.ConnectionString, driver fleet.Driver, dial fleet.DialFunc, opts *Options) (*Device, error) {
	switch {
	case cs.DeviceID == "":
		return nil, errors.New("not a device's connection string: it has no DeviceId")
	case cs.ModuleID != "":
		return nil, errors.New("the connection string is of a module, which is not supported")
	}
	d := &Device{cs: cs, driver: driver, dial: dial, opts: opts.resolved(), turn: make(chan struct{}, 1)}
	d.rand = rand.New(rand.NewPCG(d.opts.Seed, d.opts.Seed))
	return d, nil
}

// steady is how long a connection must last to count as a success: shorter ones
// go on with the growing waits, lest two devices of one id chase each other.
const steady = 30 * time.Second

// Run keeps the device online until ctx ends, and returns nil then. It returns
// an error if the first attempts show that no attempt can succeed, or once a
// token given in place of a key has expired. Nothing of the device is left
// running.
func (d *Device) Run(ctx context.Context) error {
	if d.running.Swap(true) {
		return errors.New("run device: it ran before")
	}
	wasOnline := false
	for failures := 0; ; {
		began := time.Now()
		state, err := d.connect(ctx)
		if ctx.Err() != nil {
			return nil
		}
		wasOnline = wasOnline || state != Failed
		if err != nil && (errors.Is(err, ErrTokenExpired) || !wasOnline && hopeless(err)) {
			return fmt.Errorf("connect %s: %w", d.cs.DeviceID, err)
		}
		if state == Renewing {
			failures = 0
			continue
		}
		if state == Lost && time.Since(began) >= steady {
			failures = 0
		}
		wait := d.backoff(failures)
		failures++
		d.opts.News(News{State: state, Err: err, Wait: wait})
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// connect opens a connection and stays on it until it is over. It returns how
// that came: Failed before the device was online, Renewing or Lost after.
func (d *Device) connect(ctx context.Context) (State, error) {
	password, renewAt, err := d.credentials(time.Now())
	if err != nil {
		return Failed, err
	}
	s := newSession(ctx, d)
	twin, err := s.open(password)
	if err != nil {
		s.close(0)
		return Failed, err
	}
	d.opts.News(News{State: Online})
	s.catchUp(twin)
	if s.wait(renewAt) {
		d.opts.News(News{State: Renewing})
		s.close(drainGrace)
		return Renewing, nil
	}
	err = context.Cause(s.ctx)
	if ctx.Err() != nil {
		s.close(drainGrace)
	} else {
		s.close(0)
	}
	return Lost, err
}

// backoff draws the wait after so many failures before the last one.
func (d *Device) backoff(failures int) time.Duration {
	ceiling := d.opts.BackoffBase
	for ; failures > 0 && ceiling < d.opts.BackoffCap; failures-- {
		ceiling *= 2
	}
	return time.Duration(d.rand.Int64N(int64(min(ceiling, d.opts.BackoffCap)) + 1))
}

// sleep waits and reports whether it was for the whole time.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"

	"muster/fleet"
	"muster/harness/wire"
	"muster/internal/dialer"
	"muster/internal/quota"
	"muster/internal/sample"
	"muster/internal/template"
	"muster/iothub"
	"muster/scenarios"
)

// assignment is what a run tells a generator to simulate. It holds the fleet's
// secret, and so goes through the pipe alone. Of devices' twins a generator
// needs nothing: the run keeps them.
type assignment struct {
	Version  int
	Part     fleet.Part
	Epoch    sample.Epoch
	Seed     uint64
	HostName string
	Groups   []assignedGroup
	Connect  scenarios.Connect
	Sources  []netip.Addr // that connections come from
	Reach    reach
	Secret   string `json:",omitempty"` // of the fleet of a hub that is not ours
}

// assignedGroup is a group of the fleet.
type assignedGroup struct {
	Name    string
	Devices int
	ID      string
	Methods map[string]assignedMethod
	Echo    bool
	Driver  scenarios.Driver
}

// assignedMethod is a method. Its response is text, since no response and a
// null are not the same.
type assignedMethod struct {
	fleet.Method
	Response string `json:",omitempty"`
}

// reach is how devices connect: to an address, or to a hub that is not ours.
type reach struct {
	Addr      string
	Authority []byte            `json:",omitempty"` // as PEM: the connection is over TLS
	Transport dialer.Transport  `json:",omitempty"`
	IoTHub    *scenarios.IoTHub `json:",omitempty"` // without its connection string
}

// assign returns what a generator is to simulate.
func (r *run) assign(at fleet.Part) ([]byte, error) {
	epoch, err := r.clock.Share()
	if err != nil {
		return nil, err
	}
	s := r.scenario
	a := assignment{
		Version: wire.Version, Part: at, Epoch: epoch, Seed: s.Seed, HostName: r.hub.ConnectionString.HostName,
		Connect: s.Connect, Sources: r.sources.addrs, Reach: reach{Addr: r.hub.addr, Authority: r.hub.authority},
	}
	for _, g := range s.Fleet {
		group := assignedGroup{
			Name: g.Name, Devices: g.Devices, ID: g.ID.Template.String(), Echo: g.EchoDesired, Driver: g.Driver,
			Methods: make(map[string]assignedMethod, len(g.Methods)),
		}
		for name, m := range g.Methods {
			group.Methods[name] = assignedMethod{methodOf(m), string(m.Response)}
		}
		a.Groups = append(a.Groups, group)
	}
	if r.remote != nil {
		target := *s.Target.IoTHub
		target.ConnectionString = "" // devices have no use for it
		a.Reach = reach{Transport: r.hub.carrier, IoTHub: &target}
		a.Secret = r.opts.FleetSecret.Reveal()
	}
	return json.Marshal(&a)
}

// config returns the fleet of an assignment, but for those who watch it.
func (a *assignment) config(opts GeneratorOptions) (fleet.Config, error) {
	c := fleet.Config{Seed: a.Seed, HostName: a.HostName, Connect: connectOf(a.Connect), Part: &a.Part, Dial: opts.dial}
	c.Connect.Sources = a.Sources
	of := drivers()
	for _, g := range a.Groups {
		id, err := template.Parse(g.ID)
		if err != nil {
			return c, fmt.Errorf("group %s: id: %w", g.Name, err)
		}
		methods := make(map[string]fleet.Method, len(g.Methods))
		for name, m := range g.Methods {
			method := m.Method
			if m.Response != "" {
				method.Response = json.RawMessage(m.Response)
			}
			methods[name] = method
		}
		c.Groups = append(c.Groups, fleet.Group{
			Name: g.Name, Devices: g.Devices, ID: id, Methods: methods, EchoDesired: g.Echo, Driver: of[g.Driver],
		})
	}
	if a.Reach.IoTHub != nil {
		return c, a.suit(&c)
	}
	if c.Dial == nil {
		dial, err := dialTo(a.Reach.Addr, a.Reach.Authority)
		if err != nil {
			return c, err
		}
		c.Dial = dial
	}
	return c, nil
}

// suit has devices connect to a hub that is not ours, at the part's share of
// what its tier takes.
func (a *assignment) suit(c *fleet.Config) error {
	keepTokens(c, iothub.Secret(a.Secret))
	h := a.Reach.IoTHub
	r := &remote{target: h, cs: iothub.ConnectionString{HostName: a.HostName}}
	var err error
	if r.tls, err = trust(h.CA); err != nil {
		return fmt.Errorf("target.iothub.ca: %w", err)
	}
	if h.Tier != "" {
		l, err := quota.For(h.Tier, h.Units)
		if err != nil {
			return fmt.Errorf("target.iothub: %w", err)
		}
		l.Connects.Count /= float64(a.Part.Of)
		pace := newPacer(&l)
		c.Connect.Turn = func(ctx context.Context) error { return pace.connects.Wait(ctx, 1) }
	}
	if c.Dial == nil {
		d := r.dialer()
		c.Dial = func(ctx context.Context) (net.Conn, error) { return d.Dial(ctx, a.Reach.Transport, fleet.Dialing(ctx)) }
	}
	return nil
}
